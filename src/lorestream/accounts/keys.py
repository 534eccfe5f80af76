"""API keys: with one a program works as its user, within the key's scopes, until it is revoked or expires."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Literal

from lorestream import db
from lorestream.accounts import keys_store, store
from lorestream.accounts.audit import Audit
from lorestream.accounts.models import ApiKey, Principal
from lorestream.accounts.tokens import token_hash
from lorestream.errors import Conflict, LorestreamError, NotFound, Unauthenticated

log = logging.getLogger(__name__)

Scope = Literal["read", "ask", "documents"]
PREFIX = "lsk_"
# 256 random bits in base64url.
KEY = re.compile(r"lsk_[A-Za-z0-9_-]{43}")
# So much of a key is kept readable, for people to tell theirs apart.
SHOWN_CHARACTERS = len(PREFIX) + 6
MAX_KEYS_PER_USER = 50
# How exact "last used" is: no request waits for a write, and few cause one.
TOUCH_SECONDS = 60.0


class Keys:
    """The API keys of all users. ``clock`` gives the current time in UTC."""

    def __init__(self, database: db.Database, audit: Audit, clock: Callable[[], datetime] = db.now) -> None:
        """No I/O."""
        self._db = database
        self._audit = audit
        self._clock = clock
        self._touching: dict[str, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Finish noting which keys were used."""
        await asyncio.gather(*self._touching.values(), return_exceptions=True)

    async def authenticate(self, key: str) -> Principal:
        """Who is asking. Raises Unauthenticated, also when the key was revoked or the user disabled since."""
        if not KEY.fullmatch(key):
            raise Unauthenticated("This is not an API key of this server.")
        at = self._clock()
        async with self._db.read() as session:
            found = await keys_store.principal_of(session, token_hash(key), at)
        if found is None:
            raise Unauthenticated(
                "This API key is not valid: it was revoked or has expired, or its user may not log in."
            )
        principal, used = found
        if (used is None or (at - used).total_seconds() >= TOUCH_SECONDS) and principal.key_id not in self._touching:
            task = asyncio.create_task(self._touch(principal.key_id, at), name="key used")
            self._touching[principal.key_id] = task
            task.add_done_callback(lambda _: self._touching.pop(principal.key_id, None))
        return principal

    async def create(
        self, user_id: str, name: str, scopes: Collection[Scope], days: int | None, ip: str = ""
    ) -> tuple[ApiKey, str]:
        """A key for ``days`` days (None: until it is revoked), and its text, known only now.

        Raises Conflict when the user has MAX_KEYS_PER_USER.
        """
        text, at = PREFIX + secrets.token_urlsafe(32), self._clock()
        made = ApiKey(
            key_id=secrets.token_hex(16),
            user_id=user_id,
            hash=token_hash(text),
            prefix=text[:SHOWN_CHARACTERS],
            name=name,
            scopes=sorted(set(scopes)),
            created_at=at,
            last_used_at=None,
            expires_at=at + timedelta(days=days) if days is not None else None,
        )
        async with self._db.write() as session:
            if await keys_store.count(session, user_id) >= MAX_KEYS_PER_USER:
                raise Conflict(f"You have {MAX_KEYS_PER_USER} API keys; revoke one first.")
            await store.add(session, made)
            await self._audit.note(
                session, "key_created", user_id=user_id, ip=ip, key_id=made.key_id, scopes=made.scopes
            )
        return made, text

    async def of_user(self, user_id: str) -> list[ApiKey]:
        """A user's keys, expired ones too, newest first."""
        async with self._db.read() as session:
            return await keys_store.of_user(session, user_id)

    async def revoke(self, user_id: str, key_id: str, ip: str = "") -> None:
        """Make a key worthless. Raises NotFound for an unknown one and, the same, for another user's."""
        async with self._db.write() as session:
            if not await keys_store.remove(session, user_id, key_id):
                raise NotFound("There is no such API key.")
            await self._audit.note(session, "key_revoked", user_id=user_id, ip=ip, key_id=key_id)

    async def _touch(self, key_id: str, at: datetime) -> None:
        try:
            async with self._db.write() as session:
                await keys_store.touch(session, key_id, at)
        except LorestreamError as failure:
            log.warning("the use of an API key was not noted: %s", failure.message)
