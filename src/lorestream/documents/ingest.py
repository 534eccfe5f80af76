"""Ingestion: from a stored file to searchable chunks, in the worker process or, awaited directly, in this one.

Everything is written in short transactions, invisible until the last one publishes the document; each begins by
holding the lease, so a worker that lost it (deletion, or a successor after it was stopped too long) writes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from lorestream.db import Database
from lorestream.documents import store
from lorestream.documents.chunk import MAX_TOKENS, OVERLAP_TOKENS, Chunk, embedding_text, split
from lorestream.documents.models import Job, PageSpan, StoredChunk, version_of
from lorestream.documents.parse import DocumentFailed, Parsed
from lorestream.documents.sandbox import parse_file
from lorestream.documents.store import LeaseLost
from lorestream.errors import LorestreamError, ModelProtocolError
from lorestream.index.base import Vector, VectorIndex, Vectors
from lorestream.providers.base import Embedder

log = logging.getLogger(__name__)

OnProgress = Callable[[str, str, float], None]

MAX_ATTEMPTS = 3
HEARTBEAT_SECONDS = 3.0
RETRY_SECONDS = 4.0
# Sizes of one writing transaction: a few milliseconds each, so that a question never waits long to be stored.
CHUNKS_PER_BATCH = 64
CHUNKS_PER_DELETION = 200
PAGES_PER_BATCH = 2000
TEXT_PART_CHARACTERS = 256 * 1024
MAX_TITLE = 200
# How much of the work is done once the text is known.
PARSED = 0.1


class Ingestor:
    """Indexes one document at a time. ``worker_id`` names the holder of its leases."""

    def __init__(
        self,
        db: Database,
        index: VectorIndex,
        embedder: Embedder,
        files: Path,
        *,
        parse_timeout_seconds: float,
        parse_memory_bytes: int,
    ) -> None:
        """Take what it works with; ``files`` is the folder of the originals, named by doc_id."""
        self.worker_id = secrets.token_hex(8)
        self._db = db
        self._index = index
        self._embedder = embedder
        self._files = files
        self._parse_timeout_seconds = parse_timeout_seconds
        self._parse_memory_bytes = parse_memory_bytes

    async def ingest(self, doc_id: str | None = None, on_progress: OnProgress | None = None) -> str | None:
        """Index this document, or the one that has waited longest; its id, or None when there was nothing to do.

        Failures end in the document's status. ``on_progress(doc_id, status, progress)`` hears of every step.
        """
        report = on_progress or _nobody
        async with self._db.write() as session:
            job = await store.claim(session, self.worker_id, doc_id)
        if job is None:
            return None
        report(job.doc_id, "processing", 0.0)
        try:
            await self._attempt(job, report)
        except LeaseLost:
            log.info("document %s was deleted or taken over while it was indexed", job.doc_id)
        return job.doc_id

    async def release(self) -> None:
        """Queue again what this ingestor was working on; for an orderly end in mid-work."""
        async with self._db.write() as session:
            await store.release(session, self.worker_id, counted=False)

    async def _attempt(self, job: Job, report: OnProgress) -> None:
        try:
            await self._with_heartbeat(job, report)
        except (LeaseLost, asyncio.CancelledError):
            raise
        except DocumentFailed as failure:
            await self._fail(job, failure.code, failure.message)
        except Exception as error:
            log.exception("indexing document %s failed, attempt %d", job.doc_id, job.attempts)
            final = isinstance(error, LorestreamError) and not error.retryable
            if final or job.attempts >= MAX_ATTEMPTS:
                await self._fail(job, *_reason(error))
            else:
                async with self._db.write() as session:
                    await store.put_back(session, job, RETRY_SECONDS * job.attempts)
                report(job.doc_id, "queued", 0.0)
                return
        else:
            report(job.doc_id, "ready", 1.0)
            return
        report(job.doc_id, "failed", 0.0)

    async def _with_heartbeat(self, job: Job, report: OnProgress) -> None:
        work = asyncio.create_task(self._index_document(job, report))
        try:
            while not (await asyncio.wait({work}, timeout=HEARTBEAT_SECONDS))[0]:
                async with self._db.write() as session:
                    await store.renew(session, job)
            work.result()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _index_document(self, job: Job, report: OnProgress) -> None:
        await self._clear(job)
        if job.attempts > MAX_ATTEMPTS:
            raise DocumentFailed("crashed", f"Indexing this file ended unexpectedly {MAX_ATTEMPTS} times.")
        parsed = await parse_file(
            self._files / job.doc_id,
            job.media_type,
            timeout_seconds=self._parse_timeout_seconds,
            memory_bytes=self._parse_memory_bytes,
        )
        chunks = await asyncio.to_thread(self._split, parsed)
        if not chunks:
            raise DocumentFailed("no_text", "There is no text in this file.")
        title = title_of(parsed.title, job.filename)
        await self._store_text(job, parsed)
        report(job.doc_id, "processing", PARSED)
        await self._store_chunks(job, title, chunks, report)
        async with self._db.write() as session:
            pages = len(parsed.pages) or None
            await store.publish(session, job, title, pages, len(chunks), self._embedder.name)

    def _split(self, parsed: Parsed) -> Sequence[Chunk]:
        # Room for the title and the heading that are embedded with each chunk.
        max_tokens = min(MAX_TOKENS, max(32, self._embedder.max_tokens * 7 // 8))
        overlap = min(OVERLAP_TOKENS, max_tokens // 4)
        return split(parsed, self._embedder.token_spans, max_tokens=max_tokens, overlap_tokens=overlap)

    async def _store_text(self, job: Job, parsed: Parsed) -> None:
        for part, start in enumerate(range(0, len(parsed.text), TEXT_PART_CHARACTERS)):
            async with self._db.write() as session:
                await store.add_text(session, job, part, parsed.text[start : start + TEXT_PART_CHARACTERS])
        for start in range(0, len(parsed.pages), PAGES_PER_BATCH):
            pages = parsed.pages[start : start + PAGES_PER_BATCH]
            async with self._db.write() as session:
                await store.add_pages(session, job, [PageSpan(page.number, page.start, page.end) for page in pages])

    async def _store_chunks(self, job: Job, title: str, chunks: Sequence[Chunk], report: OnProgress) -> None:
        room = self._embedder.max_tokens
        for start in range(0, len(chunks), CHUNKS_PER_BATCH):
            batch = chunks[start : start + CHUNKS_PER_BATCH]
            vectors = await self._embed([embedding_text(title, chunk, room) for chunk in batch])
            progress = PARSED + (1 - PARSED) * (start + len(batch)) / len(chunks)
            rows = [_row(job.doc_id, chunk) for chunk in batch]
            async with self._db.write() as session:
                ids = await store.add_chunks(session, job, title, rows, progress)
                version = version_of(job.doc_id, job.generation)
                made = list(map(Vector, ids, vectors))
                await self._index.add(session, job.owner_id, version, self._embedder.name, made)
            report(job.doc_id, "processing", progress)

    async def _embed(self, texts: list[str]) -> Vectors:
        vectors = await self._embedder.embed(texts)
        expected = (len(texts), await self._embedder.dimensions())
        if vectors.shape != expected or not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
            raise ModelProtocolError("The embedding model returned vectors that cannot be used.")
        return vectors

    async def _clear(self, job: Job) -> None:
        """Remove what an earlier attempt left; held by the lease like every write."""
        removed = CHUNKS_PER_DELETION
        while removed == CHUNKS_PER_DELETION:
            async with self._db.write() as session:
                await store.renew(session, job)
                removed = await store.delete_chunks(session, job.doc_id, CHUNKS_PER_DELETION)
        async with self._db.write() as session:
            await store.renew(session, job)
            await store.delete_text(session, job.doc_id)
            await self._index.remove(session, job.owner_id, version_of(job.doc_id, job.generation))

    async def _fail(self, job: Job, code: str, message: str) -> None:
        await self._clear(job)
        async with self._db.write() as session:
            await store.fail(session, job, code, message)


def title_of(parsed_title: str | None, filename: str) -> str:
    """A document's title: its own, else its file's name without the ending; one line, ≤ 200 characters."""
    own = " ".join((parsed_title or "").split())
    return (own or Path(filename).stem or filename)[:MAX_TITLE]


def _row(doc_id: str, chunk: Chunk) -> StoredChunk:
    return StoredChunk(doc_id, chunk.index, chunk.text, chunk.start, chunk.end, chunk.page, chunk.heading or "")


def _reason(error: Exception) -> tuple[str, str]:
    if isinstance(error, LorestreamError):
        return error.code, error.message
    return "internal", "Indexing this file failed unexpectedly; the server's log says why."


def _nobody(_doc_id: str, _status: str, _progress: float) -> None:
    """Nobody listens."""
