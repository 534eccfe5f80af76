"""Invitations: a code with which one person may register, once and for some days."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from lorestream import db
from lorestream.accounts import invitations_store, store
from lorestream.accounts.audit import Audit
from lorestream.accounts.emails import valid_email
from lorestream.accounts.models import Invitation
from lorestream.accounts.tokens import token_hash
from lorestream.errors import Conflict, Forbidden, NotFound

MAX_OPEN_INVITATIONS = 1000
DEFAULT_DAYS, MAX_DAYS = 7, 90
# Ours have 43 characters (256 bits in base64url); nothing longer is worth hashing.
MAX_CODE_LENGTH = 64


class Invitations:
    """The invitations of a server. ``clock`` gives the current time in UTC."""

    def __init__(self, database: db.Database, audit: Audit, clock: Callable[[], datetime] = db.now) -> None:
        """No I/O."""
        self._db = database
        self._audit = audit
        self._clock = clock

    async def redeem(self, session: db.Session, code: str, email: str, user_id: str) -> None:
        """Use the invitation up for a user who is made in the same transaction; ``email`` is normalised.

        Of two who bring the same code at once, one gets it. Raises Forbidden.
        """
        if not await invitations_store.use(session, _hash(code), email, user_id, self._clock()):
            raise _refusal()

    async def check(self, session: db.Session, code: str, email: str) -> None:
        """Raise Forbidden unless ``redeem`` would take this code now: to be asked before costly work."""
        if not await invitations_store.is_open(session, _hash(code), email, self._clock()):
            raise _refusal()

    async def create(self, actor_id: str, email: str | None, days: int, ip: str = "") -> tuple[Invitation, str]:
        """An invitation for ``days`` days, for one address where one is given, and its code, known only now.

        Raises InvalidInput for what is no address, Conflict when too many are open.
        """
        code, at = secrets.token_urlsafe(32), self._clock()
        made = Invitation(
            invitation_id=secrets.token_hex(16),
            hash=token_hash(code),
            email=valid_email(email) if email is not None else None,
            created_by=actor_id,
            created_at=at,
            expires_at=at + timedelta(days=days),
        )
        async with self._db.write() as session:
            await invitations_store.forget_expired(session, at)
            if await invitations_store.count_open(session, at) >= MAX_OPEN_INVITATIONS:
                raise Conflict(f"{MAX_OPEN_INVITATIONS} invitations are open; revoke some first.")
            await store.add(session, made)
            await self._audit.note(
                session, "invitation_created", user_id=None, actor_id=actor_id, ip=ip, invitation_id=made.invitation_id
            )
        return made, code

    async def page(self, limit: int, after: tuple[datetime, str] | None) -> list[Invitation]:
        """Up to ``limit`` invitations, used ones too, newest first, older than ``after``."""
        async with self._db.read() as session:
            return await invitations_store.page_of(session, limit, after)

    async def revoke(self, actor_id: str, invitation_id: str, ip: str = "") -> None:
        """Make an invitation worthless. Raises NotFound when there is none that is unused."""
        async with self._db.write() as session:
            if not await invitations_store.remove_unused(session, invitation_id):
                raise NotFound("There is no such unused invitation.")
            await self._audit.note(
                session, "invitation_revoked", user_id=None, actor_id=actor_id, ip=ip, invitation_id=invitation_id
            )


def _hash(code: str) -> bytes:
    return token_hash(code[: MAX_CODE_LENGTH + 1])


def _refusal() -> Forbidden:
    return Forbidden(
        "This invitation cannot be used: it was used already or revoked, has expired, or is for another address. "
        "Ask whoever sent it for a new one."
    )
