"""The run log over several workers: a Redis Stream for each run, written by one worker, followed by the others.

The worker that writes a run keeps its log in memory, serves its own readers from there, and sends what came every
BATCH_SECONDS; Redis never stands between a model and the readers beside it. Another worker holds a copy of each run
that it has readers for and serves them from that. One blocking XREAD waits for news of all copies together, because a
blocked connection for every reader would make their number a limit; an entry in the worker's own stream ends the wait
when a copy is added, and brings Stop.

The number of an event is its id in the stream (``<seq>-0``), which Redis lets only grow. A script appends a batch where
it fits exactly on the end of a stream without a terminal event, so that a second producer is fenced out as a whole and
a batch whose answer was lost is not appended twice. A stream that lost its beginning is never begun again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lorestream.errors import Busy, Gone
from lorestream.streaming import sse
from lorestream.streaming.events import Event
from lorestream.streaming.log import Block, MemoryLog, Position
from lorestream.streaming.redis_link import Command, RedisLink, Script, end_tasks

log = logging.getLogger(__name__)

BATCH_SECONDS = 0.025
BATCH_FRAMES = 1000
RETRY_SECONDS = 0.25
LEASE_SECONDS = 10.0
# A new run waits this long for its log to be known to the other workers, and begins in any case.
CREATE_SECONDS = 0.1
# What a reader saw at the worker that writes is in Redis a batch later; no cursor is ahead of that for longer.
CATCH_UP_SECONDS = 2.0
# A copy without a reader is given up, and so are all copies when Redis stays away: their readers come again.
UNREAD_SECONDS = 30.0
AWAY_SECONDS = 5.0
BLOCK_MS = 1000
# No run is longer than two hours (TOTAL_TIMEOUT_SECONDS), so this only bounds what a lost fleet leaves behind.
RUNNING_MS = 3 * 3600 * 1000
CLOSE_SECONDS = 2.0

# (stream; first number, "1" where the stream may begin here, "1" if the last frame is terminal, how long to keep the
# stream in ms, frames…) → the last number and whether it is terminal; -1 for a stream that is not there.
APPEND = Script("""
local tail = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not tail then
  if ARGV[2] ~= '1' then return {-1, 0} end
  redis.call('XADD', KEYS[1], '0-1', 'begin', '')
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  tail = {'0-1', {'begin', ''}}
end
local last = tonumber(string.match(tail[1], '^%d+'))
if tail[2][1] == 'end' then return {last, 1} end
if last ~= tonumber(ARGV[1]) - 1 then return {last, 0} end
for i = 5, #ARGV do
  last = last + 1
  local is_end = ARGV[3] == '1' and i == #ARGV
  redis.call('XADD', KEYS[1], string.format('%d-0', last), is_end and 'end' or 'frame', ARGV[i])
end
if ARGV[3] == '1' then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return {last, ARGV[3] == '1' and 1 or 0}
""")
# (index of ended streams; stream, its bytes, now in ms, retention in ms, bytes for all): the oldest ended go first.
RETAIN = Script("""
local total = KEYS[1] .. ':bytes'
local function forget(entry)
  redis.call('ZREM', KEYS[1], entry)
  redis.call('DECRBY', total, string.match(entry, '%d+$'))
end
if redis.call('ZADD', KEYS[1], 'NX', ARGV[3], ARGV[1] .. ' ' .. ARGV[2]) == 1 then
  redis.call('INCRBY', total, ARGV[2])
end
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[3] - ARGV[4])) do forget(entry) end
while tonumber(redis.call('GET', total) or 0) > tonumber(ARGV[5]) do
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
  if not oldest then redis.call('DEL', total) break end
  redis.call('UNLINK', string.match(oldest, '^%S+'))
  forget(oldest)
