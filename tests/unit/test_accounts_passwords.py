"""Passwords: argon2id off the event loop, a bounded queue, Unicode that is typed differently."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from argon2 import PasswordHasher

from lorestream.accounts.passwords import MAX_WAITING, Passwords
from lorestream.errors import Busy


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    passwords = Passwords()
    await passwords.open()
    yield passwords
    passwords.close()


async def test_hashes_are_argon2id_with_the_chosen_parameters(passwords: Passwords) -> None:
    stored = await passwords.hash("secret123")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert stored != await passwords.hash("secret123")
    assert await passwords.matches(stored, "secret123")
    assert not await passwords.matches(stored, "secret124")
    assert not passwords.is_outdated(stored)
    assert passwords.is_outdated(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("x"))


@pytest.mark.parametrize("stored", [None, "", "plain", "$argon2id$v=19$m=19456,t=2,p=1$x$y"])
async def test_what_is_no_hash_matches_nothing(passwords: Passwords, stored: str | None) -> None:
    assert not await passwords.matches(stored, "")
    assert not await passwords.matches(stored, "secret123")


async def test_the_same_characters_typed_differently_are_the_same_password(passwords: Passwords) -> None:
    stored = await passwords.hash("Zo\u00eb passphrase")
    assert await passwords.matches(stored, "Zoe\u0308 passphrase")
    assert not await passwords.matches(stored, "Zoe passphrase")
    nul = await passwords.hash("begins\0ends here")
    assert not await passwords.matches(nul, "begins\0ends there")


class Gate(PasswordHasher):
    """Hashes nothing until it is opened."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.opened = threading.Event()

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        assert self.opened.wait(10)
        return super().hash(password, salt=salt)


async def test_beyond_a_bounded_queue_callers_are_told_to_come_back_and_the_loop_stays_free() -> None:
    gate = Gate()
    passwords = Passwords(gate)
    async with asyncio.timeout(10):
        room = passwords._cores + MAX_WAITING
        waiting = [asyncio.create_task(passwords.hash(str(number))) for number in range(room)]
        await asyncio.sleep(0)
        with pytest.raises(Busy) as refused:
            await passwords.hash("one too many")
        assert refused.value.status == 503
        assert refused.value.retry_after
        waiting.pop().cancel()
        gate.opened.set()
        results = await asyncio.gather(*waiting)
        assert len(set(results)) == room - 1
        await passwords.hash("there is room again")
    passwords.close()
