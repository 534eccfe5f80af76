"""Hybrid search over one owner's documents: nearest vectors and full text, side by side, fused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lorestream.db import Database
from lorestream.errors import LorestreamError, NoDocuments, RetrievalFailed
from lorestream.index.base import VectorIndex
from lorestream.providers.base import Embedder
from lorestream.retrieval import rank, store
from lorestream.retrieval.models import Found, Passage, Ranks, Scope
from lorestream.text import content_words

log = logging.getLogger(__name__)

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
    ) -> list[Passage]:
        """The best ``k`` passages or fewer, best first; ``[]`` when nothing is relevant to the question.

        Raises NoDocuments when there is nothing to search (in these documents, if given), RetrievalFailed, and what
        the embedder raises.
        """
        question = question[:MAX_QUERY_CHARACTERS]
        try:
            async with self._db.read() as session:
                scope = await store.scope(session, owner_id, doc_ids)
            self._check(scope)
            return await self._search(owner_id, question, k, scope.doc_ids)
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

    async def _search(self, owner_id: str, question: str, k: int, doc_ids: Sequence[str] | None) -> list[Passage]:
        by_words = asyncio.create_task(self._lexical(owner_id, question, doc_ids))
        try:
            vector = await self._embedder.embed_query(question)
            dense = await self._index.search(owner_id, vector, CANDIDATES, doc_ids)
            lexical = await by_words
        finally:
            by_words.cancel()
            await asyncio.gather(by_words, return_exceptions=True)
        distances = {hit.chunk_id: hit.distance for hit in dense}
        missing = [chunk_id for chunk_id in lexical if chunk_id not in distances]
        places = Places(_places(distances), _places(lexical))
        distances |= await self._index.distances(owner_id, vector, missing)
        async with self._db.read() as session:
            found = await store.resolve(session, owner_id, list(distances))
        visible = {chunk_id: distance for chunk_id, distance in distances.items() if chunk_id in found}
        scores = rank.fuse(visible, lexical)
        texts = {i: f"{hit.title}\n{hit.heading}\n{hit.text}" for i, hit in found.items()}
        best = self._relevant(rank.order(scores)[: max(k, LOOKED_AT)], rank.relevance(question, texts, visible))
        return [_passage(found[i], visible[i], scores[i], places.of(i)) for i in best[:k]]

    def _relevant(self, best: list[int], relevance: dict[int, float]) -> list[int]:
        """Nothing where not even one of the best reaches the floor, else those that are not far below it."""
        if all(relevance[chunk_id] < self._relevance_floor for chunk_id in best):
            return []
        return [chunk_id for chunk_id in best if relevance[chunk_id] >= self._relevance_floor * FAR_BELOW]

    async def _lexical(self, owner_id: str, question: str, doc_ids: Sequence[str] | None) -> dict[int, float]:
        words = list(dict.fromkeys(content_words(question)))[:MAX_WORDS]
        async with self._db.read() as session:
            return dict(await store.lexical(session, owner_id, words, CANDIDATES, doc_ids))


class Places(NamedTuple):
    """Each hit's place, from 1, in the two searches."""

    dense: dict[int, int]
    lexical: dict[int, int]

    def of(self, chunk_id: int) -> Ranks:
        """The places of one hit."""
        return Ranks(self.dense.get(chunk_id), self.lexical.get(chunk_id))


def _places(best_first: Iterable[int]) -> dict[int, int]:
    return {chunk_id: place for place, chunk_id in enumerate(best_first, 1)}


def _passage(found: Found, distance: float, score: float, ranks: Ranks) -> Passage:
    return Passage(
        **{name: getattr(found, name) for name in Found.__dataclass_fields__},
        distance=round(distance, 4),
        score=round(score, 4),
        ranks=ranks,
    )
