"""Hybrid search over one owner's documents: nearest vectors and full text, side by side, fused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from lorestream.db import Database
from lorestream.errors import LorestreamError, NoDocuments, RetrievalFailed
from lorestream.index.base import VectorIndex
from lorestream.providers.base import Embedder, Vectors
from lorestream.retrieval import rank, store
from lorestream.retrieval.models import Found, Passage, Ranks, Scope
from lorestream.text import content_words

log = logging.getLogger(__name__)

T = TypeVar("T")

# How many hits of each search are fused.
CANDIDATES = 50
# How many of the best are asked whether they are relevant, though fewer are wanted.
LOOKED_AT = 10
# Beside a relevant passage, one of this share of the floor is still shown.
FAR_BELOW = 0.5
MAX_WORDS = 64
MAX_QUERY_CHARACTERS = 8000


class Retrieval:
    """Finds passages for questions. Every call names the owner; nothing of anyone else can come back."""

    def __init__(self, db: Database, index: VectorIndex, embedder: Embedder, relevance_floor: float) -> None:
        """Take what it searches with; ``relevance_floor`` 0 keeps every passage, 1 none."""
        self._db = db
        self._index = index
        self._embedder = embedder
        self._relevance_floor = relevance_floor

    async def search(
        self,
        owner_id: str,
        question: str,
        k: int,
        doc_ids: Sequence[str] | None = None,
        context: str | None = None,
        collection_id: str | None = None,
    ) -> list[Passage]:
        """The best ``k`` passages or fewer, best first; ``[]`` when nothing is relevant to the question.

        ``context`` is what was asked before: then the question is searched by itself and after its context, and the
        scores are blended. Raises NoDocuments when there is nothing to search (in these documents and this
        collection, if given),
        RetrievalFailed, and what the embedder raises.
        """
        queries = [question[:MAX_QUERY_CHARACTERS]]
        if context:
            queries.append(f"{context} {question}"[:MAX_QUERY_CHARACTERS])
        try:
            async with self._db.read() as session:
                scope = await store.scope(session, owner_id, doc_ids, collection_id)
            self._check(scope)
            return await self._search(owner_id, queries, k, scope)
        except LorestreamError:
            raise
        except Exception as error:
            log.exception("searching failed")
            raise RetrievalFailed from error

    def _check(self, scope: Scope) -> None:
        if not scope.embedders:
            raise NoDocuments
        others = scope.embedders.keys() - {self._embedder.name}
        if others:
            other = min(others)
            count = sum(scope.embedders[name] for name in others)
            raise RetrievalFailed(
                f"{count} of your documents were indexed with the embedder {other!r}, and now it is "
                f"{self._embedder.name!r}. Set LORESTREAM_EMBEDDER={other}, or index them again (retry)."
            )

    async def _search(self, owner_id: str, queries: Sequence[str], k: int, scope: Scope) -> list[Passage]:
        looks = await _together([self._look(owner_id, query, scope) for query in queries])
        hits = list(dict.fromkeys(chunk_id for look in looks for chunk_id in (*look.distances, *look.lexical)))
        async with self._db.read() as session:
            found = await store.resolve(session, owner_id, hits)
        literal, *contextual = await _together([self._measure(owner_id, look, found) for look in looks])
        scores, relevance = literal.scores, literal.relevance
        for other in contextual:
            scores, relevance = rank.blend(scores, other.scores), rank.highest(relevance, other.relevance)
        best = self._relevant(rank.order(scores)[: max(k, LOOKED_AT)], relevance)
        places = Places(_places(looks[0].distances), _places(looks[0].lexical))
        return [_passage(found[i], literal.distances[i], scores[i], places.of(i)) for i in best[:k]]

    async def _look(self, owner_id: str, query: str, scope: Scope) -> _Look:
        by_words = asyncio.create_task(self._lexical(owner_id, query, scope.doc_ids))
        try:
            vector = await self._embedder.embed_query(query)
            dense = await self._index.search(owner_id, self._embedder.name, vector, CANDIDATES, scope.versions)
            lexical = await by_words
        finally:
            by_words.cancel()
            await asyncio.gather(by_words, return_exceptions=True)
        return _Look(query, vector, {hit.chunk_id: hit.distance for hit in dense}, lexical)

    async def _measure(self, owner_id: str, look: _Look, found: Mapping[int, Found]) -> _Measured:
        """Every hit of any query that may be seen, measured by this one."""
        missing = [chunk_id for chunk_id in found if chunk_id not in look.distances]
        others = await self._index.distances(owner_id, self._embedder.name, look.vector, missing)
        distances = look.distances | others
        visible = {chunk_id: distance for chunk_id, distance in distances.items() if chunk_id in found}
        texts = {i: f"{found[i].title}\n{found[i].heading}\n{found[i].text}" for i in visible}
        return _Measured(visible, rank.fuse(visible, look.lexical), rank.relevance(look.query, texts, visible))

    def _relevant(self, best: list[int], relevance: dict[int, float]) -> list[int]:
        """Nothing where not even one of the best reaches the floor, else those that are not far below it."""
        if all(relevance[chunk_id] < self._relevance_floor for chunk_id in best):
            return []
        return [chunk_id for chunk_id in best if relevance[chunk_id] >= self._relevance_floor * FAR_BELOW]

    async def _lexical(self, owner_id: str, question: str, doc_ids: Sequence[str] | None) -> dict[int, float]:
        words = list(dict.fromkeys(content_words(question)))[:MAX_WORDS]
        async with self._db.read() as session:
            return dict(await store.lexical(session, owner_id, words, CANDIDATES, doc_ids))


@dataclass(frozen=True, slots=True)
class _Look:
    """What one query found: distances and BM25 scores by chunk_id, best first."""

    query: str
    vector: Vectors
    distances: dict[int, float]
    lexical: dict[int, float]


@dataclass(frozen=True, slots=True)
class _Measured:
    """Every visible hit by chunk_id: its distance from one query, its fused score and its relevance."""

    distances: dict[int, float]
    scores: dict[int, float]
    relevance: dict[int, float]


class Places(NamedTuple):
    """Each hit's place, from 1, in the two searches."""

    dense: dict[int, int]
    lexical: dict[int, int]

    def of(self, chunk_id: int) -> Ranks:
        """The places of one hit."""
        return Ranks(self.dense.get(chunk_id), self.lexical.get(chunk_id))


async def _together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all, at the same time; where one fails the others are cancelled."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _places(best_first: Iterable[int]) -> dict[int, int]:
    return {chunk_id: place for place, chunk_id in enumerate(best_first, 1)}


def _passage(found: Found, distance: float, score: float, ranks: Ranks) -> Passage:
    return Passage(
        **{name: getattr(found, name) for name in Found.__dataclass_fields__},
        distance=round(distance, 4),
        score=round(score, 4),
        ranks=ranks,
    )
