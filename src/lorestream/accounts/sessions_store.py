"""The SQL of logins and their refresh tokens. Every function works inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.accounts import store
from lorestream.accounts.models import Login, UsedRefreshToken, User


class Found(NamedTuple):
    """A living login, and when the refresh token by which it was found was exchanged; None for its present one."""

    login: Login
    used_at: datetime | None


async def find(session: AsyncSession, token: bytes, at: datetime) -> Found | None:
    """The living login that a refresh token with this hash is or was of."""
    present = select(Login).where(Login.refresh_hash == token, _live(at))
    if login := (await session.scalars(present)).one_or_none():
        return Found(login, None)
    used = await session.execute(
        select(Login, UsedRefreshToken.used_at)
        .join(UsedRefreshToken, UsedRefreshToken.session_id == Login.session_id)
        .where(UsedRefreshToken.hash == token, _live(at))
    )
    row = used.one_or_none()
    return Found(*row) if row else None


async def exchange(
    session: AsyncSession, session_id: str, old: bytes, new: bytes, at: datetime, expires_at: datetime, ip: str
) -> Login | None:
    """Replace the refresh token ``old`` of a login by ``new``; the login as it is then.

    A compare-and-set: None when somebody else replaced it or ended the login since it was read.
    """
    replaced = await session.scalars(
        update(Login)
        .where(Login.session_id == session_id, Login.refresh_hash == old, _live(at))
        .values(refresh_hash=new, last_used_at=at, expires_at=expires_at, ip=ip)
        .returning(Login)
    )
    login = replaced.one_or_none()
    if login is not None:
        session.add(UsedRefreshToken(hash=old, session_id=session_id, used_at=at))
        await session.flush()
    return login


async def forget_used(session: AsyncSession, session_id: str, keep: int) -> None:
    """Delete a login's used refresh tokens but the ``keep`` used last."""
    own = UsedRefreshToken.session_id == session_id
    last = select(UsedRefreshToken.used_at).where(own).order_by(UsedRefreshToken.used_at.desc())
    await session.execute(
        delete(UsedRefreshToken).where(own, UsedRefreshToken.used_at < last.offset(keep - 1).limit(1).scalar_subquery())
    )


async def living(session: AsyncSession, user_id: str, at: datetime) -> Sequence[Login]:
    """A user's logins that can be used, the one used last first."""
    newest = (Login.last_used_at.desc(), Login.session_id)
    return (await session.scalars(select(Login).where(Login.user_id == user_id, _live(at)).order_by(*newest))).all()


async def end(session: AsyncSession, at: datetime, session_id: str, user_id: str | None = None) -> bool:
    """End this login, of this user where one is named; False when there is no such login that can be used."""
    where = [Login.session_id == session_id, _live(at)]
    if user_id is not None:
        where.append(Login.user_id == user_id)
    ended = await session.scalars(update(Login).where(*where).values(revoked_at=at).returning(Login.session_id))
    return ended.one_or_none() is not None


async def end_all(session: AsyncSession, at: datetime, user_id: str, keep: str = "") -> int:
    """End every login of a user but ``keep``; how many were ended."""
    ended = await session.scalars(
        update(Login)
        .where(Login.user_id == user_id, Login.session_id != keep, store.live(at))
        .values(revoked_at=at)
        .returning(Login.session_id)
    )
    return len(ended.all())


async def named(
    session: AsyncSession, at: datetime, session_id: str | None, token: bytes | None
) -> Sequence[tuple[str, str]]:
    """The living logins (session_id, user_id) with this id or with this refresh token, used or not."""
    was_its = exists().where(UsedRefreshToken.session_id == Login.session_id, UsedRefreshToken.hash == token)
    either: list[ColumnElement[bool]] = []
    if session_id is not None:
        either.append(Login.session_id == session_id)
    if token is not None:
        either += [Login.refresh_hash == token, was_its]
    found = await session.execute(select(Login.session_id, Login.user_id).where(or_(*either), _live(at)))
    return [(row.session_id, row.user_id) for row in found]


async def forget_old(session: AsyncSession, user_id: str, at: datetime, keep: int) -> None:
    """Delete every expired login, and this user's beyond the ``keep`` used last; their used tokens go with them."""
    last = (Login.revoked_at.is_not(None), Login.last_used_at.desc())
    newest = select(Login.session_id).where(Login.user_id == user_id).order_by(*last).limit(keep)
    await session.execute(delete(Login).where(Login.expires_at <= at))
    await session.execute(delete(Login).where(Login.user_id == user_id, Login.session_id.not_in(newest)))


def _live(at: datetime) -> ColumnElement[bool]:
    enabled = exists().where(User.user_id == Login.user_id, User.disabled_at.is_(None))
    return and_(store.live(at), enabled)
