"""Rates and growing delays: how often one key (a client address, an account) may do one thing.

Every use is counted in this process and, where there is one, in a Redis that all workers share. Both must allow it:
without Redis, or while it is away, what was counted here still holds, so that a limit is never open.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

from limits import RateLimitItem, WindowStats, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from lorestream.errors import RateLimited
from lorestream.shared import SharedCounts

V = TypeVar("V")

# Some 50 MB where each key is at a rate of 30; beyond it the keys that were idle longest are forgotten.
MAX_KEYS = 50_000
# Growing delays: 1, 2, 4 … seconds, no longer than this; and how long an idle key keeps its count.
MAX_DELAY_SECONDS = 60
FORGET_SECONDS = 900

_parsed = lru_cache(256)(parse)


def _forget_idle(entries: dict[str, tuple[float, V]], now: float, max_keys: int) -> None:
    # The least recently used come first. Two at a time keep up with any arrival of new keys, at constant cost.
    for key in [key for key, _ in zip(entries, range(2), strict=False)]:
        if entries[key][0] <= now or len(entries) >= max_keys:
            del entries[key]


class BoundedMemory(MemoryStorage):
    """The moving windows of ``limits`` in this process's memory, at constant cost for each use.

    MemoryStorage itself walks all its keys after every hit, with a hop to a thread for each: 10 000 clients take a
    whole core.
    """

    def __init__(self, clock: Callable[[], float], max_keys: int) -> None:
        """Start with empty windows; ``clock`` gives seconds that never go back."""
        super().__init__()
        self._clock = clock
        self._max_keys = max_keys
        # The least recently used window first; each with the time at which it may be forgotten.
        self.windows: dict[str, tuple[float, deque[float]]] = {}

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count ``amount`` uses of ``key`` if the window of ``expiry`` seconds has room for them."""
        now = self._clock()
        _forget_idle(self.windows, now, self._max_keys)
        _, uses = self.windows.pop(key, (0.0, deque[float]()))
        _forget_old(uses, now - expiry)
        allowed = len(uses) + amount <= limit
        if allowed:
            uses.extend([now] * amount)
        self.windows[key] = (now + expiry, uses)
        return allowed

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """The time of the window's first use (now, if there is none) and how many there are."""
        now = self._clock()
        _, uses = self.windows.get(key, (0.0, deque[float]()))
        _forget_old(uses, now - expiry)
        return (uses[0] if uses else now), len(uses)

    async def take_back(self, key: str) -> None:
        """Forget the latest use."""
        _, uses = self.windows.get(key, (0.0, None))
        if uses:
            uses.pop()


def _forget_old(uses: deque[float], until: float) -> None:
    while uses and uses[0] <= until:
        uses.popleft()


class Usage(NamedTuple):
    """How much of a rate one key has used, and the seconds until its oldest use no longer counts (0 if unused)."""

    used: int
    reset_seconds: float


class RateLimiter:
    """A moving window per name and key (``limits``, its asyncio API); refused uses do not count.

    Every use is remembered for one period, so that no burst at the border of two windows can double the rate.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        max_keys: int = MAX_KEYS,
        shared: SharedCounts | None = None,
    ) -> None:
        """Start with empty windows; ``clock`` is that of this process's own."""
        self._clock = clock
        self._storage = BoundedMemory(clock, max_keys)
        self._windows = MovingWindowRateLimiter(self._storage)
        self._shared = shared
        self._shared_windows = MovingWindowRateLimiter(shared.windows) if shared else None
        self.backoff = Backoff(clock, max_keys, shared)

    async def check(self, name: str, rate: str, key: str) -> None:
        """Count one use of ``name`` by ``key`` against ``rate`` ("30/minute").

        Raises RateLimited, with the whole seconds until the next use is possible (at least 1); ValueError for a
        malformed rate.
        """
        item = _parsed(rate)
        if await self._windows.hit(item, name, key):
            if await self._ask(lambda shared: shared.hit(item, name, key)) is not False:
                return
            await self._storage.take_back(item.key_for(name, key))
        wait = max(1, math.ceil((await self.usage(name, rate, key)).reset_seconds))
        raise RateLimited(
            f"Too many requests: at most {rate.replace('/', ' a ')}. Please wait {wait} seconds.", retry_after=wait
        )

    async def usage(self, name: str, rate: str, key: str) -> Usage:
        """How much of ``rate`` is used."""
        item = _parsed(rate)
        own = _usage(item, await self._windows.get_window_stats(item, name, key), self._clock())
        stats = await self._ask(lambda shared: shared.get_window_stats(item, name, key))
        # What was counted here while Redis was away is not counted there.
        return max(own, _usage(item, stats, time.time())) if stats else own

    async def forgive(self, name: str, rate: str, key: str) -> None:
        """Take the latest use back, such as an upload that failed; nothing happens when there is none."""
        window = _parsed(rate).key_for(name, key)
        await self._storage.take_back(window)
        if self._shared:
            await self._shared.take_back(window)

    async def _ask(self, work: Callable[[MovingWindowRateLimiter], Awaitable[V]]) -> V | None:
        windows = self._shared_windows
        return await self._shared.ask(lambda: work(windows)) if self._shared and windows else None


def _usage(item: RateLimitItem, stats: WindowStats, now: float) -> Usage:
    used = item.amount - stats.remaining
    return Usage(used, max(0.0, stats.reset_time - now) if used else 0.0)


