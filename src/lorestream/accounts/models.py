"""What an account is: its tables, and the caller as every other layer sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from lorestream.db import Base, Utc


class Credential(NamedTuple):
    """By what somebody came: a login or an API key; or the user alone."""

    kind: Literal["login", "key", "user"]
    id: str


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever makes a request: a user, and the login or the API key by which they came (neither on the command line).

    ``limits`` are what an administrator set for this user alone (see ``quotas``). ``scopes`` are what a key may do;
    None for a login, which may do everything that its user may.
    """

    user_id: str
    email: str
    session_id: str
    limits: Mapping[str, int] = field(default_factory=dict)
    is_admin: bool = False
    key_id: str = ""
    scopes: frozenset[str] | None = None

    @property
    def credential(self) -> Credential:
        """By what they came."""
        if self.key_id:
            return Credential("key", self.key_id)
        return Credential("login", self.session_id) if self.session_id else Credential("user", self.user_id)


class User(Base):
    """An account. ``email`` is normalised (see ``emails.normalise_email``), so that its unique index ignores case.

    Without ``password_hash`` nobody can log in: the local owner of the command line.
    """

    __tablename__ = "users"

    user_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    password_hash: Mapped[str | None] = mapped_column(String(256))
    is_admin: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(Utc)
    disabled_at: Mapped[datetime | None] = mapped_column(Utc)
    # What an administrator set for this user alone, by the names of ``limits``; the settings hold for the rest.
    limits: Mapped[dict[str, int] | None] = mapped_column(JSON(none_as_null=True))


class Login(Base):
    """One login of a user: a family of refresh tokens, of which only the SHA-256 is known.

    ``refresh_hash`` is of the one that can be exchanged; those that were are ``UsedRefreshToken``s.
    """

    __tablename__ = "logins"

    session_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.user_id", ondelete="CASCADE"), index=True)
    refresh_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    created_at: Mapped[datetime] = mapped_column(Utc)
    last_used_at: Mapped[datetime] = mapped_column(Utc)
    expires_at: Mapped[datetime] = mapped_column(Utc, index=True)
    revoked_at: Mapped[datetime | None] = mapped_column(Utc)
    user_agent: Mapped[str] = mapped_column(String(200))
    ip: Mapped[str] = mapped_column(String(64), default="", server_default="")


class UsedRefreshToken(Base):
    """A refresh token that was exchanged: whoever brings it again after the grace has stolen it, or was stolen from."""

    __tablename__ = "used_refresh_tokens"
    __table_args__ = (Index("ix_used_refresh_tokens_session_id_used_at", "session_id", "used_at"),)

    hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("logins.session_id", ondelete="CASCADE"))
    used_at: Mapped[datetime] = mapped_column(Utc)


class ApiKey(Base):
    """A key with which a program works as its user, within its scopes; only its SHA-256 is known."""

    __tablename__ = "api_keys"

    key_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.user_id", ondelete="CASCADE"), index=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    prefix: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(100))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(Utc)
    last_used_at: Mapped[datetime | None] = mapped_column(Utc)
    expires_at: Mapped[datetime | None] = mapped_column(Utc)


class StreamTicket(Base):
    """What a browser's EventSource comes by, which can send no header: good for one run; only its SHA-256 is known.

    It was given to one login or API key and ends with it. ``run_id`` is null until it was used.
    """

    __tablename__ = "stream_tickets"

    hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.user_id", ondelete="CASCADE"), index=True)
    session_id: Mapped[str | None] = mapped_column(String(32))
    key_id: Mapped[str | None] = mapped_column(String(32))
    run_id: Mapped[str | None] = mapped_column(String(32))
    expires_at: Mapped[datetime] = mapped_column(Utc, index=True)


class Invitation(Base):
    """A code with which one person may register; only its SHA-256 is known. With ``email``, only that address may."""

    __tablename__ = "invitations"

    invitation_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    email: Mapped[str | None] = mapped_column(String(254))
    created_by: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column(Utc)
    expires_at: Mapped[datetime] = mapped_column(Utc)
    used_by: Mapped[str | None] = mapped_column(String(32))
    used_at: Mapped[datetime | None] = mapped_column(Utc)


class AuditEvent(Base):
    """One security event. It outlives the accounts it tells of, and holds no secret and no content."""

    __tablename__ = "audit_events"
    __table_args__ = (Index("ix_audit_events_at", "at", "event_id"),)

    event_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[datetime] = mapped_column(Utc)
    kind: Mapped[str] = mapped_column(String(40))
    user_id: Mapped[str | None] = mapped_column(String(32))
    actor_id: Mapped[str | None] = mapped_column(String(32))
    ip: Mapped[str] = mapped_column(String(64))
    details: Mapped[dict[str, Any]] = mapped_column(JSON)


class TokenUsage(Base):
    """The tokens that a user's answers took on one day (UTC)."""

    __tablename__ = "token_usage"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.user_id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    tokens: Mapped[int]
    answers: Mapped[int]
