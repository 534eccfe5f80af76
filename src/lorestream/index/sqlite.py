"""Vectors as BLOBs beside their chunks, searched by an exact scan of the owner's matrix.

The matrix is kept in memory by the owner's revision, which every writing transaction raises, so that the writes of
other processes are seen. Measured against approximate indexes at the sizes one machine holds: faster with an owner
filter, and exact.
"""

from __future__ import annotations

import asyncio
import sqlite3
import zlib
from collections import OrderedDict
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import LargeBinary, delete, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from lorestream.db import BUSY_TIMEOUT_SECONDS, Base, Database
from lorestream.index.base import Held, Hit, Sum, Vector, Vectors, nearest, stored_bytes

CACHE_BYTES = 512 * 1024 * 1024
ROWS_PER_READ = 2048


class VectorRow(Base):
    """One chunk's vector: little-endian float32."""

    __tablename__ = "vectors"

    chunk_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    owner_id: Mapped[str]
    version: Mapped[str]
    space: Mapped[str]
    embedding: Mapped[bytes] = mapped_column(LargeBinary)


class RevisionRow(Base):
    """A number that grows with every change of an owner's vectors."""

    __tablename__ = "index_revisions"

    owner_id: Mapped[str] = mapped_column(primary_key=True)
    revision: Mapped[int]


class Key(NamedTuple):
    """What a matrix is of."""

    owner_id: str
    space: str
    dimensions: int


class Matrix(NamedTuple):
    """All vectors of one owner in one space: row i belongs to ``chunk_ids[i]``, of the version number ``of[i]``."""

    held: Held
    chunk_ids: NDArray[np.int64]
    of: NDArray[np.int32]
    numbers: dict[str, int]
    vectors: Vectors

    @property
    def nbytes(self) -> int:
        """The memory it holds."""
        return self.vectors.nbytes + self.chunk_ids.nbytes + self.of.nbytes


class SqliteIndex:
    """The embedded default. Built without I/O; reads in threads through plain ``sqlite3`` connections."""

    def __init__(self, db: Database, *, cache_bytes: int = CACHE_BYTES) -> None:
        """Search in the database's file; keep matrices of at most ``cache_bytes`` in memory."""
        self._path = db.path
        self._cache_bytes = cache_bytes
        self._cache: OrderedDict[Key, Matrix] = OrderedDict()
        self._loading: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()

    async def add(
        self, session: AsyncSession, owner_id: str, version: str, space: str, vectors: Sequence[Vector]
    ) -> None:
        """Store vectors in the caller's transaction, replacing those of the same chunks."""
        if not vectors:
            return
        statement = insert(VectorRow)
        replaced = {name: statement.excluded[name] for name in ("owner_id", "version", "space", "embedding")}
        rows = [
            {
                "chunk_id": vector.chunk_id,
                "owner_id": owner_id,
                "version": version,
                "space": space,
                "embedding": stored_bytes(vector.values),
            }
            for vector in vectors
        ]
        await session.execute(statement.on_conflict_do_update(index_elements=["chunk_id"], set_=replaced), rows)
        await self._changed(session, owner_id)

    async def remove(self, session: AsyncSession, owner_id: str, version: str) -> None:
        """Remove every vector of a version in the caller's transaction."""
        await session.execute(delete(VectorRow).where(VectorRow.owner_id == owner_id, VectorRow.version == version))
        # Raised, never made: what is removed late must not bring a removed owner back.
        raised = update(RevisionRow).where(RevisionRow.owner_id == owner_id)
        await session.execute(raised.values(revision=RevisionRow.revision + 1))

    async def remove_owner(self, session: AsyncSession, owner_id: str) -> None:
        """Remove every vector of an owner, and their revision, in the caller's transaction."""
        for table in (VectorRow, RevisionRow):
            await session.execute(delete(table).where(table.owner_id == owner_id))
        for key in [key for key in self._cache if key.owner_id == owner_id]:
            del self._cache[key]

    async def search(
        self, owner_id: str, space: str, query: Vectors, k: int, versions: Collection[str] | None = None
    ) -> list[Hit]:
        """The ``k`` nearest vectors of the owner's space (of these versions only, if given), nearest first."""
        matrix = await self._matrix(Key(owner_id, space, len(query)))
        return await asyncio.to_thread(_nearest, matrix, query, k, versions)

    async def distances(self, owner_id: str, space: str, query: Vectors, chunk_ids: Sequence[int]) -> dict[int, float]:
        """The distance of each of these chunks of the owner; chunks without a vector are left out."""
        if not chunk_ids:
            return {}
        matrix = await self._matrix(Key(owner_id, space, len(query)))
        return await asyncio.to_thread(_distances, matrix, query, chunk_ids)

    async def held(self, owner_id: str, space: str, dimensions: int) -> Held:
        """What there is of the owner in the space, summed when the matrix was read."""
        return (await self._matrix(Key(owner_id, space, dimensions))).held

    async def close(self) -> None:
        """Forget the cached matrices."""
        self._cache.clear()

    async def _changed(self, session: AsyncSession, owner_id: str) -> None:
        await session.execute(
            insert(RevisionRow)
            .values(owner_id=owner_id, revision=1)
            .on_conflict_do_update(index_elements=["owner_id"], set_={"revision": RevisionRow.revision + 1})
        )

    async def _matrix(self, key: Key) -> Matrix:
        lock = self._loading.setdefault(key, asyncio.Lock())
        async with lock:
            matrix = await asyncio.to_thread(_load, self._path, key, self._cache.get(key))
            self._keep(key, matrix)
        return matrix

    def _keep(self, key: Key, matrix: Matrix) -> None:
        self._cache[key] = matrix
        self._cache.move_to_end(key)
        while len(self._cache) > 1 and sum(kept.nbytes for kept in self._cache.values()) > self._cache_bytes:
            self._cache.popitem(last=False)


