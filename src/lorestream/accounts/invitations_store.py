"""The SQL of invitations. Every function works inside the caller's transaction."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.accounts.models import Invitation


async def use(session: AsyncSession, code_hash: bytes, email: str, user_id: str, at: datetime) -> bool:
    """Take an open invitation for this user; False when there is none for this email. A compare-and-set."""
    taken = await session.scalars(
        update(Invitation)
        .where(Invitation.hash == code_hash, _open(at), _for(email))
        .values(used_by=user_id, used_at=at)
        .returning(Invitation.invitation_id)
    )
    return taken.one_or_none() is not None


async def is_open(session: AsyncSession, code_hash: bytes, email: str, at: datetime) -> bool:
    """Whether this email may register with this invitation."""
    found = select(Invitation.invitation_id).where(Invitation.hash == code_hash, _open(at), _for(email))
    return await session.scalar(found) is not None


async def count_open(session: AsyncSession, at: datetime) -> int:
    """How many can still be used."""
    return await session.scalar(select(func.count()).select_from(Invitation).where(_open(at))) or 0


async def page_of(session: AsyncSession, limit: int, after: tuple[datetime, str] | None) -> list[Invitation]:
    """Up to ``limit`` invitations, newest first, older than ``after`` (created_at, invitation_id)."""
    query = select(Invitation)
    if after is not None:
        query = query.where(tuple_(Invitation.created_at, Invitation.invitation_id) < tuple_(*after))
    newest = (Invitation.created_at.desc(), Invitation.invitation_id.desc())
    return list(await session.scalars(query.order_by(*newest).limit(limit)))


async def remove_unused(session: AsyncSession, invitation_id: str) -> bool:
    """Delete an invitation that nobody has used; False when there is none."""
    gone = delete(Invitation).where(Invitation.invitation_id == invitation_id, Invitation.used_at.is_(None))
    return (await session.scalars(gone.returning(Invitation.invitation_id))).one_or_none() is not None


async def forget_expired(session: AsyncSession, before: datetime) -> None:
    """Delete what nobody used and nobody can use any more."""
    await session.execute(delete(Invitation).where(Invitation.used_at.is_(None), Invitation.expires_at <= before))


def _open(at: datetime) -> ColumnElement[bool]:
    return and_(Invitation.used_at.is_(None), Invitation.expires_at > at)


def _for(email: str) -> ColumnElement[bool]:
    return or_(Invitation.email.is_(None), Invitation.email == email)
