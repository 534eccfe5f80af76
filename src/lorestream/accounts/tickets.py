"""Tickets for a browser's EventSource, which can send no header: each begins one run, and is good for its reconnects.

A ticket stands in a URL, so it is worth little: it is given for a minute, lets in once, and after that only whoever
goes on reading the one run that it began, as long as the login or the API key lives for which it was given. Whoever
finds a used one in a log lacks the name of that run, which only its own stream tells.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from lorestream import db
from lorestream.accounts import keys_store, store, tickets_store
from lorestream.accounts.models import Principal, StreamTicket
from lorestream.accounts.tokens import token_hash
from lorestream.errors import RateLimited, Unauthenticated

# 256 random bits in base64url.
TICKET = re.compile(r"[A-Za-z0-9_-]{43}")
SECONDS = 60
MAX_OPEN_PER_USER = 20


class Holder(NamedTuple):
    """Who comes by a ticket, and the run that it began, or begins now."""

    principal: Principal
    run_id: str


class Tickets:
    """The tickets of all users. ``clock`` gives the current time in UTC."""

    def __init__(self, database: db.Database, run_seconds: float, clock: Callable[[], datetime] = db.now) -> None:
        """``run_seconds`` is how long after its beginning a run can be read: so long a used ticket is kept. No I/O."""
        self._db = database
        self._run_seconds = run_seconds
        self._clock = clock

    async def give(self, user: Principal) -> tuple[str, datetime]:
        """A ticket, and until when it can be used. Raises RateLimited for a user with MAX_OPEN_PER_USER unused ones."""
        text, now = secrets.token_urlsafe(32), self._clock()
        made = StreamTicket(
            hash=token_hash(text),
            user_id=user.user_id,
            session_id=user.session_id or None,
            key_id=user.key_id or None,
            run_id=None,
            expires_at=now + timedelta(seconds=SECONDS),
        )
        async with self._db.write() as session:
            await tickets_store.forget_expired(session, now)
            if await tickets_store.count_unused(session, user.user_id) >= MAX_OPEN_PER_USER:
                raise RateLimited(
                    f"You have {MAX_OPEN_PER_USER} unused tickets; use one, or wait until they expire.",
                    retry_after=SECONDS,
                )
            await store.add(session, made)
        return text, made.expires_at

    async def admit(self, ticket: str, resumed_run: str | None) -> Holder:
        """Use a ticket to begin a run, or again to read on in ``resumed_run``, which must be that one.

        Raises Unauthenticated for a ticket that is unknown, used or expired, that began another run, or whose login
        or key is over; of two who bring one at the same time, one is let in.
        """
        if not TICKET.fullmatch(ticket):
            raise _refused()
        now, given = self._clock(), token_hash(ticket)
        async with self._db.read() as session:
            found = await tickets_store.find(session, given, now)
            if found is None or found.run_id != resumed_run:
                raise _refused()
            if found.key_id:
                principal = await keys_store.principal_with_id(session, found.key_id, now)
            else:
                principal = await store.principal_of(session, found.session_id or "", now)
        if principal is None:
            raise _refused()
        if resumed_run:
            return Holder(principal, resumed_run)
        run_id = secrets.token_hex(16)
        async with self._db.write() as session:
            until = now + timedelta(seconds=self._run_seconds)
            if not await tickets_store.bind(session, given, run_id, until):
                raise _refused()
        return Holder(principal, run_id)


def _refused() -> Unauthenticated:
    return Unauthenticated("This ticket is not valid: it was used, has expired, or is for another answer.")
