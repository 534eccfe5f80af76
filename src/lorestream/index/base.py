"""The port to vector stores: vectors and ids, nothing else.

Hits are only ids; the caller resolves them through ready chunks of the owner, so a vector whose chunk is not (or no
longer) visible can never surface.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncSession

Vectors = NDArray[np.float32]


class Vector(NamedTuple):
    """One chunk's unit vector, float32 of shape (dimensions,)."""

    chunk_id: int
    values: Vectors


class Hit(NamedTuple):
    """A chunk and its distance from the query: 1 − cosine, 0 (the same direction) to 2."""

    chunk_id: int
    distance: float


class VectorIndex(Protocol):
    """Vectors by owner, document and chunk."""

    async def add(self, session: AsyncSession, owner_id: str, doc_id: str, vectors: Sequence[Vector]) -> None:
        """Store vectors, replacing those of the same chunks.

        ``session`` is the caller's open writing transaction: an adapter in the same database uses it, so that
        vectors appear together with their chunks; others ignore it.
        """
        ...

    async def remove(self, session: AsyncSession, owner_id: str, doc_id: str) -> None:
        """Remove every vector of a document; nothing happens when there is none."""
        ...

    async def remove_owner(self, session: AsyncSession, owner_id: str) -> None:
        """Remove every vector of an owner, and whatever else is kept of them."""
        ...

    async def search(self, owner_id: str, query: Vectors, k: int, doc_ids: Sequence[str] | None = None) -> list[Hit]:
        """The ``k`` nearest vectors of the owner (of these documents only, if given), nearest first."""
        ...

    async def distances(self, owner_id: str, query: Vectors, chunk_ids: Sequence[int]) -> dict[int, float]:
        """The distance of each of these chunks of the owner; chunks without a vector are left out."""
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...


def nearest(chunk_ids: NDArray[np.int64], vectors: Vectors, query: Vectors, k: int) -> list[Hit]:
    """The ``k`` rows of ``vectors`` (n, dimensions) nearest to ``query``, nearest first, by exact comparison."""
    if not len(chunk_ids) or k < 1:
        return []
    cosines = vectors @ query
    best = np.argpartition(-cosines, k - 1)[:k] if k < len(cosines) else np.arange(len(cosines))
    best = best[np.argsort(-cosines[best], kind="stable")]
    distances = np.clip(1.0 - cosines[best], 0.0, 2.0)
    return [
        Hit(chunk_id, distance) for chunk_id, distance in zip(chunk_ids[best].tolist(), distances.tolist(), strict=True)
    ]
