"""Vectors in this process's memory: for tests and for trying things out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.index.base import Held, Hit, Sum, Vector, Vectors, checksum, nearest, stored_bytes


class _Kept(NamedTuple):
    owner_id: str
    version: str
    space: str
    values: Vectors


class MemoryIndex:
    """A dictionary of vectors; the transaction of its caller means nothing to it."""

    def __init__(self) -> None:
        """Start empty."""
        self._vectors: dict[int, _Kept] = {}
        self._revision = 0

    async def add(
        self, _session: AsyncSession, owner_id: str, version: str, space: str, vectors: Sequence[Vector]
    ) -> None:
        """Store vectors, replacing those of the same chunks."""
        for chunk_id, values in vectors:
            self._vectors[chunk_id] = _Kept(owner_id, version, space, np.array(values, dtype=np.float32))
        self._revision += 1

    async def remove(self, _session: AsyncSession, owner_id: str, version: str) -> None:
        """Remove every vector of a version."""
        self._keep(lambda kept: (kept.owner_id, kept.version) != (owner_id, version))

    async def remove_owner(self, _session: AsyncSession, owner_id: str) -> None:
        """Remove every vector of an owner."""
        self._keep(lambda kept: kept.owner_id != owner_id)

    async def search(
        self, owner_id: str, space: str, query: Vectors, k: int, versions: Collection[str] | None = None
    ) -> list[Hit]:
        """The ``k`` nearest vectors of the owner's space (of these versions only, if given), nearest first."""
        found = {
            chunk_id: kept.values
            for chunk_id, kept in self._of(owner_id, space, len(query)).items()
            if versions is None or kept.version in versions
        }
        matrix = np.array(list(found.values()), dtype=np.float32).reshape(len(found), len(query))
        return nearest(np.array(list(found), dtype=np.int64), matrix, query, k)

    async def distances(self, owner_id: str, space: str, query: Vectors, chunk_ids: Sequence[int]) -> dict[int, float]:
        """The distance of each of these chunks of the owner; chunks without a vector are left out."""
        wanted = set(chunk_ids)
        hits = await self.search(owner_id, space, query, len(self._vectors))
        return {hit.chunk_id: hit.distance for hit in hits if hit.chunk_id in wanted}

    async def held(self, owner_id: str, space: str, dimensions: int) -> Held:
        """What there is of the owner in the space; vectors of another length do not count."""
        stored = defaultdict[str, list[bytes]](list)
        for kept in self._of(owner_id, space, dimensions).values():
            stored[kept.version].append(stored_bytes(kept.values))
        return Held(self._revision, {version: Sum(len(blobs), checksum(blobs)) for version, blobs in stored.items()})

    async def close(self) -> None:
        """Forget everything."""
        self._vectors.clear()

    def _of(self, owner_id: str, space: str, dimensions: int) -> dict[int, _Kept]:
        return {
            chunk_id: kept
            for chunk_id, kept in self._vectors.items()
            if (kept.owner_id, kept.space, len(kept.values)) == (owner_id, space, dimensions)
        }

    def _keep(self, wanted: Callable[[_Kept], bool]) -> None:
        self._vectors = {chunk_id: kept for chunk_id, kept in self._vectors.items() if wanted(kept)}
        self._revision += 1
