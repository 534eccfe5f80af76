"""The port to a run's append-only event log, and the log in this process's memory.

Readers pull: each has its own cursor, and a backlog comes as one block of bytes, so that nobody's slowness is anybody
else's, and there is no queue per reader.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from lorestream.errors import Conflict, Gone


class Block(NamedTuple):
    """Consecutive frames of a log, joined; ``last`` is the last one's number; ``ended`` if it is the terminal one."""

    frames: bytes
    last: int
    ended: bool


class Position(NamedTuple):
    """How far a log goes: its last number, and whether that is the terminal event's."""

    last: int
    ended: bool


class RunLog(Protocol):
    """Frames of every run, numbered from 1 without a gap."""

    async def create(self, run_id: str) -> None:
        """Begin a run's log; Conflict if there is one."""
        ...

    async def append(self, run_id: str, frames: Sequence[bytes], *, ended: bool = False) -> None:
        """Append frames, the last of which is the terminal event if ``ended``; readers see them at once.

        Conflict when the log has ended; Gone when there is none.
        """
        ...

    async def read(self, run_id: str, after: int, wait_seconds: float) -> Block:
        """Everything after number ``after``, waiting at most ``wait_seconds`` for the first of it.

        An empty block means that nothing came in time. Gone when the log is not kept (any more).
        """
        ...

    async def position(self, run_id: str, at_least: int = 0) -> Position:
        """How far the log goes; Gone when it is not kept (any more).

        Where the log is written by another process, ``at_least`` is what a reader saw of it there: it is given a
        moment to arrive here too.
        """
        ...

    def abandon(self, run_id: str) -> None:
        """Stop to write a run that another process has ended; readers here end without a terminal event."""
        ...

    def leave(self) -> None:
        """End the readers of what other processes write: this one shuts down."""
        ...


@dataclass(slots=True, eq=False)
class _Entry:
    """One log and who waits for more of it, each with the time at which it gives up.

    One timer serves all of them and is not moved by what comes meanwhile: set for every read, timers would cost more
    than the read.
    """

    frames: list[bytes] = field(default_factory=list)
    size: int = 0
    ended: bool = False
    waiting: list[tuple[float, asyncio.Future[None]]] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None

    def wait(self, seconds: float) -> asyncio.Future[None]:
        """Done when more has come or the time is over."""
        loop = asyncio.get_running_loop()
        future, when = loop.create_future(), loop.time() + seconds
        self.waiting.append((when, future))
        if self.timer is None or when < self.timer.when():
            self._set_timer(loop, when)
        return future

    def wake(self, until: float = math.inf) -> None:
        """Wake those whose time is over at ``until``; all of them by default."""
        waiting, self.waiting = self.waiting, []
        for when, future in waiting:
            if when > until:
                self.waiting.append((when, future))
            elif not future.done():
                future.set_result(None)

    def stop_timer(self) -> None:
        """Set no more timers: the log has ended."""
        if self.timer is not None:
            self.timer.cancel()

    def _set_timer(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        self.stop_timer()
        self.timer = loop.call_at(when, self._on_timer, loop)

    def _on_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self.timer = None
        self.wake(loop.time())
        if self.waiting:
            self._set_timer(loop, min(when for when, _ in self.waiting))


class MemoryLog:
    """All logs of one process; an ended one is kept ``retention_seconds``, all together within ``max_bytes``.

    The oldest ended logs go first; a running one is never dropped.
    """

    def __init__(self, retention_seconds: float, max_bytes: int) -> None:
        """Start empty."""
        self._retention_seconds = retention_seconds
        self._max_bytes = max_bytes
        self._entries: dict[str, _Entry] = {}
        self._ended: OrderedDict[str, asyncio.TimerHandle] = OrderedDict()
        self._size = 0

    async def create(self, run_id: str) -> None:
        """Begin a run's log; Conflict if there is one."""
        if run_id in self._entries:
            raise Conflict("There is a log of this run already.")
        self._entries[run_id] = _Entry()

    async def append(self, run_id: str, frames: Sequence[bytes], *, ended: bool = False) -> None:
        """Append frames and wake the readers."""
        entry = self._entry(run_id)
        if entry.ended:
            raise Conflict("The log of this run has ended.")
        added = sum(map(len, frames))
        entry.frames.extend(frames)
        entry.size += added
        self._size += added
        if ended:
            entry.ended = True
            entry.stop_timer()
            loop = asyncio.get_running_loop()
            self._ended[run_id] = loop.call_later(self._retention_seconds, self._drop, run_id)
        entry.wake()
        while self._size > self._max_bytes and self._ended:
            self._drop(next(iter(self._ended)))

    async def read(self, run_id: str, after: int, wait_seconds: float) -> Block:
        """Everything after ``after``, or an empty block when nothing comes in time."""
        entry = self._entry(run_id)
        if len(entry.frames) <= after and not entry.ended and wait_seconds > 0:
            await entry.wait(wait_seconds)
            self._entry(run_id)
        return Block(b"".join(entry.frames[after:]), len(entry.frames), entry.ended)

    async def position(self, run_id: str, at_least: int = 0) -> Position:
        """How far the log goes; all there is, is here."""
        entry = self._entry(run_id)
        return Position(len(entry.frames), entry.ended)

    def __contains__(self, run_id: str) -> bool:
        """Whether the log is kept here."""
        return run_id in self._entries

    def frames(self, run_id: str, after: int, count: int) -> list[bytes]:
        """At most ``count`` frames that follow number ``after``, each on its own."""
        return self._entry(run_id).frames[after : after + count]

    def leave(self) -> None:
        """Nobody else writes here."""

    def abandon(self, run_id: str) -> None:
        """Forget a log, also a running one: who waits for more of it gets Gone."""
        entry = self._entries.get(run_id)
        self._drop(run_id)
        if entry:
            entry.stop_timer()
            entry.wake()

    def _entry(self, run_id: str) -> _Entry:
        entry = self._entries.get(run_id)
        if entry is None:
            raise Gone("The events of this answer are no longer kept; its message is.")
        return entry

    def _drop(self, run_id: str) -> None:
        timer = self._ended.pop(run_id, None)
        entry = self._entries.pop(run_id, None)
        if timer:
            timer.cancel()
        if entry:
            self._size -= entry.size
