"""Vectors as BLOBs beside their chunks, searched by an exact scan of the owner's matrix.

The matrix is kept in memory by the owner's revision, which every writing transaction raises, so that the writes of
other processes are seen. Measured against approximate indexes at the sizes one machine holds: faster with an owner
filter, and exact.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
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
from lorestream.index.base import Hit, Vector, Vectors, nearest

CACHE_BYTES = 512 * 1024 * 1024
ROWS_PER_READ = 2048


class VectorRow(Base):
    """One chunk's vector: little-endian float32."""

    __tablename__ = "vectors"

    chunk_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    owner_id: Mapped[str]
    doc_id: Mapped[str]
    embedding: Mapped[bytes] = mapped_column(LargeBinary)
    # The embedder: only vectors of one can be compared.
    space: Mapped[str] = mapped_column(default="minilm", server_default="minilm")


class RevisionRow(Base):
    """A number that grows with every change of an owner's vectors."""

    __tablename__ = "index_revisions"

    owner_id: Mapped[str] = mapped_column(primary_key=True)
    revision: Mapped[int]


class Matrix(NamedTuple):
    """All vectors of one owner: row i belongs to ``chunk_ids[i]`` and to the document numbered ``docs[i]``."""

    revision: int
    chunk_ids: NDArray[np.int64]
    docs: NDArray[np.int32]
    doc_names: dict[str, int]
    vectors: Vectors

    @property
    def nbytes(self) -> int:
        """The memory it holds."""
        return self.vectors.nbytes + self.chunk_ids.nbytes + self.docs.nbytes


class SqliteIndex:
    """The embedded default. Built without I/O; reads in threads through plain ``sqlite3`` connections."""

    def __init__(self, db: Database, *, cache_bytes: int = CACHE_BYTES) -> None:
        """Search in the database's file; keep matrices of at most ``cache_bytes`` in memory."""
        self._path = db.path
        self._cache_bytes = cache_bytes
        self._cache: OrderedDict[tuple[str, int], Matrix] = OrderedDict()
        self._loading: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()

    async def add(self, session: AsyncSession, owner_id: str, doc_id: str, vectors: Sequence[Vector]) -> None:
        """Store vectors in the caller's transaction, replacing those of the same chunks."""
        if not vectors:
            return
        statement = insert(VectorRow)
        await session.execute(
            statement.on_conflict_do_update(
                index_elements=["chunk_id"],
                set_={name: statement.excluded[name] for name in ("owner_id", "doc_id", "embedding")},
            ),
            [
                {
                    "chunk_id": vector.chunk_id,
                    "owner_id": owner_id,
                    "doc_id": doc_id,
                    "embedding": np.ascontiguousarray(vector.values, dtype="<f4").tobytes(),
                }
                for vector in vectors
            ],
        )
        await self._changed(session, owner_id)

    async def remove(self, session: AsyncSession, owner_id: str, doc_id: str) -> None:
        """Remove every vector of a document in the caller's transaction."""
        await session.execute(delete(VectorRow).where(VectorRow.owner_id == owner_id, VectorRow.doc_id == doc_id))
        # Raised, never made: what is removed late must not bring a removed owner back.
        raised = update(RevisionRow).where(RevisionRow.owner_id == owner_id)
        await session.execute(raised.values(revision=RevisionRow.revision + 1))

    async def remove_owner(self, session: AsyncSession, owner_id: str) -> None:
        """Remove every vector of an owner, and their revision, in the caller's transaction."""
        for table in (VectorRow, RevisionRow):
            await session.execute(delete(table).where(table.owner_id == owner_id))
        for key in [key for key in self._cache if key[0] == owner_id]:
            del self._cache[key]

    async def search(self, owner_id: str, query: Vectors, k: int, doc_ids: Sequence[str] | None = None) -> list[Hit]:
        """The ``k`` nearest vectors of the owner (of these documents only, if given), nearest first."""
        matrix = await self._matrix(owner_id, len(query))
        return await asyncio.to_thread(_nearest, matrix, query, k, doc_ids)

    async def distances(self, owner_id: str, query: Vectors, chunk_ids: Sequence[int]) -> dict[int, float]:
        """The distance of each of these chunks of the owner; chunks without a vector are left out."""
        if not chunk_ids:
            return {}
        matrix = await self._matrix(owner_id, len(query))
        return await asyncio.to_thread(_distances, matrix, query, chunk_ids)

    async def close(self) -> None:
        """Forget the cached matrices."""
        self._cache.clear()

    async def _changed(self, session: AsyncSession, owner_id: str) -> None:
        await session.execute(
            insert(RevisionRow)
            .values(owner_id=owner_id, revision=1)
            .on_conflict_do_update(index_elements=["owner_id"], set_={"revision": RevisionRow.revision + 1})
        )

    async def _matrix(self, owner_id: str, dimensions: int) -> Matrix:
        key = (owner_id, dimensions)
        lock = self._loading.setdefault(key, asyncio.Lock())
        async with lock:
            known = self._cache.get(key)
            matrix = await asyncio.to_thread(_load, self._path, owner_id, dimensions, known)
            self._keep(key, matrix)
        return matrix

    def _keep(self, key: tuple[str, int], matrix: Matrix) -> None:
        self._cache[key] = matrix
        self._cache.move_to_end(key)
        while len(self._cache) > 1 and sum(kept.nbytes for kept in self._cache.values()) > self._cache_bytes:
            self._cache.popitem(last=False)


