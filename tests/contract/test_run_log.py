"""One suite for every implementation of the run log port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest

from lorestream.errors import Conflict, Gone
from lorestream.streaming.log import Block, MemoryLog, Position, RunLog
from lorestream.streaming.log_redis import SCRIPTS, RedisLog
from lorestream.streaming.redis_link import RedisLink
from tests.fakes.redis import RedisServer, redis_server

RUN = "0" * 32


class MakeLog(Protocol):
    """A log with these limits."""

    async def __call__(self, *, retention_seconds: float = 60, max_bytes: int = 1024 * 1024) -> RunLog: ...


class Across:
    """Written at one worker, read at another or the same; whatever was appended has reached Redis."""

    def __init__(self, writer: RedisLog, reader: RedisLog) -> None:
        self._writer = writer
        self._reader = reader

    async def create(self, run_id: str) -> None:
        await self._writer.create(run_id)

    async def append(self, run_id: str, frames: Sequence[bytes], *, ended: bool = False) -> None:
        await self._writer.append(run_id, frames, ended=ended)
        await self._writer.flush()

    async def read(self, run_id: str, after: int, wait_seconds: float) -> Block:
        return await self._reader.read(run_id, after, wait_seconds)

    async def position(self, run_id: str, at_least: int = 0) -> Position:
        return await self._reader.position(run_id, at_least)

    def abandon(self, run_id: str) -> None:
        self._writer.abandon(run_id)

    def leave(self) -> None:
        self._reader.leave()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "redis", "across workers"])
async def make_log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MakeLog]:
    closing = AsyncExitStack()

    async def over_redis(retention_seconds: float, max_bytes: int) -> RedisLog:
        link = RedisLink(request.getfixturevalue("redis").url, SCRIPTS)
        await link.open()
        closing.push_async_callback(link.close)
        log = RedisLog(link, retention_seconds, max_bytes)
        await log.open(on_stop=lambda _: None, on_fenced=lambda _: None)
        closing.push_async_callback(log.close)
        return log

    async def make(*, retention_seconds: float = 60, max_bytes: int = 1024 * 1024) -> RunLog:
        if request.param == "memory":
            return MemoryLog(retention_seconds, max_bytes)
        log = await over_redis(retention_seconds, max_bytes)
        return Across(log, log if request.param == "redis" else await over_redis(retention_seconds, max_bytes))

    if request.param != "memory":
        request.getfixturevalue("redis").command("FLUSHALL")
    async with closing:
        yield make


async def test_a_reader_gets_everything_after_its_cursor_as_one_block(make_log: MakeLog) -> None:
    log = await make_log()
    await log.create(RUN)
    await log.append(RUN, [b"a", b"b"])
    await log.append(RUN, [b"c"], ended=True)
    assert await log.read(RUN, 0, 1) == (b"abc", 3, True)
    assert await log.read(RUN, 2, 1) == (b"c", 3, True)
    assert await log.read(RUN, 3, 1) == (b"", 3, True)
    assert await log.position(RUN) == Position(3, ended=True)


async def test_a_waiting_reader_is_woken_by_the_next_append(make_log: MakeLog) -> None:
    log = await make_log()
    await log.create(RUN)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        readers = [group.create_task(log.read(RUN, 0, 60)) for _ in range(10)]
        await asyncio.sleep(0)
        await log.append(RUN, [b"x"])
    assert [reader.result() for reader in readers] == [(b"x", 1, False)] * 10


async def test_silence_gives_an_empty_block(make_log: MakeLog) -> None:
    log = await make_log()
    await log.create(RUN)
    async with asyncio.timeout(5):
        assert await log.read(RUN, 0, 0.01) == (b"", 0, False)


async def test_a_cancelled_reader_leaves_the_others_alone(make_log: MakeLog) -> None:
    log = await make_log()
    await log.create(RUN)
    async with asyncio.timeout(5):
        leaving = asyncio.create_task(log.read(RUN, 0, 60))
        staying = asyncio.create_task(log.read(RUN, 0, 60))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        await log.append(RUN, [b"x"])
        assert (await staying).frames == b"x"


async def test_nothing_enters_an_ended_log(make_log: MakeLog) -> None:
    log = await make_log()
    await log.create(RUN)
    await log.append(RUN, [b"end"], ended=True)
    with pytest.raises(Conflict):
        await log.append(RUN, [b"late"])
    assert await log.read(RUN, 0, 0) == (b"end", 1, True)


async def test_one_log_for_one_run(make_log: MakeLog) -> None:
    log = await make_log()
    await log.create(RUN)
    with pytest.raises(Conflict):
        await log.create(RUN)


async def test_an_unknown_log_is_gone(make_log: MakeLog) -> None:
    log = await make_log()
    for attempt in (log.read(RUN, 0, 0), log.position(RUN), log.append(RUN, [b"x"])):
        with pytest.raises(Gone):
            await attempt


async def test_an_ended_log_is_dropped_after_its_retention_and_a_running_one_is_not(make_log: MakeLog) -> None:
    log = await make_log(retention_seconds=0)
    other = "1" * 32
    await log.create(RUN)
    await log.create(other)
    await log.append(other, [b"running"])
    await log.append(RUN, [b"end"], ended=True)
    async with asyncio.timeout(5):
        while True:
            try:
                await log.position(RUN)
            except Gone:
                break
            await asyncio.sleep(0)
    assert (await log.position(other)).last == 1


async def test_over_the_byte_limit_the_oldest_ended_log_goes_first(make_log: MakeLog) -> None:
    log = await make_log(max_bytes=1000)
    runs = [f"{n:032x}" for n in range(5)]
    for run in runs:
        await log.create(run)
        await log.append(run, [b"x" * 300], ended=run != runs[0])
    assert (await log.position(runs[0])).last == 1, "a running log is kept"
    with pytest.raises(Gone):
        await log.position(runs[1])
    assert (await log.position(runs[3])).ended
    assert (await log.position(runs[4])).ended
