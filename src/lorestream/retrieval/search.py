"""Hybrid search over one owner's documents: nearest vectors and full text, side by side, fused."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lorestream.db import Database
from lorestream.documents.integrity import Integrity
from lorestream.errors import LorestreamError, NoDocuments, Rebuilding, RetrievalFailed
from lorestream.index.base import VectorIndex
from lorestream.providers.base import Reranker, Vectors
from lorestream.retrieval import rank, store
from lorestream.retrieval.models import Found, Located, Passage, Ranks, Scope, Timings
from lorestream.retrieval.spaces import Embedders
from lorestream.text import content_words

log = logging.getLogger(__name__)

T = TypeVar("T")

# How many hits of each search are fused; as many as can be asked for.
CANDIDATES = 50
# How many of the best are asked whether they are relevant, though fewer are wanted.
LOOKED_AT = 10
# Beside a relevant passage, one of this share of the floor is still shown.
FAR_BELOW = 0.5
# Words of a question that the full text is asked for: it scores every chunk with any of them.
MAX_WORDS = 24
# Of a long message its beginning is searched: more than any embedder reads at once, and than some refuse.
MAX_QUERY_CHARACTERS = 2000


class Retrieval:
    """Finds passages for questions. Every call names the owner; nothing of anyone else can come back."""

    def __init__(
        self,
        db: Database,
        index: VectorIndex,
        embedders: Embedders,
        relevance_floor: float,
        *,
        integrity: Integrity | None = None,
        reranker: Reranker | None = None,
        rerank_candidates: int = 30,
        dense_weight: float = rank.DENSE_WEIGHT,
    ) -> None:
        """Take what it searches with; ``relevance_floor`` 0 keeps every passage, 1 none.

        ``integrity`` is asked before the vectors are, so that none is silently missing. ``dense_weight`` is the share
        of the vectors in the score, the full text has the rest: 1 and 0 are for comparisons.
        """
        self._db = db
        self._index = index
        self._embedders = embedders
        self._relevance_floor = relevance_floor
        self._integrity = integrity
        self._reranker = reranker
        self._rerank_candidates = rerank_candidates
        self._dense_weight = dense_weight

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
        scores are blended. Raises NotFound for a collection that is not the owner's, NoDocuments when there is nothing
        to search (in these documents and this collection, if given), Rebuilding where one of them is damaged,
        RetrievalFailed, and what the embedder raises.
        """
        queries = [question, f"{context} {question}"] if context else [question]
        found = await self._guarded(owner_id, queries, k, doc_ids, collection_id, self._relevance_floor)
        return found.passages

    async def find(
        self,
        owner_id: str,
        query: str,
        k: int,
        doc_ids: Sequence[str] | None = None,
        collection_id: str | None = None,
    ) -> Found:
        """The best ``k`` (1 to 50) passages, relevant or not, and how long it took; raises as ``search`` does."""
        return await self._guarded(owner_id, [query], k, doc_ids, collection_id, 0.0)

    async def _guarded(
        self,
        owner_id: str,
        queries: Sequence[str],
        k: int,
        doc_ids: Sequence[str] | None,
        collection_id: str | None,
        floor: float,
    ) -> Found:
        clock = _Clock()
        asked = [_Asked(query[:MAX_QUERY_CHARACTERS]) for query in queries]
        try:
            with clock.measuring("total_ms"):
                async with self._db.read() as session:
                    scope = await store.scope(session, owner_id, doc_ids, collection_id)
                if not scope.spaces:
                    raise NoDocuments
                if scope.damaged:
                    raise Rebuilding
                passages = await self._search(owner_id, asked, k, scope, floor, clock)
        except LorestreamError:
            raise
        except Exception as error:
            log.exception("searching failed")
            raise RetrievalFailed from error
        return Found(passages, clock.timings)

    async def _search(
        self, owner_id: str, asked: Sequence[_Asked], k: int, scope: Scope, floor: float, clock: _Clock
    ) -> list[Passage]:
        looks, chunks = await self._look_at(owner_id, asked, scope, clock)
        if scope.versions is None and any(look.crowded_out(chunks) for look in looks):
            # Chunks that are being made or removed stood where others belong: look again at what may be found.
            async with self._db.read() as session:
                scope = await store.everything(session, owner_id)
            looks, chunks = await self._look_at(owner_id, asked, scope, clock)
        literal, *contextual = await _together([self._measure(owner_id, look, chunks) for look in looks])
        scores, relevance = literal.scores, literal.relevance
        for other in contextual:
            scores, relevance = rank.blend(scores, other.scores), rank.highest(relevance, other.relevance)
        best = self._relevant(rank.order(scores), relevance, floor)
        best, scores, reranked = await self._rerank(
            asked, best[: max(k, self._rerank_candidates)], chunks, scores, clock
        )
        dense, lexical = looks[0].places()
        ranks = {i: Ranks(dense.get(i), lexical.get(i), reranked.get(i)) for i in best[:k]}
        return [_passage(chunks[i], literal.distances[i], scores[i], ranks[i]) for i in best[:k]]

    async def _look_at(
        self, owner_id: str, asked: Sequence[_Asked], scope: Scope, clock: _Clock
    ) -> tuple[list[_Look], dict[int, Located]]:
        """What every query finds, and the chunks among all that may be seen."""
        looks = await _together([self._look(owner_id, query, scope, clock) for query in asked])
        hits = list(dict.fromkeys(chunk_id for look in looks for chunk_id in look.hits()))
        async with self._db.read() as session:
            return looks, await store.resolve(session, owner_id, hits)

    async def _look(self, owner_id: str, asked: _Asked, scope: Scope, clock: _Clock) -> _Look:
        by_words = asyncio.create_task(self._lexical(owner_id, asked.text, scope, clock))
        try:
            spaces = list(scope.spaces)
            near = await _together([self._nearest(owner_id, space, asked, scope, clock) for space in spaces])
            lexical = await by_words
        finally:
            by_words.cancel()
            await asyncio.gather(by_words, return_exceptions=True)
        return _Look(asked, dict(zip(spaces, near, strict=True)), lexical)

    async def _nearest(self, owner_id: str, space: str, asked: _Asked, scope: Scope, clock: _Clock) -> dict[int, float]:
        with clock.measuring("embed_ms"):
            if space not in asked.vectors:
                asked.vectors[space] = await self._embedders.embed(space, asked.text)
        vector = asked.vectors[space]
        with clock.measuring("dense_ms"):
            if self._integrity:
                await self._integrity.check(owner_id, {space: len(vector)})
            hits = await self._index.search(owner_id, space, vector, CANDIDATES, scope.versions)
        return {hit.chunk_id: hit.distance for hit in hits}

    async def _lexical(self, owner_id: str, question: str, scope: Scope, clock: _Clock) -> dict[int, float]:
        words = list(dict.fromkeys(content_words(question)))
        if len(words) > MAX_WORDS:
            words = sorted(words, key=len, reverse=True)[:MAX_WORDS]  # the longer, the rarer
        with clock.measuring("lexical_ms"):
            async with self._db.read() as session:
                return dict(await store.lexical(session, owner_id, words, CANDIDATES, scope.doc_ids))

    async def _measure(self, owner_id: str, look: _Look, chunks: Mapping[int, Located]) -> _Measured:
        """Every hit of any query that may be seen, measured by this one."""
        distances: dict[int, float] = {}
        near: list[dict[int, float]] = []
        for space, found in look.distances.items():
            missing = [chunk_id for chunk_id in chunks if chunk_id not in found]
            others = await self._index.distances(owner_id, space, look.asked.vectors[space], missing)
            here = {chunk_id: distance for chunk_id, distance in (found | others).items() if chunk_id in chunks}
            usual = await self._embedders.usual(space)
            near.append({chunk_id: rank.nearness(distance, usual) for chunk_id, distance in here.items()})
            distances |= here
        every = {chunk_id: value for one in near for chunk_id, value in one.items()}
        texts = {i: chunks[i].in_context for i in every}
        scores = rank.fuse(near, look.lexical, self._dense_weight)
        return _Measured(distances, scores, rank.relevance(look.asked.text, texts, every))

    def _relevant(self, best: list[int], relevance: Mapping[int, float], floor: float) -> list[int]:
        """Nothing where not even one of the best reaches the floor, else those that are not far below it."""
        if all(relevance[chunk_id] < floor for chunk_id in best[:LOOKED_AT]):
            return []
        return [chunk_id for chunk_id in best if relevance[chunk_id] >= floor * FAR_BELOW]

    async def _rerank(
        self,
        asked: Sequence[_Asked],
        best: list[int],
        chunks: Mapping[int, Located],
        scores: dict[int, float],
        clock: _Clock,
    ) -> tuple[list[int], dict[int, float], dict[int, int]]:
        """The order, the scores and the places that the reranker gives, if there is one."""
        if self._reranker is None or not best:
            return best, scores, {}
        texts = [chunks[i].in_context for i in best]
        with clock.measuring("rerank_ms"):
            rows = [await self._reranker.score(query.text, texts) for query in asked]
        judged = dict(zip(best, rank.agreed(rows), strict=True))
        best = rank.order(judged)
        return best, judged, {chunk_id: place for place, chunk_id in enumerate(best, 1)}


