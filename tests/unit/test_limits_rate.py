"""The rate limiter: a moving window, refused uses do not count, memory is bounded."""

from __future__ import annotations

import pytest

from lorestream.errors import RateLimited
from lorestream.limits import RateLimiter


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def allowed(limiter: RateLimiter, rate: str, key: str = "a", name: str = "query") -> bool:
    try:
        await limiter.check(name, rate, key)
    except RateLimited:
        return False
    return True


async def test_the_31st_use_in_a_minute_is_refused_with_the_time_to_wait() -> None:
    clock = Seconds()
    limiter = RateLimiter(clock)
    for _ in range(30):
        await limiter.check("query", "30/minute", "a")
        clock.now += 1
    with pytest.raises(RateLimited) as refused:
        await limiter.check("query", "30/minute", "a")
    assert refused.value.retry_after == 30
    assert "30 a minute" in refused.value.message
    clock.now += 30
    await limiter.check("query", "30/minute", "a")


async def test_the_time_to_wait_is_never_below_a_second_and_always_enough() -> None:
    clock = Seconds()
    limiter = RateLimiter(clock)
    await limiter.check("q", "1/minute", "a")
    clock.now += 59.9
    with pytest.raises(RateLimited) as refused:
        await limiter.check("q", "1/minute", "a")
    assert refused.value.retry_after == 1
    clock.now += 1
    await limiter.check("q", "1/minute", "a")


async def test_the_window_moves_so_its_border_doubles_nothing() -> None:
    clock = Seconds()
    limiter = RateLimiter(clock)
    clock.now += 59
    assert [await allowed(limiter, "3/minute") for _ in range(4)] == [True, True, True, False]
    clock.now += 2  # the border of a fixed window
    assert not await allowed(limiter, "3/minute")
    clock.now += 58
    assert await allowed(limiter, "3/minute")


async def test_refused_uses_do_not_prolong_the_wait() -> None:
    clock = Seconds()
    limiter = RateLimiter(clock)
    assert await allowed(limiter, "1/minute")
    for _ in range(59):
        clock.now += 1
        assert not await allowed(limiter, "1/minute")
    clock.now += 1
    assert await allowed(limiter, "1/minute")


async def test_keys_and_names_have_windows_of_their_own() -> None:
    limiter = RateLimiter(Seconds())
    assert await allowed(limiter, "1/minute", key="a")
    assert await allowed(limiter, "1/minute", key="b")
    assert await allowed(limiter, "1/minute", key="a", name="other")
    assert not await allowed(limiter, "1/minute", key="a")


async def test_a_use_can_be_taken_back() -> None:
    limiter = RateLimiter(Seconds())
    for _ in range(5):
        await limiter.check("login", "1/minute", "a")
        await limiter.forgive("login", "1/minute", "a")
    assert await allowed(limiter, "1/minute", name="login")
    assert not await allowed(limiter, "1/minute", name="login")
    await limiter.forgive("login", "1/minute", "b")


async def test_idle_keys_are_forgotten_and_their_number_is_bounded() -> None:
    clock = Seconds()
    limiter = RateLimiter(clock, max_keys=100)
    for number in range(1000):
        assert await allowed(limiter, "1/minute", key=str(number))
        assert len(limiter._storage.windows) <= 100
    assert not await allowed(limiter, "1/minute", key="999")
    clock.now += 61
    for number in range(60):
        assert await allowed(limiter, "1/minute", key=f"new{number}")
    assert len(limiter._storage.windows) <= 61


@pytest.mark.parametrize("rate", ["", "30", "-1/minute", "30/fortnight"])
async def test_a_malformed_rate_is_an_error(rate: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        await RateLimiter().check("q", rate, "a")
