"""Cancelling, deleting and indexing anew, at any moment of the work that they interrupt."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from lorestream import library as library_module
from lorestream.accounts.users import COMMAND_LINE
from lorestream.commands.reindex import reindex_documents
from lorestream.documents import ingest, jobs_store
from lorestream.documents.models import Job
from lorestream.documents.work import Work
from lorestream.errors import Conflict, ModelUnavailable, NotFound
from lorestream.library import Library
from lorestream.providers.base import Vectors
from lorestream.settings import Settings
from tests.fakes.documents import ALICE, BOB, Desk, desk
from tests.fakes.embedder import WordEmbedder
from tests.integration.test_documents_ingest import long_text

SMALLER = {"chunk_tokens": 64, "chunk_overlap_tokens": 0}
QUESTION = "What is apple number 1?"
FILED = {"documents": 1, "files": 1}


@pytest.fixture
async def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(ingest, "CHUNKS_PER_BATCH", 2)
    monkeypatch.setattr(ingest, "CHUNKS_PER_DELETION", 3)
    async with desk(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
async def smaller(at: Desk) -> AsyncIterator[Desk]:
    """The same data directory with other passage sizes."""
    async with desk(at.settings.data_dir, **SMALLER) as opened:
        yield opened


async def reading(at: Desk) -> tuple[str, asyncio.Task[Any], psutil.Process]:
    """A document whose reader hangs: its id, the work on it, and the reader's process."""
    doc_id = await at.add(ALICE, "long.md", long_text(3))
    path = at.documents.files / doc_id
    await asyncio.to_thread(path.unlink)
    os.mkfifo(path)
    work = asyncio.create_task(at.documents.ingestor.ingest(doc_id))
    async with asyncio.timeout(30):
        while True:
            for process in psutil.Process().children():
                with suppress(psutil.NoSuchProcess):
                    if doc_id in " ".join(process.cmdline()):
                        return doc_id, work, process
            await asyncio.sleep(0.02)


async def one_generation(at: Desk, doc_id: str) -> None:
    """A ready document that can be found, with nothing but what is its own."""
    document = await at.documents.get(ALICE, doc_id)
    assert (document.status, document.reindex, document.progress) == ("ready", None, 1.0)
    assert document.chunks == await at.rows("chunks") == await at.rows("vectors") == await at.rows("chunk_texts")
    assert (await at.retrieval.search(ALICE, QUESTION, 4))[0].doc_id == doc_id


@pytest.mark.fault(56)
@pytest.mark.parametrize("interruption", ["delete", "cancel"])
@pytest.mark.parametrize("step", ["hold", "delete_text", "add_outline", "add_text", "add_chunks", "publish"])
async def test_fault_56_a_document_interrupted_while_it_is_indexed_does_not_come_back(
    at: Desk, smaller: Desk, monkeypatch: pytest.MonkeyPatch, step: str, interruption: str
) -> None:
    doc_id = await at.add(ALICE, "long.md", long_text(5))
    await interrupted(at, smaller, monkeypatch, doc_id, step, interruption)
    if interruption == "delete":
        assert await at.left_over() == {}
        return
    assert (await at.documents.get(ALICE, doc_id)).status == "cancelled"
    assert await at.left_over() == FILED
    await at.documents.retry(ALICE, doc_id)
    await at.documents.ingest(doc_id)
    await one_generation(at, doc_id)


@pytest.mark.fault(56)
@pytest.mark.parametrize("interruption", ["delete", "cancel"])
@pytest.mark.parametrize("step", ["hold", "add_chunks", "replace", "delete_chunks", "settle"])
async def test_fault_56_a_document_interrupted_while_it_is_indexed_anew_is_gone_or_whole(
    at: Desk, smaller: Desk, monkeypatch: pytest.MonkeyPatch, step: str, interruption: str
) -> None:
    doc_id = await at.indexed(ALICE, "long.md", long_text(5))
    assert await smaller.documents.reindex() == 1
    await interrupted(smaller, at, monkeypatch, doc_id, step, interruption)
    if interruption == "delete":
        assert await at.left_over() == {}
    else:
        await smaller.documents.ingest(doc_id)  # what is left over, if anything
        await one_generation(at, doc_id)


async def interrupted(
    worker: Desk, server: Desk, monkeypatch: pytest.MonkeyPatch, doc_id: str, step: str, interruption: str
) -> None:
    """Work on a document, of which ``server`` hears of an interruption just before ``step`` is done first."""
    original = getattr(jobs_store, step)
    done: list[str] = []

    async def interrupt_first(session: Any, *args: Any, **kwargs: Any) -> Any:
        if not done:
            done.append(step)
            await session.rollback()
            with suppress(Conflict):  # nothing is to be cancelled once the new generation serves
                await getattr(server.documents, interruption)(ALICE, doc_id)
        return await original(session, *args, **kwargs)

    monkeypatch.setattr(jobs_store, step, interrupt_first)
    await worker.documents.ingestor.ingest(doc_id)
    assert done


