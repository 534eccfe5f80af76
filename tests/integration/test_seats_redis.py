"""Seats over Redis: one count of all workers, given back by those that die, each worker's own while Redis is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from lorestream import admission
from lorestream.admission import Seats
from lorestream.errors import RateLimited
from lorestream.shared import SharedCounts
from tests.fakes.redis import RedisServer, redis_server

LIMIT = 3


@asynccontextmanager
async def workers(redis: RedisServer, count: int, *, alive: bool = True) -> AsyncIterator[list[Seats]]:
    """So many workers' seats; those that are not ``alive`` do not renew their leases."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            shared = SharedCounts(redis.url, step_seconds=10)  # a busy machine is no fault of Redis
            stack.push_async_callback(shared.close)
            made.append(Seats("streams", "You have {limit} streams.", shared))
            if alive:
                await stack.enter_async_context(made[-1].holding())
        yield made


async def taken_in_the_end(seats: Seats) -> Callable[[], None]:
    """A seat, once there is one."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await seats.take("a", LIMIT)
            except RateLimited:
                await asyncio.sleep(0.05)


async def test_a_user_has_as_many_seats_as_the_limit_says_at_all_workers_together(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        async with workers(redis, 4) as made:
            found = await asyncio.gather(
                *(made[n % 4].take("a", LIMIT) for n in range(12)), made[0].take("b", LIMIT), return_exceptions=True
            )
            held = [one for one in found[:12] if not isinstance(one, BaseException)]
            assert len(held) == LIMIT
            assert not isinstance(found[12], BaseException), "another user's are others"
            assert [await one.taken("a") for one in made] == [LIMIT] * 4
            for _ in range(5):  # a seat that is given back at one worker can be taken at another
                held.pop(0)()
                held.append(await taken_in_the_end(made[3]))
            for give_back in held:
                give_back()
                give_back()
            held = [await taken_in_the_end(made[1]) for _ in range(LIMIT)]
            with pytest.raises(RateLimited, match="You have 3 streams"):
                await made[0].take("a", LIMIT)


async def test_the_seats_of_a_worker_that_died_are_free_again_and_those_of_a_living_one_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "LEASE_SECONDS", 1.5)
    monkeypatch.setattr(admission, "RENEW_SECONDS", 0.1)
    with redis_server(tmp_path) as redis:
        async with workers(redis, 1) as (living,), workers(redis, 1, alive=False) as (dead,):
            await living.take("a", LIMIT)
            for _ in range(LIMIT - 1):
                await dead.take("a", LIMIT)
            for _ in range(LIMIT - 1):
                await taken_in_the_end(living)
            with pytest.raises(RateLimited):
                await living.take("a", LIMIT)


async def test_while_redis_is_away_each_worker_goes_by_its_own_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "RENEW_SECONDS", 0.1)
    with redis_server(tmp_path) as redis:
        async with workers(redis, 2) as (one, two):
            held = [await one.take("a", LIMIT) for _ in range(2)]
            redis.kill()
            held.append(await one.take("a", LIMIT))
            with pytest.raises(RateLimited):
                await one.take("a", LIMIT)
            redis.start()
            # What it had is brought back by the next renewal, before which Redis knows of nothing.
            async with asyncio.timeout(20):
                while await two.taken("a") < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            for give_back in held:
                give_back()
            (await taken_in_the_end(two))()
