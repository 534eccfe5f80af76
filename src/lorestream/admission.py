"""Admission: who may have how many answers and streams at once, and the fair line before each model.

All of it is counting in one process's event loop: nothing here waits but a place in a line, and every place and slot
is given back by one synchronous, idempotent ``leave``, so that a cancelled task can give it back too.
"""

from __future__ import annotations

import asyncio
import bisect
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field

from lorestream.errors import Overloaded, RateLimited

# How long a refused caller is told to wait: about what it takes until one of many running answers has ended.
RETRY_SECONDS = 5


@dataclass(slots=True)
class _Line:
    """One model: how many answers it is writing, who waits, and the round in which the last one was let in."""

    running: int = 0
    waiting: list[Ticket] = field(default_factory=list)
    round: int = 0


class Ticket:
    """A slot at a model, or a place in the line for one; made by ``Admission.enter``."""

    __slots__ = ("_leave", "_left", "_moved", "order", "owner_id", "place")

    def __init__(self, owner_id: str, order: tuple[int, int], leave: Callable[[Ticket], None]) -> None:
        """``order`` is the round and the number of the arrival, by which the line is sorted."""
        self.owner_id = owner_id
        self.order = order
        self.place = 0
        self._leave = leave
        self._left = False
        self._moved: asyncio.Future[None] | None = None

    async def positions(self) -> AsyncIterator[int]:
        """The place in the line, from 1, at first and whenever it changes; ends when it is this ticket's turn.

        Nothing at all where there was room at once; ends, too, when the ticket has left. For one consumer.
        """
        shown = 0
        while self.place:
            if self.place != shown:
                shown = self.place
                yield shown
            else:
                self._moved = asyncio.get_running_loop().create_future()
                await self._moved

    def leave(self) -> None:
        """Give the slot or the place back, at once; does nothing the second time."""
        if not self._left:
            self._left = True
            self._leave(self)
            self._move(0)

    def _move(self, place: int) -> None:
        if place != self.place:
            self.place = place
            if self._moved and not self._moved.done():
                self._moved.set_result(None)


class Admission:
    """The limit of running answers per model, with a fair line before it, and the limit of answers per user.

    The line goes in rounds (start-time fair queueing with equal shares): a user's n-th waiting answer is of the n-th
    round from now, so that nobody's second answer stands before another's first, whoever came first.
    """

    def __init__(
        self, model_concurrency: int, max_queued: int, max_running_per_user: int, unlimited: Collection[str] = ()
    ) -> None:
        """At most ``max_queued`` wait for each model; the models named in ``unlimited`` take any number at once."""
        self._concurrency = model_concurrency
        self._max_queued = max_queued
        self._max_per_user = max_running_per_user
        self._unlimited = frozenset(unlimited)
        self._lines: dict[str, _Line] = {}
        self._users: Counter[str] = Counter()
        self._arrivals = 0

    async def enter(self, owner_id: str, model: str) -> Ticket:
        """Take a slot at ``model``, or a place in its line; the caller must ``leave`` the ticket, whatever happens.

        Raises RateLimited when the user has ``max_running_per_user`` answers running or waiting, Overloaded when the
        line is full; both with the seconds to wait.
        """
        if self._users[owner_id] >= self._max_per_user:
            raise RateLimited(
                f"You already have {self._max_per_user} answers being written; wait for one to end, or stop one.",
                retry_after=RETRY_SECONDS,
            )
        line = self._lines.setdefault(model, _Line())
        has_room = model in self._unlimited or line.running < self._concurrency
        if not has_room and len(line.waiting) >= self._max_queued:
            raise Overloaded(
                f"{len(line.waiting)} questions are waiting for the language model already; please ask again later.",
                retry_after=RETRY_SECONDS,
            )
        self._users[owner_id] += 1
        self._arrivals += 1
        last = max((ticket.order[0] for ticket in line.waiting if ticket.owner_id == owner_id), default=line.round - 1)
        ticket = Ticket(owner_id, (max(last + 1, line.round), self._arrivals), lambda gone: self._left(model, gone))
        if has_room:
            line.running += 1
        else:
            bisect.insort(line.waiting, ticket, key=lambda one: one.order)
            self._renumber(line)
        return ticket

    def load(self, model: str) -> tuple[int, int]:
        """How many answers of a model are running, and how many wait."""
        line = self._lines.get(model, _Line())
        return line.running, len(line.waiting)

    def _left(self, model: str, ticket: Ticket) -> None:
        self._users[ticket.owner_id] -= 1
        if not self._users[ticket.owner_id]:
            del self._users[ticket.owner_id]
        line = self._lines[model]
        if ticket.place:
            self._close_ranks(line, ticket)
        else:
            line.running -= 1
            if line.waiting:
                first = line.waiting.pop(0)
                line.running += 1
                line.round = first.order[0]
                first._move(0)  # noqa: SLF001 (of this module)
        if not line.running:
            del self._lines[model]
        else:
            self._renumber(line)

    @staticmethod
    def _close_ranks(line: _Line, gone: Ticket) -> None:
        # Its owner's later tickets move up by a round each.
        order = gone.order
        line.waiting.remove(gone)
        for ticket in line.waiting:
            if ticket.owner_id == gone.owner_id and ticket.order > order:
                ticket.order, order = order, ticket.order
        line.waiting.sort(key=lambda one: one.order)

    @staticmethod
    def _renumber(line: _Line) -> None:
        for place, ticket in enumerate(line.waiting, 1):
            ticket._move(place)  # noqa: SLF001 (of this module)


class Seats:
    """How many of something one user may hold at once, such as open event streams."""

    def __init__(self, max_per_user: int, what: str) -> None:
        """``what`` names them to a person: "open answer streams"."""
        self._max_per_user = max_per_user
        self._what = what
        self._taken: Counter[str] = Counter()

    def take(self, owner_id: str) -> Callable[[], None]:
        """Take one; what it gives is called to give it back, once or more. Raises RateLimited."""
        if self._taken[owner_id] >= self._max_per_user:
            raise RateLimited(
                f"You already have {self._max_per_user} {self._what}; close one first.", retry_after=RETRY_SECONDS
            )
        self._taken[owner_id] += 1
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                self._taken[owner_id] -= 1
                if not self._taken[owner_id]:
                    del self._taken[owner_id]

        return give_back
