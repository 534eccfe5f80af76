"""Unpacking archives in the worker process: each file becomes a queued document, in groups of one transaction each.

How far an archive is, is stored with the documents that came of it, so that a killed worker's successor goes on where
it was; a document's id follows from its place in the archive, so that what was begun is overwritten, never doubled.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from lorestream.accounts.quotas import Quotas, Stored
from lorestream.db import Database, Session, now
from lorestream.documents import batches_store as store
from lorestream.documents import collections_store
from lorestream.documents import store as documents_store
from lorestream.documents.archive import Entry, documents_of, unpack
from lorestream.documents.batches_store import MAX_REFUSED, Unpacking
from lorestream.documents.ingest import title_of
from lorestream.documents.models import Document
from lorestream.documents.parse import DocumentFailed, detect
from lorestream.documents.store import LeaseLost
from lorestream.documents.upload import ARCHIVE_SUFFIX, PART_SUFFIX, Upload, disk_errors, sync
from lorestream.errors import LorestreamError, QuotaExceeded

log = logging.getLogger(__name__)

# Sizes of one group: some tens of milliseconds of writing, and a second of work that a kill may cost.
GROUP_FILES, GROUP_BYTES = 64, 16 * 1024 * 1024
SYNCS_AT_ONCE = 16
HEARTBEAT_SECONDS, LOOK_SECONDS = 3.0, 2.0
MAX_FAILURES = 3
DAMAGED = {"code": "broken", "message": "The archive is damaged; what could be read of it was."}
FAILED = {"code": "internal", "message": "Unpacking the archive failed unexpectedly; the server's log says why."}


@dataclass(slots=True)
class _File:
    """One file of an archive: a new document and its upload, or what is wrong with it."""

    document: Document
    upload: Upload | None = None
    refused: tuple[str, str] | None = None


class Unpacker:
    """Unpacks one archive at a time. ``worker_id`` names the holder of its leases."""

    def __init__(
        self, db: Database, quotas: Quotas, files: Path, uploads: Path, worker_id: str, *, max_upload_bytes: int
    ) -> None:
        """Archives are in ``uploads``, named by batch_id; originals go to ``files``, named by doc_id. No I/O."""
        self._db = db
        self._quotas = quotas
        self._files = files
        self._uploads = uploads
        self._worker_id = worker_id
        self._max_upload_bytes = max_upload_bytes
        self._failures: dict[str, int] = {}

    async def run(self, nudge: asyncio.Event, report: Callable[[str], None]) -> None:
        """Unpack what waits, for ever; ``report`` hears the batch_id after every group.

        What a worker before this one held is taken at once: should it still live, its lease is gone.
        """
        async with self._db.write() as session:
            await store.release(session, None)
        while True:
            nudge.clear()
            if await self.unpack_one(report) is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await nudge.wait()

    async def unpack_one(self, report: Callable[[str], None]) -> str | None:
        """Unpack the archive that has waited longest; its batch_id, or None when there was none."""
        async with self._db.write() as session:
            job = await store.claim(session, self._worker_id)
        if job is None:
            return None
        try:
            await self._unpack(job, report)
        except LeaseLost:
            log.info("the batch %s was cancelled or taken over while it was unpacked", job.batch_id)
        except Exception:
            log.exception("unpacking the batch %s failed", job.batch_id)
            await self._failed(job)
        report(job.batch_id)
        return job.batch_id

    async def _unpack(self, job: Unpacking, report: Callable[[str], None]) -> None:
        await asyncio.to_thread(self._remove_parts, job)
        try:
            file = await asyncio.to_thread(self._archive(job).open, "rb")
        except FileNotFoundError:
            await self._end(job, DAMAGED)
            return
        try:
            entries = itertools.islice(enumerate(documents_of(file)), job.next_entry, job.entries)
            while group := await self._group(job, file, entries):
                try:
                    job = await self._store(job, group)
                finally:
                    await asyncio.to_thread(_discard, group)
                report(job.batch_id)
            await self._end(job)
        except DocumentFailed:
            await self._end(job, DAMAGED)
        finally:
            file.close()

    async def _group(self, job: Unpacking, file: IO[bytes], entries: Iterator[tuple[int, Entry]]) -> list[_File]:
        """Unpack the next files, holding the lease meanwhile."""
        work = asyncio.ensure_future(asyncio.to_thread(self._unpack_group, job, file, entries))
        try:
            while not (await asyncio.wait({work}, timeout=HEARTBEAT_SECONDS))[0]:
                async with self._db.write() as session:
                    await store.hold(session, job)
            return work.result()
        except LeaseLost:
            await asyncio.to_thread(_discard, await work)
            raise

    def _unpack_group(self, job: Unpacking, file: IO[bytes], entries: Iterator[tuple[int, Entry]]) -> list[_File]:
        group: list[_File] = []
        size = 0
        while len(group) < GROUP_FILES and size < GROUP_BYTES:
            if (found := next(entries, None)) is None:
                break
            group.append(self._unpack_file(job, file, *found))
            size += found[1].size
        return group

    def _unpack_file(self, job: Unpacking, file: IO[bytes], index: int, entry: Entry) -> _File:
        doc_id = hashlib.sha256(f"{job.batch_id}:{index}".encode()).hexdigest()[:32]
        found = _File(_document(job, doc_id, entry.filename))
        part = self._uploads / f"{job.batch_id}-{index}{PART_SUFFIX}"
        try:
            upload = unpack(file, entry, part, self._max_upload_bytes)
            found.document = replace(
                found.document,
                media_type=detect(upload.filename, upload.head),
                bytes=upload.bytes,
                sha256=upload.sha256,
            )
            found.upload = upload
        except (DocumentFailed, LorestreamError) as failure:
            found.refused = failure.code, failure.message
            part.unlink(missing_ok=True)
        return found

    async def _store(self, job: Unpacking, group: Sequence[_File]) -> Unpacking:
        """Queue a group's documents; the job as it stands then. Raises LeaseLost, and then stores nothing."""
        uploads = [one for one in group if one.upload]
        async with self._db.read() as session:
            known = await store.same_bytes(session, job.owner_id, [one.document.sha256 for one in uploads])
        new = [one for one in uploads if one.document.sha256 not in known]
        try:
            await asyncio.to_thread(self._keep, new)
            async with self._db.write() as session:
                done = await self._insert(session, job, group, new)
        except BaseException:
            await asyncio.to_thread(self._drop, new)
            raise
        await asyncio.to_thread(self._drop, [one for one in uploads if one.document.doc_id not in done.kept])
        return done.job

    async def _insert(
        self, session: Session, job: Unpacking, group: Sequence[_File], new: Sequence[_File]
    ) -> _Inserted:
        await store.hold(session, job)
        known = await store.same_bytes(session, job.owner_id, [one.document.sha256 for one in group if one.upload])
        fresh = {one.document.sha256: one for one in reversed(new) if one.document.sha256 not in known}
        kept = await self._insert_new(session, job, list(fresh.values())[::-1])
        for one in group:
            if one.upload and one.document.sha256 not in known.keys() | fresh.keys():
                one.refused = "busy", "The same file was just being deleted; please upload it again."
        await store.join(session, job.owner_id, job.batch_id, list(known.values()))
        if job.collection_id and await collections_store.exists(session, job.owner_id, job.collection_id):
            doc_ids = [*kept, *known.values()]
            await collections_store.put(session, job.owner_id, job.collection_id, doc_ids)
        refused = [
            {"name": one.document.filename, "code": one.refused[0], "message": one.refused[1]}
            for one in group
            if one.refused
        ]
        after = replace(job, next_entry=job.next_entry + len(group), refused=[*job.refused, *refused][:MAX_REFUSED])
        await store.hold(session, after, next_entry=after.next_entry, refused=after.refused)
        return _Inserted(after, kept)

    async def _insert_new(self, session: Session, job: Unpacking, new: Sequence[_File]) -> set[str]:
        """Insert what fits into the owner's limits: nearly always all of it, asked for once; the ids."""
        has = await documents_store.stored(session, job.owner_id)
        added = sum(one.document.bytes for one in new)
        fitting: list[Document] = []
        try:
            together = Stored(has.documents + len(new) - 1, has.bytes)
            await self._quotas.admit(session, job.owner_id, together, added)
            fitting = [one.document for one in new]
        except QuotaExceeded:
            for one in new:
                try:
                    await self._quotas.admit(session, job.owner_id, has, one.document.bytes)
                except QuotaExceeded as failure:
                    one.refused = failure.code, failure.message
                    continue
                has = Stored(has.documents + 1, has.bytes + one.document.bytes)
                fitting.append(one.document)
        await store.insert_documents(session, fitting)
        return {document.doc_id for document in fitting}

    def _keep(self, new: Sequence[_File]) -> None:
        """Move originals to their place, so that they outlive a power cut; their folder is synced once."""
        with disk_errors():
            # All at once: the file system writes its journal once for many who wait.
            with ThreadPoolExecutor(SYNCS_AT_ONCE) as threads:
                list(threads.map(sync, [one.upload.path for one in new if one.upload]))
            for one in new:
                assert one.upload
                one.upload.path.rename(self._files / one.document.doc_id)
            sync(self._files)

    def _drop(self, files: Sequence[_File]) -> None:
        for one in files:
            (self._files / one.document.doc_id).unlink(missing_ok=True)

    async def _end(self, job: Unpacking, refused: dict[str, str] | None = None) -> None:
        """Say that all files are there, or why not; then the archive can go."""
        values: dict[str, Any] = {"status": store.OPEN, "lease_token": None, "lease_until": None}
        async with self._db.write() as session:
            batch = await store.find(session, job.owner_id, job.batch_id)
            if refused and batch:
                values["refused"] = [*batch.refused[: MAX_REFUSED - 1], {"name": batch.name, **refused}]
            await store.hold(session, job, **values)
        await asyncio.to_thread(self._archive(job).unlink, missing_ok=True)

    async def _failed(self, job: Unpacking) -> None:
        """Leave the archive for another attempt, when the lease has ended; after some, give it up."""
        failures = self._failures[job.batch_id] = self._failures.get(job.batch_id, 0) + 1
        if failures >= MAX_FAILURES:
            del self._failures[job.batch_id]
            with suppress(LeaseLost):
                await self._end(job, FAILED)

    def _remove_parts(self, job: Unpacking) -> None:
        for part in self._uploads.glob(f"{job.batch_id}-*{PART_SUFFIX}"):
            part.unlink(missing_ok=True)

    def _archive(self, job: Unpacking) -> Path:
        return self._uploads / f"{job.batch_id}{ARCHIVE_SUFFIX}"


@dataclass(frozen=True, slots=True)
class _Inserted:
    """How far an archive is after a group, and the ids of the group's new documents."""

    job: Unpacking
    kept: set[str]


def _document(job: Unpacking, doc_id: str, filename: str) -> Document:
    return Document(
        doc_id=doc_id, owner_id=job.owner_id, filename=filename, title=title_of(None, filename), media_type="",
        bytes=0, sha256="", pages=None, chunks=0, status="queued", progress=0.0, error_code=None, error_message=None,
        embedder=None, created_at=now(), batch_id=job.batch_id,
    )  # fmt: skip


def _discard(group: Sequence[_File]) -> None:
    """Remove what was unpacked and not moved."""
    for one in group:
        if one.upload:
            one.upload.path.unlink(missing_ok=True)
