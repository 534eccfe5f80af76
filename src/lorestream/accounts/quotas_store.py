"""The SQL of quotas. Every function works inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

from sqlalchemy import and_, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.accounts.models import TokenUsage, User


class Spent(NamedTuple):
    """A user's own limits, and the tokens of one day."""

    limits: Mapping[str, int]
    tokens: int


async def spent(session: AsyncSession, user_id: str, day: date) -> Spent | None:
    """What a user has spent; None for the local owner of the command line, who has no limits."""
    found = await session.execute(
        select(User.limits, TokenUsage.tokens)
        .outerjoin(TokenUsage, and_(TokenUsage.user_id == User.user_id, TokenUsage.day == day))
        .where(User.user_id == user_id, User.password_hash.is_not(None))
    )
    row = found.one_or_none()
    return Spent(row.limits or {}, row.tokens or 0) if row else None


async def add_tokens(session: AsyncSession, user_id: str, day: date, tokens: int) -> None:
    """Count an answer and its tokens; nothing happens for a user who is gone."""
    counted = await session.execute(
        update(TokenUsage)
        .where(TokenUsage.user_id == user_id, TokenUsage.day == day)
        .values(tokens=TokenUsage.tokens + tokens, answers=TokenUsage.answers + 1)
    )
    if not counted.rowcount:  # type: ignore[attr-defined]  # a CursorResult, for every DML statement
        row = select(User.user_id, literal(day), literal(tokens), literal(1)).where(User.user_id == user_id)
        await session.execute(insert(TokenUsage).from_select(["user_id", "day", "tokens", "answers"], row))
