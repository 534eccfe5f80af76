"""Every statement about collections, each with their owner in it. Deleting a document takes it out of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.documents.models import DELETING, Collection, CollectionDocumentRow, CollectionRow, DocumentRow
from lorestream.errors import Conflict


async def listed(session: AsyncSession, owner_id: str, collection_id: str | None = None) -> list[Collection]:
    """The owner's collections by their names, or this one alone."""
    inside = (
        select(func.count())
        .select_from(CollectionDocumentRow)
        .join(DocumentRow, DocumentRow.doc_id == CollectionDocumentRow.doc_id)
        .where(CollectionDocumentRow.collection_id == CollectionRow.collection_id, DocumentRow.status != DELETING)
        .scalar_subquery()
    )
    query = select(CollectionRow.collection_id, CollectionRow.name, CollectionRow.created_at, inside)
    query = query.where(CollectionRow.owner_id == owner_id)
    if collection_id is not None:
        query = query.where(CollectionRow.collection_id == collection_id)
    by_name = (func.lower(CollectionRow.name), CollectionRow.name)
    return [Collection(*row) for row in await session.execute(query.order_by(*by_name))]


async def exists(session: AsyncSession, owner_id: str, collection_id: str) -> bool:
    """Whether the owner has it."""
    return await session.scalar(select(literal(1)).where(*_mine(owner_id, collection_id))) is not None


async def count(session: AsyncSession, owner_id: str) -> int:
    """How many the owner has."""
    owned = select(func.count()).select_from(CollectionRow).where(CollectionRow.owner_id == owner_id)
    return await session.scalar(owned) or 0


async def create(session: AsyncSession, owner_id: str, made: Collection) -> None:
    """Store an empty collection. Raises Conflict where the owner has one of that name."""
    values = {"collection_id": made.collection_id, "name": made.name, "created_at": made.created_at}
    await _named(session, insert(CollectionRow).values(owner_id=owner_id, **values))


async def rename(session: AsyncSession, owner_id: str, collection_id: str, name: str) -> None:
    """Rename a collection, if the owner has it. Raises Conflict where another one has that name."""
    await _named(session, update(CollectionRow).where(*_mine(owner_id, collection_id)).values(name=name))


async def remove(session: AsyncSession, owner_id: str, collection_id: str) -> bool:
    """Delete a collection, not its documents; False when there is none."""
    gone = delete(CollectionRow).where(*_mine(owner_id, collection_id)).returning(CollectionRow.collection_id)
    return (await session.scalars(gone)).one_or_none() is not None


async def remove_all(session: AsyncSession, owner_id: str) -> None:
    """Delete every collection of the owner."""
    await session.execute(delete(CollectionRow).where(CollectionRow.owner_id == owner_id))


async def put(session: AsyncSession, owner_id: str, collection_id: str, doc_ids: Sequence[str]) -> bool:
    """Put documents into a collection of the owner's, all or none; False where one is not the owner's.

    What is in it already stays.
    """
    own = (DocumentRow.owner_id == owner_id, DocumentRow.status != DELETING, DocumentRow.doc_id.in_(doc_ids))
    if await session.scalar(select(func.count()).select_from(DocumentRow).where(*own)) != len(set(doc_ids)):
        return False
    there = select(CollectionDocumentRow.doc_id).where(CollectionDocumentRow.collection_id == collection_id)
    mine = select(CollectionRow.collection_id).where(*_mine(owner_id, collection_id))
    rows = select(literal(collection_id), DocumentRow.doc_id).where(
        mine.exists(), *own, DocumentRow.doc_id.not_in(there)
    )
    await session.execute(insert(CollectionDocumentRow).from_select(["collection_id", "doc_id"], rows))
    return True


async def take(session: AsyncSession, owner_id: str, collection_id: str, doc_id: str) -> bool:
    """Take a document out of a collection of the owner's; False when it is not in it."""
    mine = select(CollectionRow.collection_id).where(*_mine(owner_id, collection_id))
    gone = delete(CollectionDocumentRow).where(
        CollectionDocumentRow.collection_id.in_(mine), CollectionDocumentRow.doc_id == doc_id
    )
    return (await session.scalars(gone.returning(CollectionDocumentRow.doc_id))).one_or_none() is not None


async def memberships(session: AsyncSession, owner_id: str, collection_id: str) -> list[str]:
    """The ids of the documents in a collection of the owner's, oldest first."""
    inside = (
        select(DocumentRow.doc_id)
        .join(CollectionDocumentRow, CollectionDocumentRow.doc_id == DocumentRow.doc_id)
        .join(CollectionRow, CollectionRow.collection_id == CollectionDocumentRow.collection_id)
        .where(*_mine(owner_id, collection_id), DocumentRow.owner_id == owner_id, DocumentRow.status != DELETING)
    )
    return list(await session.scalars(inside.order_by(DocumentRow.created_at, DocumentRow.doc_id)))


async def _named(session: AsyncSession, change: Any) -> None:
    try:
        await session.execute(change)
    except IntegrityError as error:
        raise Conflict("You have a collection of that name already.") from error


def _mine(owner_id: str, collection_id: str) -> tuple[Any, ...]:
    return (CollectionRow.owner_id == owner_id, CollectionRow.collection_id == collection_id)
