"""How often the faults are injected: the long counts (``--soak``), and the quick rows in turn and in turn again."""

from __future__ import annotations

import random

import pytest

from tests.conftest import SEED

# A fault shows by chance what it breaks: those that take little time are injected this often.
REPETITIONS, QUICK = 2, {"tests.faults.test_upstream", "tests.faults.test_client"}


@pytest.hookimpl(trylast=True)  # so that a test's own parameters come first in its name
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Kill at three moments, or with ``--soak`` at fifty random ones; repeat what is quick."""
    if "moment" in metafunc.fixturenames:
        chance = random.Random(SEED)
        long = metafunc.config.getoption("--soak")
        moments = [round(chance.uniform(0, 4), 2) for _ in range(50)] if long else [0.1, 1.3, 2.6]
        metafunc.parametrize("moment", moments)
    if metafunc.module.__name__ in QUICK:
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(1, REPETITIONS + 1), ids="x{}".format)
