"""Workers that are killed, stopped, overtaken and interrupted, at every transaction there is."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from lorestream.errors import NoDocuments, NotFound
from lorestream.index.base import checksum
from tests.fakes.documents import ALICE, Desk, desk
from tests.fakes.killing import Killer, killer

# Not about documents; of the full text, the rows alone tell what is in it.
KEPT = ("alembic_", "sqlite_", "index_revisions", "conversation_texts", "chunk_texts_")
FULL_TEXT = ("chunk_texts_content", "chunk_texts_docsize")
KILL, STOP = int(signal.SIGKILL), int(signal.SIGSTOP)
SMALLER = {"chunk_tokens": 64, "chunk_overlap_tokens": 0}


def story(word: str) -> bytes:
    """Three paragraphs, each a page and a passage or more, that share only little with another word's."""
    body = "\n\n".join(f"Part {n} is about {word}{n}. " + f"The {word} of part {n} goes on. " * 12 for n in range(3))
    return f"All about {word}\n{body}".encode()


@pytest.fixture(scope="module")
def workers() -> Iterator[Killer]:
    with killer() as started:
        yield started


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path / "data") as opened:
        yield opened


async def add_stories(at: Desk, count: int) -> list[str]:
    return [await at.add(ALICE, f"story{n}.txt", story(f"topic{n}x")) for n in range(count)]


def kills(steps: int) -> list[dict[str, int]]:
    """After each transaction, and within the last."""
    last = {"at": steps, "inside": 1, "signal": KILL}
    return [*({"at": step, "signal": KILL} for step in range(1, steps + 1)), last]


async def status_of(at: Desk, doc_id: str) -> str:
    return (await at.documents.get(ALICE, doc_id)).status


async def found_at(at: Desk, n: int) -> list[str]:
    """The documents of the passages found for the n-th story's own word."""
    try:
        return [passage.doc_id for passage in await at.retrieval.search(ALICE, f"What is topic{n}x of part 1?", 10)]
    except NoDocuments:
        return []


async def whole(at: Desk, doc_id: str, generation: int) -> int:
    """How many chunks a document has, after looking whether everything of it is there and nothing else is."""
    document = await at.documents.get(ALICE, doc_id)
    assert (document.status, document.reindex, document.stage, document.progress) == ("ready", None, None, 1.0)
    mine = f"doc_id = '{doc_id}'"
    assert await at.rows("documents", f"{mine} AND lease_token IS NULL AND attempts = 0") == 1
    assert await at.rows("chunks", mine) == document.chunks
    assert await at.rows("chunks", f"{mine} AND generation = {generation}") == document.chunks
    assert await at.rows("vectors", f"version = '{doc_id}:{generation}'") == document.chunks
    assert await at.rows("vectors", f"version LIKE '{doc_id}:%'") == document.chunks
    rowids = f"rowid IN (SELECT chunk_id FROM chunks WHERE {mine})"
    assert await at.rows("chunk_texts", rowids) == document.chunks
    assert await at.rows("document_pages", mine) == document.pages
    assert await at.rows("document_outlines", mine) == 1
    async with at.db.read() as session:
        vectors = f"SELECT embedding FROM vectors WHERE version = '{doc_id}:{generation}'"
        total = checksum(await session.scalars(text(vectors)))
        assert await session.scalar(text(f"SELECT vectors_sum FROM documents WHERE {mine}")) == total
    return document.chunks


async def rows_everywhere(at: Desk) -> dict[str, int]:
    """The tables with rows."""
    async with at.db.read() as session:
        names = list(await session.scalars(text("SELECT name FROM sqlite_master WHERE type = 'table'")))
    counts = {name: await at.rows(name) for name in names if name in FULL_TEXT or not name.startswith(KEPT)}
    return {name: rows for name, rows in counts.items() if rows}


