"""Indexes that are damaged, lost or of another shape: found, said, and rebuilt; never silently less."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text

from lorestream.db import MIGRATIONS
from lorestream.documents import ingest, jobs_store
from lorestream.documents.store import owner_word
from lorestream.errors import ModelUnavailable, Rebuilding, StartRefused
from lorestream.index.base import Sum
from lorestream.library import Library
from lorestream.providers.base import Vectors
from lorestream.settings import Settings
from tests.fakes.documents import ALICE, BOB, Desk, desk
from tests.fakes.upstream import unit_vector

DIMENSIONS = 256
FRANCE = b"# France\n\nParis is the capital of France.\n\n# Rivers\n\nThe Seine flows through it.\n"
PARIS = "Paris is the capital of France."
SPAIN = b"# Spain\n\nMadrid is the capital of Spain.\n"


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path / "data") as opened:
        yield opened


async def change(at: Desk, statement: str) -> None:
    async with at.db.write() as session:
        await session.execute(text(statement))


def one_vector(doc_id: str) -> str:
    return f"chunk_id = (SELECT max(chunk_id) FROM vectors WHERE version = '{doc_id}:0')"


DAMAGES: dict[str, Callable[[str], str]] = {
    "one is missing": lambda doc_id: f"DELETE FROM vectors WHERE {one_vector(doc_id)}",
    "all are missing": lambda doc_id: f"DELETE FROM vectors WHERE version = '{doc_id}:0'",
    "a bit is flipped": lambda doc_id: (
        "UPDATE vectors SET embedding = CAST(substr(embedding, 1, 40) || x'01' || substr(embedding, 42) AS BLOB) "
        f"WHERE {one_vector(doc_id)}"
    ),
    "one is truncated": lambda doc_id: (
        f"UPDATE vectors SET embedding = substr(embedding, 1, 100) WHERE {one_vector(doc_id)}"
    ),
    "all are of another length": lambda doc_id: (
        f"UPDATE vectors SET embedding = substr(embedding, 1, 512) WHERE version = '{doc_id}:0'"
    ),
    "they are in another space": lambda doc_id: f"UPDATE vectors SET space = 'other' WHERE version = '{doc_id}:0'",
}


async def check_that_it_is_rebuilt(at: Desk, doc_id: str) -> None:
    chunks = (await at.documents.get(ALICE, doc_id)).chunks
    assert await at.documents.ingestor.ingest() == doc_id
    document = await at.documents.get(ALICE, doc_id)
    assert (document.status, document.reindex, document.chunks) == ("ready", None, chunks)
    [first, *_] = await at.retrieval.search(ALICE, "What is the capital of France?", 4)
    assert first.doc_id == doc_id
    assert await at.rows("chunks", f"doc_id = '{doc_id}'") == chunks
    assert await at.rows("vectors", f"version = '{doc_id}:1'") == chunks
    assert await at.rows("vectors", f"version = '{doc_id}:0'") == 0


@pytest.mark.fault(57)
@pytest.mark.parametrize("damage", DAMAGES)
async def test_fault_57_a_damaged_index_is_found_and_rebuilt_and_until_then_said(at: Desk, damage: str) -> None:
    doc_id = await at.indexed(ALICE, "france.md", FRANCE)
    other = await at.indexed(ALICE, "spain.md", SPAIN)
    await at.indexed(BOB, "france.md", FRANCE)
    await change(at, DAMAGES[damage](doc_id))
    for _ in range(2):
        with pytest.raises(Rebuilding):
            await at.retrieval.search(ALICE, "What is the capital of France?", 4)
    assert (await at.documents.get(ALICE, doc_id)).reindex == "damaged"
    assert await at.retrieval.search(ALICE, "What is the capital of Spain?", 4, [other])
    assert await at.retrieval.search(BOB, "What is the capital of France?", 4)
    await check_that_it_is_rebuilt(at, doc_id)


@pytest.mark.fault(57)
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM chunk_texts WHERE rowid = (SELECT max(chunk_id) FROM chunks WHERE doc_id = '{doc_id}')",
        "DELETE FROM chunk_texts WHERE rowid IN (SELECT chunk_id FROM chunks WHERE doc_id = '{doc_id}')",
        "UPDATE vectors SET embedding = zeroblob(length(embedding)) WHERE version = '{doc_id}:0'",
    ],
)
async def test_fault_57_what_is_damaged_is_found_at_the_start(at: Desk, statement: str) -> None:
    doc_id = await at.indexed(ALICE, "france.md", FRANCE)
    kept = await at.indexed(BOB, "france.md", FRANCE)
    await change(at, statement.format(doc_id=doc_id))
    await at.documents.integrity.check_all(at.embedder)
    assert (await at.documents.get(ALICE, doc_id)).reindex == "damaged"
    assert (await at.documents.get(BOB, kept)).reindex is None
    with pytest.raises(Rebuilding):
        await at.retrieval.search(ALICE, "What is the capital of France?", 4)
    await check_that_it_is_rebuilt(at, doc_id)


@pytest.mark.fault(57)
async def test_fault_57_a_rebuild_waits_for_its_embedder_and_is_not_given_up(
    at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "RETRY_SECONDS", 0.0)
    doc_id = await at.indexed(ALICE, "france.md", FRANCE)
    await change(at, DAMAGES["all are missing"](doc_id))
    await at.documents.integrity.check_all(at.embedder)

    async def unreachable(_texts: list[str]) -> Vectors:
        raise ModelUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(at.embedder, "embed", unreachable)
        for _ in range(5):
            assert await at.documents.ingestor.ingest() == doc_id
    assert (await at.documents.get(ALICE, doc_id)).reindex == "damaged"
    await check_that_it_is_rebuilt(at, doc_id)


@pytest.mark.fault(57)
async def test_fault_57_without_its_text_a_damaged_document_says_that_it_failed(at: Desk) -> None:
    doc_id = await at.indexed(ALICE, "france.md", FRANCE)
    await change(at, DAMAGES["all are missing"](doc_id))
    await change(at, "DELETE FROM document_texts")
    await at.documents.integrity.check_all(at.embedder)
    await at.documents.ingestor.ingest()
    document = await at.documents.get(ALICE, doc_id)
    assert (document.status, document.error_code) == ("failed", "damaged")
    await at.documents.retry(ALICE, doc_id)
    await at.documents.ingest(doc_id)
    assert (await at.documents.get(ALICE, doc_id)).status == "ready"


async def test_what_is_whole_is_not_compared_again_and_what_comes_is_no_damage(
    at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    sums = jobs_store.sums

    async def counted(session: object, owner_id: str, space: str) -> list[tuple[str, int, int, int | None]]:
        compared.append(owner_id)
        return await sums(session, owner_id, space)  # type: ignore[arg-type]

    monkeypatch.setattr(jobs_store, "sums", counted)
    for n in range(3):
        await at.indexed(ALICE, f"{n}.md", FRANCE + f"And {n}.".encode())
        await at.retrieval.search(ALICE, "What is the capital of France?", 4)
    assert compared == [ALICE]
    await at.documents.delete(ALICE, (await at.documents.page(ALICE, 10, None))[-1].doc_id)
    await at.retrieval.search(ALICE, "What is the capital of France?", 4)
    assert compared == [ALICE, ALICE]


async def test_searching_while_documents_are_indexed_replaced_and_deleted_is_never_damage(at: Desk) -> None:
    """The documents and the index are read one after the other; what changes in between is none."""
    doc_ids = [await at.indexed(ALICE, f"{n}.md", FRANCE + f"And {n}.".encode()) for n in range(2)]
    over = asyncio.Event()

    async def search() -> int:
        searches = 0
        while not over.is_set():
            await at.documents.integrity.check(ALICE, {at.embedder.name: DIMENSIONS})
            searches += 1
        return searches

    searching = [asyncio.create_task(search()) for _ in range(2)]
    for n, doc_id in enumerate(doc_ids):
        await at.documents.reindex(ALICE, everything=True)
        while await at.documents.ingestor.ingest():
            pass
        await at.documents.delete(ALICE, doc_id)
        await at.indexed(ALICE, f"new{n}.md", FRANCE + f"New {n}.".encode())
    over.set()
    assert all(await asyncio.gather(*searching))
    assert await at.rows("documents", "reindex IS NOT NULL") == 0
    held = await at.index.held(ALICE, at.embedder.name, DIMENSIONS)
    assert all(isinstance(found, Sum) for found in held.versions.values())
    assert len(held.versions) == 2


@pytest.mark.fault(57)
@pytest.mark.parametrize("damage", ["header", "half", "empty", "missing"])
async def test_fault_57_a_spoiled_database_file_is_refused_at_the_start(tmp_path: Path, damage: str) -> None:
    data_dir = tmp_path / "data"
    async with desk(data_dir) as at:
        await at.indexed(ALICE, "france.md", FRANCE)
    path = data_dir / "lorestream.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = await asyncio.to_thread(path.read_bytes)
    spoiled = {"header": bytes(4096) + content[4096:], "half": content[: len(content) // 2], "empty": b""}
    await asyncio.to_thread(path.unlink)
    if damage in spoiled:
        await asyncio.to_thread(path.write_bytes, spoiled[damage])
    library = Library(Settings(data_dir=data_dir))
    try:
        with pytest.raises(StartRefused, match="backup"):
            await library.open()
    finally:
        await library.close()
    assert not path.exists() or await asyncio.to_thread(path.read_bytes) == spoiled[damage]


async def test_documents_of_an_older_version_are_whole_and_serve_as_they_are(tmp_path: Path) -> None:
    """From before there were sums, generations, spaces and outlines."""
    path = tmp_path / "data" / "lorestream.db"
    await asyncio.to_thread(path.parent.mkdir)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        store_as_version_5_did(connection)
    engine.dispose()
    async with desk(path.parent, chunk_tokens=64) as at:
        await at.documents.integrity.check_all(at.embedder)
        [found] = await at.retrieval.search(ALICE, "What is the capital of France?", 4)
        assert (found.doc_id, found.heading) == ("d1", "France > Towns")
        assert await at.documents.reindex() == 1
        await at.documents.ingest("d1")
        [found] = await at.retrieval.search(ALICE, "What is the capital of France?", 4)
        assert (found.doc_id, found.heading, found.text) == ("d1", "France > Towns", PARIS)


def store_as_version_5_did(connection: Connection) -> None:
    document = {
        "doc_id": "d1", "owner_id": ALICE, "filename": "france.md", "title": "France", "media_type": "text/markdown",
        "bytes": 1, "sha256": "x", "chunks": 1, "status": "ready", "progress": 1.0, "embedder": "words", "attempts": 0,
        "created_at": "2026-01-01 00:00:00.000000",
    }  # fmt: skip
    chunk = {"chunk_id": 7, "doc_id": "d1", "owner_id": ALICE, "chunk_index": 0, "start": 0, "end": len(PARIS)}
    values = np.array(unit_vector("paris capital france", DIMENSIONS), dtype="<f4")
    for table, row in (
        ("documents", document),
        ("document_texts", {"doc_id": "d1", "part": 0, "text": PARIS}),
        ("chunks", chunk | {"heading": "France > Towns", "text": PARIS}),
        ("chunk_texts", {"rowid": 7, "owner": owner_word(ALICE), "title": "", "heading": "", "body": PARIS}),
        ("vectors", {"chunk_id": 7, "owner_id": ALICE, "doc_id": "d1", "embedding": values.tobytes()}),
    ):
        names = ", ".join(f'"{name}"' for name in row)
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in row)})"), row)
