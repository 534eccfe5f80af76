"""Rates: how often one key (a client address, an account) may do one thing."""

from __future__ import annotations

import math
import time

import limits.aio.storage
import limits.aio.strategies
from limits import parse

from lorestream.errors import RateLimited


class RateLimiter:
    """A moving window per name and key, in this process's memory (``limits``, its asyncio API)."""

    def __init__(self) -> None:
        """Start with empty windows."""
        self._windows = limits.aio.strategies.MovingWindowRateLimiter(limits.aio.storage.MemoryStorage())

    async def check(self, name: str, rate: str, key: str) -> None:
        """Count one use of ``name`` by ``key`` against ``rate`` ("30/minute").

        Raises RateLimited, with the whole seconds until the next use is possible (at least 1).
        """
        item = parse(rate)
        if await self._windows.hit(item, name, key):
            return
        stats = await self._windows.get_window_stats(item, name, key)
        wait = max(1, math.ceil(stats.reset_time - time.time()))
        raise RateLimited(
            f"Too many requests: at most {rate.replace('/', ' a ')}. Please wait {wait} seconds.",
            retry_after=wait,
        )
