"""Every statement about documents. Whatever a user asks for has the owner in its WHERE clause.

What the ingestion does is in ``jobs_store``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    union,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.accounts.quotas import Stored
from lorestream.documents.models import (
    DELETING,
    BatchRow,
    ChunkRow,
    CollectionDocumentRow,
    CollectionRow,
    Document,
    DocumentRow,
    Only,
    PageRow,
    PageSpan,
    StoredChunk,
    StoredPage,
    TextRow,
    version_of,
)
from lorestream.errors import Conflict

LEASE_SECONDS = 15.0
SEEN = [getattr(DocumentRow, name) for name in Document.__dataclass_fields__]
UNSETTLED = ("queued", "processing")
LIVE = (*UNSETTLED, "ready")


class LeaseLost(Exception):
    """The document was deleted or another worker has taken it over."""


def owner_word(owner_id: str) -> str:
    """The word that stands for an owner in the full-text index; ends in a digit, so that no stemmer touches it."""
    return f"o{owner_id.encode().hex()}0"


async def insert_document(session: AsyncSession, document: Document) -> bool:
    """Queue a new document; False when the owner already has these bytes."""
    values = {name: getattr(document, name) for name in Document.__dataclass_fields__}
    try:
        await session.execute(insert(DocumentRow).values(**values))
    except IntegrityError:
        return False
    return True


async def stored(session: AsyncSession, owner_id: str) -> Stored:
    """How much the owner has, without what is being deleted."""
    return (await stored_of(session, [owner_id])).get(owner_id, Stored(0, 0))


async def find(session: AsyncSession, owner_id: str, doc_id: str) -> Document | None:
    """The owner's document, if there is one."""
    return await _one(session, select(*SEEN).where(*_mine(owner_id, doc_id)))


async def find_same_bytes(session: AsyncSession, owner_id: str, sha256: str) -> Document | None:
    """The owner's document with these bytes that did not fail, if there is one."""
    return await _one(
        session,
        select(*SEEN).where(
            DocumentRow.owner_id == owner_id, DocumentRow.sha256 == sha256, DocumentRow.status.in_(LIVE)
        ),
    )


async def has_batch(session: AsyncSession, owner_id: str, batch_id: str) -> bool:
    """Whether the owner has this batch."""
    mine = (BatchRow.owner_id == owner_id, BatchRow.batch_id == batch_id)
    return await session.scalar(select(BatchRow.batch_id).where(*mine)) is not None


async def page_of(
    session: AsyncSession, owner_id: str, limit: int, after: tuple[Any, str] | None, only: Only
) -> list[Document]:
    """Up to ``limit`` documents of the owner, newest first, older than ``after`` (created_at, doc_id)."""
    query = select(*SEEN).where(DocumentRow.owner_id == owner_id, DocumentRow.status != DELETING, *_wanted(only))
    if after is not None:
        query = query.where(tuple_(DocumentRow.created_at, DocumentRow.doc_id) < tuple_(*after))
    rows = await session.execute(query.order_by(DocumentRow.created_at.desc(), DocumentRow.doc_id.desc()).limit(limit))
    return [_document(row) for row in rows]


async def read_text(session: AsyncSession, owner_id: str, doc_id: str) -> tuple[list[str], list[PageSpan]]:
    """The extracted text in its stored parts, and where each page stands in it; the caller checked that it is ready."""
    parts = select(TextRow.text).join(DocumentRow, DocumentRow.doc_id == TextRow.doc_id).where(*_mine(owner_id, doc_id))
    pages = (
        select(PageRow.number, PageRow.start, PageRow.end)
        .join(DocumentRow, DocumentRow.doc_id == PageRow.doc_id)
        .where(*_mine(owner_id, doc_id))
    )
    found = (await session.scalars(parts.order_by(TextRow.part))).all()
    return list(found), [PageSpan(*row) for row in await session.execute(pages.order_by(PageRow.number))]


async def read_paper(session: AsyncSession, owner_id: str, doc_id: str, start: int, end: int) -> list[StoredPage]:
    """The pages of paper that the text from ``start`` to ``end`` stands on, in order."""
    columns = [getattr(PageRow, name) for name in StoredPage.__dataclass_fields__]
    rows = await session.execute(
        select(*columns)
        .join(DocumentRow, DocumentRow.doc_id == PageRow.doc_id)
        .where(*_mine(owner_id, doc_id), PageRow.start < end, PageRow.end > start, PageRow.words.is_not(None))
        .order_by(PageRow.number)
    )
    return [StoredPage(*row) for row in rows]


async def read_chunk(session: AsyncSession, owner_id: str, doc_id: str, chunk_index: int) -> StoredChunk | None:
    """One passage of a ready document of the owner."""
    columns = [getattr(ChunkRow, name) for name in StoredChunk.__dataclass_fields__]
    row = (
        await session.execute(
            select(*columns)
            .join(DocumentRow, DocumentRow.doc_id == ChunkRow.doc_id)
            .where(
                *_mine(owner_id, doc_id),
                DocumentRow.status == "ready",
                DocumentRow.generation == ChunkRow.generation,
                ChunkRow.chunk_index == chunk_index,
            )
        )
    ).one_or_none()
    return None if row is None else StoredChunk(*row)


async def owned_ids(session: AsyncSession, owner_id: str) -> list[str]:
    """Every document of the owner, also those on their way out."""
    return list((await session.scalars(select(DocumentRow.doc_id).where(DocumentRow.owner_id == owner_id))).all())


