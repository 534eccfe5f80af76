"""Rates: how often one key (a client address, an account) may do one thing."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from lorestream.errors import RateLimited

# About 50 MB at worst with the default rates; beyond it the keys that were idle longest are forgotten.
MAX_KEYS = 50_000

_parsed = lru_cache(64)(parse)


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
        self._forget_idle(now)
        _, uses = self.windows.pop(key, (0.0, deque[float]()))
        while uses and uses[0] <= now - expiry:
            uses.popleft()
        allowed = len(uses) + amount <= limit
        if allowed:
            uses.extend([now] * amount)
        self.windows[key] = (now + expiry, uses)
        return allowed

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """The time of the window's first use (now, if there is none) and how many there are."""
        _, uses = self.windows.get(key, (0.0, deque[float]()))
        return (uses[0] if uses else self._clock()), len(uses)

    async def take_back(self, key: str) -> None:
        """Forget the latest use."""
        _, uses = self.windows.get(key, (0.0, None))
        if uses:
            uses.pop()

    def _forget_idle(self, now: float) -> None:
        # Two at a time keep up with any arrival of new keys, at constant cost.
        for key in [key for key, _ in zip(self.windows, range(2), strict=False)]:
            if self.windows[key][0] <= now or len(self.windows) >= self._max_keys:
                del self.windows[key]


class RateLimiter:
    """A moving window per name and key (``limits``, its asyncio API); refused uses do not count.

    Every use is remembered for one period, so that no burst at the border of two windows can double the rate.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, max_keys: int = MAX_KEYS) -> None:
        """Start with empty windows."""
        self._clock = clock
        self._storage = BoundedMemory(clock, max_keys)
        self._windows = MovingWindowRateLimiter(self._storage)

    async def check(self, name: str, rate: str, key: str) -> None:
        """Count one use of ``name`` by ``key`` against ``rate`` ("30/minute").

        Raises RateLimited, with the whole seconds until the next use is possible (at least 1); ValueError for a
        malformed rate.
        """
        item: RateLimitItem = _parsed(rate)
        if await self._windows.hit(item, name, key):
            return
        stats = await self._windows.get_window_stats(item, name, key)
        wait = max(1, math.ceil(stats.reset_time - self._clock()))
        raise RateLimited(
            f"Too many requests: at most {rate.replace('/', ' a ')}. Please wait {wait} seconds.", retry_after=wait
        )

    async def forgive(self, name: str, rate: str, key: str) -> None:
        """Take the latest use back, such as a login that succeeded; nothing happens when there is none."""
        await self._storage.take_back(_parsed(rate).key_for(name, key))
