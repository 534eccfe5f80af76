"""Passwords: argon2id off the event loop, never more at once than there are cores."""

from __future__ import annotations

import asyncio
import os
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from lorestream.errors import Busy

T = TypeVar("T")

# OWASP's password storage cheat sheet: Argon2id, 19 MiB, two passes, one lane (18 ms on a small machine).
HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
# Half a second of waiting on two cores; whoever comes later is better served by an answer.
MAX_WAITING = 50
MAX_PASSWORD_BYTES = 1024


def as_bytes(password: str) -> bytes:
    """The bytes that are hashed: UTF-8 of the NFC form, so that every keyboard types the same password."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


class Passwords:
    """Hashes and checks passwords in threads of its own, with a bounded queue before them."""

    def __init__(self, hasher: PasswordHasher = HASHER) -> None:
        """Threads start at the first use."""
        self._hasher = hasher
        self._cores = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._cores, thread_name_prefix="passwords")
        self._unfinished = 0
        self._dummy = ""

    async def open(self) -> None:
        """Make the hash against which unknown accounts are checked."""
        self._dummy = await self.hash(secrets.token_hex(16))

    def close(self) -> None:
        """Let running hashes end and drop waiting ones."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """The argon2id hash, in PHC format. Raises Busy when too many wait."""
        return await self._run(lambda: self._hasher.hash(as_bytes(password)))

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether the password belongs to the stored hash; without one it takes as long and says no."""
        return await self._run(lambda: self._verify(stored or self._dummy, password)) and stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, as_bytes(password))
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._unfinished >= self._cores + MAX_WAITING:
            raise Busy("Too many people are logging in right now; please try again in a moment.", retry_after=2)
        self._unfinished += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._unfinished -= 1
