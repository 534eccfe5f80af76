"""Every statement of whoever works on a document: the documents table is the queue.

Whoever holds a document's lease may write to it, nobody else: each writing transaction begins with ``hold``, a
compare-and-set on the lease token that also renews the lease, and is rolled back by LeaseLost where another worker has
taken over, or the document was cancelled or is being deleted.

A settled document with a lease token has, or may have, rows that are not its own any more (of a generation that was
replaced, or that came to nothing): they are invisible, and removed under a lease like any other work.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, case, delete, func, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.db import now
from lorestream.documents.models import (
    ChunkRow,
    DocumentRow,
    Job,
    OutlineRow,
    PageRow,
    StoredChunk,
    TextRow,
    version_of,
)
from lorestream.documents.parse import Heading, Page, Parsed
from lorestream.documents.store import LEASE_SECONDS, UNSETTLED, LeaseLost, owner_word

Only = Literal["new", "left over"]

# A lease token that no worker has: something is left to be removed.
LEFT_OVER = "left-over"
CHUNK_TEXTS = """
INSERT INTO chunk_texts (rowid, owner, title, heading, body) VALUES (:id, :owner, :title, :heading, :body)
"""
# Ready documents that do not have all their passages, or not all in the full text.
INCOMPLETE = """
SELECT doc_id, generation FROM documents WHERE status = 'ready' AND reindex IS NOT 'damaged' AND chunks != (
    SELECT count(*) FROM chunks JOIN chunk_texts_docsize AS found ON found.id = chunk_id
    WHERE chunks.doc_id = documents.doc_id AND chunks.generation = documents.generation
)
"""


async def claim(
    session: AsyncSession, worker_id: str, doc_id: str | None = None, only: Only | None = None
) -> Job | None:
    """Take what is most urgent (of this document, if given), and of that what has waited longest; None for nothing.

    First what is damaged, then what is left over, then what a dead worker left and what is new, then what is to be
    indexed in another way. Each is found by an index. A lease that ends later than any could is one from before the
    clock was set back: it counts as ended.
    """
    moment = now()
    ended = or_(
        DocumentRow.lease_until.is_(None),
        DocumentRow.lease_until <= moment,
        DocumentRow.lease_until > moment + timedelta(seconds=2 * LEASE_SECONDS),
    )
    ready = DocumentRow.status == "ready"
    left_over = and_(
        DocumentRow.lease_token.is_not(None),
        DocumentRow.status.in_(("ready", "cancelled")),
        DocumentRow.reindex.is_(None),
    )
    by_urgency = (
        and_(DocumentRow.reindex == "damaged", ready),
        left_over,
        DocumentRow.status == "processing",
        DocumentRow.status == "queued",
        and_(DocumentRow.reindex == "wanted", ready),
    )
    new = and_(DocumentRow.status == "queued", DocumentRow.attempts == 0)
    for urgent in by_urgency if only is None else (left_over if only == "left over" else new,):
        oldest = select(DocumentRow.doc_id).where(urgent, ended).order_by(DocumentRow.created_at).limit(1)
        if doc_id is not None:
            oldest = oldest.where(DocumentRow.doc_id == doc_id)
        if (found := await session.scalar(oldest)) is not None:
            return await _take(session, worker_id, found)
    return None


async def _take(session: AsyncSession, worker_id: str, doc_id: str) -> Job:
    new = DocumentRow.status.in_(UNSETTLED)
    row = await session.execute(
        update(DocumentRow)
        .where(DocumentRow.doc_id == doc_id)
        .values(
            status=case((new, "processing"), else_=DocumentRow.status),
            stage=case((new, "reading"), else_=DocumentRow.stage),
            progress=case((new, 0.0), else_=DocumentRow.progress),
            pages=case((new, None), else_=DocumentRow.pages),
            chunks=case((new, 0), else_=DocumentRow.chunks),
            attempts=DocumentRow.attempts + 1,
            lease_token=f"{worker_id}:{secrets.token_hex(8)}",
            lease_until=now() + timedelta(seconds=LEASE_SECONDS),
        )
        .returning(*[getattr(DocumentRow, name) for name in Job.__dataclass_fields__])
    )
    return Job(*row.one())


async def is_held(session: AsyncSession, job: Job) -> bool:
    """Whether the lease is still there; without writing."""
    return await session.scalar(select(DocumentRow.doc_id).where(*_held(job))) is not None


async def hold(session: AsyncSession, job: Job, **values: Any) -> None:
    """Hold the lease for another LEASE_SECONDS, and set columns of the document. Raises LeaseLost."""
    values.setdefault("lease_until", now() + timedelta(seconds=LEASE_SECONDS))
    changed = await session.execute(
        update(DocumentRow).where(*_held(job)).values(**values), execution_options={"synchronize_session": False}
    )
    if changed.rowcount != 1:  # type: ignore[attr-defined]  # a CursorResult, for every DML statement
        raise LeaseLost


async def add_text(session: AsyncSession, job: Job, part: int, content: str) -> None:
    """Store one part of the extracted text."""
    await session.execute(insert(TextRow).values(doc_id=job.doc_id, part=part, text=content))


async def add_pages(session: AsyncSession, job: Job, pages: Sequence[Page]) -> None:
    """Store where each page stands in the text, and its words on the page."""
    names = ("number", "start", "end", "width", "height", "words")
    rows = [{"doc_id": job.doc_id} | {name: getattr(page, name) for name in names} for page in pages]
    await session.execute(insert(PageRow), rows)


async def add_outline(session: AsyncSession, job: Job, headings: Sequence[Heading]) -> None:
    """Store the headings of the text."""
    rows = [[heading.start, heading.end, heading.level, heading.text] for heading in headings]
    await session.execute(insert(OutlineRow).values(doc_id=job.doc_id, headings=rows))


async def read_parsed(session: AsyncSession, job: Job) -> Parsed:
    """What was read from the file when it was indexed first, without the words' places on the pages."""
    of = TextRow.doc_id == job.doc_id
    parts = await session.scalars(select(TextRow.text).where(of).order_by(TextRow.part))
    spans = select(PageRow.number, PageRow.start, PageRow.end).where(PageRow.doc_id == job.doc_id)
    pages = [Page(*row) for row in await session.execute(spans.order_by(PageRow.number))]
    headings = await session.scalar(select(OutlineRow.headings).where(OutlineRow.doc_id == job.doc_id))
    outline = [Heading(*row) for row in headings] if headings is not None else await _outline_of_chunks(session, job)
    return Parsed("".join(parts), job.title, pages, outline)


