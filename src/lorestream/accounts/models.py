"""What an account is: its tables, and the caller as every other layer sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from lorestream.db import Base, Utc


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever makes a request: a user, and the login by which they came (empty on the command line)."""

    user_id: str
    email: str
    session_id: str


class User(Base):
    """An account. ``email`` is normalised (see ``service.normalise_email``), so that its unique index ignores case.

    Without ``password_hash`` nobody can log in: the local owner of the command line.
    """

    __tablename__ = "users"

    user_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    password_hash: Mapped[str | None] = mapped_column(String(256))
    is_admin: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(Utc)
    disabled_at: Mapped[datetime | None] = mapped_column(Utc)


class Login(Base):
    """One login of a user: a chain of refresh tokens of which only the SHA-256 of the last two is known."""

    __tablename__ = "logins"

    session_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.user_id", ondelete="CASCADE"), index=True)
    refresh_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    previous_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32), index=True)
    created_at: Mapped[datetime] = mapped_column(Utc)
    last_used_at: Mapped[datetime] = mapped_column(Utc)
    expires_at: Mapped[datetime] = mapped_column(Utc, index=True)
    revoked_at: Mapped[datetime | None] = mapped_column(Utc)
    user_agent: Mapped[str] = mapped_column(String(200))
