"""Limits over Redis: shared by all workers, never open when it is away, and shared again when it is back."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from lorestream.errors import RateLimited
from lorestream.limits import Bucket, RateLimiter
from lorestream.shared import RETRY_SECONDS, STEP_SECONDS, SharedCounts
from tests.fakes.redis import redis_server


class Seconds:
    """The clock of a circuit breaker, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def limiters(
    url: str, clock: Seconds, count: int = 2, step_seconds: float = 10
) -> AsyncIterator[list[RateLimiter]]:
    """As many workers' limiters over one Redis; ``clock`` says when they try it again.

    They give it time: a busy machine is no fault of Redis.
    """
    shared = [SharedCounts(url, clock, step_seconds) for _ in range(count)]
    try:
        yield [RateLimiter(shared=one) for one in shared]
    finally:
        for one in shared:
            await one.close()


async def allowed(limiter: RateLimiter, times: int, rate: str = "10/minute", key: str = "a") -> int:
    """How many of so many uses are let through."""
    count = 0
    for _ in range(times):
        with suppress(RateLimited):
            await limiter.check("use", rate, key)
            count += 1
    return count


async def tries(limiter: RateLimiter, times: int, key: str = "a", free: int = 5) -> int:
    """How many of so many attempts are let through, all of which fail."""
    count = 0
    for _ in range(times):
        with suppress(RateLimited):
            await limiter.backoff.attempt([Bucket("account", key, free)])
            count += 1
    return count


async def test_workers_count_uses_together_through_death_and_return_of_redis(tmp_path: Path) -> None:
    clock = Seconds()
    with redis_server(tmp_path) as redis:
        async with limiters(redis.url, clock) as (one, two):
            assert await allowed(one, 8) == 8
            assert await allowed(two, 10) == 2
            assert await allowed(one, 5) == 0, "also what another worker counted is refused"
            # In mid-attack: what each worker counted itself still holds.
            redis.kill()
            assert await allowed(one, 20) == 2
            assert await allowed(two, 20) == 8
            assert await allowed(one, 20, key="b") == 10, "and others may go on"
            redis.start()
            clock.now += RETRY_SECONDS
            assert await allowed(one, 10) == 0, "emptied by its restart, and still limited"
            assert await allowed(one, 2, key="c") == 2
            clock.now += RETRY_SECONDS
            assert await allowed(two, 20, key="c") == 8, "shared again"


async def test_workers_count_failures_together_through_death_and_return_of_redis(tmp_path: Path) -> None:
    clock, began = Seconds(), time.monotonic()

    def by_then(free: int) -> range:
        """As many as are free, and those whose delays of 1, 2, 4 … seconds have passed since the test began."""
        return range(free, free + int(math.log2(1 + time.monotonic() - began)) + 1)

    with redis_server(tmp_path) as redis:
        async with limiters(redis.url, clock) as (one, two):
            first = await tries(one, 3)
            assert first + await tries(two, 20) + await tries(one, 20) in by_then(5)
            redis.kill()
            assert first + await tries(one, 20) in by_then(5)
            redis.start()
            clock.now += RETRY_SECONDS
            assert first + await tries(one, 20) in by_then(3), "emptied by its restart, and still limited"
            assert await tries(one, 2, key="c") == 2
            clock.now += RETRY_SECONDS
            assert await tries(two, 20, key="c") in by_then(3), "shared again"


async def test_a_stalled_redis_costs_one_short_wait_and_no_more(tmp_path: Path) -> None:
    clock = Seconds()
    with redis_server(tmp_path) as redis:
        async with limiters(redis.url, clock, step_seconds=STEP_SECONDS) as (one, _):
            assert await allowed(one, 1, "50/minute", "s") == 1
            redis.stall()
            began = time.monotonic()
            assert await allowed(one, 100, "50/minute", "s") == 49
            assert time.monotonic() - began < 10 * STEP_SECONDS
            redis.go_on()


async def test_what_is_taken_back_is_free_for_every_worker(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        async with limiters(redis.url, Seconds()) as (one, two):
            for _ in range(20):
                await one.check("use", "3/hour", "a")
                await one.forgive("use", "3/hour", "a")
                attempt = await one.backoff.attempt([Bucket("account", "a", 1)])
                await one.backoff.take_back(attempt)
            assert await allowed(two, 5, "3/hour", "a") == 3
            assert await tries(two, 3, free=1) == 1
            usage = await one.usage("use", "3/hour", "a")
            assert usage.used == 3
            assert 3590 < usage.reset_seconds <= 3600


async def test_parallel_attempts_do_not_slip_through(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        async with limiters(redis.url, Seconds(), 4) as workers:
            found = await asyncio.gather(*(tries(workers[n % 4], 1) for n in range(100)))
            assert 5 <= sum(found) <= 8
            found = await asyncio.gather(*(allowed(workers[n % 4], 1) for n in range(100)))
            assert sum(found) == 10


async def test_every_count_expires(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        async with limiters(redis.url, Seconds()) as (one, _):
            await allowed(one, 1)
            await tries(one, 1)
            keys = redis.command("KEYS", "*").decode().split("\r\n")[2::2]
            assert len(keys) == 2
            lives = [int(redis.command("TTL", key)[1:-2]) for key in keys]
            assert all(0 < life <= 900 for life in lives), lives
