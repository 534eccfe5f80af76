"""Runs: each writes one log, owned by the application and not by a request.

A run's ``Work`` produces events; the run numbers, frames and appends them, folds them, and ends exactly once: whatever
happens to the work, the folded answer is saved first and then the one terminal event is appended. The work runs in a
task of its own, which Stop cancels; the task that ends the run is never cancelled, so no cancellation can come between.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal, Protocol

from lorestream.errors import Busy, Gone, Internal, RunFailed, Shutdown, ShuttingDown, TotalTimeout
from lorestream.streaming import sse
from lorestream.streaming.events import Done, Event, Fold, Reasoning, Sources, Status, Terminal, error_event
from lorestream.streaming.log import Block, Position, RunLog

log = logging.getLogger(__name__)

OnDisconnect = Literal["cancel", "continue"]
CHECKPOINT_SECONDS = 1.0
# How long a cancelled upstream may take to unwind; its events are ignored from the first moment on.
UNWIND_SECONDS = 0.25


class Stopped(Exception):
    """The outcome of a run that was stopped, or that nobody reads any more."""


class EndedElsewhere(Exception):
    """Another worker took this one for dead and ended its run."""


Outcome = None | Stopped | RunFailed


class Work(Protocol):
    """What a run does."""

    def events(self) -> AsyncGenerator[list[Event], None]:
        """Yield batches of events, without the terminal one; failures are raised."""
        ...

    def ended(self, fold: Fold, outcome: Outcome) -> Terminal:
        """The terminal event for an outcome: None where ``events`` came to its end."""
        ...

    async def save(self, fold: Fold, outcome: Outcome, terminal: Terminal) -> None:
        """Make the folded answer durable. Raises EndedElsewhere where the run has ended already, which stands."""
        ...


Checkpoint = Callable[[Iterable[tuple[str, Fold]]], Awaitable[None]]


class Siblings(Protocol):
    """The other workers of the same data directory."""

    async def stop(self, run_id: str) -> bool:
        """Stop a run that one of them may write; whether one does."""
        ...

    async def watched(self, run_id: str) -> bool:
        """Whether a run has readers there."""
        ...


class Alone:
    """The siblings of the only worker."""

    async def stop(self, _run_id: str) -> bool:
        """Nobody else writes anything."""
        return False

    async def watched(self, _run_id: str) -> bool:
        """Nobody else reads anything."""
        return False


@dataclass(slots=True, eq=False)
class _Run:
    run_id: str
    work: Work
    on_disconnect: OnDisconnect
    narrate: bool
    fold: Fold = field(default_factory=Fold)
    seq: int = 0
    readers: int = 0
    outcome: Outcome = None
    ending: bool = False
    abandoned: bool = False
    dirty: bool = False
    halt: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    task: asyncio.Task[None] | None = None
    grace: asyncio.TimerHandle | None = None
    watch: asyncio.Task[None] | None = None


class Reader:
    """One cursor on one run's log, counted as a reader of the run until it is closed."""

    def __init__(self, runs: Runs, run_id: str, after: int, *, here: bool) -> None:
        """Made by ``Runs.follow``."""
        self.run_id = run_id
        self.last = after
        self.ended = False
        self._runs = runs
        self._closed = False
        self._here = here

    async def next(self, wait_seconds: float) -> bytes | None:
        """The frames that came since, as one block; a heartbeat after ``wait_seconds`` of silence; None at the end.

        The end comes after the terminal event, and without one where the log is no longer whole: a reader never
        goes on past a gap.
        """
        if self.ended or self._closed:
            return None
        try:
            block: Block = await self._runs.log.read(self.run_id, self.last, wait_seconds)
        except (Gone, Busy):
            return None
        if block.last < self.last:
            return None
        self.last, self.ended = block.last, block.ended
        return block.frames or (None if self.ended else sse.HEARTBEAT)

    async def events(self) -> AsyncGenerator[Event, None]:
        """The same frames as typed events, for the doors that are not event streams."""
        while (block := await self.next(sse.HEARTBEAT_SECONDS)) is not None:
            for part in block.split(b"\n\n"):
                if b"data: " in part:
                    yield sse.decode(part)

    def close(self) -> None:
        """Leave. The last reader to leave a live run ends it, at once or after its grace."""
        if not self._closed:
            self._closed = True
            self._runs.left(self.run_id, here=self._here)


