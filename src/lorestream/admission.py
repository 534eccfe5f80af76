"""Admission: who may have how many answers and streams at once, and the fair line before each model.

Every place, slot and seat is given back by one synchronous, idempotent call, so that a cancelled task can give it back
too. A model's line is this process's own; the seats of a user are counted over all workers where they share a Redis.
"""

from __future__ import annotations

import asyncio
import bisect
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from lorestream.errors import Overloaded, RateLimited
from lorestream.shared import SharedCounts

# How long a refused caller is told to wait: about what it takes until one of many running answers has ended.
RETRY_SECONDS = 5
# A worker that dies gives its users' seats back after LEASE_SECONDS; one that lives says so this often.
LEASE_SECONDS, RENEW_SECONDS = 15.0, 5.0
# A seat that was just given back at another worker may still be on its way.
LOOKS, LOOK_SECONDS = 4, 0.05
# Seats renewed in one step, so that none keeps Redis busy for long.
MAX_RENEWED = 200


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

    def __init__(self, model_concurrency: int, max_queued: int, seats: Seats, unlimited: Collection[str] = ()) -> None:
        """``seats`` are those of users' answers. At most ``max_queued`` wait for each model; the models named in
        ``unlimited`` take any number at once.
        """
        self._concurrency = model_concurrency
        self._max_queued = max_queued
        self._seats = seats
        self._unlimited = frozenset(unlimited)
        self._lines: dict[str, _Line] = {}
        self._arrivals = 0

    async def enter(self, owner_id: str, model: str, max_of_user: int) -> Ticket:
        """Take a slot at ``model``, or a place in its line; the caller must ``leave`` the ticket, whatever happens.

        Raises RateLimited when the user has ``max_of_user`` answers running or waiting (0: no limit), Overloaded when
        the line is full; both with the seconds to wait.
        """
        give_back = await self._seats.take(owner_id, max_of_user)
        line = self._lines.setdefault(model, _Line())
        has_room = model in self._unlimited or line.running < self._concurrency
        if not has_room and len(line.waiting) >= self._max_queued:
            give_back()
            raise Overloaded(
                f"{len(line.waiting)} questions are waiting for the language model already; please ask again later.",
                retry_after=RETRY_SECONDS,
            )
        self._arrivals += 1
        last = max((ticket.order[0] for ticket in line.waiting if ticket.owner_id == owner_id), default=line.round - 1)

        def left(ticket: Ticket) -> None:
            give_back()
            self._left(model, ticket)

        ticket = Ticket(owner_id, (max(last + 1, line.round), self._arrivals), left)
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


# KEYS: a user's seats, by the time at which each is free again. ARGV: the limit (0: none), the seat, a lease in ms.
# Whether the seat was taken.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local limit = tonumber(ARGV[1])
if limit > 0 and redis.call('ZCARD', KEYS[1]) >= limit then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
# KEYS: of each seat, its user's seats. ARGV: a lease in ms, then the seats. Also brings back what Redis has lost.
_RENEW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i, key in ipairs(KEYS) do
  redis.call('ZADD', key, now + ARGV[1], ARGV[i + 1])
  redis.call('PEXPIRE', key, ARGV[1])
end
return 1
"""
_GIVE_BACK = "return redis.call('ZREM', KEYS[1], ARGV[1])"
# KEYS: a user's seats. How many are taken.
_TAKEN = """
local time = redis.call('TIME')
return redis.call('ZCOUNT', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), '+inf')
"""


class Seats:
    """How many of something one user may hold at once, such as open event streams; over all workers, if they share.

    In Redis each seat is a lease, which its worker renews in ``holding``. Without Redis, or while it is away, every
    worker goes by its own count.
    """

    def __init__(self, name: str, refusal: str, shared: SharedCounts | None = None) -> None:
        """``refusal`` tells a person that they hold ``{limit}`` of them, and what to do."""
        self._name = name
        self._refusal = refusal
        self._shared = shared
        self._counts: Counter[str] = Counter()
        self._leases: dict[str, str] = {}
        # No seat is renewed while it is given back: it would stay taken for the length of a lease.
        self._writing = asyncio.Lock()
        self._returning: set[asyncio.Task[None]] = set()

    async def take(self, owner_id: str, limit: int) -> Callable[[], None]:
        """Take one; what it gives is called to give it back, once or more.

        Raises RateLimited when the user holds ``limit`` of them (0: no limit).
        """
        seat = uuid4().hex
        if limit and self._counts[owner_id] >= limit:
            raise self._full(limit)
        self._counts[owner_id] += 1
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                self._counts[owner_id] -= 1
                if not self._counts[owner_id]:
                    del self._counts[owner_id]
                if self._leases.pop(seat, None):
                    task = asyncio.get_running_loop().create_task(self._return(owner_id, seat))
                    self._returning.add(task)
                    task.add_done_callback(self._returning.discard)

        try:
            if not await self._lease(owner_id, seat, limit):
                raise self._full(limit)
        except BaseException:
            give_back()
            raise
        return give_back

    async def taken(self, owner_id: str) -> int:
        """How many a user holds."""
        everywhere = await self._shared.run(_TAKEN, [self._key(owner_id)], []) if self._shared else None
        return max(self._counts.get(owner_id, 0), int(everywhere or 0))

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """Inside the block the seats that are taken here stay taken for the other workers."""
        renewing = asyncio.create_task(self._renew_regularly(), name=f"seats {self._name}")
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, *self._returning, return_exceptions=True)

    async def _lease(self, owner_id: str, seat: str, limit: int) -> bool:
        if self._shared is None:
            return True
        for look in range(LOOKS):
            await asyncio.sleep(LOOK_SECONDS * bool(look))
            arguments = (limit, seat, round(LEASE_SECONDS * 1000))
            if await self._shared.run(_TAKE, [self._key(owner_id)], arguments) != 0:
                self._leases[seat] = owner_id
                return True
        return False

    async def _return(self, owner_id: str, seat: str) -> None:
        assert self._shared
        async with self._writing:
            await self._shared.run(_GIVE_BACK, [self._key(owner_id)], [seat])

    async def _renew_regularly(self) -> None:
        while self._shared:
            await asyncio.sleep(RENEW_SECONDS)
            async with self._writing:
                held = list(self._leases.items())
                for first in range(0, len(held), MAX_RENEWED):
                    seats = held[first : first + MAX_RENEWED]
                    keys = [self._key(owner_id) for _, owner_id in seats]
                    arguments = (round(LEASE_SECONDS * 1000), *(seat for seat, _ in seats))
                    await self._shared.run(_RENEW, keys, arguments)

    def _key(self, owner_id: str) -> str:
        return f"seats/{self._name}/{owner_id}"

    def _full(self, limit: int) -> RateLimited:
        return RateLimited(self._refusal.format(limit=limit), retry_after=RETRY_SECONDS)