async def test_cancelling_kills_the_reader_within_a_second(at: Desk, smaller: Desk) -> None:
    doc_id, work, process = await reading(at)
    assert (await at.documents.get(ALICE, doc_id)).stage == "reading"
    with pytest.raises(NotFound):
        await at.documents.cancel(BOB, doc_id)
    cancelled = await smaller.documents.cancel(ALICE, doc_id)  # another process than the worker
    assert (cancelled.status, cancelled.stage, cancelled.progress) == ("cancelled", None, 0.0)
    async with asyncio.timeout(10):
        await work
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert await at.left_over() == FILED
    with pytest.raises(Conflict):
        await at.documents.cancel(ALICE, doc_id)


async def test_what_is_queued_or_waits_for_another_attempt_is_cancelled(
    at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    doc_id = await at.add(ALICE, "long.md", long_text(5))
    assert (await at.documents.cancel(ALICE, doc_id)).status == "cancelled"
    assert await at.documents.ingestor.ingest() is None
    await at.documents.retry(ALICE, doc_id)
    embed, calls = at.embedder.embed, []

    async def fail_late(texts: list[str]) -> Vectors:
        calls.append(len(texts))
        if len(calls) > 2:
            raise ModelUnavailable
        return await embed(texts)

    monkeypatch.setattr(at.embedder, "embed", fail_late)
    await at.documents.ingestor.ingest()
    assert (await at.documents.get(ALICE, doc_id)).status == "queued"
    assert await at.rows("chunks") > 0
    await at.documents.cancel(ALICE, doc_id)
    assert await at.left_over() == FILED


@pytest.mark.fault(46)
async def test_fault_46_a_reader_killed_for_its_memory_fails_the_document_once(at: Desk) -> None:
    doc_id, work, process = await reading(at)
    process.send_signal(signal.SIGKILL)  # as the kernel does
    async with asyncio.timeout(10):
        await work
    document = await at.documents.get(ALICE, doc_id)
    assert (document.status, document.error_code) == ("failed", "memory")
    assert await at.documents.ingestor.ingest() is None, "it is not tried again"


@pytest.mark.fault(47)
async def test_fault_47_a_reader_that_hangs_is_killed_at_its_limit(tmp_path: Path) -> None:
    async with desk(tmp_path / "data", parse_timeout_seconds=3.0) as at:
        doc_id, work, process = await reading(at)
        async with asyncio.timeout(20):
            await work
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        document = await at.documents.get(ALICE, doc_id)
        assert (document.status, document.error_code) == ("failed", "timeout")
        assert await at.documents.ingestor.ingest() is None, "it is not tried again"


async def test_indexing_anew_serves_from_the_old_index_until_the_new_is_whole(
    at: Desk, smaller: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    doc_id = await at.indexed(ALICE, "long.md", long_text(5))
    before = await at.documents.get(ALICE, doc_id)
    texts_before = await at.documents.text(ALICE, doc_id)
    [passage, *_] = await at.retrieval.search(ALICE, QUESTION, 4)
    with pytest.raises(Conflict):
        await at.documents.retry(ALICE, doc_id)
    assert (await smaller.documents.retry(ALICE, doc_id)).reindex == "wanted"
    embed, seen = smaller.embedder.embed, []

    async def embed_and_look(texts: list[str]) -> Vectors:
        document = await at.documents.get(ALICE, doc_id)
        assert (document.status, document.reindex, document.chunks) == ("ready", "wanted", before.chunks)
        assert (await at.documents.chunk(ALICE, doc_id, passage.chunk_index)).text == passage.text
        hits = await at.retrieval.search(ALICE, QUESTION, 4)
        seen.append(hits[0].text)
        assert len({hit.chunk_index for hit in hits}) == len(hits)
        return await embed(texts)

    monkeypatch.setattr(smaller.embedder, "embed", embed_and_look)
    await smaller.documents.ingest(doc_id)
    assert set(seen) == {passage.text}
    assert len(seen) > 3
    after = await at.documents.get(ALICE, doc_id)
    assert after.chunks > before.chunks
    assert (after.chunker, before.chunker) == ("paragraphs:64/0", at.documents.ingestor.chunker)
    assert await at.documents.text(ALICE, doc_id) == (after, *texts_before[1:])
    await one_generation(at, doc_id)
    assert (await smaller.documents.indexed_otherwise(), await at.documents.indexed_otherwise()) == (0, 1)


async def test_indexing_anew_that_fails_leaves_what_serves_and_says_so(
    at: Desk, smaller: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ingest, "RETRY_SECONDS", 0.0)
    doc_id = await at.indexed(ALICE, "long.md", long_text(5))
    embed, calls = smaller.embedder.embed, []

    async def fail_late(texts: list[str]) -> Vectors:
        calls.append(len(texts))
        if len(calls) % 3 == 0:
            raise ModelUnavailable("The embedding model cannot be reached.")
        return await embed(texts)

    monkeypatch.setattr(smaller.embedder, "embed", fail_late)
    await smaller.documents.reindex()
    with caplog.at_level(logging.ERROR):
        await smaller.documents.ingest(doc_id)
    assert f"document {doc_id} could not be indexed anew" in caplog.text
    assert await smaller.documents.waiting_for_reindex() == 0
    assert await smaller.documents.indexed_otherwise() == 1
    await one_generation(at, doc_id)


async def test_only_whose_documents_are_indexed_otherwise_are_marked(at: Desk, smaller: Desk) -> None:
    mine = await at.indexed(ALICE, "long.md", long_text(2))
    await at.indexed(BOB, "long.md", long_text(2))
    assert await at.documents.reindex() == 0
    assert await smaller.documents.reindex(ALICE) == 1
    assert await smaller.documents.reindex(ALICE) == 0, "it is marked"
    assert (await smaller.documents.cancel(ALICE, mine)).status == "ready"
    assert await smaller.documents.waiting_for_reindex() == 0
    assert await at.documents.reindex(everything=True) == 2


async def test_what_is_new_comes_before_what_is_indexed_anew_and_damage_before_all(at: Desk, smaller: Desk) -> None:
    """And a second document at a time is only taken while it was never begun."""
    wanted = await at.indexed(ALICE, "1.md", long_text(2))
    damaged = await at.indexed(ALICE, "2.md", long_text(3))
    await smaller.documents.reindex()
    async with at.db.write() as session:
        assert await jobs_store.mark_damaged(session, [(damaged, 0), (damaged, 7)]) == 1
    new = await at.add(ALICE, "3.md", long_text(4))
    again = await at.add(ALICE, "4.md", long_text(5))
    async with at.db.write() as session:
        assert await jobs_store.claim(session, "dead", again)
        await jobs_store.release(session, "dead", counted=True)
        first = await jobs_store.claim(session, "one", only="new")
        assert first
        assert first.doc_id == new
        assert await jobs_store.claim(session, "two", only="new") is None
        jobs = [await jobs_store.claim(session, "one") for _ in range(4)]
    assert [job.doc_id if job else None for job in jobs] == [damaged, again, wanted, None]


def test_progress_never_falls_and_a_stage_has_its_share() -> None:
    told: list[float] = []
    job = Job("d", ALICE, "f.pdf", "f", "application/pdf", "processing", None, 1, 0, "token")
    work = Work(job, lambda _doc, _status, progress: told.append(progress))
    steps = [("reading", 5, 10), ("reading", 10, 10), ("recognising", 1, 2), ("reading", 1, 10), ("recognising", 2, 2)]
    for step in steps:
        work.on_page(*step)
        work.tell("processing")
    assert work.saved() == {"stage": "recognising", "progress": 0.5, "pages": 10, "chunks": 0}
    work.on_parsed(10)
    for done in (1, 2, 4):
        work.on_chunks(done, 4)
        work.tell("processing")
    assert told == pytest.approx([0.05, 0.1, 0.3, 0.3, 0.5, 0.625, 0.75, 1.0])
    assert told == sorted(told)
    assert work.saved() == {"stage": "indexing", "progress": 1.0, "pages": 10, "chunks": 4}


async def test_the_command_indexes_anew_without_a_server(
    at: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(library_module, "build_embedder", lambda _settings, _name: WordEmbedder())
    library = Library(Settings(data_dir=tmp_path / "data", chunk_tokens=64, chunk_overlap_tokens=0))
    library.documents._worker_command = at.documents._worker_command
    account, _ = await library.users.add("alice@example.com", None, is_admin=False, actor=COMMAND_LINE)
    doc_id = await at.indexed(account.user_id, "long.md", long_text(3))
    async with asyncio.timeout(60):
        assert await reindex_documents(library, everything=False) == 0
    assert "1 documents are indexed anew" in capsys.readouterr().err
    document = await at.documents.get(account.user_id, doc_id)
    assert (document.status, document.reindex, document.chunker) == ("ready", None, "paragraphs:64/0")
    assert (await at.retrieval.search(account.user_id, QUESTION, 4))[0].doc_id == doc_id
