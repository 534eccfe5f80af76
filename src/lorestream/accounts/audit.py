"""The audit log: who did what to whose account, and from where. No secret, no password, no content is ever in it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

from lorestream import db
from lorestream.accounts import store
from lorestream.accounts.models import AuditEvent

log = logging.getLogger(__name__)

Kind = Literal[
    "registered", "login", "login_failed", "login_throttled", "logout", "logout_everywhere", "session_revoked",
    "refresh_reused", "password_changed", "password_reset", "key_created", "key_revoked", "keys_rotated",
    "invitation_created", "invitation_revoked", "user_added", "user_disabled", "user_enabled", "admin_granted",
    "admin_revoked", "limits_changed", "account_exported", "account_deleted",
]  # fmt: skip


class Audit:
    """Security events, each in the database and in the process's log under ``lorestream.accounts.audit``."""

    def __init__(self, database: db.Database, clock: Callable[[], datetime] = db.now) -> None:
        """No I/O."""
        self._db = database
        self._clock = clock

    async def note(
        self,
        session: db.Session,
        kind: Kind,
        *,
        user_id: str | None,
        actor_id: str | None = None,
        ip: str = "",
        **details: Any,
    ) -> None:
        """Add an event inside the transaction of the change that it tells of, so that neither stands alone.

        ``user_id`` is whose account it concerns, ``actor_id`` who did it where that is somebody else.
        """
        event = AuditEvent(
            event_id=secrets.token_hex(16),
            at=self._clock(),
            kind=kind,
            user_id=user_id,
            actor_id=actor_id,
            ip=ip,
            details=details,
        )
        await store.add(session, event)
        log.info("%s user=%s actor=%s ip=%s %s", kind, user_id or "-", actor_id or "-", ip or "-", details or "")

    async def record(
        self, kind: Kind, *, user_id: str | None, actor_id: str | None = None, ip: str = "", **details: Any
    ) -> None:
        """The same in a transaction of its own, for what changes nothing else, such as a refused login."""
        async with self._db.write() as session:
            await self.note(session, kind, user_id=user_id, actor_id=actor_id, ip=ip, **details)
