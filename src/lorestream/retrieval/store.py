"""The statements of a search. Each has the owner in it, and shows ready documents only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Row, Select, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.documents.models import ChunkRow, CollectionDocumentRow, CollectionRow, DocumentRow, version_of
from lorestream.documents.store import owner_word
from lorestream.retrieval.models import Found, Scope

# Measured (docs/retrieval.md): the weights of title, heading and body in BM25; the owner's word has none.
WEIGHTS = "0.0, 2.0, 1.0, 1.0"
IN_DOCUMENTS = """
AND rowid IN (
    SELECT chunk_id FROM chunks JOIN documents USING (doc_id, generation)
    WHERE doc_id IN (SELECT value FROM json_each(:doc_ids))
)
"""
LEXICAL = """
SELECT rowid, -bm25(chunk_texts, {weights}) AS score FROM chunk_texts
WHERE chunk_texts MATCH :match {in_documents} ORDER BY score DESC LIMIT :limit
"""


async def scope(
    session: AsyncSession, owner_id: str, doc_ids: Sequence[str] | None, collection_id: str | None = None
) -> Scope:
    """What the owner can search, in these documents and in this collection, if given."""
    ready = select(DocumentRow.doc_id, DocumentRow.embedder, DocumentRow.generation).where(
        DocumentRow.owner_id == owner_id, DocumentRow.status == "ready"
    )
    if collection_id is not None:
        ready = ready.where(DocumentRow.doc_id.in_(_inside(owner_id, collection_id)))
    if doc_ids is not None:
        ready = ready.where(DocumentRow.doc_id.in_(doc_ids))
    if doc_ids is not None or collection_id is not None:
        return _scope((await session.execute(ready)).all())
    at_work = (DocumentRow.status.not_in(("ready", "failed", "cancelled"))) | DocumentRow.lease_token.is_not(None)
    counted = select(DocumentRow.status, DocumentRow.embedder, func.count(), func.sum(at_work))
    groups = counted.where(DocumentRow.owner_id == owner_id).group_by(DocumentRow.status, DocumentRow.embedder)
    rows = (await session.execute(groups)).all()
    if not any(working for *_, working in rows):
        embedders = {embedder or "": count for status, embedder, count, _ in rows if status == "ready"}
        return Scope(embedders, None, None)
    # Documents at work have rows in the indexes that are not to be found: they must not take the place of others.
    return _scope((await session.execute(ready)).all())


def _inside(owner_id: str, collection_id: str) -> Select[str]:
    members = select(CollectionDocumentRow.doc_id).join(
        CollectionRow, CollectionRow.collection_id == CollectionDocumentRow.collection_id
    )
    return members.where(CollectionRow.owner_id == owner_id, CollectionRow.collection_id == collection_id)


def _scope(documents: Sequence[Row[str, str | None, int]]) -> Scope:
    return Scope(
        dict(Counter(embedder or "" for _, embedder, _ in documents)),
        [doc_id for doc_id, _, _ in documents],
        [version_of(doc_id, generation) for doc_id, _, generation in documents],
    )


async def lexical(
    session: AsyncSession, owner_id: str, words: Sequence[str], limit: int, doc_ids: Sequence[str] | None
) -> list[tuple[int, float]]:
    """(chunk_id, BM25 score, higher is better) of the chunks with any of the words, best first."""
    if not words:
        return []
    any_word = " OR ".join('"' + word.replace('"', '""') + '"' for word in words)
    statement = LEXICAL.format(weights=WEIGHTS, in_documents="" if doc_ids is None else IN_DOCUMENTS)
    parameters = {"match": f'owner : "{owner_word(owner_id)}" AND ({any_word})', "limit": limit}
    if doc_ids is not None:
        parameters["doc_ids"] = json.dumps(list(doc_ids))
    rows = await session.execute(text(statement), parameters)
    return [(chunk_id, score) for chunk_id, score in rows]


async def resolve(session: AsyncSession, owner_id: str, chunk_ids: Sequence[int]) -> dict[int, Found]:
    """The chunks among these that are the owner's and of a ready document."""
    columns = [
        getattr(DocumentRow if name in ("title", "filename") else ChunkRow, name) for name in Found.__dataclass_fields__
    ]
    rows = await session.execute(
        select(*columns)
        .join(DocumentRow, DocumentRow.doc_id == ChunkRow.doc_id)
        .where(
            ChunkRow.chunk_id.in_(chunk_ids),
            ChunkRow.owner_id == owner_id,
            DocumentRow.owner_id == owner_id,
            DocumentRow.status == "ready",
            DocumentRow.generation == ChunkRow.generation,
        )
    )
    return {row[0]: Found(*row) for row in rows}
