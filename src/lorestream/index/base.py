"""The port to vector stores: vectors and ids, nothing else.

Hits are only ids; the caller resolves them through ready chunks of the owner, so a vector whose chunk is not (or no
longer) visible can never surface.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Sequence
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


class Sum(NamedTuple):
    """How many vectors a version has, and the sum of their checksums (``checksum``)."""

    vectors: int
    checksum: int


class Held(NamedTuple):
    """What is stored of an owner in one space: the sum of each version, as of a revision."""

    revision: int
    versions: dict[str, Sum]


class VectorIndex(Protocol):
    """Vectors by owner, version and chunk.

    A ``version`` stands for the chunks of one document as they were made at one time. A ``space`` is named by the
    embedder whose vectors it holds: only vectors of one space, and of the query's length, can be compared.
    """

    async def add(
        self, session: AsyncSession, owner_id: str, version: str, space: str, vectors: Sequence[Vector]
    ) -> None:
        """Store vectors, replacing those of the same chunks.

        ``session`` is the caller's open writing transaction: an adapter in the same database uses it, so that
        vectors appear together with their chunks; others ignore it.
        """
        ...

    async def remove(self, session: AsyncSession, owner_id: str, version: str) -> None:
        """Remove every vector of a version; nothing happens when there is none."""
        ...

    async def remove_owner(self, session: AsyncSession, owner_id: str) -> None:
        """Remove every vector of an owner, and whatever else is kept of them."""
        ...

    async def search(
        self, owner_id: str, space: str, query: Vectors, k: int, versions: Collection[str] | None = None
    ) -> list[Hit]:
        """The ``k`` nearest vectors of the owner's space (of these versions only, if given), nearest first."""
        ...

    async def distances(self, owner_id: str, space: str, query: Vectors, chunk_ids: Sequence[int]) -> dict[int, float]:
        """The distance of each of these chunks of the owner; chunks without a vector are left out."""
        ...

    async def held(self, owner_id: str, space: str, dimensions: int) -> Held:
        """What there is of the owner in the space, as it was read last; vectors of another length do not count."""
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...


def stored_bytes(values: Vectors) -> bytes:
    """A vector as it is stored and summed: little-endian float32."""
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


def checksum(stored: Iterable[bytes]) -> int:
    """The sum of the vectors' CRC-32, below 2**63, whatever their order."""
    return sum(map(zlib.crc32, stored)) % 2**63


def nearest(chunk_ids: NDArray[np.int64], vectors: Vectors, query: Vectors, k: int) -> list[Hit]:
    """The ``k`` rows of ``vectors`` (n, dimensions) nearest to ``query``, nearest first, by exact comparison."""
    if not len(chunk_ids):
        return []
    return best_of(chunk_ids, vectors @ query, k)


def best_of(chunk_ids: NDArray[np.int64], cosines: Vectors, k: int) -> list[Hit]:
    """The ``k`` chunks with the highest cosines, highest first."""
    if not len(chunk_ids) or k < 1:
        return []
    best = np.argpartition(-cosines, k - 1)[:k] if k < len(cosines) else np.arange(len(cosines))
    best = best[np.argsort(-cosines[best], kind="stable")]
    distances = np.clip(1.0 - cosines[best], 0.0, 2.0)
    return [
        Hit(chunk_id, distance) for chunk_id, distance in zip(chunk_ids[best].tolist(), distances.tolist(), strict=True)
    ]