def _load(path: Path, owner_id: str, dimensions: int, known: Matrix | None) -> Matrix:
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)) as connection:
        connection.execute("BEGIN")  # the revision and the rows of one snapshot
        row = connection.execute("SELECT revision FROM index_revisions WHERE owner_id = ?", (owner_id,)).fetchone()
        revision = row[0] if row else 0
        if known is not None and known.revision == revision:
            return known
        return _read(connection, owner_id, dimensions, revision)


def _read(connection: sqlite3.Connection, owner_id: str, dimensions: int, revision: int) -> Matrix:
    # Vectors of another embedder may have another length; they cannot be compared.
    where = "FROM vectors WHERE owner_id = ? AND length(embedding) = ?"
    scope = (owner_id, 4 * dimensions)
    (count,) = connection.execute(f"SELECT count(*) {where}", scope).fetchone()
    chunk_ids = np.empty(count, dtype=np.int64)
    docs = np.empty(count, dtype=np.int32)
    vectors = np.empty((count, dimensions), dtype=np.float32)
    doc_names: dict[str, int] = {}
    cursor = connection.execute(f"SELECT chunk_id, doc_id, embedding {where}", scope)
    at = 0
    while rows := cursor.fetchmany(ROWS_PER_READ):
        ids, names, blobs = zip(*rows, strict=True)
        here = slice(at, at + len(rows))
        chunk_ids[here] = ids
        docs[here] = [doc_names.setdefault(name, len(doc_names)) for name in names]
        vectors[here] = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(rows), dimensions)
        at += len(rows)
    return Matrix(revision, chunk_ids, docs, doc_names, vectors)


def _nearest(matrix: Matrix, query: Vectors, k: int, doc_ids: Sequence[str] | None) -> list[Hit]:
    if doc_ids is None:
        return nearest(matrix.chunk_ids, matrix.vectors, query, k)
    wanted = [matrix.doc_names[name] for name in doc_ids if name in matrix.doc_names]
    rows = np.flatnonzero(np.isin(matrix.docs, wanted))
    return nearest(matrix.chunk_ids[rows], matrix.vectors[rows], query, k)


def _distances(matrix: Matrix, query: Vectors, chunk_ids: Sequence[int]) -> dict[int, float]:
    rows = np.flatnonzero(np.isin(matrix.chunk_ids, np.asarray(chunk_ids, dtype=np.int64)))
    found = np.clip(1.0 - matrix.vectors[rows] @ query, 0.0, 2.0)
    return dict(zip(matrix.chunk_ids[rows].tolist(), found.tolist(), strict=True))
