"""Many files at once, of which many are not what they seem: each ends with a result, and everybody else is served."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fakes.memory import memory_of
from tests.fakes.mixed import mixed, throw
from tests.fakes.reading import user_of
from tests.fakes.server import RunningServer

MIB = 1024 * 1024
MOST_MEMORY = 640 * MIB
# Far above what a request takes on a busy machine, and far below what a blocked server would take.
SLOWEST_SECONDS = 5
QUICK_BOMBS = ("thousand-to-one", "lying-about-its-size", "billion-laughs", "many-entries")


def at_most(memory: dict[str, int], command: str) -> int:
    """MiB of the largest process of this command."""
    return max(size for name, size in memory.items() if command in name) // MIB


@pytest.mark.timeout(900)
async def test_every_file_ends_ready_or_with_a_reason(
    reader_server: RunningServer, measured: Callable[[str], None], soak: bool
) -> None:
    thrown = mixed(200) if soak else mixed(28, QUICK_BOMBS)
    async with user_of(reader_server) as client:
        with memory_of(reader_server.process.pid) as memory:
            outcome = await throw(client.http, thrown, 800 if soak else 200)
        assert outcome.strange == []
        assert set(outcome.became) == {one.name for one in thrown}
        ready = sum(became == "ready" for became in outcome.became.values())
        assert ready > len(thrown) // 3
    assert outcome.latency(0.99) < SLOWEST_SECONDS
    assert max(memory.values()) < MOST_MEMORY, memory
    measured(
        f"mixed files: {len(thrown)} at once in {outcome.seconds:.0f} s, {ready} ready, the others with a reason; "
        f"GET /documents/ p50 {outcome.latency(0.5) * 1000:.0f} ms, p99 {outcome.latency(0.99) * 1000:.0f} ms; "
        f"at most {at_most(memory, 'serve')} MiB in the server, {at_most(memory, 'worker')} in its worker, "
        f"{at_most(memory, 'formats')} in a reader"
    )