async def owners(session: AsyncSession) -> set[str]:
    """Every owner of a document, also of those on their way out, of a batch or of a collection."""
    rows = (select(DocumentRow.owner_id), select(BatchRow.owner_id), select(CollectionRow.owner_id))
    return set(await session.scalars(union(*rows)))


async def delete_groups(session: AsyncSession, owner_id: str) -> list[str]:
    """Delete every batch and every collection of the owner; the ids of the batches."""
    await session.execute(delete(CollectionRow).where(CollectionRow.owner_id == owner_id))
    gone = delete(BatchRow).where(BatchRow.owner_id == owner_id).returning(BatchRow.batch_id)
    return list(await session.scalars(gone))


async def stored_of(session: AsyncSession, owner_ids: Sequence[str]) -> dict[str, Stored]:
    """How many documents each of these owners has, and the bytes of their originals; nothing for who has none."""
    rows = await session.execute(
        select(DocumentRow.owner_id, func.count(), func.sum(DocumentRow.bytes))
        .where(DocumentRow.owner_id.in_(owner_ids), DocumentRow.status != DELETING)
        .group_by(DocumentRow.owner_id)
    )
    return {owner_id: Stored(documents, size) for owner_id, documents, size in rows}


async def all_ids(session: AsyncSession) -> set[str]:
    """Every document of every owner, for comparing with the files."""
    return set((await session.scalars(select(DocumentRow.doc_id))).all())


async def deleting(session: AsyncSession) -> list[tuple[str, str]]:
    """(owner_id, doc_id) of every document whose deletion has begun and not ended."""
    rows = await session.execute(select(DocumentRow.owner_id, DocumentRow.doc_id).where(DocumentRow.status == DELETING))
    return [(owner_id, doc_id) for owner_id, doc_id in rows]


async def requeue(session: AsyncSession, owner_id: str, doc_id: str) -> bool:
    """Queue a settled document again from the start; False when there is none. Raises Conflict for its twin."""
    change = update(DocumentRow).where(*_mine(owner_id, doc_id), DocumentRow.status.not_in(UNSETTLED))
    try:
        return await _changed(
            session,
            change.values(
                status="queued", progress=0.0, attempts=0, error_code=None, error_message=None, lease_until=None
            ),
        )
    except IntegrityError as error:
        raise Conflict("The same file was uploaded again meanwhile; use that one.") from error


async def begin_deletion(session: AsyncSession, owner_id: str, doc_id: str) -> bool:
    """Make a document invisible and take it from its worker; False when there is none."""
    change = update(DocumentRow).where(*_mine(owner_id, doc_id))
    return await _changed(session, change.values(status=DELETING, lease_token=None, lease_until=None))


async def versions(session: AsyncSession, doc_id: str) -> list[str]:
    """What the vector index may know the document by: what serves, what it replaced and what is to replace it."""
    found = await session.scalar(select(DocumentRow.generation).where(DocumentRow.doc_id == doc_id))
    generation = found or 0
    return [version_of(doc_id, number) for number in range(max(0, generation - 1), generation + 2)]


async def delete_chunks(session: AsyncSession, doc_id: str, limit: int) -> int:
    """Delete up to ``limit`` chunks with their full text and vectors; how many there were."""
    some = select(ChunkRow.chunk_id).where(ChunkRow.doc_id == doc_id).limit(limit)
    return await _count(session, delete(ChunkRow).where(ChunkRow.chunk_id.in_(some)))


async def delete_text(session: AsyncSession, doc_id: str) -> None:
    """Delete the extracted text and its pages."""
    await session.execute(delete(TextRow).where(TextRow.doc_id == doc_id))
    await session.execute(delete(PageRow).where(PageRow.doc_id == doc_id))


async def delete_document(session: AsyncSession, doc_id: str) -> None:
    """Delete the row of a document whose deletion has begun, and all that still hangs on it."""
    await session.execute(delete(DocumentRow).where(DocumentRow.doc_id == doc_id, DocumentRow.status == DELETING))


def _wanted(only: Only) -> list[ColumnElement[bool]]:
    conditions = [_has_word(word) for word in only.words]
    if only.status is not None:
        conditions.append(DocumentRow.status == only.status)
    if only.batch_id is not None:
        conditions.append(DocumentRow.batch_id == only.batch_id)
    if only.collection_id is not None:
        inside = CollectionDocumentRow.collection_id == only.collection_id
        conditions.append(DocumentRow.doc_id.in_(select(CollectionDocumentRow.doc_id).where(inside)))
    return conditions


def _has_word(word: str) -> ColumnElement[bool]:
    """Whether the file's name or the title holds a word; SQLite folds the case of ASCII alone."""
    cases = dict.fromkeys((word, word.upper(), word.capitalize()))
    names = (DocumentRow.filename, DocumentRow.title)
    return or_(*(name.icontains(one, autoescape=True) for one in cases for name in names))


def _mine(owner_id: str, doc_id: str) -> tuple[Any, ...]:
    return (DocumentRow.owner_id == owner_id, DocumentRow.doc_id == doc_id, DocumentRow.status != DELETING)


async def _one(session: AsyncSession, query: Select[Any]) -> Document | None:
    row = (await session.execute(query)).one_or_none()
    return None if row is None else _document(row)


def _document(row: Row[Any]) -> Document:
    values: tuple[Any, ...] = tuple(row)
    return Document(*values)


async def _count(session: AsyncSession, change: Any) -> int:
    result = await session.execute(change, execution_options={"synchronize_session": False})
    return int(result.rowcount)  # type: ignore[attr-defined]  # a CursorResult, for every DML statement


async def _changed(session: AsyncSession, change: Any) -> bool:
    return await _count(session, change) == 1
