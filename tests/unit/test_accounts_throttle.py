"""Throttling guesses: delays that grow, and no stranger who locks the owner out."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from lorestream.accounts.throttle import FREE_OF_ACCOUNT, FREE_OF_ADDRESS, FREE_OF_BOTH, Throttle
from lorestream.errors import Busy, RateLimited
from lorestream.limits import FORGET_SECONDS, Backoff

EMAIL = "owner@example.com"


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Door:
    """Guessing over and over."""

    def __init__(self, throttle: Throttle, clock: Seconds) -> None:
        self.throttle = throttle
        self.clock = clock

    async def guess(self, ip: str = "1.1.1.1", *, email: str = EMAIL, known: str = "", right: bool = False) -> int:
        """The seconds to wait, 0 for a guess that was looked at."""
        try:
            async with self.throttle.guess(email, ip, known) as guess:
                guess.succeeded = right
        except RateLimited as refused:
            return refused.retry_after or -1
        return 0


@pytest.fixture
async def door(tmp_path: Path) -> Door:
    clock = Seconds()
    throttle = Throttle(Backoff(clock), tmp_path)
    await throttle.open()
    return Door(throttle, clock)


async def test_past_the_free_ones_each_failure_doubles_the_wait_up_to_a_minute(door: Door) -> None:
    assert [await door.guess() for _ in range(FREE_OF_BOTH)] == [0] * FREE_OF_BOTH
    waits = []
    for _ in range(9):
        waits.append(await door.guess())
        door.clock.now += waits[-1] - 0.001
        assert await door.guess() == 1, "not a moment too early"
        door.clock.now += 0.001
        assert await door.guess() == 0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_hammering_does_not_prolong_the_wait(door: Door) -> None:
    for _ in range(FREE_OF_BOTH):
        await door.guess()
    for _ in range(100):
        assert await door.guess() == 1
    door.clock.now += 1
    assert await door.guess() == 0


async def test_strangers_at_a_thousand_addresses_do_not_lock_the_owner_out(door: Door) -> None:
    cookie = door.throttle.device_cookie(EMAIL, "")
    looked_at = sum([await door.guess(f"10.0.{n // 250}.{n % 250}") == 0 for n in range(1000)])
    assert looked_at == FREE_OF_ACCOUNT, "together they have no more guesses"
    assert await door.guess("192.0.2.1", right=True), "at a new place the owner waits like everybody"
    usual = door.throttle.known_device(EMAIL, cookie)
    assert usual
    assert [await door.guess("192.0.2.1", known=usual, right=True) for _ in range(50)] == [0] * 50
    assert await door.guess("192.0.2.1", email="other@example.com") == 0


async def test_a_device_has_a_bucket_and_nothing_more(door: Door) -> None:
    found = [await door.guess(f"10.0.0.{n}", known="d" * 32) for n in range(30)]
    assert found == [0] * 10 + [1] * 20
    assert await door.guess("10.0.0.1") == 0, "and others do not wait for it"


async def test_one_address_has_no_more_guesses_at_many_accounts(door: Door) -> None:
    found = [await door.guess(email=f"user{n}@example.com") for n in range(FREE_OF_ADDRESS + 20)]
    assert found == [0] * FREE_OF_ADDRESS + [1] * 20
    assert await door.guess("2.2.2.2") == 0


async def test_the_right_password_is_no_failure_and_takes_no_other_failure_back(door: Door) -> None:
    assert [await door.guess(right=True) for _ in range(100)] == [0] * 100
    for _ in range(FREE_OF_ADDRESS - 1):
        await door.guess(email="victim@example.com")
        door.clock.now += 60
        assert await door.guess(email="mine@example.com", right=True) == 0, "of an account of one's own"
    assert await door.guess(email="other@example.com") == 0
    assert await door.guess(email="other@example.com") == 1, "nobody resets the address by logging in"


async def test_a_busy_server_counts_nothing(door: Door) -> None:
    for _ in range(3 * FREE_OF_BOTH):
        with suppress(Busy):
            async with door.throttle.guess(EMAIL, "1.1.1.1"):
                raise Busy
    assert await door.guess() == 0


async def test_failures_are_forgotten(door: Door) -> None:
    for _ in range(FREE_OF_BOTH):
        await door.guess()
    door.clock.now += FORGET_SECONDS
    assert [await door.guess() for _ in range(FREE_OF_BOTH)] == [0] * FREE_OF_BOTH


async def test_a_device_is_bound_to_its_account_and_signed(door: Door, tmp_path: Path) -> None:
    cookie = door.throttle.device_cookie(EMAIL, "")
    device = door.throttle.known_device(EMAIL, cookie)
    assert len(device) == 32
    assert door.throttle.device_cookie(EMAIL, cookie) == cookie, "the next login in this browser keeps it"
    assert door.throttle.known_device("other@example.com", cookie) == ""
    other = door.throttle.device_cookie("other@example.com", cookie)
    assert other.split(".")[0] != device
    for forged in ("", ".", device, f"{device}.", f"{device}.{'0' * 64}", cookie[:-1], f"{'0' * 32}.{cookie[33:]}",
                   f"{cookie}\n", cookie.upper(), "\udc00" * 97, cookie.replace(cookie[0], "é")):  # fmt: skip
        assert door.throttle.known_device(EMAIL, forged) == ""
    again = Throttle(Backoff(door.clock), tmp_path)
    await again.open()
    assert again.known_device(EMAIL, cookie) == device, "also after a restart"


async def test_the_number_of_counts_is_bounded() -> None:
    clock = Seconds()
    backoff = Backoff(clock, max_keys=100)
    throttle = Throttle(backoff, Path())
    for n in range(1000):
        async with throttle.guess(f"{n}@example.com", f"10.0.{n // 250}.{n % 250}"):
            pass
        assert len(backoff._counts) <= 100
