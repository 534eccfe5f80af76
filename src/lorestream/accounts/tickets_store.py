"""The SQL of tickets. Every function works inside the caller's transaction."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.accounts.models import StreamTicket


async def find(session: AsyncSession, ticket_hash: bytes, at: datetime) -> StreamTicket | None:
    """The ticket with this hash, unless it has expired."""
    living = select(StreamTicket).where(StreamTicket.hash == ticket_hash, StreamTicket.expires_at > at)
    return (await session.scalars(living)).one_or_none()


async def bind(session: AsyncSession, ticket_hash: bytes, run_id: str, until: datetime) -> bool:
    """Use an unused ticket for this run, and keep it until then; False where somebody was faster."""
    used = await session.scalars(
        update(StreamTicket)
        .where(StreamTicket.hash == ticket_hash, StreamTicket.run_id.is_(None))
        .values(run_id=run_id, expires_at=until)
        .returning(StreamTicket.run_id)
    )
    return used.one_or_none() is not None


async def count_unused(session: AsyncSession, user_id: str) -> int:
    """How many tickets of a user wait to be used."""
    waiting = select(func.count()).where(StreamTicket.user_id == user_id, StreamTicket.run_id.is_(None))
    return await session.scalar(waiting) or 0


async def forget_expired(session: AsyncSession, at: datetime) -> None:
    """Delete every ticket that has expired, used or not."""
    await session.execute(delete(StreamTicket).where(StreamTicket.expires_at <= at))