@pytest.mark.fault(55)
async def test_fault_55_a_worker_killed_at_any_transaction_costs_nothing_but_time(at: Desk, workers: Killer) -> None:
    [clean] = await add_stories(at, 1)
    data_dir = at.settings.data_dir
    steps = await workers.run(data_dir, "ingest", clean)
    assert steps >= 9
    chunks = await whole(at, clean, 0)
    killed = (await add_stories(at, steps + 2))[1:]
    for doc_id, kill in zip(killed, kills(steps), strict=True):
        assert await workers.run(data_dir, "ingest", doc_id, **kill) == -KILL
    for n, doc_id in enumerate(killed, 1):
        if await status_of(at, doc_id) == "ready":
            assert doc_id in await found_at(at, n)
            continue
        assert doc_id not in await found_at(at, n)
        with pytest.raises(NotFound):
            await at.documents.chunk(ALICE, doc_id, 0)
    assert await workers.run(data_dir, "recover") > 0
    assert [await whole(at, doc_id, 0) for doc_id in killed] == [chunks] * len(killed)
    for n, doc_id in enumerate(killed, 1):
        assert (await found_at(at, n))[0] == doc_id


@pytest.mark.fault(55)
async def test_fault_55_a_worker_killed_while_it_indexes_anew_leaves_the_old_index_until_the_new_is_whole(
    at: Desk, workers: Killer
) -> None:
    [clean] = await add_stories(at, 1)
    data_dir = at.settings.data_dir
    async with desk(data_dir, **SMALLER) as later:
        await workers.run(data_dir, "recover")
        assert await later.documents.reindex() == 1
        steps = await workers.run(data_dir, "ingest", clean, settings=SMALLER)
        assert steps >= 8
        chunks = await whole(later, clean, 1)
        killed = (await add_stories(at, steps + 2))[1:]
        await workers.run(data_dir, "recover")
        assert await later.documents.reindex() == len(killed)
        for n, (doc_id, kill) in enumerate(zip(killed, kills(steps), strict=True)):
            assert await workers.run(data_dir, "ingest", doc_id, settings=SMALLER, **kill) == -KILL
            hits = await at.retrieval.search(ALICE, f"What is topic{n + 1}x of part 1?", 10)
            found = [(hit.doc_id, hit.chunk_index) for hit in hits]
            assert found[0][0] == doc_id
            assert len(found) == len(set(found))
        assert await workers.run(data_dir, "recover", settings=SMALLER) > 0
        assert [await whole(later, doc_id, 1) for doc_id in killed] == [chunks] * len(killed)
        assert await at.rows("chunks") == await at.rows("vectors") == await at.rows("chunk_texts")
        for n in range(len(killed)):
            assert (await found_at(at, n + 1))[0] == killed[n]


@pytest.mark.fault(55)
async def test_fault_55_a_deletion_killed_at_any_transaction_leaves_nothing(at: Desk, workers: Killer) -> None:
    [clean] = await add_stories(at, 1)
    data_dir = at.settings.data_dir
    await workers.run(data_dir, "recover")
    steps = await workers.run(data_dir, "delete", clean)
    assert steps >= 3
    killed = await add_stories(at, steps + 1)
    await workers.run(data_dir, "recover")
    for doc_id, kill in zip(killed, kills(steps), strict=True):
        assert await workers.run(data_dir, "delete", doc_id, **kill) == -KILL
        with pytest.raises(NotFound):
            await at.documents.get(ALICE, doc_id)
    await workers.run(data_dir, "recover")
    assert await rows_everywhere(at) == {}
    assert await at.left_over() == {}


@pytest.mark.fault(74)
async def test_fault_74_a_stopped_worker_finds_its_document_taken_and_writes_nothing(at: Desk, workers: Killer) -> None:
    data_dir = at.settings.data_dir
    clean, *taken = await add_stories(at, 4)
    await workers.run(data_dir, "ingest", clean)
    chunks = await whole(at, clean, 0)
    for step, doc_id in zip((1, 4, 7), taken, strict=True):
        stopped = await workers.start(data_dir, "ingest", doc_id, at=step, signal=STOP, lease_seconds=0.2)
        try:
            assert await workers.wait(stopped) == -STOP
            async with asyncio.timeout(30):
                while await status_of(at, doc_id) != "ready":  # as soon as the lease is over
                    await workers.run(data_dir, "ingest", doc_id)
            assert await whole(at, doc_id, 0) == chunks
        finally:
            os.kill(stopped, signal.SIGCONT)
        assert await workers.wait(stopped) >= 0
        assert await whole(at, doc_id, 0) == chunks
