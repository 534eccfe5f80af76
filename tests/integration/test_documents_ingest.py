"""Indexing: what is searchable afterwards, and that no failure at any step leaves half a document."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorestream.documents import ingest, jobs_store, service, store
from lorestream.documents.queue import IngestProcess
from lorestream.errors import InvalidInput, ModelUnavailable, NoDocuments, PayloadTooLarge, UnsupportedType
from lorestream.providers.base import Vectors
from lorestream.providers.remote_embedders import OllamaEmbedder, OpenAIEmbedder
from lorestream.providers.upstream import Endpoint
from lorestream.retrieval.spaces import Embedders
from tests.fakes.documents import ALICE, BOB, Desk, desk
from tests.fakes.upstream import FakeUpstream, Format, as_json

FRANCE = b"# France\n\nParis is the capital of France.\n\nThe Seine flows through it.\n"


def long_text(paragraphs: int, word: str = "apple") -> bytes:
    """Markdown whose every paragraph makes a chunk of its own."""
    body = "\n\n".join(
        f"Paragraph {n} speaks of {word} number {n}. " + "More words follow here. " * 35 for n in range(paragraphs)
    )
    return f"# About {word}\n\n{body}\n".encode()


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path / "data") as opened:
        yield opened


async def wait_until(queue: IngestProcess, doc_id: str, happened: Callable[[], Any]) -> None:
    """Wake with the worker's reports until ``happened``."""
    with queue.watch(doc_id) as news:
        while not happened():
            await news.wait()
            news.clear()


async def test_an_indexed_document_can_be_found_read_and_opened(at: Desk) -> None:
    steps: list[tuple[str, float]] = []
    doc_id = await at.add(ALICE, "france.md", FRANCE)
    await at.documents.ingestor.ingest(doc_id, lambda _doc, status, progress: steps.append((status, progress)))
    document = await at.documents.get(ALICE, doc_id)
    assert (document.status, document.progress, document.title) == ("ready", 1.0, "France")
    assert document.chunks == await at.rows("chunks") == await at.rows("vectors") == await at.rows("chunk_texts")
    assert steps[0] == ("processing", 0.0)
    assert steps[-1] == ("ready", 1.0)
    assert [progress for _, progress in steps] == sorted(progress for _, progress in steps)
    [first, *_] = await at.retrieval.search(ALICE, "What is the capital of France?", 4)
    assert "Paris is the capital" in first.text
    _, parts, _ = await at.documents.text(ALICE, doc_id)
    assert "".join(parts)[first.start : first.end] == first.text
    chunk = await at.documents.chunk(ALICE, doc_id, first.chunk_index)
    assert (chunk.text, chunk.start, chunk.end) == (first.text, first.start, first.end)


async def test_a_long_document_goes_in_by_pieces_and_comes_out_whole(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "CHUNKS_PER_BATCH", 4)
    monkeypatch.setattr(ingest, "TEXT_PART_CHARACTERS", 1000)
    doc_id = await at.indexed(ALICE, "long.md", long_text(30))
    document = await at.documents.get(ALICE, doc_id)
    assert document.status == "ready"
    assert document.chunks >= 30
    _, parts, _ = await at.documents.text(ALICE, doc_id)
    assert len(parts) > 10
    whole = "".join(parts)
    for n in range(document.chunks):
        chunk = await at.documents.chunk(ALICE, doc_id, n)
        assert whole[chunk.start : chunk.end] == chunk.text


async def test_nothing_is_searchable_before_everything_is(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "CHUNKS_PER_BATCH", 2)
    await at.indexed(ALICE, "france.md", FRANCE)
    found_meanwhile: list[str] = []
    embed = at.embedder.embed

    async def embed_and_search(texts: list[str]) -> Vectors:
        passages = await at.retrieval.search(ALICE, "What does paragraph 1 say of apple number 1?", 10)
        found_meanwhile.extend(passage.filename for passage in passages)
        with pytest.raises(NoDocuments):
            await at.retrieval.search(ALICE, "apple", 4, [doc_id])
        return await embed(texts)

    doc_id = await at.add(ALICE, "long.md", long_text(9))
    at.retrieval._embedders = Embedders(type(at.embedder)())
    monkeypatch.setattr(at.embedder, "embed", embed_and_search)
    await at.documents.ingest(doc_id)
    assert "long.md" not in found_meanwhile
    assert (await at.retrieval.search(ALICE, "What is apple number 1?", 4))[0].filename == "long.md"