async def _outline_of_chunks(session: AsyncSession, job: Job) -> list[Heading]:
    """The headings of a document from before they were stored: as its passages tell them."""
    mine = (ChunkRow.doc_id == job.doc_id, ChunkRow.generation == job.generation)
    rows = await session.execute(select(ChunkRow.start, ChunkRow.heading).where(*mine).order_by(ChunkRow.chunk_index))
    outline: list[Heading] = []
    above = ""
    for start, heading in rows:
        if heading != above:
            outline.append(Heading(start, start, 1, heading))
            above = heading
    return outline


async def add_chunks(
    session: AsyncSession, job: Job, generation: int, title: str, chunks: Sequence[StoredChunk]
) -> list[int]:
    """Store chunks of a generation with their full text, invisible until it is published; their ids in order."""
    names = list(StoredChunk.__dataclass_fields__)
    of = {"owner_id": job.owner_id, "generation": generation}
    rows = [{name: getattr(chunk, name) for name in names} | of for chunk in chunks]
    made = insert(ChunkRow).returning(ChunkRow.chunk_id, sort_by_parameter_order=True)
    ids = list((await session.scalars(made, rows)).all())
    owner = owner_word(job.owner_id)
    texts = [
        {"id": chunk_id, "owner": owner, "title": title, "heading": chunk.heading, "body": chunk.text}
        for chunk_id, chunk in zip(ids, chunks, strict=True)
    ]
    await session.execute(text(CHUNK_TEXTS), texts)
    return ids


async def delete_chunks(session: AsyncSession, job: Job, keep: int | None, limit: int) -> int:
    """Delete up to ``limit`` chunks of other generations than ``keep`` with all that finds them; how many."""
    some = select(ChunkRow.chunk_id).where(ChunkRow.doc_id == job.doc_id).limit(limit)
    if keep is not None:
        some = some.where(ChunkRow.generation != keep)
    gone = delete(ChunkRow).where(ChunkRow.chunk_id.in_(some))
    result = await session.execute(gone, execution_options={"synchronize_session": False})
    return int(result.rowcount)  # type: ignore[attr-defined]


