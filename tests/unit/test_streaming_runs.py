"""Runs end exactly once, whatever happens to their work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from lorestream.errors import IdleTimeout, ShuttingDown
from lorestream.streaming import runs as runs_module
from lorestream.streaming.events import Done, Error, Event, Fold, Reasoning, Sources, Status, Terminal, Timings, Token
from lorestream.streaming.events import error_event as to_error
from lorestream.streaming.log import MemoryLog
from lorestream.streaming.runs import Outcome, Reader, Runs, Stopped

RUN = "ab" * 16


@dataclass
class ScriptedWork:
    """Yields what the test puts into ``script``: a batch, an exception to raise, or None to end."""

    script: asyncio.Queue[list[Event] | BaseException | None] = field(default_factory=asyncio.Queue)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    saved: list[tuple[str, Outcome, Terminal]] = field(default_factory=list)
    save_error: Exception | None = None
    swallow_cancel: bool = False

    def say(self, *batches: list[Event] | BaseException | None) -> None:
        for batch in batches:
            self.script.put_nowait(batch)

    async def events(self) -> AsyncGenerator[list[Event], None]:
        try:
            while (item := await self._next()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self.closed.set()

    async def _next(self) -> list[Event] | BaseException | None:
        while True:
            try:
                return await self.script.get()
            except asyncio.CancelledError:
                if not self.swallow_cancel:
                    raise

    def ended(self, fold: Fold, outcome: Outcome) -> Terminal:
        if outcome is None or isinstance(outcome, Stopped):
            reason = "cancelled" if outcome else "stop"
            return Done("m", reason, None, Timings(0, 0, 0, 0), [], False, None, "id")  # type: ignore[arg-type]
        return to_error(outcome, "id")

    async def save(self, fold: Fold, outcome: Outcome, terminal: Terminal) -> None:
        if self.save_error:
            raise self.save_error
        self.saved.append((fold.answer, outcome, terminal))


@dataclass
class Checkpoints:
    saved: list[list[tuple[str, str]]] = field(default_factory=list)
    written: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, folds: Iterable[tuple[str, Fold]]) -> None:
        self.saved.append([(run_id, fold.answer) for run_id, fold in folds])
        self.written.set()


@asynccontextmanager
async def running(grace_seconds: float = 30, total: float = 60) -> AsyncIterator[tuple[Runs, Checkpoints]]:
    checkpoints = Checkpoints()
    runs = Runs(MemoryLog(60, 2**20), checkpoints, grace_seconds=grace_seconds, total_timeout_seconds=total)
    await runs.open()
    try:
        async with asyncio.timeout(20):
            yield runs, checkpoints
    finally:
        await runs.close()


async def everything(reader: Reader) -> list[Event]:
    return [event async for event in reader.events()]


async def next_of(reader: Reader) -> bytes:
    block = await reader.next(10)
    assert block is not None
    return block


async def test_events_are_numbered_from_one_and_end_with_one_terminal_event() -> None:
    async with running() as (runs, _):
        work = ScriptedWork()
        work.say([Status("retrieving")], [Sources([])], [Token("a"), Reasoning("hm"), Token("b")], None)
        reader = await runs.start(RUN, work, on_disconnect="cancel", narrate=False)
        assert [type(event) for event in await everything(reader)] == [Sources, Token, Token, Done]
        assert work.saved[0][0] == "ab"
        block = await next_of(runs.follow(RUN, 0))
        ids = [line for line in block.decode().split("\n") if line.startswith("id:")]
        assert ids == [f"id: {RUN}:{n}" for n in range(1, 5)]


async def test_a_narrated_run_logs_status_and_reasoning_too() -> None:
    async with running() as (runs, _):
        work = ScriptedWork()
        work.say([Status("retrieving"), Sources([]), Reasoning("hm"), Token("a")], None)
        reader = await runs.start(RUN, work, on_disconnect="cancel", narrate=True)
        assert [type(event) for event in await everything(reader)] == [Status, Sources, Reasoning, Token, Done]


async def test_the_answer_is_saved_before_the_terminal_event_is_seen() -> None:
    async with running() as (runs, _):
        order: list[str] = []

        class Ordered(ScriptedWork):
            async def save(self, fold: Fold, outcome: Outcome, terminal: Terminal) -> None:
                await asyncio.sleep(0.05)  # a slow disk
                order.append("saved")

        work = Ordered()
        work.say([Sources([])], None)
        reader = await runs.start(RUN, work, on_disconnect="cancel", narrate=False)
        events = await everything(reader)
        order.append(type(events[-1]).__name__)
        assert order == ["saved", "Done"]


async def test_a_save_that_fails_makes_the_end_an_error() -> None:
    async with running() as (runs, _):
        work = ScriptedWork(save_error=OSError("disk full"))
        work.say([Sources([]), Token("a")], None)
        reader = await runs.start(RUN, work, on_disconnect="cancel", narrate=False)
        last = (await everything(reader))[-1]
        assert isinstance(last, Error)
        assert last.code == "internal"
        assert "disk" not in last.message


@pytest.mark.parametrize("said", [[], [[Sources([])]], [[Sources([])], [Token("par")], [Token("t")]]])
async def test_stop_closes_the_work_keeps_the_prefix_and_ends_as_cancelled(said: list[list[Event]]) -> None:
    async with running() as (runs, _):
        work = ScriptedWork()
        work.say(*said)
        reader = await runs.start(RUN, work, on_disconnect="cancel", narrate=False)
        while reader.last < len(said):
            await next_of(reader)
        assert await runs.stop(RUN)
        async with asyncio.timeout(0.5):
            events = await everything(runs.follow(RUN, 0))
            await work.closed.wait()
        assert isinstance(events[0], Sources), "the grammar wants the sources before done"
        assert isinstance(events[-1], Done)
        assert events[-1].finish_reason == "cancelled"
        assert work.saved[0][0] == "".join(event.text for event in events if isinstance(event, Token))
        assert not await runs.stop(RUN), "stopping again changes nothing"


async def test_a_run_stopped_before_its_first_step_is_still_saved_and_ended() -> None:
    async with running() as (runs, _):
        work = ScriptedWork()
        reader = await runs.start(RUN, work, on_disconnect="cancel", narrate=False)
        await runs.stop(RUN)
        assert isinstance((await everything(reader))[-1], Done)
        assert len(work.saved) == 1


async def test_an_upstream_that_ignores_cancellation_cannot_hold_the_end_back() -> None:
    async with running() as (runs, _):
        work = ScriptedWork(swallow_cancel=True)
        work.say([Sources([])], [Token("a")])
        reader = await runs.start(RUN, work, on_disconnect="cancel", narrate=False)
        while b"token" not in await next_of(reader):
            pass
        async with asyncio.timeout(0.5):
            await runs.stop(RUN)
            assert isinstance((await everything(reader))[-1], Done)
        work.say([Token("late")], None)
        await work.closed.wait()
        assert "late" not in (await next_of(runs.follow(RUN, 0))).decode()


async def test_a_failure_ends_the_run_once_with_its_code_and_keeps_the_prefix() -> None:
    async with running() as (runs, _):
        work = ScriptedWork()
        work.say([Sources([])], [Token("a")], IdleTimeout())
        reader = await runs.start(RUN, work, on_disconnect="cancel", narrate=False)
        events = await everything(reader)
        assert isinstance(events[-1], Error)
        assert (events[-1].code, events[-1].message_id) == ("idle_timeout", "id")
        assert work.saved[0][0] == "a"


async def test_an_unexpected_exception_is_internal_and_its_text_stays_here(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as (runs, _):
        work = ScriptedWork()
        work.say(RuntimeError("secret detail"))
        reader = await runs.start(RUN, work, on_disconnect="cancel", narrate=False)
        last = (await everything(reader))[-1]
        assert isinstance(last, Error)
        assert last.code == "internal"
        assert "secret" not in last.message
        assert "secret detail" in caplog.text


async def test_the_last_reader_to_leave_ends_a_cancelling_run_at_once() -> None:
    async with running() as (runs, _):
        work = ScriptedWork()
        first = await runs.start(RUN, work, on_disconnect="cancel", narrate=False)
        second = runs.follow(RUN, 0)
        first.close()
        await asyncio.sleep(0)
        assert runs.live == 1, "somebody still reads"
        second.close()
        second.close()
        async with asyncio.timeout(0.5):
            await work.closed.wait()


async def test_a_resumable_run_goes_on_without_readers_and_is_stopped_after_its_grace() -> None:
    async with running(grace_seconds=0.1) as (runs, _):
        work = ScriptedWork()
        reader = await runs.start(RUN, work, on_disconnect="continue", narrate=False)
        reader.close()
        work.say([Sources([])], [Token("a")])
        again = runs.follow(RUN, 0)  # back within the grace
        while b"token" not in await next_of(again):
            pass
        await asyncio.sleep(0.2)  # longer than the grace: it must not count while somebody reads
        assert runs.live == 1
        again.close()
        await work.closed.wait()


async def test_ten_readers_see_identical_bytes() -> None:
    async with running() as (runs, _):
        work = ScriptedWork()
        readers = [await runs.start(RUN, work, on_disconnect="continue", narrate=False)]
        readers += [runs.follow(RUN, 0) for _ in range(9)]

        async def drain(reader: Reader) -> bytes:
            blocks = []
            while (block := await reader.next(10)) is not None:
                blocks.append(block)
            return b"".join(blocks)

        tasks = [asyncio.create_task(drain(reader)) for reader in readers]
        for n in range(200):
            work.say([Token(str(n))])
            await asyncio.sleep(0)
        work.say(None)
        results = await asyncio.gather(*tasks)
        assert len(set(results)) == 1
        for cursor in (0, 1, 57, 200):
            assert results[0].endswith(await drain(runs.follow(RUN, cursor)))


async def test_the_total_timeout_ends_a_run_that_does_not_end_itself() -> None:
    async with running(total=0.05) as (runs, _):
        work = ScriptedWork()
        work.say([Sources([])], [Token("a")])
        reader = await runs.start(RUN, work, on_disconnect="cancel", narrate=False)
        last = (await everything(reader))[-1]
        assert isinstance(last, Error)
        assert last.code == "total_timeout"
        await work.closed.wait()


async def test_drain_lets_answers_finish_then_ends_the_rest_as_shutdown_and_takes_no_new_ones() -> None:
    async with running() as (runs, _):
        quick, slow = ScriptedWork(), ScriptedWork()
        readers = [
            await runs.start("a" * 32, quick, on_disconnect="cancel", narrate=False),
            await runs.start("b" * 32, slow, on_disconnect="cancel", narrate=False),
        ]
        slow.say([Sources([])], [Token("part")])
        while b"token" not in await next_of(readers[1]):
            pass
        draining = asyncio.create_task(runs.drain(0.2))
        await asyncio.sleep(0)
        with pytest.raises(ShuttingDown):
            runs.refuse_when_draining()
        quick.say([Sources([])], [Token("whole")], None)
        ends = [(await everything(reader))[-1] for reader in readers]
        await draining
        assert isinstance(ends[0], Done)
        assert isinstance(ends[1], Error)
        assert ends[1].code == "shutdown"
        assert slow.saved[0][0] == "part"
        assert runs.live == 0


async def test_partial_answers_are_saved_once_a_second_together_and_only_when_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs_module, "CHECKPOINT_SECONDS", 0.02)
    async with running() as (runs, checkpoints):
        works = [ScriptedWork(), ScriptedWork()]
        for n, work in enumerate(works):
            reader = await runs.start(str(n) * 32, work, on_disconnect="continue", narrate=False)
            work.say([Sources([]), Token("x"), Token("y")])
            await next_of(reader)
        await checkpoints.written.wait()
        saved = {run_id: text for batch in checkpoints.saved for run_id, text in batch}
        assert saved == {"0" * 32: "xy", "1" * 32: "xy"}
        count = len(checkpoints.saved)
        await asyncio.sleep(0.1)
        assert len(checkpoints.saved) <= count + 1, "an unchanged answer is not written again"