@dataclass(slots=True)
class _Asked:
    """One query, and its vector in every space where it was needed."""

    text: str
    vectors: dict[str, Vectors] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Look:
    """What one query found: the distances in every space, and BM25 scores, by chunk_id, best first."""

    asked: _Asked
    distances: dict[str, dict[int, float]]
    lexical: dict[int, float]

    def hits(self) -> Iterator[int]:
        for found in (*self.distances.values(), self.lexical):
            yield from found

    def crowded_out(self, chunks: Mapping[int, Located]) -> bool:
        """Whether hits that may not be seen took places that others would have had."""
        lists = (*self.distances.values(), self.lexical)
        return any(len(found) >= CANDIDATES and not found.keys() <= chunks.keys() for found in lists)

    def places(self) -> tuple[dict[int, int], dict[int, int]]:
        """Each hit's place, from 1, among the nearest vectors and in the full text."""
        distances = {chunk_id: distance for found in self.distances.values() for chunk_id, distance in found.items()}
        return _places(sorted(distances, key=distances.__getitem__)), _places(self.lexical)


@dataclass(frozen=True, slots=True)
class _Measured:
    """Every visible hit by chunk_id: its distance from one query, its fused score and its relevance."""

    distances: dict[int, float]
    scores: dict[int, float]
    relevance: dict[int, float]


class _Clock:
    """Measures the parts of one search."""

    def __init__(self) -> None:
        self.timings = Timings()

    @contextmanager
    def measuring(self, part: str) -> Iterator[None]:
        """Note how long the block takes, or the longest of those that run side by side."""
        began = time.perf_counter()
        yield
        took = round((time.perf_counter() - began) * 1000, 1)
        setattr(self.timings, part, max(took, getattr(self.timings, part) or 0.0))


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


def _passage(chunk: Located, distance: float, score: float, ranks: Ranks) -> Passage:
    return Passage(
        **{name: getattr(chunk, name) for name in Located.__dataclass_fields__},
        distance=round(distance, 4),
        score=round(score, 4),
        ranks=ranks,
    )