async def delete_text(session: AsyncSession, job: Job) -> None:
    """Delete the extracted text, its pages and its outline."""
    for table in (TextRow, PageRow, OutlineRow):
        await session.execute(delete(table).where(table.doc_id == job.doc_id))


async def publish(session: AsyncSession, job: Job, **made: Any) -> None:
    """Make a wholly indexed document searchable. Raises LeaseLost."""
    await hold(
        session, job, status="ready", stage=None, progress=1.0, attempts=0, reindex=None, lease_token=None,
        lease_until=None, **made,
    )  # fmt: skip


async def replace(session: AsyncSession, job: Job, **made: Any) -> None:
    """Let the next generation serve, and keep the lease for removing the one before. Raises LeaseLost."""
    await hold(session, job, generation=job.generation + 1, attempts=0, reindex=None, **made)


async def settle(session: AsyncSession, job: Job, **values: Any) -> None:
    """End the work on a settled document, which has nothing left over. Raises LeaseLost."""
    await hold(session, job, attempts=0, lease_token=None, lease_until=None, **values)


async def fail(session: AsyncSession, job: Job, code: str, message: str) -> None:
    """End a document as failed, with a reason for its owner. Raises LeaseLost."""
    await settle(
        session, job, status="failed", stage=None, reindex=None, chunks=0, error_code=code, error_message=message
    )


async def put_back(session: AsyncSession, job: Job, delay_seconds: float, attempts: int) -> None:
    """Leave the work to another time, not before ``delay_seconds`` have passed. Raises LeaseLost."""
    queued = {"status": "queued", "stage": None, "progress": 0.0} if job.status == "processing" else {}
    later = now() + timedelta(seconds=min(delay_seconds, LEASE_SECONDS))
    await hold(session, job, attempts=attempts, lease_token=LEFT_OVER, lease_until=later, **queued)


async def release(session: AsyncSession, worker_id: str | None, *, counted: bool) -> list[str]:
    """Put back what a dead worker (None: any) held; ``counted`` when the document may have killed it."""
    taken = DocumentRow.status == "processing"
    values: dict[str, Any] = {
        "status": case((taken, "queued"), else_=DocumentRow.status),
        "stage": None,
        "progress": case((taken, 0.0), else_=DocumentRow.progress),
        "lease_token": LEFT_OVER,
        "lease_until": None,
    }
    if not counted:
        values["attempts"] = func.max(0, DocumentRow.attempts - 1)
    mine: ColumnElement[bool] = DocumentRow.lease_token.contains(":")
    if worker_id is not None:
        mine = DocumentRow.lease_token.startswith(f"{worker_id}:", autoescape=True)
    held = DocumentRow.status.in_(("processing", "ready", "cancelled"))
    change = update(DocumentRow).where(mine, held).values(**values)
    return list((await session.scalars(change.returning(DocumentRow.doc_id))).all())


async def cancel(session: AsyncSession, owner_id: str, doc_id: str) -> str | None:
    """Take a document from the queue or its worker; what became of it, or None where there is nothing to cancel.

    A new one is cancelled; one that was to be indexed in another way stays as it is.
    """
    mine = (DocumentRow.owner_id == owner_id, DocumentRow.doc_id == doc_id)
    wanted = and_(DocumentRow.status == "ready", DocumentRow.reindex == "wanted")
    begun = or_(DocumentRow.attempts > 0, DocumentRow.lease_token.is_not(None))
    change = (
        update(DocumentRow)
        .where(*mine, or_(DocumentRow.status.in_(UNSETTLED), wanted))
        .values(
            status=case((wanted, "ready"), else_="cancelled"),
            progress=case((wanted, DocumentRow.progress), else_=0.0),
            pages=case((wanted, DocumentRow.pages), else_=None),
            chunks=case((wanted, DocumentRow.chunks), else_=0),
            stage=None,
            reindex=None,
            attempts=0,
            lease_token=case((begun, LEFT_OVER), else_=None),
            lease_until=None,
        )
    )
    return await session.scalar(change.returning(DocumentRow.status))


