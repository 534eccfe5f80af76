"""The long counts of the fault suite (``--soak``), and the table of what was measured."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path

import pytest

MEASURED: list[str] = []
# A fault shows by chance what it breaks: those that take little time are injected this often.
REPETITIONS, QUICK = 3, {"test_upstream", "test_client"}
SEED = random.SystemRandom().randrange(2**32)


@pytest.fixture
def measured() -> Callable[[str], None]:
    """Put a line into the table at the end of the test run."""
    return MEASURED.append


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> bool:
    """Whether the long counts are wanted."""
    return bool(request.config.getoption("--soak"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Kill at three moments, or with ``--soak`` at fifty random ones."""
    if "moment" in metafunc.fixturenames:
        chance = random.Random(SEED)
        long = metafunc.config.getoption("--soak")
        moments = [round(chance.uniform(0, 4), 2) for _ in range(50)] if long else [0.1, 1.3, 2.6]
        metafunc.parametrize("moment", moments)


@pytest.hookimpl(trylast=True)  # after -k and -m have chosen
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the quick modules' tests in turn, and in turn again: a test right after itself would share its fixtures."""
    repeated: list[pytest.Item] = []
    for path, found in itertools.groupby(items, lambda item: item.path):
        block = list(found)
        quick = path.parent == Path(__file__).parent and path.stem in QUICK and len(block) > 1
        repeated += block * (REPETITIONS if quick else 1)
    items[:] = repeated


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if MEASURED:
        terminalreporter.section(f"measured (seed {SEED})")
        for line in MEASURED:
            terminalreporter.write_line(line)
