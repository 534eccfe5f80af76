"""What the workers of one data directory tell each other: who writes which run, which are to stop, which lost theirs.

A worker holds a lease on each run it writes. A run that the database calls running and that has no lease was left by a
process that died: any worker ends it. That a lease is missing is believed only where Redis has been reachable,
writable and the same (not emptied, not restarted empty) for the whole life of a lease, so that no trouble of Redis
kills a live run.

Stop is a key, which every worker looks for, for all its runs at once, four times a second; an entry in the stream of
the worker that holds the lease tells it at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

from lorestream.errors import Busy
from lorestream.streaming.events import Terminal
from lorestream.streaming.log_redis import LEASE_SECONDS, RedisLog, lease_key, wake
from lorestream.streaming.redis_link import Command, RedisLink, end_tasks

log = logging.getLogger(__name__)

STOP_LOOK_SECONDS = 0.25
LEASE_REFRESH_SECONDS = 3.0
RECOVERY_LOOK_SECONDS = 1.0
STOP_MS = 60_000
LEASE_MS = round(LEASE_SECONDS * 1000)
EPOCH = "lorestream:epoch"

Running = Callable[[], Awaitable[Sequence[str]]]
# Ends a run as interrupted by a compare-and-set, its prefix kept: its terminal event, or None where it had ended.
Interrupt = Callable[[str], Awaitable[Terminal | None]]


class Crew(Protocol):
    """This worker's runs."""

    @property
    def writing(self) -> Collection[str]:
        """The runs that this worker writes."""
        ...

    @property
    def following(self) -> Collection[str]:
        """The runs of other workers that have readers here."""
        ...

    def stop_here(self, run_id: str) -> bool:
        """Stop a run if this worker writes it."""
        ...

    def abandon(self, run_id: str) -> None:
        """End a run without a word, because another worker has ended it."""
        ...


class Fleet:
    """This worker among its siblings. ``open`` before the first use."""

    def __init__(self, link: RedisLink, runs_log: RedisLog, running: Running, interrupt: Interrupt) -> None:
        """``running`` names the runs that the database calls running. No I/O."""
        self._link = link
        self._log = runs_log
        self._running = running
        self._interrupt = interrupt
        self._tasks: list[asyncio.Task[None]] = []
        self._crew: Crew
        self._same_since: float | None = None
        self._epoch = b""
        self._leaderless: set[str] = set()

    async def open(self, crew: Crew) -> None:
        """Begin to hold the leases of this crew, to look for its stops and for runs left by others."""
        self._crew = crew
        beats = ((self._look_for_stops, STOP_LOOK_SECONDS), (self._hold, LEASE_REFRESH_SECONDS))
        self._tasks = [
            asyncio.create_task(_regularly(beat, seconds), name=beat.__name__)
            for beat, seconds in (*beats, (self._recover, RECOVERY_LOOK_SECONDS))
        ]

    async def close(self) -> None:
        """Look for nothing any more."""
        await end_tasks(self._tasks)

    async def stop(self, run_id: str) -> bool:
        """Stop a run that another worker may hold; whether one does. Raises Busy where Redis cannot be reached."""
        owner, _ = await self._link.ask(("GET", lease_key(run_id)), ("SET", _stop_key(run_id), 1, "PX", STOP_MS))
        if owner is None:
            return False
        await self._link.run(*wake(owner.decode(), "stop", run_id))
        return True

    async def watched(self, run_id: str) -> bool:
        """Whether a run has readers at other workers, as far as Redis can tell."""
        try:
            return bool((await self._link.ask(("EXISTS", _readers_key(run_id))))[0])
        except Busy:
            return False

    async def recover_all(self) -> None:
        """End every run that is still called running. Only where it is certain that no sibling lives."""
        for run_id in await self._running():
            await self._end(run_id)

    async def _look_for_stops(self) -> None:
        writing = list(self._crew.writing)
        if not writing:
            return
        asked = (await self._link.ask(("MGET", *map(_stop_key, writing))))[0]
        for run_id, stop in zip(writing, asked, strict=True):
            if stop is not None:
                self._crew.stop_here(run_id)

    async def _hold(self) -> None:
        writing = list(self._crew.writing)
        commands: list[Command] = [("PEXPIRE", lease_key(run_id), LEASE_MS) for run_id in writing]
        commands += [("SET", _readers_key(run_id), 1, "PX", LEASE_MS) for run_id in self._crew.following]
        if not commands:
            return
        # Prolonging needs no memory, so that a full Redis takes no lease away.
        held = await self._link.run(*commands)
        lapsed = [run_id for run_id, answer in zip(writing, held, strict=False) if answer == 0]
        if lapsed:
            worker = self._link.worker_id
            await self._link.run(*(("SET", lease_key(run_id), worker, "PX", LEASE_MS) for run_id in lapsed))
        for run_id in lapsed:
            self._log.check(run_id)

    async def _recover(self) -> None:
        if not await self._absence_is_certain():
            self._leaderless.clear()
            return
        running = set(await self._running()) - set(self._crew.writing)
        found = await self._link.ask(*(("EXISTS", lease_key(run_id)) for run_id in running)) if running else []
        missing = {run_id for run_id, exists in zip(running, found, strict=True) if not exists}
        # Twice in a row: a run is stored a moment before its lease is taken.
        for run_id in missing & self._leaderless:
            await self._end(run_id)
        self._leaderless = missing

    async def _absence_is_certain(self) -> bool:
        try:
            _, epoch = await self._link.ask(("SET", EPOCH, self._link.worker_id, "NX"), ("GET", EPOCH))
        except Busy:
            self._same_since = None
            raise
        now = time.monotonic()
        if self._same_since is None or epoch != self._epoch:
            self._same_since, self._epoch = now, epoch
        return now - self._same_since > LEASE_SECONDS

    async def _end(self, run_id: str) -> None:
        terminal = await self._interrupt(run_id)
        if terminal is None:
            return
        log.warning("run %s was left by a process that died; it ends as interrupted", run_id)
        try:
            await self._log.end(run_id, terminal)
        except Busy:
            log.warning("the log of run %s could not be ended: Redis cannot be reached", run_id)


async def _regularly(beat: Callable[[], Awaitable[None]], seconds: float) -> None:
    while True:
        try:
            await beat()
        except Busy:
            pass  # every request that needs Redis says so; the next beat tries again
        except Exception:
            log.exception("looking after the runs of all workers failed; trying again")
        await asyncio.sleep(seconds)


def _stop_key(run_id: str) -> str:
    return f"stop:{run_id}"


def _readers_key(run_id: str) -> str:
    return f"readers:{run_id}"
