"""What every vector index promises; one suite for all implementations."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from lorestream.db import Database
from lorestream.index import sqlite
from lorestream.index.base import Sum, Vector, VectorIndex, Vectors, checksum, stored_bytes
from lorestream.index.memory import MemoryIndex
from lorestream.index.sqlite import SqliteIndex

DIMENSIONS = 8
ALICE, BOB = "alice", "bob"
SPACE, OTHER = "minilm", "ollama:other"


def unit(*values: float) -> Vectors:
    row: Vectors = np.zeros(DIMENSIONS, dtype=np.float32)
    row[: len(values)] = values
    row /= np.linalg.norm(row)
    return row


def random_units(count: int, seed: int = 7) -> Vectors:
    rows: Vectors = np.random.default_rng(seed).normal(size=(count, DIMENSIONS)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "test.db")
    await asyncio.to_thread(database.migrate)
    yield database
    await database.close()


@pytest.fixture(params=["memory", "sqlite"])
async def index(request: pytest.FixtureRequest, db: Database) -> AsyncIterator[VectorIndex]:
    made: VectorIndex = MemoryIndex() if request.param == "memory" else SqliteIndex(db)
    yield made
    await made.close()


async def add(
    db: Database, index: VectorIndex, owner: str, version: str, vectors: dict[int, Vectors], space: str = SPACE
) -> None:
    async with db.write() as session:
        await index.add(session, owner, version, space, [Vector(*item) for item in vectors.items()])


async def test_the_nearest_come_first_with_their_distance(db: Database, index: VectorIndex) -> None:
    await add(db, index, ALICE, "d", {1: unit(1), 2: unit(1, 1), 3: unit(0, 1), 4: unit(-1)})
    hits = await index.search(ALICE, SPACE, unit(1), 10)
    assert [hit.chunk_id for hit in hits] == [1, 2, 3, 4]
    assert [hit.distance for hit in hits] == pytest.approx([0, 1 - 0.5**0.5, 1, 2], abs=1e-6)
    assert [hit.chunk_id for hit in await index.search(ALICE, SPACE, unit(1), 2)] == [1, 2]


async def test_it_is_exact(db: Database, index: VectorIndex) -> None:
    rows = random_units(500)
    await add(db, index, ALICE, "d", dict(enumerate(rows, 1)))
    query = random_units(1, seed=8)[0]
    expected = (np.argsort(-(rows @ query))[:20] + 1).tolist()
    assert [hit.chunk_id for hit in await index.search(ALICE, SPACE, query, 20)] == expected


async def test_owners_never_meet(db: Database, index: VectorIndex) -> None:
    await add(db, index, ALICE, "a", {1: unit(1)})
    await add(db, index, BOB, "b", {2: unit(1)})
    assert [hit.chunk_id for hit in await index.search(ALICE, SPACE, unit(1), 5)] == [1]
    assert await index.search(ALICE, SPACE, unit(1), 5, ["b"]) == []
    assert await index.distances(ALICE, SPACE, unit(1), [1, 2]) == {1: pytest.approx(0, abs=1e-6)}
    async with db.write() as session:
        await index.remove(session, ALICE, "b")
    assert [hit.chunk_id for hit in await index.search(BOB, SPACE, unit(1), 5)] == [2]


async def test_a_search_can_be_narrowed_to_documents(db: Database, index: VectorIndex) -> None:
    await add(db, index, ALICE, "a", {1: unit(1)})
    await add(db, index, ALICE, "b", {2: unit(1, 1)})
    await add(db, index, ALICE, "c", {3: unit(0, 1)})
    assert [hit.chunk_id for hit in await index.search(ALICE, SPACE, unit(1), 5, ["c", "b"])] == [2, 3]
    assert await index.search(ALICE, SPACE, unit(1), 5, ["unknown"]) == []
    assert await index.search(ALICE, SPACE, unit(1), 5, []) == []


async def test_adding_again_replaces(db: Database, index: VectorIndex) -> None:
    await add(db, index, ALICE, "a", {1: unit(1), 2: unit(0, 1)})
    await index.search(ALICE, SPACE, unit(1), 1)
    await add(db, index, ALICE, "a", {1: unit(-1)})
    assert [hit.chunk_id for hit in await index.search(ALICE, SPACE, unit(1), 5)] == [2, 1]


async def test_a_removed_document_is_gone(db: Database, index: VectorIndex) -> None:
    await add(db, index, ALICE, "a", {1: unit(1)})
    await add(db, index, ALICE, "b", {2: unit(0, 1)})
    await index.search(ALICE, SPACE, unit(1), 5)
    async with db.write() as session:
        await index.remove(session, ALICE, "a")
        await index.remove(session, ALICE, "unknown")
    assert [hit.chunk_id for hit in await index.search(ALICE, SPACE, unit(1), 5)] == [2]
    assert await index.distances(ALICE, SPACE, unit(1), [1]) == {}


async def test_a_removed_owner_is_gone(db: Database, index: VectorIndex) -> None:
    await add(db, index, ALICE, "a", {1: unit(1)})
    await add(db, index, BOB, "b", {2: unit(1)})
    await index.search(ALICE, SPACE, unit(1), 5)
    async with db.write() as session:
        await index.remove_owner(session, ALICE)
        await index.remove(session, ALICE, "a")
    assert await index.search(ALICE, SPACE, unit(1), 5) == []
    assert [hit.chunk_id for hit in await index.search(BOB, SPACE, unit(1), 5)] == [2]


async def test_nothing_stored_is_nothing_found(db: Database, index: VectorIndex) -> None:
    assert await index.search(ALICE, SPACE, unit(1), 5) == []
    assert await index.distances(ALICE, SPACE, unit(1), [1]) == {}
    assert await index.distances(ALICE, SPACE, unit(1), []) == {}
    await add(db, index, ALICE, "a", {})
    assert await index.search(ALICE, SPACE, unit(1), 5) == []
    await add(db, index, ALICE, "a", {1: unit(1)})
    assert await index.search(ALICE, SPACE, unit(1), 0) == []


async def test_vectors_of_another_length_are_not_compared(db: Database, index: VectorIndex) -> None:
    await add(db, index, ALICE, "a", {1: unit(1), 2: np.ones(3, dtype=np.float32)})
    assert [hit.chunk_id for hit in await index.search(ALICE, SPACE, unit(1), 5)] == [1]


async def test_spaces_are_not_compared_with_each_other(db: Database, index: VectorIndex) -> None:
    await add(db, index, ALICE, "a:0", {1: unit(1)})
    await add(db, index, ALICE, "a:1", {2: unit(1)}, OTHER)
    assert [hit.chunk_id for hit in await index.search(ALICE, SPACE, unit(1), 5)] == [1]
    assert [hit.chunk_id for hit in await index.search(ALICE, OTHER, unit(1), 5)] == [2]
    assert await index.distances(ALICE, OTHER, unit(1), [1, 2]) == {2: pytest.approx(0, abs=1e-6)}
    async with db.write() as session:
        await index.remove(session, ALICE, "a:0")
    assert await index.search(ALICE, SPACE, unit(1), 5) == []
    assert [hit.chunk_id for hit in await index.search(ALICE, OTHER, unit(1), 5)] == [2]


async def test_it_tells_what_it_holds(db: Database, index: VectorIndex) -> None:
    rows = random_units(40)
    await add(db, index, ALICE, "a:0", dict(enumerate(rows[:10], 1)))
    await add(db, index, ALICE, "a:0", {11: rows[10], 12: np.ones(3, dtype=np.float32)})
    await add(db, index, ALICE, "b:0", {13: rows[12]})
    await add(db, index, ALICE, "c:0", {14: rows[13]}, OTHER)
    await add(db, index, BOB, "d:0", {15: rows[14]})
    sums = {
        "a:0": Sum(11, checksum(stored_bytes(row) for row in reversed(rows[:11]))),
        "b:0": Sum(1, checksum([stored_bytes(rows[12])])),
    }
    held = await index.held(ALICE, SPACE, DIMENSIONS)
    assert held.versions == sums
    assert await index.held(ALICE, SPACE, DIMENSIONS) == held
    async with db.write() as session:
        await index.remove(session, ALICE, "a:0")
    after = await index.held(ALICE, SPACE, DIMENSIONS)
    assert after.versions == {"b:0": sums["b:0"]}
    assert after.revision != held.revision
    assert (await index.held("nobody", SPACE, DIMENSIONS)).versions == {}


async def test_searches_at_the_same_time_agree(db: Database, index: VectorIndex) -> None:
    await add(db, index, ALICE, "a", dict(enumerate(random_units(300), 1)))
    found = await asyncio.gather(*(index.search(ALICE, SPACE, unit(1), 5) for _ in range(10)))
    assert all(hits == found[0] for hits in found)


async def test_sqlite_sees_what_another_process_wrote_and_only_what_was_committed(db: Database) -> None:
    """Two indexes over one file share nothing but the file, like two processes."""
    one, other = SqliteIndex(db), SqliteIndex(db)
    await add(db, one, ALICE, "a", {1: unit(1)})
    assert [hit.chunk_id for hit in await other.search(ALICE, SPACE, unit(1), 5)] == [1]
    async with db.write() as session:
        await one.add(session, ALICE, "b", SPACE, [Vector(2, unit(1, 1))])
        assert [hit.chunk_id for hit in await other.search(ALICE, SPACE, unit(1), 5)] == [1]
    assert [hit.chunk_id for hit in await other.search(ALICE, SPACE, unit(1), 5)] == [1, 2]


@pytest.mark.parametrize("seed", range(4))
async def test_sqlite_that_reads_what_came_knows_what_a_fresh_one_knows(db: Database, seed: int) -> None:
    """Whatever was added, replaced and removed in between, of both spaces and another owner's as well."""
    chosen, index, rows = random.Random(seed), SqliteIndex(db), random_units(400, seed)
    stored: dict[int, tuple[str, str, str]] = {}
    for step in range(40):
        owner, version = chosen.choice([ALICE, ALICE, BOB]), f"{chosen.choice('abc')}:0"
        space = SPACE if chosen.random() < 0.8 else OTHER
        mine = [chunk_id for chunk_id, where in stored.items() if where == (owner, version, space)]
        match chosen.choice(["add"] * 6 + ["replace", "remove"]):
            case "remove":
                async with db.write() as session:
                    await index.remove(session, owner, version)
                stored = {chunk_id: where for chunk_id, where in stored.items() if where[:2] != (owner, version)}
            case "replace" if mine:
                await add(db, index, owner, version, {chosen.choice(mine): rows[-step - 1]}, space)
            case _:
                ids = range(step * 8 + 1, step * 8 + 1 + chosen.randint(1, 7))
                vectors = {i: rows[i] if chosen.random() < 0.95 else np.ones(3, dtype=np.float32) for i in ids}
                await add(db, index, owner, version, vectors, space)
                stored |= dict.fromkeys(ids, (owner, version, space))
        fresh = SqliteIndex(db)
        assert await index.held(ALICE, SPACE, DIMENSIONS) == await fresh.held(ALICE, SPACE, DIMENSIONS)
        for versions in (None, ["a:0"], ["a:0", "b:0"]):
            hits = await index.search(ALICE, SPACE, rows[0], 9, versions)
            assert dict(hits) == pytest.approx(dict(await fresh.search(ALICE, SPACE, rows[0], 9, versions)), abs=1e-6)


