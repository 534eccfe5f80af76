"""The embedder of each space: the one of today, and those that older documents were indexed with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import numpy as np

from lorestream.errors import LorestreamError, RetrievalFailed
from lorestream.providers.base import Embedder, Vectors

log = logging.getLogger(__name__)

# Texts that have nothing to do with each other.
STRANGERS = (
    "Knead the dough for ten minutes and let it rise overnight.",
    "The appeal was dismissed by the court of second instance.",
    "Photosynthesis takes place in the chloroplasts of plant cells.",
    "Our goalkeeper saved two penalties in the final.",
    "Restart the router and hold the reset button for five seconds.",
    "The sonata opens with a slow movement in D minor.",
    "Inflation fell to two per cent in the third quarter.",
    "A narrow path leads through the dunes to the lighthouse.",
)


class Embedders:
    """Embeds questions for every space; closes what it built."""

    def __init__(self, current: Embedder, build: Callable[[str], Embedder] | None = None) -> None:
        """Take today's embedder, and what makes another one by its name (raising LorestreamError where it cannot)."""
        self._current = current
        self._build = build
        self._known = {current.name: current}
        self._usual: dict[str, float] = {}

    async def embed(self, space: str, text: str) -> Vectors:
        """The question's vector in this space.

        Raises what today's embedder raises; RetrievalFailed, with what to do, where an older one cannot be had.
        """
        if space == self._current.name:
            return await self._current.embed_query(text)
        try:
            return await self._older(space).embed_query(text)
        except LorestreamError as error:
            log.warning("the embedder %s of older documents cannot be had: %s", space, error.message)
            raise RetrievalFailed(
                f"Some of your documents were indexed with the embedder {space or 'of an early version'!r}, which "
                f"cannot be had now. Whoever runs this server can index them again with: lorestream reindex"
            ) from error

    async def usual(self, space: str) -> float:
        """The cosine that unrelated texts have in this space: near 0 for some embedders, 0.7 for others.

        Measured once for each embedder, with a handful of sentences. Call it after ``embed``.
        """
        if space not in self._usual:
            vectors = await self._known[space].embed(STRANGERS)
            cosines = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
            self._usual[space] = max(0.0, float(np.mean(cosines)))
        return self._usual[space]

    async def close(self) -> None:
        """Close the embedders of older documents; today's is its owner's."""
        older = [embedder for embedder in self._known.values() if embedder is not self._current]
        await asyncio.gather(*(embedder.close() for embedder in older))

    def _older(self, space: str) -> Embedder:
        if space not in self._known:
            if self._build is None:
                raise RetrievalFailed
            self._known[space] = self._build(space)
        return self._known[space]