def _load(path: Path, key: Key, known: Matrix | None) -> Matrix:
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)) as connection:
        connection.execute("BEGIN")  # the revision and the rows of one snapshot
        row = connection.execute("SELECT revision FROM index_revisions WHERE owner_id = ?", key[:1]).fetchone()
        revision = row[0] if row else 0
        if known is not None and known.held.revision == revision:
            return known
        return _read(connection, key, revision)


def _read(connection: sqlite3.Connection, key: Key, revision: int) -> Matrix:
    # A vector of another length, damaged or of the embedder's last version, cannot be compared.
    where = "FROM vectors WHERE owner_id = ? AND space = ? AND length(embedding) = ?"
    scope = (key.owner_id, key.space, 4 * key.dimensions)
    (count,) = connection.execute(f"SELECT count(*) {where}", scope).fetchone()
    chunk_ids = np.empty(count, dtype=np.int64)
    of = np.empty(count, dtype=np.int32)
    checksums = np.empty(count, dtype=np.int64)
    vectors = np.empty((count, key.dimensions), dtype=np.float32)
    numbers: dict[str, int] = {}
    cursor = connection.execute(f"SELECT chunk_id, version, embedding {where}", scope)
    at = 0
    while rows := cursor.fetchmany(ROWS_PER_READ):
        ids, names, blobs = zip(*rows, strict=True)
        here = slice(at, at + len(rows))
        chunk_ids[here] = ids
        of[here] = [numbers.setdefault(name, len(numbers)) for name in names]
        checksums[here] = [zlib.crc32(blob) for blob in blobs]
        vectors[here] = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(rows), key.dimensions)
        at += len(rows)
    return Matrix(Held(revision, _sums(of, checksums, numbers)), chunk_ids, of, numbers, vectors)


def _sums(of: NDArray[np.int32], checksums: NDArray[np.int64], numbers: dict[str, int]) -> dict[str, Sum]:
    """As ``base.checksum``: 2**31 vectors of one version do not reach 2**63."""
    counts = np.bincount(of, minlength=len(numbers)).tolist()
    totals = np.zeros(len(numbers), dtype=np.int64)
    np.add.at(totals, of, checksums)
    return {name: Sum(counts[number], int(totals[number])) for name, number in numbers.items()}


def _nearest(matrix: Matrix, query: Vectors, k: int, versions: Collection[str] | None) -> list[Hit]:
    if versions is None:
        return nearest(matrix.chunk_ids, matrix.vectors, query, k)
    wanted = [matrix.numbers[name] for name in versions if name in matrix.numbers]
    rows = np.flatnonzero(np.isin(matrix.of, wanted))
    return nearest(matrix.chunk_ids[rows], matrix.vectors[rows], query, k)


def _distances(matrix: Matrix, query: Vectors, chunk_ids: Sequence[int]) -> dict[int, float]:
    rows = np.flatnonzero(np.isin(matrix.chunk_ids, np.asarray(chunk_ids, dtype=np.int64)))
    found = np.clip(1.0 - matrix.vectors[rows] @ query, 0.0, 2.0)
    return dict(zip(matrix.chunk_ids[rows].tolist(), found.tolist(), strict=True))
