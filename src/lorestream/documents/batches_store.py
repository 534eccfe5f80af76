"""Every statement about batches. What a user asks for has the owner in its WHERE clause.

The archive of a batch is unpacked by whoever holds its lease, as a document is indexed: each such transaction begins
with ``hold``, and is rolled back by LeaseLost where another worker has taken over or the batch was cancelled.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, and_, case, delete, exists, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.db import now
from lorestream.documents.jobs_store import LEFT_OVER
from lorestream.documents.models import DELETING, Batch, BatchRow, BatchStatus, Document, DocumentRow
from lorestream.documents.store import LEASE_SECONDS, LIVE, SEEN, UNSETTLED, LeaseLost
from lorestream.errors import Conflict, NotFound

# In the table: an archive is being unpacked; everything is there, or comes by uploads; cancelled.
UNPACKING, OPEN, CANCELLED = "unpacking", "open", "cancelled"
# A batch without any document is said to be at work so long: its first upload is on its way.
ARRIVING_SECONDS = 60.0
MAX_REFUSED = 1000


@dataclass(frozen=True, slots=True)
class Unpacking:
    """A claim on one archive: whoever holds the current ``lease_token`` may write to its batch, nobody else."""

    batch_id: str
    owner_id: str
    collection_id: str | None
    entries: int
    next_entry: int
    refused: Sequence[Mapping[str, str]]
    lease_token: str


async def insert_batch(
    session: AsyncSession,
    owner_id: str,
    batch_id: str,
    name: str,
    collection_id: str | None,
    entries: int | None = None,
) -> None:
    """Store a new batch; ``entries`` of an archive that is to be unpacked."""
    await session.execute(
        insert(BatchRow).values(
            batch_id=batch_id, owner_id=owner_id, name=name, collection_id=collection_id, entries=entries,
            status=OPEN if entries is None else UNPACKING, refused=[], created_at=now(),
        )
    )  # fmt: skip


async def count(session: AsyncSession, owner_id: str, *, unpacking: bool = False) -> int:
    """How many batches the owner has, or how many whose archive is being unpacked."""
    query = select(func.count()).select_from(BatchRow).where(BatchRow.owner_id == owner_id)
    return await session.scalar(query.where(BatchRow.status == UNPACKING) if unpacking else query) or 0


async def find(session: AsyncSession, owner_id: str, batch_id: str) -> Batch | None:
    """The owner's batch with its numbers, if there is one."""
    wanted = select(BatchRow.batch_id).where(BatchRow.owner_id == owner_id, BatchRow.batch_id == batch_id)
    row = (await session.execute(_batches(wanted))).one_or_none()
    return None if row is None else _batch(row)


async def page_of(session: AsyncSession, owner_id: str, limit: int, after: tuple[datetime, str] | None) -> list[Batch]:
    """Up to ``limit`` batches of the owner, newest first, older than ``after`` (created_at, batch_id)."""
    newest = (BatchRow.created_at.desc(), BatchRow.batch_id.desc())
    wanted = select(BatchRow.batch_id).where(BatchRow.owner_id == owner_id).order_by(*newest).limit(limit)
    if after is not None:
        wanted = wanted.where(tuple_(BatchRow.created_at, BatchRow.batch_id) < tuple_(*after))
    return [_batch(row) for row in await session.execute(_batches(wanted).order_by(*newest))]


