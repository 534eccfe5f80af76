"""The SQL of accounts. Every function works inside the caller's transaction."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.accounts.models import Login, Principal, User
from lorestream.db import Base


async def has_users(session: AsyncSession) -> bool:
    """Whether anybody has registered; the local owner of the command line does not count."""
    return await session.scalar(select(User.user_id).where(User.password_hash.is_not(None)).limit(1)) is not None


async def user_by_email(session: AsyncSession, email: str) -> User | None:
    """The user with this normalised email."""
    return (await session.scalars(select(User).where(User.email == email))).one_or_none()


async def user_by_id(session: AsyncSession, user_id: str) -> User | None:
    """The user with this id."""
    return await session.get(User, user_id)


async def add(session: AsyncSession, row: Base) -> None:
    """Store a new row of one of the accounts' tables."""
    session.add(row)
    await session.flush()


async def replace_password(session: AsyncSession, user_id: str, old_hash: str, new_hash: str) -> bool:
    """Replace the stored hash of an enabled user's password; False when it was replaced since it was read."""
    replaced = await session.scalars(
        update(User)
        .where(User.user_id == user_id, User.password_hash == old_hash, User.disabled_at.is_(None))
        .values(password_hash=new_hash)
        .returning(User.user_id)
    )
    return replaced.one_or_none() is not None


async def principal_of(session: AsyncSession, session_id: str, at: datetime) -> Principal | None:
    """Who came by this login, unless it was revoked or has expired, or the user was disabled."""
    found = await session.execute(
        select(User.user_id, User.email, User.limits, User.is_admin)
        .join(Login, Login.user_id == User.user_id)
        .where(Login.session_id == session_id, live(at), User.disabled_at.is_(None))
    )
    row = found.one_or_none()
    return Principal(row.user_id, row.email, session_id, row.limits or {}, row.is_admin) if row else None


def live(at: datetime) -> ColumnElement[bool]:
    """Whether a login was neither revoked nor has expired; whether its user is enabled is not asked."""
    return and_(Login.revoked_at.is_(None), Login.expires_at > at)
