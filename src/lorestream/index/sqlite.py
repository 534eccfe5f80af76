"""Vectors as BLOBs beside their chunks, searched by an exact scan of the owner's matrix.

The matrix is kept in memory by the owner's revision, which every writing transaction raises, so that the writes of
other processes are seen; what only came to it is read alone, so that a search during an upload costs little more.
Measured against approximate indexes at the sizes one machine holds: faster with an owner filter, and exact.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from weakref import WeakValueDictionary
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import LargeBinary, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from lorestream.db import BUSY_TIMEOUT_SECONDS, Base, Database
from lorestream.index.base import Held, Hit, Sum, Vector, Vectors, best_of, nearest, stored_bytes

CACHE_BYTES = 512 * 1024 * 1024
ROWS_PER_READ = 2048
# Rows of an owner's space with a higher chunk_id, by the index of owners and not by chunk_id, which all owners share.
BEHIND = "FROM vectors WHERE owner_id = ? AND space = ? AND +chunk_id > ?"
# Less than this part of the rows are copied before they are compared.
FEW = 8
# Room that a matrix is made with for what comes to it, as a share of what it holds.
SPARE = 8
# Replacing a chunk's vector raises the revision by this: then what is known of the owner is no part of what there is.
REPLACED = 2**32


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


class Room(NamedTuple):
    """Memory for rows: each has a chunk_id, the number of its version, and a vector."""

    chunk_ids: NDArray[np.int64]
    of: NDArray[np.int32]
    vectors: Vectors


class Matrix(NamedTuple):
    """All vectors of one owner in one space: the first ``rows`` of ``room``.

    They are never changed, so that a search may go on while others are put behind them. ``numbers`` are those of the
    versions; ``stored`` counts the space's rows in the table, also those of another length.
    """

    held: Held
    stored: int
    rows: int
    numbers: dict[str, int]
    room: Room

    @property
    def nbytes(self) -> int:
        """The memory it holds."""
        return sum(array.nbytes for array in self.room)

    @property
    def filled(self) -> Room:
        """The rows that are its own."""
        chunk_ids, of, vectors = self.room
        return Room(chunk_ids[: self.rows], of[: self.rows], vectors[: self.rows])


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
        newest = await session.scalar(select(func.max(VectorRow.chunk_id))) or 0
        await session.execute(statement.on_conflict_do_update(index_elements=["chunk_id"], set_=replaced), rows)
        later = all(vector.chunk_id > newest for vector in vectors)
        await self._changed(session, owner_id, by=1 if later else REPLACED)

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

    async def _changed(self, session: AsyncSession, owner_id: str, by: int) -> None:
        await session.execute(
            insert(RevisionRow)
            .values(owner_id=owner_id, revision=by)
            .on_conflict_do_update(index_elements=["owner_id"], set_={"revision": RevisionRow.revision + by})
        )

    async def _matrix(self, key: Key) -> Matrix:
        # Shielded: who reads for a matrix writes behind the known one, and must be alone until that has ended.
        return await asyncio.shield(asyncio.create_task(self._loaded(key)))

    async def _loaded(self, key: Key) -> Matrix:
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
        stored = _count(connection, key, 0)
        if known is not None and known.held.revision // REPLACED == revision // REPLACED:
            # Ids only grow: as many rows more as there are behind the newest one means that none is gone.
            came = _count(connection, key, _newest(known))
            if stored == known.stored + came:
                return _read(connection, key, revision, stored, known)
        return _read(connection, key, revision, stored, None)


def _count(connection: sqlite3.Connection, key: Key, after: int) -> int:
    asked = (key.owner_id, key.space, after)
    return int(connection.execute(f"SELECT count(*) {BEHIND}", asked).fetchone()[0])


def _read(connection: sqlite3.Connection, key: Key, revision: int, stored: int, known: Matrix | None) -> Matrix:
    """The matrix of what is stored: ``known`` and the rows behind it, or read as a whole."""
    at = known.rows if known else 0
    room = _room(known, at + stored - known.stored if known else stored, key.dimensions)
    numbers = dict(known.numbers) if known else {}
    sums = [list(known.held.versions[name]) for name in numbers] if known else []
    # A vector of another length, damaged or of the embedder's last version, cannot be compared.
    cursor = connection.execute(
        f"SELECT chunk_id, version, embedding {BEHIND} AND length(embedding) = ?",
        (key.owner_id, key.space, _newest(known) if known else 0, 4 * key.dimensions),
    )
    while rows := cursor.fetchmany(ROWS_PER_READ):
        ids, names, blobs = zip(*rows, strict=True)
        here = slice(at, at + len(rows))
        room.chunk_ids[here] = ids
        room.vectors[here] = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(rows), key.dimensions)
        room.of[here] = [numbers.setdefault(name, len(numbers)) for name in names]
        sums += [[0, 0] for _ in range(len(numbers) - len(sums))]
        for number, blob in zip(room.of[here].tolist(), blobs, strict=True):
            sums[number][0] += 1
            sums[number][1] += crc32(blob)
        at += len(rows)
    held = {name: Sum(count, total % 2**63) for name, (count, total) in zip(numbers, sums, strict=True)}
    return Matrix(Held(revision, held), stored, at, numbers, room)


def _newest(matrix: Matrix) -> int:
    """The highest chunk_id, which those that come later exceed."""
    return int(matrix.filled.chunk_ids.max(initial=0))


def _room(known: Matrix | None, rows: int, dimensions: int) -> Room:
    """Room for so many rows, beginning with the known ones: the same memory where that is enough."""
    if known is not None and len(known.room.vectors) >= rows:
        return known.room
    size = rows if known is None else rows + rows // SPARE
    made = Room(np.empty(size, np.int64), np.empty(size, np.int32), np.empty((size, dimensions), np.float32))
    if known is not None:
        made.chunk_ids[: known.rows], made.of[: known.rows], made.vectors[: known.rows] = known.filled
    return made


def _nearest(matrix: Matrix, query: Vectors, k: int, versions: Collection[str] | None) -> list[Hit]:
    chunk_ids, of, vectors = matrix.filled
    if versions is None:
        return nearest(chunk_ids, vectors, query, k)
    wanted = np.zeros(len(matrix.numbers), dtype=bool)
    wanted[[matrix.numbers[name] for name in versions if name in matrix.numbers]] = True
    rows = np.flatnonzero(wanted[of])
    if len(rows) <= len(of) // FEW:
        return nearest(chunk_ids[rows], vectors[rows], query, k)
    # To copy so many rows would take longer than to compare all.
    cosines = (vectors @ query)[rows]
    return best_of(chunk_ids[rows], cosines, k)


def _distances(matrix: Matrix, query: Vectors, chunk_ids: Sequence[int]) -> dict[int, float]:
    known, _, vectors = matrix.filled
    rows = np.flatnonzero(np.isin(known, np.asarray(chunk_ids, dtype=np.int64)))
    found = np.clip(1.0 - vectors[rows] @ query, 0.0, 2.0)
    return dict(zip(known[rows].tolist(), found.tolist(), strict=True))
