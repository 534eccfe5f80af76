"""Vectors in this process's memory: for tests and for trying things out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.index.base import Hit, Vector, Vectors, nearest


class MemoryIndex:
    """A dictionary of vectors; the transaction of its caller means nothing to it."""

    def __init__(self) -> None:
        """Start empty."""
        self._vectors: dict[int, tuple[str, str, Vectors]] = {}

    async def add(self, _session: AsyncSession, owner_id: str, doc_id: str, vectors: Sequence[Vector]) -> None:
        """Store vectors, replacing those of the same chunks."""
        for chunk_id, values in vectors:
            self._vectors[chunk_id] = (owner_id, doc_id, np.array(values, dtype=np.float32))

    async def remove(self, _session: AsyncSession, owner_id: str, doc_id: str) -> None:
        """Remove every vector of a document."""
        self._vectors = {chunk_id: kept for chunk_id, kept in self._vectors.items() if kept[:2] != (owner_id, doc_id)}

    async def remove_owner(self, _session: AsyncSession, owner_id: str) -> None:
        """Remove every vector of an owner."""
        self._vectors = {chunk_id: kept for chunk_id, kept in self._vectors.items() if kept[0] != owner_id}

    async def search(self, owner_id: str, query: Vectors, k: int, doc_ids: Sequence[str] | None = None) -> list[Hit]:
        """The ``k`` nearest vectors of the owner (of these documents only, if given), nearest first."""
        found = {
            chunk_id: values
            for chunk_id, (owner, doc_id, values) in self._vectors.items()
            if owner == owner_id and len(values) == len(query) and (doc_ids is None or doc_id in doc_ids)
        }
        matrix = np.array(list(found.values()), dtype=np.float32).reshape(len(found), len(query))
        return nearest(np.array(list(found), dtype=np.int64), matrix, query, k)

    async def distances(self, owner_id: str, query: Vectors, chunk_ids: Sequence[int]) -> dict[int, float]:
        """The distance of each of these chunks of the owner; chunks without a vector are left out."""
        wanted = set(chunk_ids)
        hits = await self.search(owner_id, query, len(self._vectors))
        return {hit.chunk_id: hit.distance for hit in hits if hit.chunk_id in wanted}

    async def close(self) -> None:
        """Forget everything."""
        self._vectors.clear()