async def test_sqlite_reads_only_what_came(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    index = SqliteIndex(db)
    read: list[bytes] = []

    def counting(blob: bytes) -> int:
        read.append(blob)
        return 0

    monkeypatch.setattr(sqlite, "crc32", counting)
    rows = random_units(300)
    await add(db, index, ALICE, "a:0", dict(enumerate(rows[:200], 1)))
    before = await index._matrix(sqlite.Key(ALICE, SPACE, DIMENSIONS))
    assert len(read) == 200
    for number in range(200, 300, 10):
        await add(db, index, ALICE, "b:0", dict(enumerate(rows[number : number + 10], number + 1)))
        assert (await index.search(ALICE, SPACE, rows[number], 1))[0].chunk_id == number + 1
    assert len(read) == 300
    assert before.rows == 200
    np.testing.assert_array_equal(before.filled.vectors, rows[:200])


async def test_sqlite_keeps_its_memory_within_bounds(db: Database) -> None:
    index = SqliteIndex(db, cache_bytes=20_000)
    for owner in range(6):
        await add(db, index, f"owner{owner}", "d", {owner * 1000 + i: row for i, row in enumerate(random_units(200))})
        assert len(await index.search(f"owner{owner}", SPACE, unit(1), 5)) == 5
    kept = sum(matrix.nbytes for matrix in index._cache.values())
    assert kept <= 20_000
    assert len(await index.search("owner0", SPACE, unit(1), 5)) == 5
