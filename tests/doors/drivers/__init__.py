"""The real clients of every door: each module lists its own in ``DRIVERS``."""

from __future__ import annotations

import importlib
import pkgutil

from tests.doors.client import Driver

DRIVERS: list[Driver] = [
    driver
    for module in pkgutil.iter_modules(__path__)
    for driver in importlib.import_module(f"{__name__}.{module.name}").DRIVERS
]
