"""The SQL of API keys. Every function works inside the caller's transaction."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.accounts.models import ApiKey, Principal, User


async def principal_of(
    session: AsyncSession, key_hash: bytes, at: datetime
) -> tuple[Principal, datetime | None] | None:
    """Who works with this key, and when it was used last; None unless it lives and its user is enabled."""
    return await _principal(session, ApiKey.hash == key_hash, at)


async def principal_with_id(session: AsyncSession, key_id: str, at: datetime) -> Principal | None:
    """Who works with the key of this id; None unless it lives and its user is enabled."""
    found = await _principal(session, ApiKey.key_id == key_id, at)
    return found[0] if found else None


async def _principal(
    session: AsyncSession, is_it: ColumnElement[bool], at: datetime
) -> tuple[Principal, datetime | None] | None:
    found = await session.execute(
        select(
            User.user_id, User.email, User.is_admin, User.limits,
            ApiKey.key_id, ApiKey.scopes, ApiKey.last_used_at,
        )
        .join(ApiKey, ApiKey.user_id == User.user_id)
        .where(is_it, live(at), User.disabled_at.is_(None))
    )  # fmt: skip
    row = found.one_or_none()
    if row is None:
        return None
    principal = Principal(
        row.user_id, row.email, "", row.limits or {}, row.is_admin, row.key_id, scopes=frozenset(row.scopes)
    )
    return principal, row.last_used_at


async def touch(session: AsyncSession, key_id: str, at: datetime) -> None:
    """Note that a key was used."""
    await session.execute(update(ApiKey).where(ApiKey.key_id == key_id).values(last_used_at=at))


async def of_user(session: AsyncSession, user_id: str) -> list[ApiKey]:
    """A user's keys, newest first."""
    newest = (ApiKey.created_at.desc(), ApiKey.key_id)
    return list(await session.scalars(select(ApiKey).where(ApiKey.user_id == user_id).order_by(*newest)))


async def count(session: AsyncSession, user_id: str) -> int:
    """How many keys a user has."""
    return await session.scalar(select(func.count()).select_from(ApiKey).where(ApiKey.user_id == user_id)) or 0


async def remove(session: AsyncSession, user_id: str, key_id: str) -> bool:
    """Delete a user's key; False when there is none."""
    gone = delete(ApiKey).where(ApiKey.user_id == user_id, ApiKey.key_id == key_id).returning(ApiKey.key_id)
    return (await session.scalars(gone)).one_or_none() is not None


def live(at: datetime) -> ColumnElement[bool]:
    """Whether a key has not expired."""
    return or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > at)
