"""The same counts over two workers and one Redis, without sticky routing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from tests.fakes.fleet import Pair, pair_of_servers
from tests.fakes.upstream import Hold, Say
from tests.faults.test_counts import read_many_through_drops, stop_once, told_of_stops

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(3600)]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[Pair]:
    async with pair_of_servers(tmp_path_factory.mktemp("pair"), models_dir) as two:
        yield two
        assert not [line for server in two.servers for line in server.output if "Traceback" in line]


async def test_answers_are_whole_through_cuts_at_random_bytes_at_either_worker(
    pair: Pair, soak: bool, measured: Callable[[str], None]
) -> None:
    measured(await read_many_through_drops(pair.fake, pair.clients, 50 if soak else 2))
    pair.fake.play(always=True)


@pytest.mark.parametrize("said", ["", "Par"], ids=["before-the-first-token", "in-mid-answer"])
async def test_stop_at_the_other_worker_closes_the_upstream_every_time(
    pair: Pair, said: str, soak: bool, measured: Callable[[str], None]
) -> None:
    took = []
    seen = len(pair.fake.connections)
    for number in range(100 if soak else 6):
        asked, other = pair.clients if number % 2 else reversed(pair.clients)
        pair.fake.play(*([Say(said)] if said else []), Hold())
        took.append(await stop_once(asked, other, partial(pair.fake.connection, seen + number), said))
    measured(told_of_stops(took, "stops at the other worker,", said))
