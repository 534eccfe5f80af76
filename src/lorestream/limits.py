"""Rates: how often one key (a client address, an account) may do one thing."""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable

from lorestream.errors import RateLimited

RATE = re.compile(r"([1-9]\d{0,6})/(second|minute|hour|day)")
PERIOD_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
# About 50 MB at worst with the default rates; beyond it the keys that were idle longest are forgotten.
MAX_KEYS = 50_000


class RateLimiter:
    """A moving window per name and key, in this process's memory.

    Every use is remembered for one period, so no burst at the border of two windows can double the rate. Our own,
    because the in-memory storage of the ``limits`` package walks all its keys, with a thread hop for each, after
    every hit: with 10 000 clients that took a whole core.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, max_keys: int = MAX_KEYS) -> None:
        """Start with empty windows; ``clock`` gives seconds that never go back."""
        self._clock = clock
        self._max_keys = max_keys
        # The least recently used window first; each with the time at which it may be forgotten.
        self._windows: dict[tuple[str, str], tuple[float, deque[float]]] = {}

    async def check(self, name: str, rate: str, key: str) -> None:
        """Count one use of ``name`` by ``key`` against ``rate`` ("30/minute").

        Raises RateLimited, with the whole seconds until the next use is possible (at least 1); a refused use
        does not count. ValueError for a malformed rate.
        """
        match = RATE.fullmatch(rate)
        if match is None:
            raise ValueError(f"{rate!r} is not a rate such as 30/minute")
        amount, period = int(match[1]), PERIOD_SECONDS[match[2]]
        now = self._clock()
        self._forget_idle(now)
        _, uses = self._windows.pop((name, key), (0.0, deque[float]()))
        while uses and uses[0] <= now - period:
            uses.popleft()
        refused = len(uses) >= amount
        if not refused:
            uses.append(now)
        self._windows[name, key] = (now + period, uses)
        if refused:
            wait = max(1, math.ceil(uses[0] + period - now))
            raise RateLimited(
                f"Too many requests: at most {rate.replace('/', ' a ')}. Please wait {wait} seconds.",
                retry_after=wait,
            )

    def forgive(self, name: str, key: str) -> None:
        """Take the latest use back, such as a login that succeeded; nothing happens when there is none."""
        _, uses = self._windows.get((name, key), (0.0, None))
        if uses:
            uses.pop()

    def _forget_idle(self, now: float) -> None:
        # Two at a time keep up with any arrival of new keys, at constant cost.
        for window in list(zip(self._windows, range(2), strict=False)):
            key = window[0]
            if self._windows[key][0] <= now or len(self._windows) >= self._max_keys:
                del self._windows[key]