async def want_reindex(
    session: AsyncSession, embedder: str, chunker: str, *, owner_id: str | None = None, everything: bool = False
) -> int:
    """Mark the ready documents that are indexed in another way than this (or all) to be indexed anew; how many."""
    marked = update(DocumentRow).where(DocumentRow.reindex.is_(None), *_others(embedder, chunker, everything))
    if owner_id is not None:
        marked = marked.where(DocumentRow.owner_id == owner_id)
    result = await session.execute(marked.values(reindex="wanted", attempts=0))
    return int(result.rowcount)  # type: ignore[attr-defined]


async def want_reindex_of(session: AsyncSession, owner_id: str, doc_id: str, embedder: str, chunker: str) -> bool:
    """The same for one document; whether it is to be indexed anew."""
    mine = (DocumentRow.owner_id == owner_id, DocumentRow.doc_id == doc_id)
    marked = update(DocumentRow).where(*mine, *_others(embedder, chunker, everything=False))
    wanted = func.coalesce(DocumentRow.reindex, "wanted")
    return await session.scalar(marked.values(reindex=wanted).returning(DocumentRow.doc_id)) is not None


async def count_others(session: AsyncSession, embedder: str, chunker: str) -> int:
    """How many ready documents are indexed in another way than this."""
    counted = select(func.count()).select_from(DocumentRow)
    return int(await session.scalar(counted.where(*_others(embedder, chunker, everything=False))) or 0)


async def count_wanted(session: AsyncSession) -> int:
    """How many ready documents are still to be indexed anew."""
    counted = select(func.count()).select_from(DocumentRow).where(DocumentRow.reindex.is_not(None))
    return int(await session.scalar(counted) or 0)


async def sums(session: AsyncSession, owner_id: str, embedder: str) -> list[tuple[str, int, int, int | None]]:
    """(doc_id, generation, chunks, vectors_sum) of the owner's ready documents that this embedder indexed."""
    columns = (DocumentRow.doc_id, DocumentRow.generation, DocumentRow.chunks, DocumentRow.vectors_sum)
    mine = (DocumentRow.owner_id == owner_id, DocumentRow.status == "ready", DocumentRow.embedder == embedder)
    return [(a, b, c, d) for a, b, c, d in await session.execute(select(*columns).where(*mine))]


async def owners_indexed_by(session: AsyncSession, embedder: str) -> list[str]:
    """Who has ready documents of this embedder."""
    mine = select(DocumentRow.owner_id).where(DocumentRow.status == "ready", DocumentRow.embedder == embedder)
    return list(await session.scalars(mine.distinct()))


async def incomplete(session: AsyncSession) -> list[tuple[str, int]]:
    """(doc_id, generation) of every ready document that does not have all its passages, or not all in the full text."""
    return [(doc_id, generation) for doc_id, generation in await session.execute(text(INCOMPLETE))]


async def mark_damaged(session: AsyncSession, found: Sequence[tuple[str, int]]) -> int:
    """Have ready documents rebuilt, of which this generation still serves; how many that were not marked yet."""
    marked = 0
    for doc_id, generation in found:
        serving = (DocumentRow.doc_id == doc_id, DocumentRow.generation == generation, DocumentRow.status == "ready")
        change = update(DocumentRow).where(*serving, DocumentRow.reindex.is_distinct_from("damaged"))
        result = await session.execute(change.values(reindex="damaged", attempts=0))
        marked += int(result.rowcount)  # type: ignore[attr-defined]
    return marked


def other_versions(job: Job, keep: int | None) -> list[str]:
    """What the vector index may know the document's other generations by."""
    near = range(max(0, job.generation - 1), job.generation + 2)
    return [version_of(job.doc_id, generation) for generation in near if generation != keep]


def _held(job: Job) -> tuple[ColumnElement[bool], ...]:
    return (
        DocumentRow.doc_id == job.doc_id,
        DocumentRow.status == job.status,
        DocumentRow.generation == job.generation,
        DocumentRow.lease_token == job.lease_token,
    )


def _others(embedder: str, chunker: str, everything: bool) -> tuple[ColumnElement[bool], ...]:
    ready = DocumentRow.status == "ready"
    if everything:
        return (ready,)
    other = or_(DocumentRow.embedder.is_distinct_from(embedder), DocumentRow.chunker.is_distinct_from(chunker))
    return (ready, other)