end
return 1
""")
SCRIPTS = (APPEND, RETAIN)
ENDED = "runs:ended"


def stream_key(run_id: str) -> str:
    """The stream of a run."""
    return f"run:{run_id}"


def lease_key(run_id: str) -> str:
    """The lease of a run: its value is the worker that writes it."""
    return f"lease:{run_id}"


def wake_key(worker_id: str) -> str:
    """The stream by which others reach a worker at once."""
    return f"wake:{worker_id}"


@dataclass(slots=True, eq=False)
class _Outgoing:
    """A run that is written here: how far Redis has it."""

    sent: int = 0
    size: int = 0
    begun: bool = False
    ended: bool = False
    due: bool = True


@dataclass(slots=True, eq=False)
class _Copy:
    """A run that is written elsewhere and read here."""

    last: int
    used: float


class RedisLog:
    """The port ``RunLog``, shared by all workers of one Redis. ``open`` before the first use."""

    def __init__(self, link: RedisLink, retention_seconds: float, max_bytes: int) -> None:
        """Limits as for ``MemoryLog``, for this worker's memory and again for Redis. No I/O."""
        self._link = link
        self._memory = MemoryLog(retention_seconds, max_bytes)
        self._retention_ms = max(1, round(retention_seconds * 1000))
        self._max_bytes = max_bytes
        self._outgoing: dict[str, _Outgoing] = {}
        self._copies: dict[str, _Copy] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._due = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._on_stop: Callable[[str], object] = _ignore
        self._on_fenced: Callable[[str], object] = _ignore

    async def open(self, *, on_stop: Callable[[str], object], on_fenced: Callable[[str], object]) -> None:
        """Begin to send and to listen; tell of runs written here that are to stop, or were ended by another worker."""
        self._on_stop, self._on_fenced = on_stop, on_fenced
        self._tasks = [
            asyncio.create_task(self._send_forever(), name="log-sender"),
            asyncio.create_task(self._listen_forever(), name="log-listener"),
        ]

    async def close(self) -> None:
        """Send what is left, as far as Redis takes it within CLOSE_SECONDS."""
        with suppress(TimeoutError, Busy):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.flush()
        tasks = [*self._tasks, *self._starting, *self._loading.values()]
        await end_tasks(tasks)

    def check(self, run_id: str) -> None:
        """Look soon whether a run of ours was ended by another worker."""
        if outgoing := self._outgoing.get(run_id):
            outgoing.due = True
            self._due.set()

    async def create(self, run_id: str) -> None:
        """Begin a run's log; where Redis answers at once the other workers know it when this returns."""
        await self._memory.create(run_id)
        self._outgoing[run_id] = _Outgoing()
        begin = asyncio.create_task(self._begin(run_id), name=f"log-begin {run_id}")
        self._starting.add(begin)
        begin.add_done_callback(self._starting.discard)
        if self._link.reachable:
            await asyncio.wait([begin], timeout=CREATE_SECONDS)

    async def append(self, run_id: str, frames: Sequence[bytes], *, ended: bool = False) -> None:
        """Append frames: readers here see them at once, others a batch later."""
        await self._memory.append(run_id, frames, ended=ended)
        if outgoing := self._outgoing.get(run_id):
            outgoing.size += sum(map(len, frames))
            outgoing.ended = ended
            outgoing.due = True
            self._due.set()

    async def read(self, run_id: str, after: int, wait_seconds: float) -> Block:
        """Everything after ``after``. Raises Busy where only Redis could tell and cannot be reached."""
        await self._have(run_id)
        return await self._memory.read(run_id, after, wait_seconds)

    async def position(self, run_id: str, at_least: int = 0) -> Position:
        """How far the log goes. Raises Busy as ``read`` does."""
        await self._have(run_id)
        position = await self._memory.position(run_id)
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while run_id in self._copies and not position.ended and position.last < at_least:
            if (left := deadline - time.monotonic()) <= 0:
                break
            await self.read(run_id, position.last, left)
            position = await self._memory.position(run_id)
        if run_id in self._copies and position.last < at_least and not self._link.reachable:
            raise Busy(retry_after=2)
        return position

    async def end(self, run_id: str, terminal: Event) -> None:
        """Append the terminal event for a producer that is gone, where the log is kept and has not ended."""
        last = ended = 0
        for _ in range(3):  # once to learn where the end is, once to append, once more if it was written meanwhile
            frame = sse.frame(run_id, last + 1, terminal)
            command = APPEND(stream_key(run_id), last + 1, "0", "1", self._retention_ms, frame)
            last, ended = (await self._link.ask(command))[0]
            if last == -1 or ended:
                return

    def abandon(self, run_id: str) -> None:
        """Send no more of a run; its readers here end, and find what there is of it in Redis when they come again."""
        self._outgoing.pop(run_id, None)
        self._memory.abandon(run_id)

    def leave(self) -> None:
        """End the readers of other workers' runs."""
        self._give_up(list(self._copies))

    async def flush(self) -> None:
        """Send everything that was appended so far. Raises Busy when Redis cannot be reached or refuses it."""
        while self._outgoing and any(outgoing.due for outgoing in self._outgoing.values()):
            if not await self._send():
                raise Busy

    # Writing

    async def _begin(self, run_id: str) -> None:
        with suppress(Busy):
            lease = ("SET", lease_key(run_id), self._link.worker_id, "PX", round(LEASE_SECONDS * 1000))
            _, begun = await self._link.run(lease, APPEND(stream_key(run_id), 1, "1", "0", RUNNING_MS))
            if (outgoing := self._outgoing.get(run_id)) and not isinstance(begun, Exception):
                outgoing.begun = True

    async def _send_forever(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            await asyncio.sleep(BATCH_SECONDS)
            try:
                sent = await self._send()
            except Busy:
                sent = False
            if not sent:
                await asyncio.sleep(RETRY_SECONDS)
                self._due.set()

    async def _send(self) -> bool:
        """One round trip with everything that is due; False where Redis refused a part of it."""
        batch = [(run_id, outgoing) for run_id, outgoing in self._outgoing.items() if outgoing.due]
        commands = [self._command(run_id, outgoing) for run_id, outgoing in batch if run_id in self._memory]
        for run_id, _ in batch:
            if run_id not in self._memory:  # over its limits before Redis could take it
                del self._outgoing[run_id]
        batch = [(run_id, outgoing) for run_id, outgoing in batch if run_id in self._outgoing]
        if not commands:
            return True
        for _, outgoing in batch:
            outgoing.due = False
        try:
            answers = await self._link.run(*commands)
        except Busy:
            answers = [Busy()] * len(batch)
        for (run_id, outgoing), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                outgoing.due = True
            else:
                await self._sent(run_id, outgoing, *answer)
        return not any(isinstance(answer, Exception) for answer in answers)

    def _command(self, run_id: str, outgoing: _Outgoing) -> Command:
        frames = self._memory.frames(run_id, outgoing.sent, BATCH_FRAMES)
        last = outgoing.ended and len(frames) < BATCH_FRAMES
        keep_ms = self._retention_ms if last else RUNNING_MS
        may_begin = "0" if outgoing.begun else "1"
        return APPEND(stream_key(run_id), outgoing.sent + 1, may_begin, "1" if last else "0", keep_ms, *frames)

    async def _sent(self, run_id: str, outgoing: _Outgoing, last: int, ended: int) -> None:
        if self._outgoing.get(run_id) is not outgoing:
            return
        written = (await self._memory.position(run_id)).last if run_id in self._memory else last
        if last == -1:
            log.warning("Redis lost the log of run %s; its readers here go on", run_id)
            del self._outgoing[run_id]
        elif last > written or (ended and not (outgoing.ended and last == written)):
            log.warning("run %s was ended by another worker; it ends here as well", run_id)
            self._on_fenced(run_id)
            self.abandon(run_id)
        elif ended:
            del self._outgoing[run_id]
            await self._retain(run_id, outgoing.size)
        else:
            outgoing.begun, outgoing.sent = True, last
            if last < written:
                outgoing.due = True
                self._due.set()

    async def _retain(self, run_id: str, size: int) -> None:
        now_ms = round(time.time() * 1000)
        keep = RETAIN(ENDED, stream_key(run_id), size, now_ms, self._retention_ms, self._max_bytes)
        with suppress(Busy):
            await self._link.run(keep, ("DEL", lease_key(run_id)))

    # Reading what other workers write

    async def _have(self, run_id: str) -> None:
        if run_id not in self._memory:
            if run_id not in self._loading:
                self._loading[run_id] = loading = asyncio.create_task(self._load(run_id), name=f"log-load {run_id}")
                loading.add_done_callback(lambda _: self._loaded(run_id))
            # Shielded, because others may be waiting for the same run.
            await asyncio.shield(self._loading[run_id])
        if copy := self._copies.get(run_id):
            copy.used = time.monotonic()

    def _loaded(self, run_id: str) -> None:
        loading = self._loading.pop(run_id)
        if not loading.cancelled():
            loading.exception()  # it is raised to those who wait; there may be none left

    async def _load(self, run_id: str) -> None:
        """Copy a run from its stream. Raises Gone where it is not there from its first event on."""
        frames: list[bytes] = []
        ended, more = False, True
        while more:
            entries = (
                await self._link.ask(
                    ("XRANGE", stream_key(run_id), f"{len(frames)}-1" if frames else "0-1", "+", "COUNT", BATCH_FRAMES)
                )
            )[0]
            if not frames and not entries:
                raise Gone("The events of this answer are no longer kept; its message is.")
            more = len(entries) == BATCH_FRAMES
            for entry_id, fields in entries:
                seq = _number(entry_id)
                if seq == 0:
                    continue
                if seq != len(frames) + 1:
                    raise Gone("The events of this answer are no longer kept; its message is.")
                ended = b"end" in fields
                frames += fields.values()
        await self._memory.create(run_id)
        await self._memory.append(run_id, frames, ended=ended)
        if not ended:
            self._copies[run_id] = _Copy(len(frames), time.monotonic())
            await self._wake_self()

    async def _wake_self(self) -> None:
        with suppress(Busy):
            await self._link.run(*wake(self._link.worker_id))

    async def _listen_forever(self) -> None:
        woken, heard, looked = "0-0", time.monotonic(), 0.0
        own = wake_key(self._link.worker_id)
        while True:
            cursors = {own: woken, **{stream_key(run_id): f"{copy.last}-1" for run_id, copy in self._copies.items()}}
            try:
                news = await self._link.news(cursors, BLOCK_MS, BATCH_FRAMES)
                for entry_id, fields in news.pop(own, ()):
                    woken = entry_id
                    if b"stop" in fields:
                        self._on_stop(fields[b"stop"].decode())
                for key, entries in news.items():
                    await self._copied(key.removeprefix("run:"), entries)
                if time.monotonic() - looked > BLOCK_MS / 1000:
                    looked = time.monotonic()
                    await self._tidy()
                heard = time.monotonic()
            except Busy:
                if time.monotonic() - heard > AWAY_SECONDS:
                    self._give_up(list(self._copies))
                await asyncio.sleep(RETRY_SECONDS)

    async def _copied(self, run_id: str, entries: list[tuple[str, dict[bytes, bytes]]]) -> None:
        copy = self._copies.get(run_id)
        if copy is None or run_id not in self._memory:
            return
        numbers = [_number(entry_id) for entry_id, _ in entries]
        if numbers != list(range(copy.last + 1, copy.last + 1 + len(numbers))):
            self._give_up([run_id])
            return
        copy.last = numbers[-1]
        ended = b"end" in entries[-1][1]
        if ended:
            del self._copies[run_id]
        await self._memory.append(run_id, [next(iter(fields.values())) for _, fields in entries], ended=ended)

    async def _tidy(self) -> None:
        """Give up copies that nobody reads, and those whose stream is not there any more."""
        idle = time.monotonic() - UNREAD_SECONDS
        self._give_up([run_id for run_id, copy in self._copies.items() if copy.used < idle])
        copies = list(self._copies)
        if copies:
            there = await self._link.ask(*(("EXISTS", stream_key(run_id)) for run_id in copies))
            self._give_up([run_id for run_id, exists in zip(copies, there, strict=True) if not exists])

    def _give_up(self, run_ids: Sequence[str]) -> None:
        # Their readers end without a terminal event, and come again.
        for run_id in run_ids:
            if self._copies.pop(run_id, None):
                self._memory.abandon(run_id)


def wake(worker_id: str, field: str = "look", value: str = "") -> tuple[Command, Command]:
    """The commands that reach a worker at once."""
    key = wake_key(worker_id)
    return ("XADD", key, "MAXLEN", "~", 1000, "*", field, value), ("PEXPIRE", key, 60_000)


def _number(entry_id: bytes | str) -> int:
    text: Any = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    return int(text.partition("-")[0])


def _ignore(_run_id: str) -> None:
    pass