async def test_deletion_leaves_nothing(at: Desk) -> None:
    kept = await at.indexed(BOB, "france.md", FRANCE)
    doc_id = await at.indexed(ALICE, "long.md", long_text(20))
    await at.documents.delete(ALICE, doc_id)
    with pytest.raises(NoDocuments):
        await at.retrieval.search(ALICE, "apple", 4)
    await at.documents.delete(BOB, kept)
    assert await at.left_over() == {}


async def test_an_account_leaves_nothing(at: Desk) -> None:
    await at.indexed(ALICE, "france.md", FRANCE)
    await at.add(ALICE, "queued.md", long_text(3))
    await at.documents.delete_all(ALICE)
    assert await at.left_over() == {}


async def test_a_worker_that_was_overtaken_writes_nothing(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped worker wakes after its lease has ended and a successor has finished."""
    monkeypatch.setattr(ingest, "CHUNKS_PER_BATCH", 2)
    doc_id = await at.add(ALICE, "long.md", long_text(6))
    embed = at.embedder.embed
    successors: list[asyncio.Task[None]] = []

    async def overtake() -> None:
        async with at.db.write() as session:
            await jobs_store.release(session, at.documents.ingestor.worker_id, counted=True)
        async with desk(at.settings.data_dir) as other:
            await other.documents.ingest(doc_id)

    async def be_overtaken(texts: list[str]) -> Vectors:
        if not successors:
            successors.append(asyncio.create_task(overtake()))
        await asyncio.shield(successors[0])
        return await embed(texts)

    monkeypatch.setattr(at.embedder, "embed", be_overtaken)
    await at.documents.ingestor.ingest(doc_id)
    await successors[0]
    document = await at.documents.get(ALICE, doc_id)
    assert document.status == "ready"
    assert document.chunks == await at.rows("chunks") == await at.rows("vectors") == await at.rows("chunk_texts")


async def test_two_workers_never_take_the_same_document(at: Desk) -> None:
    for n in range(4):
        await at.add(ALICE, f"{n}.md", long_text(2, word=f"fruit{n}"))
    async with at.db.write() as session:
        jobs = [await jobs_store.claim(session, worker) for worker in ("one", "two", "one", "two", "one")]
    taken = [job.doc_id for job in jobs if job]
    assert len(taken) == len(set(taken)) == 4


async def test_a_passing_failure_is_tried_again(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "RETRY_SECONDS", 0.0)
    embed, failures = at.embedder.embed, [ModelUnavailable(), OSError("gone")]

    async def fail_at_first(texts: list[str]) -> Vectors:
        if failures:
            raise failures.pop()
        return await embed(texts)

    monkeypatch.setattr(at.embedder, "embed", fail_at_first)
    doc_id = await at.indexed(ALICE, "france.md", FRANCE)
    assert (await at.documents.get(ALICE, doc_id)).status == "ready"


async def test_a_lasting_failure_ends_with_its_reason_and_can_be_retried(
    at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "RETRY_SECONDS", 0.0)
    tries: list[int] = []

    async def fail(texts: list[str]) -> Vectors:
        tries.append(len(texts))
        raise ModelUnavailable("The embedding model cannot be reached.")

    with monkeypatch.context() as patched:
        patched.setattr(at.embedder, "embed", fail)
        doc_id = await at.indexed(ALICE, "france.md", FRANCE)
    document = await at.documents.get(ALICE, doc_id)
    assert (document.status, document.error_code) == ("failed", "model_unavailable")
    assert document.error_message == "The embedding model cannot be reached."
    assert len(tries) == 3
    assert await at.rows("chunks") == await at.rows("vectors") == await at.rows("document_texts") == 0
    with pytest.raises(NoDocuments):
        await at.retrieval.search(ALICE, "Paris", 4)
    await at.documents.retry(ALICE, doc_id)
    await at.documents.ingest(doc_id)
    document = await at.documents.get(ALICE, doc_id)
    assert (document.status, document.error_code) == ("ready", None)


@pytest.mark.fault(25)
@pytest.mark.parametrize("fault", ["nan", "zero", "fewer", "longer"])
async def test_bad_vectors_fail_the_document(at: Desk, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    embed = at.embedder.embed

    async def spoiled(texts: list[str]) -> Vectors:
        vectors = await embed(texts)
        if fault == "nan":
            vectors[-1, 0] = np.nan
        elif fault == "zero":
            vectors[-1] = 0
        elif fault == "fewer":
            vectors = vectors[:-1]
        else:
            vectors = np.hstack([vectors, vectors])
        return vectors

    monkeypatch.setattr(at.embedder, "embed", spoiled)
    doc_id = await at.indexed(ALICE, "france.md", FRANCE)
    document = await at.documents.get(ALICE, doc_id)
    assert (document.status, document.error_code) == ("failed", "model_protocol")
    assert await at.rows("chunks") == await at.rows("vectors") == 0


@pytest.mark.fault(25)
@pytest.mark.parametrize("kind", ["ollama", "openai"])
async def test_fault_25_bad_vectors_of_an_embeddings_server_fail_the_document(tmp_path: Path, kind: Format) -> None:
    good, zero = [1.0, 0.0], [0.0, 0.0]
    for rows in ([good, zero], [good], [good, [float("nan"), 0.0]]):
        async with FakeUpstream(kind) as fake, desk(tmp_path / f"data{len(rows)}{rows}") as at:
            endpoint = Endpoint(fake.base_url)
            embedder = OllamaEmbedder("tiny", endpoint) if kind == "ollama" else OpenAIEmbedder("tiny", endpoint)
            at.documents.ingestor._embedder = embedder
            items = [{"index": index, "embedding": row} for index, row in enumerate(rows)]
            fake.answer(as_json({"embeddings": rows} if kind == "ollama" else {"data": items}))
            doc_id = await at.indexed(ALICE, "two.md", b"# One\n\nFirst.\n\n# Two\n\nSecond.\n")
            document = await at.documents.get(ALICE, doc_id)
            assert (document.status, document.error_code) == ("failed", "model_protocol"), rows
            assert await at.left_over() == {"documents": 1, "files": 1}
            await embedder.close()


async def test_a_file_without_text_fails_with_a_code(at: Desk) -> None:
    doc_id = await at.indexed(ALICE, "blank.txt", b" \n\n \n")
    document = await at.documents.get(ALICE, doc_id)
    assert document.status == "failed"
    assert document.error_code in ("empty", "no_text")
    broken = await at.indexed(ALICE, "broken.pdf", b"%PDF-1.7\nthis is no PDF")
    assert (await at.documents.get(ALICE, broken)).error_code == "broken"


async def test_local_files_are_checked_like_uploads(at: Desk, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        await at.documents.add_path(ALICE, tmp_path / "missing.md")
    with pytest.raises(InvalidInput, match="empty"):
        await at.add(ALICE, "empty.md", b"")
    with pytest.raises(UnsupportedType):
        await at.add(ALICE, "program.exe", b"MZ\x00\x01\x00\x00")
    async with desk(tmp_path / "small", max_upload_bytes=2048) as small:
        with pytest.raises(PayloadTooLarge):
            await small.add(ALICE, "large.md", b"x" * 2049)
    assert await at.left_over() == {}


async def test_the_same_bytes_at_the_same_time_are_one_document(at: Desk) -> None:
    ids = await asyncio.gather(*(at.add(ALICE, "france.md", FRANCE) for _ in range(6)))
    assert len(set(ids)) == 1
    assert await at.left_over() == {"documents": 1, "files": 1}
    assert await at.add(BOB, "france.md", FRANCE) != ids[0]


async def test_what_a_killed_process_left_is_swept(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    doc_id = await at.indexed(ALICE, "france.md", FRANCE)
    kept = await at.indexed(BOB, "france.md", FRANCE)
    async with at.db.write() as session:
        await store.begin_deletion(session, ALICE, doc_id)
    (at.documents.files / "0123").write_bytes(b"an upload whose row was never written")
    (at.settings.data_dir / "uploads" / "0123.part").write_bytes(b"half an upload")
    monkeypatch.setattr(service, "STRAY_SECONDS", -1.0)
    await at.documents.sweep()
    assert await at.rows("documents") == 1
    assert [path.name for path in at.documents.files.iterdir()] == [kept]
    assert not list((at.settings.data_dir / "uploads").iterdir())
    assert await at.rows("chunks", f"doc_id = '{doc_id}'") == 0


async def test_the_worker_process_indexes_and_reports(at: Desk) -> None:
    async with asyncio.timeout(60), at.documents.ingesting() as queue:
        doc_id = await at.add(ALICE, "france.md", FRANCE)
        document = await at.documents.wait(ALICE, doc_id, 50)
        assert document.status == "ready"
        pid = queue.pid
    assert pid
    assert not queue.alive


async def test_a_killed_worker_is_replaced_and_costs_nothing_but_time(at: Desk) -> None:
    clean = await at.indexed(BOB, "long.md", long_text(6))
    (at.settings.data_dir / "die-at").write_text("add_chunks")
    async with asyncio.timeout(60), at.documents.ingesting():
        doc_id = await at.add(ALICE, "long.md", long_text(6))
        document = await at.documents.wait(ALICE, doc_id, 50)
    assert document.status == "ready"
    assert document.chunks == (await at.documents.get(BOB, clean)).chunks
    mine = f"doc_id = '{doc_id}'"
    assert await at.rows("chunks", mine) == await at.rows("vectors", f"version = '{doc_id}:0'") == document.chunks
    assert await at.rows("chunk_texts") == await at.rows("chunks")


async def test_a_document_that_kills_its_worker_is_given_up(at: Desk) -> None:
    """Three deaths, and the fourth claim ends it without reading it again."""
    doc_id = await at.add(ALICE, "long.md", long_text(3))
    for _ in range(ingest.MAX_ATTEMPTS):
        async with at.db.write() as session:
            assert await jobs_store.claim(session, "dead")
            await jobs_store.release(session, "dead", counted=True)
    await at.documents.ingest(doc_id)
    document = await at.documents.get(ALICE, doc_id)
    assert (document.status, document.error_code) == ("failed", "crashed")


async def test_an_orderly_end_puts_the_document_back_uncounted(at: Desk) -> None:
    doc_id = await at.add(ALICE, "long.md", long_text(400))
    async with asyncio.timeout(60), at.documents.ingesting() as queue:
        await wait_until(queue, doc_id, lambda: queue._worker_id)
        while (await at.documents.get(ALICE, doc_id)).status == "queued":
            await at.documents.wait(ALICE, doc_id, 0.05)
    async with at.db.read() as session:
        assert await store.find(session, ALICE, doc_id)
    assert (await at.documents.get(ALICE, doc_id)).status in ("queued", "ready")
    assert await at.rows("documents", "attempts > 0") == 0


async def test_a_killed_worker_starts_again_and_one_without_parent_ends(at: Desk) -> None:
    async with asyncio.timeout(60), at.documents.ingesting() as queue:
        first = await at.add(ALICE, "france.md", FRANCE)
        await at.documents.wait(ALICE, first, 50)
        killed = queue._process
        assert killed
        killed.kill()
        await killed.wait()
        second = await at.add(ALICE, "long.md", long_text(3))
        assert (await at.documents.wait(ALICE, second, 50)).status == "ready"
        orphan = queue._process
        assert orphan
        assert orphan is not killed
        assert orphan.stdin
        orphan.stdin.close()
        assert await orphan.wait() == 0
