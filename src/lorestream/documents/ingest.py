"""Ingestion: from a stored file to searchable chunks, in the worker process or, awaited directly, in this one.

Everything is written in short transactions, invisible until one publishes the document; each begins by holding the
lease, so a worker that lost it (cancelling, deletion, or a successor after it was stopped too long) writes nothing.
A document that is indexed anew serves from its last generation of chunks until the next one is whole.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

import numpy as np

from lorestream.db import Database, Session
from lorestream.documents import jobs_store as store
from lorestream.documents.chunk import Chunk, embedding_text, split
from lorestream.documents.models import Job, StoredChunk, version_of
from lorestream.documents.parse import DocumentFailed, Ocr, Parsed
from lorestream.documents.sandbox import parse_file
from lorestream.documents.store import LeaseLost
from lorestream.documents.work import OnProgress, Work
from lorestream.errors import LorestreamError, ModelProtocolError
from lorestream.index.base import Vector, VectorIndex, Vectors, checksum, stored_bytes
from lorestream.providers.base import Embedder
from lorestream.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_ATTEMPTS = 3
# A cancelled document's reader is killed within this time; progress is stored as often.
LOOK_SECONDS = 0.5
RETRY_SECONDS = 4.0
# Sizes of one writing transaction: a few milliseconds each, so that a question never waits long to be stored.
CHUNKS_PER_BATCH = 64
CHUNKS_PER_DELETION = 200
PAGES_PER_BATCH = 100
TEXT_PART_CHARACTERS = 256 * 1024
MAX_HEADINGS = 100_000
MAX_TITLE = 200


class Ingestor:
    """Indexes documents, each call of ``ingest`` one. ``worker_id`` names the holder of its leases."""

    def __init__(self, db: Database, index: VectorIndex, embedder: Embedder, files: Path, settings: Settings) -> None:
        """Take what it works with; ``files`` is the folder of the originals, named by doc_id."""
        self.worker_id = secrets.token_hex(8)
        self._db = db
        self._index = index
        self._embedder = embedder
        self._files = files
        self._settings = settings
        # One file is read at a time, while passages of other documents are embedded.
        self._reading = asyncio.Semaphore(1)
        # Room for the title and the heading that are embedded with each chunk.
        self._chunk_tokens = min(settings.chunk_tokens, max(32, embedder.max_tokens * 7 // 8))
        self._overlap_tokens = min(settings.chunk_overlap_tokens, self._chunk_tokens // 4)

    @property
    def chunker(self) -> str:
        """How texts are split now; it is stored with every document."""
        return f"paragraphs:{self._chunk_tokens}/{self._overlap_tokens}"

    async def ingest(
        self, doc_id: str | None = None, on_progress: OnProgress | None = None, *, only: store.Only | None = None
    ) -> str | None:
        """Do what is to be done for this document, or for the most urgent one; its id, or None for nothing.

        Failures end in the document's status. ``on_progress(doc_id, status, progress)`` hears of every step. ``only``
        what is new and was never begun, or only removing what is left over.
        """
        async with self._db.write() as session:
            job = await store.claim(session, self.worker_id, doc_id, only)
        if job is None:
            return None
        work = Work(job, on_progress)
        work.tell(job.status)
        try:
            await self._attempt(work)
        except LeaseLost:
            log.info("document %s was cancelled, deleted or taken over while it was worked on", job.doc_id)
        return job.doc_id

    async def release(self) -> None:
        """Put back what this ingestor was working on; for an orderly end in mid-work."""
        async with self._db.write() as session:
            await store.release(session, self.worker_id, counted=False)

    async def _attempt(self, work: Work) -> None:
        try:
            await self._with_heartbeat(work)
        except (LeaseLost, asyncio.CancelledError):
            raise
        except DocumentFailed as failure:
            await self._give_up(work, failure.code, failure.message)
        except Exception as error:
            log.exception("indexing document %s failed, attempt %d", work.job.doc_id, work.job.attempts)
            if _is_final(work.job, error):
                await self._give_up(work, *_reason(error))
            else:
                await self._put_back(work)

    async def _with_heartbeat(self, work: Work) -> None:
        task = asyncio.create_task(self._work_on(work))
        try:
            while not (await asyncio.wait({task}, timeout=LOOK_SECONDS))[0]:
                await self._look(work)
            task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _look(self, work: Work) -> None:
        """Store the progress, renew the lease, or see at least whether it is held. Raises LeaseLost."""
        async with work.turn:
            if work.over:
                return
            if work.is_due():
                async with self._db.write() as session:
                    await store.hold(session, work.job, **work.saved())
                work.tell(work.job.status)
                return
            async with self._db.read() as session:
                if not await store.is_held(session, work.job):
                    raise LeaseLost

    @asynccontextmanager
    async def _holding(self, work: Work) -> AsyncIterator[Session]:
        """A transaction of who holds the lease, which stores the progress, too. Raises LeaseLost."""
        async with work.turn, self._db.write() as session:
            await store.hold(session, work.job, **work.saved())
            yield session

    async def _work_on(self, work: Work) -> None:
        job = work.job
        # Whatever an earlier attempt left; for a settled document all but what serves.
        await self._remove(work, keep=job.generation if job.status == "ready" else None)
        unfinished = job.status == "processing" or job.reindex
        if unfinished and job.attempts > MAX_ATTEMPTS:
            raise DocumentFailed("crashed", f"Indexing this file ended unexpectedly {MAX_ATTEMPTS} times.")
        if job.status == "processing":
            await self._index_file(work)
        elif job.reindex:
            await self._index_anew(work)
        else:
            await self._settle(work)

    async def _index_file(self, work: Work) -> None:
        parsed = await self._read(work)
        chunks = await self._split(parsed)
        if not chunks:
            raise DocumentFailed("no_text", "There is no text in this file.")
        title = title_of(parsed.title, work.job.filename)
        await self._store_parsed(work, parsed)
        total = await self._store_chunks(work, work.job.generation, title, chunks)
        async with self._holding(work) as session:
            await store.publish(
                session, work.job, title=title, pages=len(parsed.pages) or None, chunks=len(chunks), vectors_sum=total,
                embedder=self._embedder.name, chunker=self.chunker,
            )  # fmt: skip
            work.over = True
        work.tell("ready", 1.0)

    async def _index_anew(self, work: Work) -> None:
        job = work.job
        async with self._db.read() as session:
            parsed = await store.read_parsed(session, job)
        chunks = await self._split(parsed)
        if not chunks:
            raise DocumentFailed("damaged", "The text of this document is no longer there. Please retry, or upload it.")
        total = await self._store_chunks(work, job.generation + 1, job.title, chunks)
        async with self._holding(work) as session:
            made = {"chunks": len(chunks), "vectors_sum": total}
            await store.replace(session, job, embedder=self._embedder.name, chunker=self.chunker, **made)
            work.job = job.next_generation()
        await self._remove(work, keep=work.job.generation)
        await self._settle(work)

    async def _settle(self, work: Work) -> None:
        async with self._holding(work) as session:
            await store.settle(session, work.job)
            work.over = True
        work.tell(work.job.status)

    async def _read(self, work: Work) -> Parsed:
        settings = self._settings
        ocr = Ocr(settings.ocr_languages, settings.ocr_page_seconds) if settings.ocr == "auto" else None
        async with self._reading:
            return await parse_file(
                self._files / work.job.doc_id,
                work.job.media_type,
                timeout_seconds=settings.parse_timeout_seconds,
                memory_bytes=settings.parse_memory_bytes,
                ocr=ocr,
                on_page=work.on_page,
            )

    async def _split(self, parsed: Parsed) -> Sequence[Chunk]:
        tokens = {"max_tokens": self._chunk_tokens, "overlap_tokens": self._overlap_tokens}
        return await asyncio.to_thread(split, parsed, self._embedder.token_spans, **tokens)

    async def _store_parsed(self, work: Work, parsed: Parsed) -> None:
        work.on_parsed(len(parsed.pages) or None)
        parts = [
            parsed.text[start : start + TEXT_PART_CHARACTERS]
            for start in range(0, len(parsed.text), TEXT_PART_CHARACTERS)
        ]
        for number, (part, pages) in enumerate(zip_longest(parts, _batches(parsed.pages, PAGES_PER_BATCH))):
            async with self._holding(work) as session:
                if number == 0:
                    await store.add_outline(session, work.job, parsed.headings[:MAX_HEADINGS])
                if part is not None:
                    await store.add_text(session, work.job, number, part)
                if pages is not None:
                    await store.add_pages(session, work.job, pages)
            work.tell(work.job.status)

    async def _store_chunks(self, work: Work, generation: int, title: str, chunks: Sequence[Chunk]) -> int:
        """Store all with their vectors; the sum of the vectors' checksums."""
        job, version, total, done = work.job, version_of(work.job.doc_id, generation), 0, 0
        async with aclosing(self._embedded(title, chunks)) as batches:
            async for batch, vectors in batches:
                done += len(batch)
                work.on_chunks(done, len(chunks))
                async with self._holding(work) as session:
                    rows = [_row(job.doc_id, chunk) for chunk in batch]
                    ids = await store.add_chunks(session, job, generation, title, rows)
                    made = list(map(Vector, ids, vectors))
                    await self._index.add(session, job.owner_id, version, self._embedder.name, made)
                work.tell(job.status)
                total += checksum(map(stored_bytes, vectors))
        return total % 2**63

    async def _embedded(
        self, title: str, chunks: Sequence[Chunk]
    ) -> AsyncGenerator[tuple[Sequence[Chunk], Vectors], None]:
        """Batches of chunks with their vectors; each is embedded while the one before is written."""
        upcoming: asyncio.Task[tuple[Sequence[Chunk], Vectors]] | None = None
        try:
            for batch in _batches(chunks, CHUNKS_PER_BATCH):
                embedded, upcoming = upcoming, asyncio.create_task(self._embed(title, batch))
                if embedded is not None:
                    yield await embedded
            if upcoming is not None:
                yield await upcoming
        finally:
            if upcoming is not None:
                upcoming.cancel()
                await asyncio.gather(upcoming, return_exceptions=True)

    async def _embed(self, title: str, batch: Sequence[Chunk]) -> tuple[Sequence[Chunk], Vectors]:
        room = self._embedder.max_tokens
        vectors = await self._embedder.embed([embedding_text(title, chunk, room) for chunk in batch])
        expected = (len(batch), await self._embedder.dimensions())
        if vectors.shape != expected or not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
            raise ModelProtocolError("The embedding model returned vectors that cannot be used.")
        return batch, vectors

    async def _remove(self, work: Work, keep: int | None) -> None:
        """Remove every generation but ``keep``; with None all that was made of the file."""
        removed, any_removed = CHUNKS_PER_DELETION, work.job.attempts > 1
        while removed == CHUNKS_PER_DELETION:
            async with self._holding(work) as session:
                removed = await store.delete_chunks(session, work.job, keep, CHUNKS_PER_DELETION)
                any_removed = any_removed or removed > 0
                if removed < CHUNKS_PER_DELETION and any_removed:
                    for version in store.other_versions(work.job, keep):
                        await self._index.remove(session, work.job.owner_id, version)
                if removed < CHUNKS_PER_DELETION and keep is None:
                    await store.delete_text(session, work.job)

    async def _give_up(self, work: Work, code: str, message: str) -> None:
        """End what failed: a document that serves goes on as it is, any other one has failed."""
        job = work.job
        serves = job.reindex == "wanted"
        await self._remove(work, keep=job.generation if serves else None)
        async with self._holding(work) as session:
            if serves:
                log.error("document %s could not be indexed anew and stays as it was: %s", job.doc_id, message)
                await store.settle(session, job, reindex=None)
            else:
                await store.fail(session, job, code, message)
            work.over = True
        work.tell("ready" if serves else "failed", 1.0 if serves else 0.0)

    async def _put_back(self, work: Work) -> None:
        job = work.job
        async with self._holding(work) as session:
            # Failures that pass do not use up the attempts of what must not be given up.
            await store.put_back(session, job, RETRY_SECONDS * job.attempts, min(job.attempts, MAX_ATTEMPTS - 1))
            work.over = True
        work.tell("queued" if job.status == "processing" else job.status, 0.0)


def title_of(parsed_title: str | None, filename: str) -> str:
    """A document's title: its own, else its file's name without the ending; one line, ≤ 200 characters."""
    own = " ".join((parsed_title or "").split())
    return (own or Path(filename).stem or filename)[:MAX_TITLE]


def _row(doc_id: str, chunk: Chunk) -> StoredChunk:
    return StoredChunk(doc_id, chunk.index, chunk.text, chunk.start, chunk.end, chunk.page, chunk.heading or "")


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _is_final(job: Job, error: Exception) -> bool:
    """Whether there is to be no other attempt.

    Removing what is left over is never given up; a damaged document, which could only fail, waits for what passes.
    """
    lasting = isinstance(error, LorestreamError) and not error.retryable
    if job.status == "processing" or job.reindex == "wanted":
        return lasting or job.attempts >= MAX_ATTEMPTS
    return lasting and job.reindex == "damaged"


def _reason(error: Exception) -> tuple[str, str]:
    if isinstance(error, LorestreamError):
        return error.code, error.message
    return "internal", "Indexing this file failed unexpectedly; the server's log says why."
