"""A module that sets ``LOOPS`` runs its asynchronous tests on each of these event loops, instead of the server's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

FACTORIES: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def pytest_asyncio_loop_factories(item: pytest.Function) -> dict[str, Callable[[], asyncio.AbstractEventLoop]] | None:
    loops: tuple[str, ...] = getattr(item.module, "LOOPS", ())
    return {name: FACTORIES[name] for name in loops} or None