@dataclass(frozen=True, slots=True)
class Bucket:
    """One count of failures: what it is of, whose, and how many are free before the delays begin."""

    name: str
    key: str
    free: int

    @property
    def id(self) -> str:
        """Its name among all buckets."""
        return f"{self.name}/{self.key}"


class Attempt(NamedTuple):
    """One attempt that was counted, and until when each of its buckets waits because of it (here, and in Redis)."""

    buckets: Sequence[Bucket]
    own: Sequence[float]
    shared: Sequence[str] | None


# KEYS: buckets. ARGV: the longest delay and the life of a count, in ms, then how many failures are free in each.
# The wait in ms, and where that is 0, when each bucket is ready again.
_ATTEMPT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local longest, wait = tonumber(ARGV[1]), 0
for _, key in ipairs(KEYS) do
  local ready = tonumber(redis.call('HGET', key, 'ready') or '0')
  wait = math.max(wait, math.min(ready - now, longest))
end
local answer = {string.format('%.0f', wait)}
if wait > 0 then return answer end
for i, key in ipairs(KEYS) do
  local over = redis.call('HINCRBY', key, 'failures', 1) - tonumber(ARGV[i + 2])
  local ready = 0
  if over >= 0 then ready = now + math.min(longest, 1000 * 2 ^ math.min(over, 30)) end
  answer[i + 1] = string.format('%.0f', ready)
  redis.call('HSET', key, 'ready', answer[i + 1])
  redis.call('PEXPIRE', key, ARGV[2])
end
return answer
"""
# KEYS: buckets. ARGV: what ``_ATTEMPT`` said of when each is ready.
_TAKE_BACK = """
for i, key in ipairs(KEYS) do
  if tonumber(redis.call('HGET', key, 'failures') or '0') > 0 then
    redis.call('HINCRBY', key, 'failures', -1)
    if redis.call('HGET', key, 'ready') == ARGV[i] then redis.call('HSET', key, 'ready', '0') end
  end
end
return 1
"""


class Backoff:
    """Attempts that are counted as failures until they are taken back; past the free ones each makes the next wait.

    The delays are 1, 2, 4 … MAX_DELAY_SECONDS (OWASP's authentication cheat sheet: exponential rather than a lock).
    An attempt that came too early does not count, so that nobody prolongs a delay by hammering; one that came in time
    counts at once, so that parallel ones do not slip through.
    """

    def __init__(
        self, clock: Callable[[], float], max_keys: int = MAX_KEYS, shared: SharedCounts | None = None
    ) -> None:
        """Start without failures."""
        self._clock = clock
        self._max_keys = max_keys
        self._shared = shared
        # By bucket, the least recently used first: when it may be forgotten; failures, and when it is ready again.
        self._counts: dict[str, tuple[float, tuple[int, float]]] = {}

    async def attempt(self, buckets: Sequence[Bucket]) -> Attempt:
        """Count an attempt in every bucket, or in none. Raises RateLimited while one of them waits."""
        own = self._attempt_here(buckets)
        found = None
        if self._shared:
            limits = (MAX_DELAY_SECONDS * 1000, FORGET_SECONDS * 1000, *(bucket.free for bucket in buckets))
            found = await self._shared.run(_ATTEMPT, [bucket.id for bucket in buckets], limits)
        if found is None:
            return Attempt(buckets, own, None)
        wait_ms, *ready = (value.decode() for value in found)
        if int(wait_ms) > 0:
            self._take_back_here(buckets, own)
            raise _too_early(int(wait_ms) / 1000)
        return Attempt(buckets, own, ready)

    async def take_back(self, attempt: Attempt) -> None:
        """The attempt was no failure."""
        self._take_back_here(attempt.buckets, attempt.own)
        if self._shared and attempt.shared:
            await self._shared.run(_TAKE_BACK, [bucket.id for bucket in attempt.buckets], attempt.shared)

    def _attempt_here(self, buckets: Sequence[Bucket]) -> list[float]:
        now = self._clock()
        found = [self._counts.get(bucket.id, (0.0, (0, 0.0))) for bucket in buckets]
        wait = max(min(ready - now, MAX_DELAY_SECONDS) for _, (_, ready) in found)
        if wait > 0:
            raise _too_early(wait)
        made = []
        for bucket, (forget_at, (failures, _)) in zip(buckets, found, strict=True):
            count = failures + 1 if now < forget_at else 1
            over = count - bucket.free
            made.append(now + min(MAX_DELAY_SECONDS, 2.0 ** min(over, 30)) if over >= 0 else 0.0)
            _forget_idle(self._counts, now, self._max_keys)
            self._counts.pop(bucket.id, None)
            self._counts[bucket.id] = (now + FORGET_SECONDS, (count, made[-1]))
        return made

    def _take_back_here(self, buckets: Sequence[Bucket], own: Sequence[float]) -> None:
        for bucket, ready_at in zip(buckets, own, strict=True):
            if bucket.id in self._counts:
                forget_at, (failures, ready) = self._counts[bucket.id]
                self._counts[bucket.id] = (forget_at, (max(0, failures - 1), 0.0 if ready == ready_at else ready))


def _too_early(wait: float) -> RateLimited:
    seconds = max(1, math.ceil(wait))
    return RateLimited(f"Too many failed attempts. Please wait {seconds} seconds.", retry_after=seconds)
