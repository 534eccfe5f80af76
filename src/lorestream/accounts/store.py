"""The SQL of accounts. Every function works inside the caller's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.accounts.models import Login, Principal, User
from lorestream.db import Base


class Admission(NamedTuple):
    """What decides whether somebody may register."""

    has_users: bool
    is_taken: bool


async def admission(session: AsyncSession, email: str) -> Admission:
    """Whether anybody has registered (the local owner does not count), and whether this email is taken."""
    anybody = await session.scalar(select(User.user_id).where(User.password_hash.is_not(None)).limit(1))
    return Admission(anybody is not None, await user_by_email(session, email) is not None)


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


async def set_password_hash(session: AsyncSession, user_id: str, password_hash: str) -> None:
    """Replace the stored hash of a password."""
    await session.execute(update(User).where(User.user_id == user_id).values(password_hash=password_hash))


async def principal_of(session: AsyncSession, session_id: str, at: datetime) -> Principal | None:
    """Who came by this login, unless it was revoked or has expired, or the user was disabled."""
    found = await session.execute(
        select(User.user_id, User.email, User.limits, User.is_admin)
        .join(Login, Login.user_id == User.user_id)
        .where(Login.session_id == session_id, _live(at), User.disabled_at.is_(None))
    )
    row = found.one_or_none()
    return Principal(row.user_id, row.email, session_id, row.limits or {}, row.is_admin) if row else None


async def rotate(
    session: AsyncSession, old: bytes, new: bytes, at: datetime, expires_at: datetime, grace_from: datetime
) -> Login | None:
    """Replace the refresh hash ``old`` by its successor ``new`` in the one login that has it; None if none has.

    A compare-and-set: of two callers with the same token the second finds it replaced already, and is served all
    the same if that was not before ``grace_from``.
    """
    replaced = await session.scalars(
        update(Login)
        .where(Login.refresh_hash == old, _live(at), _enabled())
        .values(refresh_hash=new, previous_hash=old, last_used_at=at, expires_at=expires_at)
        .returning(Login)
    )
    if (login := replaced.one_or_none()) is not None:
        return login
    in_grace = select(Login).where(Login.previous_hash == old, Login.last_used_at >= grace_from)
    return (await session.scalars(in_grace.where(_live(at), _enabled()))).one_or_none()


async def revoke(session: AsyncSession, at: datetime, session_id: str | None, refresh_hash: bytes | None) -> None:
    """End the login with this id, and the one with this refresh hash (the current or the one before)."""
    named: list[ColumnElement[bool]] = []
    if session_id is not None:
        named.append(Login.session_id == session_id)
    if refresh_hash is not None:
        named += [Login.refresh_hash == refresh_hash, Login.previous_hash == refresh_hash]
    if named:
        await session.execute(update(Login).where(or_(*named), Login.revoked_at.is_(None)).values(revoked_at=at))


async def forget_old_logins(session: AsyncSession, user_id: str, at: datetime, keep: int) -> None:
    """Delete every expired login, and this user's beyond the ``keep`` used last."""
    newest = select(Login.session_id).where(Login.user_id == user_id).order_by(Login.last_used_at.desc()).limit(keep)
    await session.execute(delete(Login).where(Login.expires_at <= at))
    await session.execute(delete(Login).where(Login.user_id == user_id, Login.session_id.not_in(newest)))


def _live(at: datetime) -> ColumnElement[bool]:
    return and_(Login.revoked_at.is_(None), Login.expires_at > at)


def _enabled() -> ColumnElement[bool]:
    return exists().where(User.user_id == Login.user_id, User.disabled_at.is_(None))
