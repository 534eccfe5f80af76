"""The statements about rated answers. Each has the owner in its WHERE clause."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from lorestream.conversations.models import Message, Rated, Rating
from lorestream.documents.models import DELETING, DocumentRow


async def page_of(
    session: AsyncSession, owner_id: str, rating: Rating | None, limit: int, after: tuple[datetime, str] | None
) -> list[Rated]:
    """Up to ``limit`` of the owner's rated answers with their questions, newest first, older than ``after``."""
    asked = aliased(Message)
    query = (
        select(
            Message.message_id,
            Message.conversation_id,
            asked.content,
            Message.content,
            Message.rating,
            Message.comment,
            Message.sources,
            Message.citations,
            Message.created_at,
        )
        .join(asked, (asked.message_id == Message.parent_id) & (asked.owner_id == owner_id))
        .where(Message.owner_id == owner_id, Message.role == "assistant")
        .where(Message.rating.is_not(None) if rating is None else Message.rating == rating)
    )
    if after is not None:
        query = query.where(tuple_(Message.created_at, Message.message_id) < tuple_(*after))
    rows = await session.execute(query.order_by(Message.created_at.desc(), Message.message_id.desc()).limit(limit))
    return [
        Rated(message_id, conversation_id, question, answer, given, comment, sources or [], cited or [], at)
        for message_id, conversation_id, question, answer, given, comment, sources, cited, at in rows
    ]


async def filenames(session: AsyncSession, owner_id: str, doc_ids: Collection[str]) -> dict[str, str]:
    """The names of those of the documents that are still there and the owner's."""
    mine = (DocumentRow.owner_id == owner_id, DocumentRow.status != DELETING, DocumentRow.doc_id.in_(doc_ids))
    rows = await session.execute(select(DocumentRow.doc_id, DocumentRow.filename).where(*mine))
    return {doc_id: filename for doc_id, filename in rows}  # noqa: C416
