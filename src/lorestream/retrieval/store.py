"""The statements of a search. Each has the owner in it, and shows ready documents only."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.documents.models import ChunkRow, DocumentRow
from lorestream.documents.store import owner_word
from lorestream.retrieval.models import Found, Scope

# Measured (docs/retrieval.md): the weights of title, heading and body in BM25; the owner's word has none.
WEIGHTS = "0.0, 2.0, 1.0, 1.0"
IN_DOCUMENTS = """
AND rowid IN (SELECT chunk_id FROM chunks WHERE doc_id IN (SELECT value FROM json_each(:doc_ids)))
"""
LEXICAL = """
SELECT rowid, -bm25(chunk_texts, {weights}) AS score FROM chunk_texts
WHERE chunk_texts MATCH :match {in_documents} ORDER BY score DESC LIMIT :limit
"""


async def scope(session: AsyncSession, owner_id: str, doc_ids: Sequence[str] | None) -> Scope:
    """What the owner can search, in these documents if given."""
    ready = (DocumentRow.owner_id == owner_id, DocumentRow.status == "ready")
    if doc_ids is None:
        counted = select(DocumentRow.status, DocumentRow.embedder, func.count()).where(DocumentRow.owner_id == owner_id)
        rows = (await session.execute(counted.group_by(DocumentRow.status, DocumentRow.embedder))).all()
        embedders = {embedder or "": count for status, embedder, count in rows if status == "ready"}
        if all(status in ("ready", "failed", "cancelled") for status, _, _ in rows):
            return Scope(embedders, None)
        # Documents at work have rows in the indexes already: they must not take the place of ready ones.
        found = (await session.scalars(select(DocumentRow.doc_id).where(*ready))).all()
        return Scope(embedders, list(found))
    wanted = select(DocumentRow.doc_id, DocumentRow.embedder).where(*ready, DocumentRow.doc_id.in_(doc_ids))
    rows_wanted = (await session.execute(wanted)).all()
    counts: dict[str, int] = {}
    for _, embedder in rows_wanted:
        counts[embedder or ""] = counts.get(embedder or "", 0) + 1
    return Scope(counts, [doc_id for doc_id, _ in rows_wanted])


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
        )
    )
    return {row[0]: Found(*row) for row in rows}