class Runs:
    """All live runs of this process."""

    def __init__(
        self,
        runs_log: RunLog,
        checkpoint: Checkpoint,
        *,
        grace_seconds: float,
        total_timeout_seconds: float,
        siblings: Siblings | None = None,
    ) -> None:
        """``checkpoint`` saves the partial answers of many runs in one transaction."""
        self.log = runs_log
        self._siblings = siblings or Alone()
        self._elsewhere: Counter[str] = Counter()
        self._checkpoint = checkpoint
        self._grace_seconds = grace_seconds
        self._total_timeout_seconds = total_timeout_seconds
        self._live: dict[str, _Run] = {}
        self._draining = False
        self._checkpointer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start the checkpoint writer."""
        self._checkpointer = asyncio.create_task(self._checkpoint_forever(), name="checkpoints")

    async def close(self) -> None:
        """End every run that is left, then the checkpoint writer."""
        await self.drain(0)
        if self._checkpointer:
            self._checkpointer.cancel()
            await asyncio.wait([self._checkpointer])

    @property
    def live(self) -> int:
        """How many runs are being written."""
        return len(self._live)

    @property
    def writing(self) -> Collection[str]:
        """The runs that are written here."""
        return self._live.keys()

    @property
    def following(self) -> Collection[str]:
        """The runs that have readers here and are not written here."""
        return self._elsewhere.keys()

    def refuse_when_draining(self) -> None:
        """Raise ShuttingDown once ``drain`` has begun: no new run may start."""
        if self._draining:
            raise ShuttingDown(retry_after=5)

    async def start(self, run_id: str, work: Work, *, on_disconnect: OnDisconnect, narrate: bool) -> Reader:
        """Begin a run and give its first reader. Without ``narrate``, status and reasoning stay out of the log."""
        await self.log.create(run_id)
        run = _Run(run_id, work, on_disconnect, narrate)
        self._live[run_id] = run
        run.task = asyncio.create_task(self._run(run), name=f"run {run_id}")
        return self.follow(run_id, 0)

    def follow(self, run_id: str, after: int) -> Reader:
        """A reader of what comes after number ``after``."""
        if run := self._live.get(run_id):
            run.readers += 1
            if run.grace:
                run.grace.cancel()
                run.grace = None
        else:
            self._elsewhere[run_id] += 1
        return Reader(self, run_id, after, here=run is not None)

    def left(self, run_id: str, *, here: bool) -> None:
        """A reader has left (called by ``Reader.close``)."""
        if not here:
            self._elsewhere[run_id] -= 1
            self._elsewhere = +self._elsewhere
        elif run := self._live.get(run_id):
            run.readers -= 1
            if run.readers == 0 and run.on_disconnect == "cancel":
                self._end(run, Stopped())
            elif run.readers == 0:
                self._begin_grace(run)

    async def position(self, run_id: str, at_least: int) -> Position:
        """How far a run's log goes; Gone when it is not kept (any more), Busy when nobody can tell right now.

        ``at_least`` is the number that its reader has seen, at another worker perhaps.
        """
        return await self.log.position(run_id, at_least)

    async def stop(self, run_id: str) -> bool:
        """Stop a run; True if some live process writes it. Returns at once: its readers see the end.

        Raises Busy where another worker may write it and cannot be told.
        """
        return self.stop_here(run_id) or await self._siblings.stop(run_id)

    def stop_here(self, run_id: str) -> bool:
        """Stop a run if it is written here."""
        run = self._live.get(run_id)
        if run:
            self._end(run, Stopped())
        return run is not None

    def abandon(self, run_id: str) -> None:
        """End a run without a word: another worker took this one for dead and has ended it."""
        if run := self._live.get(run_id):
            run.abandoned = True
            self._end(run, Stopped())

    async def drain(self, seconds: float) -> None:
        """Take no new runs, give the live ones ``seconds`` to finish, end the rest as ``shutdown``."""
        self._draining = True
        tasks = [run.task for run in self._live.values() if run.task]
        if tasks and seconds > 0:
            await asyncio.wait(tasks, timeout=seconds)
        for run in list(self._live.values()):
            self._end(run, Shutdown())
        if tasks:
            await asyncio.wait(tasks)
        self.log.leave()

    def _begin_grace(self, run: _Run) -> None:
        run.grace = asyncio.get_running_loop().call_later(self._grace_seconds, self._grace_over, run)

    def _grace_over(self, run: _Run) -> None:
        run.watch = asyncio.create_task(self._stop_unless_watched(run), name=f"grace {run.run_id}")

    async def _stop_unless_watched(self, run: _Run) -> None:
        watched = await self._siblings.watched(run.run_id)
        if run.readers == 0 and not run.ending:
            if watched:
                self._begin_grace(run)
            else:
                self._end(run, Stopped())

    def _end(self, run: _Run, outcome: Outcome) -> None:
        self._settle(run, outcome)
        if not run.halt.done():
            run.halt.set_result(None)

    async def _run(self, run: _Run) -> None:
        pump = asyncio.create_task(self._pump(run), name=f"pump {run.run_id}")
        await asyncio.wait([pump, run.halt], timeout=self._total_timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        if not pump.done():
            self._settle(run, TotalTimeout())
            pump.cancel()
            await asyncio.wait([pump], timeout=UNWIND_SECONDS)
        self._settle(run, Shutdown())  # only where something else cancelled the pump
        try:
            await self._finish(run)
        finally:
            del self._live[run.run_id]
            if run.grace:
                run.grace.cancel()

    async def _pump(self, run: _Run) -> None:
        try:
            async with aclosing(run.work.events()) as batches:
                async for batch in batches:
                    if run.ending:
                        return
                    if frames := self._frames(run, batch):
                        run.dirty = True
                        await self.log.append(run.run_id, frames)
            self._settle(run, None)
        except RunFailed as failure:
            self._settle(run, failure)
        except Exception:
            log.exception("run %s failed", run.run_id)
            self._settle(run, Internal())

    @staticmethod
    def _settle(run: _Run, outcome: Outcome) -> None:
        # The first to settle a run decides; from here on nothing enters its log but the terminal event.
        if not run.ending:
            run.ending = True
            run.outcome = outcome

    @staticmethod
    def _frames(run: _Run, batch: list[Event]) -> list[bytes]:
        frames = []
        for event in batch:
            run.fold.add(event)
            if run.narrate or not isinstance(event, Status | Reasoning):
                run.seq += 1
                frames.append(sse.frame(run.run_id, run.seq, event))
        return frames

    async def _finish(self, run: _Run) -> None:
        terminal: Terminal
        try:
            terminal = run.work.ended(run.fold, run.outcome)
            if not run.abandoned:
                await run.work.save(run.fold, run.outcome, terminal)
        except EndedElsewhere:
            run.abandoned = True
        except Exception:
            log.exception("the answer of run %s could not be saved", run.run_id)
            terminal = error_event(Internal(), None)
        if run.abandoned:
            self.log.abandon(run.run_id)
            return
        # The grammar wants the sources before `done`, also where a run was stopped before it had any.
        last: list[Event] = [terminal]
        if isinstance(terminal, Done) and run.fold.sources is None:
            last.insert(0, Sources([]))
        frames = self._frames(run, last)
        await self.log.append(run.run_id, frames, ended=True)

    async def _checkpoint_forever(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            changed = [run for run in self._live.values() if run.dirty and not run.ending]
            if not changed:
                continue
            for run in changed:
                run.dirty = False
            try:
                await self._checkpoint([(run.run_id, run.fold) for run in changed])
            except Exception:
                log.exception("%d partial answers could not be saved; trying again", len(changed))
                for run in changed:
                    run.dirty = True
