"""Admission: never more than the limit, nobody lost, nobody's second before another's first, leave at any time."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lorestream.admission import Admission, Seats, Ticket
from lorestream.errors import Overloaded, RateLimited

USERS, MODELS = ("a", "b", "c", "d"), ("m", "n")
CONCURRENCY, QUEUED, PER_USER = 2, 5, 4


def seats_of_answers() -> Seats:
    return Seats("answers", "You have {limit} answers; stop one.")


class Lines(RuleBasedStateMachine):
    """Users enter and leave in any order; the model of it is a plain list of who came."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.seats = seats_of_answers()
        self.admission = Admission(CONCURRENCY, QUEUED, self.seats, unlimited=("reader",))
        self.inside: list[tuple[str, Ticket]] = []

    def teardown(self) -> None:
        for _, ticket in self.inside:
            ticket.leave()
        assert not self.admission._lines
        assert not self.seats._counts
        self.loop.close()

    def waiting(self, model: str) -> list[Ticket]:
        found = [ticket for name, ticket in self.inside if name == model and ticket.place]
        return sorted(found, key=lambda ticket: ticket.place)

    def running(self, model: str) -> list[Ticket]:
        return [ticket for name, ticket in self.inside if name == model and not ticket.place]

    @rule(owner=st.sampled_from(USERS), model=st.sampled_from([*MODELS, "reader"]))
    def enter(self, owner: str, model: str) -> None:
        of_user = sum(ticket.owner_id == owner for _, ticket in self.inside)
        full = model != "reader" and len(self.running(model)) == CONCURRENCY and len(self.waiting(model)) == QUEUED
        if of_user == PER_USER or full:
            with pytest.raises(RateLimited if of_user == PER_USER else Overloaded):
                self.loop.run_until_complete(self.admission.enter(owner, model, PER_USER))
            return
        owners = {ticket.owner_id for ticket in self.waiting(model)}
        ticket = self.loop.run_until_complete(self.admission.enter(owner, model, PER_USER))
        if owner not in owners:
            assert ticket.place <= 1 + len(owners), "at most one answer of each other user comes first"
        self.inside.append((model, ticket))

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), twice=st.booleans())
    def leave(self, data: st.DataObject, twice: bool) -> None:
        index = data.draw(st.integers(0, len(self.inside) - 1))
        model, ticket = self.inside.pop(index)
        was_waiting, line = bool(ticket.place), self.waiting(model)
        ticket.leave()
        if twice:
            ticket.leave()
        if not was_waiting and line:
            assert line[0].place == 0, "the first of the line got the free slot"

    @invariant()
    def never_too_many_and_nobody_lost(self) -> None:
        for model in MODELS:
            line = self.waiting(model)
            assert len(self.running(model)) <= CONCURRENCY
            assert not line or len(self.running(model)) == CONCURRENCY, "nobody waits before a free slot"
            assert [ticket.place for ticket in line] == list(range(1, len(line) + 1))
            assert self.admission.load(model) == (len(self.running(model)), len(line))
        assert not self.waiting("reader")

    @invariant()
    def everybodys_answers_stand_in_rounds_in_which_they_came(self) -> None:
        for model in MODELS:
            line = self.waiting(model)
            for owner in USERS:
                orders = [ticket.order for ticket in line if ticket.owner_id == owner]
                rounds = [one for one, _ in orders]
                assert rounds == list(range(rounds[0], rounds[0] + len(rounds))) if rounds else True
                assert orders == sorted(orders)


TestLines = Lines.TestCase
TestLines.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


async def _all(ticket: Ticket, seen: list[int]) -> None:
    async for place in ticket.positions():
        seen.append(place)  # noqa: PERF401 (what came before a cancellation is looked at)


async def test_positions_are_told_as_they_change_and_end_with_the_turn() -> None:
    admission = Admission(1, 10, seats_of_answers())
    running = await admission.enter("a", "m", 10)
    greedy = [await admission.enter("a", "m", 10) for _ in range(2)]
    seen: list[list[int]] = [[], [], [], []]
    tasks = [asyncio.create_task(_all(running, seen[0]))]
    tasks += [asyncio.create_task(_all(ticket, seen[n])) for n, ticket in enumerate(greedy, 1)]
    await asyncio.sleep(0)
    late = await admission.enter("b", "m", 10)
    tasks.append(asyncio.create_task(_all(late, seen[3])))
    for _ in range(3):
        await asyncio.sleep(0)
    for ticket in (running, greedy[0], late, greedy[1]):
        ticket.leave()
        for _ in range(3):
            await asyncio.sleep(0)
    async with asyncio.timeout(1):
        await asyncio.gather(*tasks)
    assert seen == [[], [1], [2, 3, 2, 1], [2, 1]]


async def test_a_cancelled_waiter_gives_its_place_back() -> None:
    admission = Admission(1, 10, seats_of_answers())
    running = await admission.enter("a", "m", 10)

    async def wait(owner: str) -> None:
        ticket = await admission.enter(owner, "m", 10)
        try:
            await _all(ticket, [])
        finally:
            ticket.leave()

    waiting = [asyncio.create_task(wait(owner)) for owner in "bcd"]
    await asyncio.sleep(0)
    assert admission.load("m") == (1, 3)
    # One is cancelled in the very moment in which its turn comes.
    running.leave()
    waiting[0].cancel()
    with suppress(asyncio.CancelledError):
        await waiting[0]
    async with asyncio.timeout(1):
        await asyncio.gather(*waiting[1:])
    assert admission.load("m") == (0, 0)


async def test_a_refusal_says_what_to_do_and_when() -> None:
    admission = Admission(1, 0, seats_of_answers())
    await admission.enter("a", "m", 1)
    with pytest.raises(RateLimited, match="stop one") as of_user:
        await admission.enter("a", "m", 1)
    with pytest.raises(Overloaded, match="later") as of_model:
        await admission.enter("b", "m", 1)
    assert (of_user.value.status, of_model.value.status, of_model.value.code) == (429, 503, "overloaded")
    assert of_user.value.retry_after
    assert of_model.value.retry_after


async def test_seats_are_counted_for_each_user_and_given_back_once() -> None:
    seats = Seats("streams", "You have {limit} open streams.")
    first, second = await seats.take("a", 2), await seats.take("a", 2)
    with pytest.raises(RateLimited, match="2 open streams"):
        await seats.take("a", 2)
    await seats.take("b", 2)
    first()
    first()
    third = await seats.take("a", 2)
    with pytest.raises(RateLimited):
        await seats.take("a", 2)
    assert await seats.taken("a") == 2
    more = [await seats.take("a", 0) for _ in range(100)]
    assert await seats.taken("a") == 102, "0 is no limit"
    for give_back in (second, third, *more):
        give_back()
    assert await seats.taken("a") == 0