async def collection_of(session: AsyncSession, owner_id: str, batch_id: str) -> str | None:
    """The collection that documents of the owner's batch go into; it may be gone.

    Raises NotFound where there is no such batch, and Conflict where it takes no more documents.
    """
    columns = select(BatchRow.status, BatchRow.collection_id)
    row = (
        await session.execute(columns.where(BatchRow.owner_id == owner_id, BatchRow.batch_id == batch_id))
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such batch.")
    if row.status == CANCELLED:
        raise Conflict("This batch was cancelled.")
    collection_id: str | None = row.collection_id
    return collection_id


async def join(session: AsyncSession, owner_id: str, batch_id: str, doc_ids: Sequence[str]) -> None:
    """Put those of the owner's documents into a batch that are in none."""
    await session.execute(
        update(DocumentRow)
        .where(DocumentRow.owner_id == owner_id, DocumentRow.doc_id.in_(doc_ids), DocumentRow.batch_id.is_(None))
        .values(batch_id=batch_id)
        .execution_options(synchronize_session=False)
    )


async def same_bytes(session: AsyncSession, owner_id: str, sha256s: Sequence[str]) -> dict[str, str]:
    """The owner's documents with these bytes that did not fail: doc_id by checksum."""
    wanted = (DocumentRow.owner_id == owner_id, DocumentRow.sha256.in_(sha256s), DocumentRow.status.in_(LIVE))
    rows = await session.execute(select(DocumentRow.sha256, DocumentRow.doc_id).where(*wanted))
    return {row.sha256: row.doc_id for row in rows}


async def insert_documents(session: AsyncSession, documents: Sequence[Document]) -> None:
    """Queue new documents, whose bytes their owner does not have."""
    rows = [{name: getattr(one, name) for name in Document.__dataclass_fields__} for one in documents]
    if rows:
        await session.execute(insert(DocumentRow), rows)


async def with_bytes(session: AsyncSession, owner_id: str, sha256: str) -> Document | None:
    """The owner's document with these bytes, rather one that did not fail, rather the latest."""
    mine = (DocumentRow.owner_id == owner_id, DocumentRow.sha256 == sha256, DocumentRow.status != DELETING)
    best = (DocumentRow.status.in_(LIVE).desc(), DocumentRow.created_at.desc())
    row = (await session.execute(select(*SEEN).where(*mine).order_by(*best).limit(1))).one_or_none()
    return None if row is None else Document(*tuple(row))


async def changed(
    session: AsyncSession, owner_id: str, batch_id: str | None, since: datetime, limit: int, *, latest: bool = True
) -> list[tuple[datetime, Document]]:
    """Up to ``limit`` documents (of a batch) whose row changed after ``since``, and when; by default latest first."""
    query = select(DocumentRow.changed_at, *SEEN).where(
        DocumentRow.owner_id == owner_id, DocumentRow.status != DELETING, DocumentRow.changed_at > since
    )
    if batch_id is not None:
        query = query.where(DocumentRow.batch_id == batch_id)
    order = DocumentRow.changed_at.desc() if latest else DocumentRow.changed_at
    rows = await session.execute(query.order_by(order).limit(limit))
    return [(row[0], Document(*tuple(row)[1:])) for row in rows]


async def cancel(session: AsyncSession, owner_id: str, batch_id: str) -> list[str]:
    """Cancel a batch and what is not settled of it, as ``jobs_store.cancel`` does one; what was cancelled."""
    await session.execute(
        update(BatchRow)
        .where(BatchRow.owner_id == owner_id, BatchRow.batch_id == batch_id)
        .values(status=CANCELLED, lease_token=None, lease_until=None)
    )
    begun = or_(DocumentRow.status == "processing", DocumentRow.attempts > 0, DocumentRow.lease_token == LEFT_OVER)
    cancelled = (
        update(DocumentRow)
        .where(
            DocumentRow.owner_id == owner_id, DocumentRow.batch_id == batch_id, DocumentRow.status.in_(UNSETTLED)
        )
        .values(
            status="cancelled", stage=None, progress=0.0, pages=None, chunks=0, reindex=None, attempts=0,
            lease_token=case((begun, LEFT_OVER), else_=None), lease_until=None,
        )
    )  # fmt: skip
    return list(await session.scalars(cancelled.returning(DocumentRow.doc_id)))


async def claim(session: AsyncSession, worker_id: str) -> Unpacking | None:
    """Take the archive that has waited longest, if any waits or was left by a dead worker.

    A lease that ends later than any could is one from before the clock was set back: it counts as ended.
    """
    moment = now()
    furthest = moment + timedelta(seconds=2 * LEASE_SECONDS)
    free = or_(BatchRow.lease_until.is_(None), BatchRow.lease_until <= moment, BatchRow.lease_until > furthest)
    oldest = select(BatchRow.batch_id).where(BatchRow.status == UNPACKING, free).order_by(BatchRow.created_at).limit(1)
    row = (
        await session.execute(
            update(BatchRow)
            .where(BatchRow.batch_id == oldest.scalar_subquery())
            .values(
                lease_token=f"{worker_id}:{secrets.token_hex(8)}",
                lease_until=moment + timedelta(seconds=LEASE_SECONDS),
            )
            .returning(*[getattr(BatchRow, name) for name in Unpacking.__dataclass_fields__])
        )
    ).one_or_none()
    return None if row is None else Unpacking(*row)


async def hold(session: AsyncSession, job: Unpacking, **values: Any) -> None:
    """Hold the lease for another LEASE_SECONDS, and set columns of the batch. Raises LeaseLost."""
    held = update(BatchRow).where(
        BatchRow.batch_id == job.batch_id, BatchRow.status == UNPACKING, BatchRow.lease_token == job.lease_token
    )
    values.setdefault("lease_until", now() + timedelta(seconds=LEASE_SECONDS))
    if not (await session.execute(held.values(**values))).rowcount:  # type: ignore[attr-defined]  # a CursorResult
        raise LeaseLost


async def release(session: AsyncSession, worker_id: str | None) -> None:
    """Free at once what a dead worker (None: any) was unpacking."""
    change = update(BatchRow).where(BatchRow.status == UNPACKING).values(lease_token=None, lease_until=None)
    if worker_id is not None:
        change = change.where(BatchRow.lease_token.startswith(f"{worker_id}:", autoescape=True))
    await session.execute(change)


async def unpacking(session: AsyncSession) -> set[str]:
    """Every batch whose archive is still to be unpacked."""
    return set(await session.scalars(select(BatchRow.batch_id).where(BatchRow.status == UNPACKING)))


async def forget_empty(session: AsyncSession, before: datetime) -> None:
    """Delete the batches made before that, of which no document is left."""
    of_it = exists().where(DocumentRow.owner_id == BatchRow.owner_id, DocumentRow.batch_id == BatchRow.batch_id)
    await session.execute(
        delete(BatchRow)
        .where(BatchRow.created_at < before, BatchRow.status != UNPACKING, ~of_it)
        .execution_options(synchronize_session=False)
    )


def _batches(wanted: Select[str]) -> Select[Any]:
    """These batches with the numbers of their documents: one grouped pass over each one's."""
    by_status: list[Any] = [
        func.count(case((DocumentRow.status == status, 1))).label(status)
        for status in ("queued", "processing", "ready", "failed", "cancelled")
    ]
    share = case((DocumentRow.status.in_(UNSETTLED), DocumentRow.progress), (DocumentRow.doc_id.is_not(None), 1.0))
    columns: list[Any] = [
        *(BatchRow.batch_id, BatchRow.name, BatchRow.collection_id, BatchRow.status, BatchRow.entries),
        *(BatchRow.next_entry, BatchRow.refused, BatchRow.created_at),
        *(func.count(DocumentRow.doc_id).label("documents"), *by_status),
        *(func.coalesce(func.sum(getattr(DocumentRow, name)), 0).label(name) for name in ("pages", "chunks")),
        func.coalesce(func.sum(share), 0.0).label("share"),
    ]
    of_it = and_(
        DocumentRow.owner_id == BatchRow.owner_id,
        DocumentRow.batch_id == BatchRow.batch_id,
        DocumentRow.status != DELETING,
    )
    return (
        select(*columns).outerjoin(DocumentRow, of_it).where(BatchRow.batch_id.in_(wanted)).group_by(BatchRow.batch_id)
    )


def _batch(row: Row[Any]) -> Batch:
    to_unpack = max(0, row.entries - row.next_entry) if row.status == UNPACKING else 0
    age = now() - row.created_at
    arriving = row.entries is None and not row.documents and age < timedelta(seconds=ARRIVING_SECONDS)
    status: BatchStatus = "working" if row.queued or row.processing or arriving else "done"
    if row.status in (CANCELLED, UNPACKING):
        status = "cancelled" if row.status == CANCELLED else "unpacking"
    expected = row.documents + to_unpack
    progress = min(1.0, row.share / expected) if expected else float(not arriving)
    names = Batch.__dataclass_fields__.keys() - {"status", "progress"}
    return Batch(status=status, progress=progress, **{name: getattr(row, name) for name in names})
