"""The statements of a search. Each has the owner in it, and shows ready documents only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.documents.models import ChunkRow, CollectionDocumentRow, CollectionRow, DocumentRow, version_of
from lorestream.documents.store import owner_word
from lorestream.errors import NotFound
from lorestream.retrieval.models import Located, Scope

# Measured (docs/retrieval.md): the weights of title, heading and body in BM25; the owner's word has none.
WEIGHTS = "0.0, 4.0, 2.0, 4.0"
# The plus keeps SQLite from asking the full text once for every chunk of the documents, which takes minutes.
IN_DOCUMENTS = """
AND +rowid IN (
    SELECT chunk_id FROM chunks JOIN documents USING (doc_id, generation)
    WHERE doc_id IN (SELECT value FROM json_each(:doc_ids))
)
"""
LEXICAL = """
SELECT rowid, -bm25(chunk_texts, {weights}) AS score FROM chunk_texts
WHERE chunk_texts MATCH :match {in_documents} ORDER BY score DESC LIMIT :limit
"""
DAMAGED = func.coalesce(DocumentRow.reindex, "") == "damaged"


async def scope(
    session: AsyncSession, owner_id: str, doc_ids: Sequence[str] | None, collection_id: str | None
) -> Scope:
    """What the owner can search, in these documents and in this collection if given.

    Raises NotFound for a collection that the owner does not have.
    """
    if collection_id is not None and not await _has(session, owner_id, collection_id):
        raise NotFound("There is no such collection.")
    if doc_ids is None and collection_id is None:
        counted = select(DocumentRow.embedder, DAMAGED, func.count()).where(*_ready(owner_id))
        groups = (await session.execute(counted.group_by(DocumentRow.embedder, DAMAGED))).all()
        spaces = Counter[str]()
        for embedder, _, count in groups:
            spaces[embedder or ""] += count
        return Scope(dict(spaces), sum(count for _, damaged, count in groups if damaged))
    wanted = _documents(owner_id)
    if doc_ids is not None:
        wanted = wanted.where(DocumentRow.doc_id.in_(doc_ids))
    if collection_id is not None:
        inside = select(CollectionDocumentRow.doc_id).where(CollectionDocumentRow.collection_id == collection_id)
        wanted = wanted.where(DocumentRow.doc_id.in_(inside))
    return await _listed(session, wanted)


async def everything(session: AsyncSession, owner_id: str) -> Scope:
    """All that the owner can search, document by document."""
    return await _listed(session, _documents(owner_id))


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


async def resolve(session: AsyncSession, owner_id: str, chunk_ids: Sequence[int]) -> dict[int, Located]:
    """The chunks among these that are the owner's and of a ready document as it is now."""
    columns = [
        getattr(DocumentRow if name in ("title", "filename") else ChunkRow, name)
        for name in Located.__dataclass_fields__
    ]
    rows = await session.execute(
        select(*columns)
        .join(DocumentRow, DocumentRow.doc_id == ChunkRow.doc_id)
        .where(
            ChunkRow.chunk_id.in_(chunk_ids),
            ChunkRow.owner_id == owner_id,
            DocumentRow.generation == ChunkRow.generation,
            *_ready(owner_id),
        )
    )
    return {row[0]: Located(*row) for row in rows}


def _ready(owner_id: str) -> tuple[ColumnElement[bool], ...]:
    return (DocumentRow.owner_id == owner_id, DocumentRow.status == "ready")


def _documents(owner_id: str) -> Select[str, int, str | None, bool]:
    columns = (DocumentRow.doc_id, DocumentRow.generation, DocumentRow.embedder, DAMAGED)
    return select(*columns).where(*_ready(owner_id))


async def _listed(session: AsyncSession, wanted: Select[str, int, str | None, bool]) -> Scope:
    documents = (await session.execute(wanted)).all()
    return Scope(
        dict(Counter(embedder or "" for _, _, embedder, _ in documents)),
        sum(damaged for *_, damaged in documents),
        [doc_id for doc_id, *_ in documents],
        [version_of(doc_id, generation) for doc_id, generation, *_ in documents],
    )


async def _has(session: AsyncSession, owner_id: str, collection_id: str) -> bool:
    mine = (CollectionRow.owner_id == owner_id, CollectionRow.collection_id == collection_id)
    return await session.scalar(select(literal(1)).where(*mine)) is not None
