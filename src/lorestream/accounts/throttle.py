"""Guessing passwords, slowed down so that nobody is locked out.

Failures are counted for the account, for the client's address (an IPv6 one as its /64) and for both together, before
the password is looked at; past the free ones each makes the next attempt wait longer (``limits.Backoff``). A stranger
at a thousand addresses can so make every other stranger wait, but not the owner: a browser in which they have logged
in before, and a login that is asked for its password again, are counted by themselves and by nothing else.

All of it goes by what was typed, so that the answers for an unknown email are those for a known one.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lorestream.accounts.emails import normalise_email
from lorestream.accounts.keyring import load_or_create_key
from lorestream.errors import Busy
from lorestream.limits import Backoff, Bucket

KEY_FILE = "device.key"
# An office behind one address may come to work at nine, each with a typing error.
FREE_OF_ADDRESS = 30
FREE_OF_ACCOUNT = 20
FREE_OF_BOTH = FREE_OF_KNOWN = 10
# As long as browsers keep a cookie (RFC 6265bis, section 5.5); every login begins it anew.
DEVICE_SECONDS = 400 * 86400
DEVICE = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{64})", re.ASCII)


@dataclass(slots=True)
class Guess:
    """One password that is being checked; a failure until somebody says otherwise."""

    succeeded: bool = False


class Throttle:
    """Counts guesses, and knows the browsers of those who guessed right. ``open`` before the first use."""

    def __init__(self, backoff: Backoff, data_dir: Path) -> None:
        """No I/O."""
        self._backoff = backoff
        self._key_file = data_dir / KEY_FILE
        self._key = b""

    async def open(self) -> None:
        """Load the key that signs devices, or make it. Raises StartRefused when it is not safe.

        A key of its own: those of the key ring are replaced, and the owner's browser must not be forgotten with them.
        """
        self._key = await asyncio.to_thread(load_or_create_key, self._key_file)

    @asynccontextmanager
    async def guess(self, email: str, ip: str, known: str = "") -> AsyncIterator[Guess]:
        """Count a guess at the password of ``email``, before the block checks it; taken back if it is right.

        ``known`` is the device or the login by which the guesser is known already. Raises RateLimited when one must
        wait. A server that was too busy to check has not been guessed at.
        """
        attempt = await self._backoff.attempt(_buckets(normalise_email(email), ip, known))
        guess = Guess()
        try:
            yield guess
        except Busy:
            await self._backoff.take_back(attempt)
            raise
        if guess.succeeded:
            await self._backoff.take_back(attempt)

    def known_device(self, email: str, cookie: str) -> str:
        """The device that this cookie names, if it was given to somebody who logged in as ``email``, else nothing."""
        parts = DEVICE.fullmatch(cookie)
        return parts[1] if parts and hmac.compare_digest(parts[2], self._signature(email, parts[1])) else ""

    def device_cookie(self, email: str, cookie: str) -> str:
        """The cookie of a browser in which somebody has just logged in; the same again where it has one."""
        device = self.known_device(email, cookie) or secrets.token_hex(16)
        return f"{device}.{self._signature(email, device)}"

    def _signature(self, email: str, device: str) -> str:
        if not self._key:
            raise RuntimeError("Throttle.open() was not awaited")
        text = f"device {device} of {normalise_email(email)}"
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), "sha256").hexdigest()


def _buckets(email: str, ip: str, known: str) -> list[Bucket]:
    if known:
        return [Bucket("login_known", digest(email, known), FREE_OF_KNOWN)]
    return [
        Bucket("login_address", digest(ip), FREE_OF_ADDRESS),
        Bucket("login_account", digest(email), FREE_OF_ACCOUNT),
        Bucket("login_both", digest(email, ip), FREE_OF_BOTH),
    ]


def digest(*parts: str) -> str:
    """What stands for these texts in the name of a count."""
    # Bounded, and no address of anybody in the names of Redis.
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
