"""What can be done with documents, apart from indexing them: the one object the routes and the command line hold."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path

from lorestream.accounts.models import Principal
from lorestream.accounts.quotas import Quotas, Stored
from lorestream.db import Database, Session, now
from lorestream.documents import batches_store, collections_store, jobs_store, store
from lorestream.documents.boxes import Box, boxes_of
from lorestream.documents.collections import no_collection
from lorestream.documents.ingest import CHUNKS_PER_DELETION, Ingestor, title_of
from lorestream.documents.integrity import Integrity
from lorestream.documents.models import Document, Only, PageSpan, StoredChunk, StoredPage
from lorestream.documents.page_images import PageImages, Picture
from lorestream.documents.parse import PDF, detect
from lorestream.documents.queue import WORKER_COMMAND, IngestProcess, Watchers
from lorestream.documents.upload import (
    ARCHIVE_SUFFIX,
    FRAMING_BYTES,
    PART_SUFFIX,
    Upload,
    copied,
    disk_errors,
    received,
    sync,
)
from lorestream.errors import Busy, Conflict, NotFound
from lorestream.index.base import VectorIndex
from lorestream.providers.base import Embedder
from lorestream.settings import Settings

log = logging.getLogger(__name__)

# Reports wake a waiter; looking by itself is for the case that none comes, as with a worker of another process.
LOOK_SECONDS = 2.0
# Younger files may belong to an upload in progress in this or another process.
STRAY_SECONDS = 3600.0
EVERYTHING = Only()


class Documents:
    """The documents of all owners. Built without I/O; ``open`` before the first use."""

    def __init__(
        self,
        db: Database,
        index: VectorIndex,
        embedder: Embedder,
        quotas: Quotas,
        settings: Settings,
        *,
        worker_command: Sequence[str] = WORKER_COMMAND,
    ) -> None:
        """Take what it works with. Originals are kept under the data directory in ``files``, named by doc_id."""
        self.files = settings.data_dir / "files"
        self.ingestor = Ingestor(db, index, embedder, self.files, settings)
        # A page may have more words than it has room for: then its boxes are work, and never more than two such.
        self._measuring = asyncio.Semaphore(2)
        self.page_images = PageImages(settings.parse_memory_bytes)
        self._uploads = settings.data_dir / "uploads"
        self._db = db
        self._index = index
        self.integrity = Integrity(db, index)
        self._embedder = embedder
        self._way = embedder.name, self.ingestor.chunker
        self._quotas = quotas
        self._settings = settings
        self._worker_command = worker_command
        self._queue = Watchers()

    async def open(self) -> None:
        """Make the folders."""
        for folder in (self.files, self._uploads):
            await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)

    @asynccontextmanager
    async def ingesting(self) -> AsyncIterator[IngestProcess]:
        """Inside the block a worker process indexes what is queued, and the indexes are examined once.

        The caller's lock on the data directory says that no other process indexes here.
        """
        await self.open()
        process = IngestProcess(self._db, self._settings.as_environment(), command=self._worker_command)
        self._queue = process
        examiner = asyncio.create_task(self._examine(), name="index-examiner")
        try:
            await process.open()
            yield process
        finally:
            examiner.cancel()
            await asyncio.gather(examiner, return_exceptions=True)
            await process.close()
            self._queue = Watchers()

    def nudge(self) -> None:
        """Say that there is something new to do."""
        self._queue.nudge()

    def watch(self, name: str) -> AbstractContextManager[asyncio.Event]:
        """An event that is set when this document or batch, or with ``ANY`` some document, may have changed."""
        return self._queue.watch(name)

    def tell(self, name: str) -> None:
        """Wake those who watch it."""
        self._queue.report(name)

    async def ingest(self, doc_id: str) -> None:
        """Index a queued document in this process, until it is settled; for commands that have no worker."""
        while await self.ingestor.ingest(doc_id, self._queue.report) is not None:
            pass

    @asynccontextmanager
    async def receive(
        self, user: Principal, stream: AsyncIterator[bytes], content_type: str, declared_bytes: int
    ) -> AsyncIterator[Upload]:
        """A multipart upload as a temporary file, to be added inside the block; its body has ``declared_bytes``, or 0.

        See ``upload.received`` for what it raises; before that, RateLimited and QuotaExceeded.
        """
        declared_bytes = max(0, declared_bytes - FRAMING_BYTES)
        async with (
            self._quotas.upload(user, declared_bytes, partial(self.stored, user.user_id)),
            received(stream, content_type, self._uploads, self._settings.max_upload_bytes) as upload,
        ):
            yield upload

    async def stored(self, owner_id: str) -> Stored:
        """How much an owner has."""
        async with self._db.read() as session:
            return await store.stored(session, owner_id)

    async def add_path(self, owner_id: str, path: Path, collection_id: str | None = None) -> tuple[Document, bool]:
        """``add`` for a file of this machine, which stays where it is."""
        async with copied(path, self._uploads, self._settings.max_upload_bytes) as upload:
            return await self.add(owner_id, upload, collection_id=collection_id)

    async def known(self, owner_id: str, sha256: str) -> Document | None:
        """The document with these bytes, also one that failed or was cancelled; None where there is none."""
        async with self._db.read() as session:
            return await batches_store.with_bytes(session, owner_id, sha256)

    async def changes(self, owner_id: str, since: datetime, limit: int) -> list[tuple[datetime, Document]]:
        """Up to ``limit`` documents whose row changed after ``since``, and when; the earliest first."""
        async with self._db.read() as session:
            return await batches_store.changed(session, owner_id, None, since, limit, latest=False)

    async def add(
        self, owner_id: str, upload: Upload, *, collection_id: str | None = None, batch_id: str | None = None
    ) -> tuple[Document, bool]:
        """Queue an uploaded file, moving it; True if it is new, False with the document that has the same bytes.

        Either is then in the collection, or in the batch's own, and in the batch if it was in none. Raises
        UnsupportedType before anything is stored, NotFound for a collection or batch that is not the owner's, Conflict
        for a batch that was cancelled, QuotaExceeded and StorageFull.
        """
        media_type = detect(upload.filename, upload.head)
        groups = collection_id, batch_id
        if same := await self._same_bytes(owner_id, upload.sha256, *groups):
            return same, False
        document = Document(
            doc_id=secrets.token_hex(16), owner_id=owner_id, filename=upload.filename,
            title=title_of(None, upload.filename), media_type=media_type, bytes=upload.bytes, sha256=upload.sha256,
            pages=None, chunks=0, status="queued", progress=0.0, error_code=None, error_message=None, embedder=None,
            created_at=now(), batch_id=batch_id,
        )  # fmt: skip
        file = self.files / document.doc_id
        with disk_errors():
            await asyncio.to_thread(move_durably, upload.path, file)
        try:
            async with self._db.write() as session:
                await self._quotas.admit(session, owner_id, await store.stored(session, owner_id), upload.bytes)
                inserted = await store.insert_document(session, document)
                if inserted:
                    await _group(session, document, *groups)
        except Exception:
            file.unlink(missing_ok=True)
            raise
        if not inserted:
            file.unlink(missing_ok=True)
            if same := await self._same_bytes(owner_id, upload.sha256, *groups):
                return same, False
            raise Busy("The same file is just being deleted; please try again.")
        self._queue.nudge()
        self._queue.report(document.doc_id)
        return document, True

    async def wait(self, owner_id: str, doc_id: str, seconds: float) -> Document:
        """The document as soon as it is settled (ready or failed), or as it stands after ``seconds``."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        with self._queue.watch(doc_id) as news:
            while True:
                news.clear()
                document = await self.get(owner_id, doc_id)
                left = end - loop.time()
                if document.settled or left <= 0:
                    return document
                try:
                    async with asyncio.timeout(min(left, LOOK_SECONDS)):
                        await news.wait()
                except TimeoutError:
                    continue

    async def get(self, owner_id: str, doc_id: str) -> Document:
        """One document. Raises NotFound for an unknown one and, the same, for another owner's."""
        async with self._db.read() as session:
            document = await store.find(session, owner_id, doc_id)
        if document is None:
            raise NotFound("There is no such document.")
        return document

    async def page(
        self, owner_id: str, limit: int, after: tuple[datetime, str] | None, only: Only = EVERYTHING
    ) -> list[Document]:
        """Up to ``limit`` documents, newest first, older than ``after`` (created_at, doc_id).

        Raises NotFound for a collection or a batch that is not the owner's.
        """
        await self.check(owner_id, only.collection_id, only.batch_id)
        async with self._db.read() as session:
            return await store.page_of(session, owner_id, limit, after, only)

    async def check(self, owner_id: str, collection_id: str | None, batch_id: str | None) -> None:
        """Raise NotFound where the owner does not have this collection or this batch."""
        async with self._db.read() as session:
            if collection_id is not None and not await collections_store.exists(session, owner_id, collection_id):
                raise no_collection()
            if batch_id is not None and not await store.has_batch(session, owner_id, batch_id):
                raise NotFound("There is no such batch.")

    async def text(self, owner_id: str, doc_id: str) -> tuple[Document, list[str], list[PageSpan]]:
        """A ready document with its extracted text in parts and its pages. Raises NotFound, Conflict."""
        document = await self._ready(owner_id, doc_id)
        async with self._db.read() as session:
            parts, pages = await store.read_text(session, owner_id, doc_id)
        return document, parts, pages

    async def boxes(self, owner_id: str, doc_id: str, start: int, end: int) -> list[tuple[StoredPage, list[Box]]]:
        """Where the text from ``start`` to ``end`` stands on the paper of a ready document, a box for each line.

        Nothing for a format without paper. Raises NotFound, Conflict.
        """
        await self._ready(owner_id, doc_id)
        async with self._db.read() as session:
            pages = await store.read_paper(session, owner_id, doc_id, start, end)
        async with self._measuring:
            return await asyncio.to_thread(lambda: [(page, boxes_of(page, start, end)) for page in pages])

    async def picture(self, owner_id: str, doc_id: str, number: int, width: int) -> tuple[Picture, Path]:
        """What ``page_images`` is asked for a picture of a page. Raises NotFound, Conflict for what is no PDF."""
        document, path = await self.file(owner_id, doc_id)
        if document.media_type != PDF:
            raise Conflict("Only a PDF has pages that can be shown as pictures.")
        return Picture(document.doc_id, number, width), path

    async def chunk(self, owner_id: str, doc_id: str, chunk_index: int) -> StoredChunk:
        """One passage. Raises NotFound."""
        async with self._db.read() as session:
            chunk = await store.read_chunk(session, owner_id, doc_id, chunk_index)
        if chunk is None:
            raise NotFound("There is no such passage.")
        return chunk

    async def file(self, owner_id: str, doc_id: str) -> tuple[Document, Path]:
        """A document and where its original is. Raises NotFound."""
        document = await self.get(owner_id, doc_id)
        path = self.files / document.doc_id
        if not await asyncio.to_thread(path.is_file):
            raise NotFound("The original of this document is no longer there.")
        return document, path

    async def retry(self, owner_id: str, doc_id: str) -> Document:
        """Index a failed or cancelled document again, or one that is indexed in another way than now.

        The latter serves as it is until then. Raises NotFound, Conflict.
        """
        document = await self.get(owner_id, doc_id)
        async with self._db.write() as session:
            if document.status != "ready":
                await store.requeue(session, owner_id, doc_id)
            elif not await jobs_store.want_reindex_of(session, owner_id, doc_id, *self._way):
                raise Conflict("This document is indexed already.")
        self._queue.nudge()
        return await self.get(owner_id, doc_id)

    async def cancel(self, owner_id: str, doc_id: str) -> Document:
        """Stop indexing a document, at any stage: a new one is cancelled, one that serves stays as it is.

        Raises NotFound, Conflict for one that is settled or that must be rebuilt.
        """
        async with self._db.write() as session:
            cancelled = await jobs_store.cancel(session, owner_id, doc_id)
        document = await self.get(owner_id, doc_id)
        if not cancelled:
            raise Conflict("There is nothing to cancel: this document is not being indexed.")
        self._queue.report(doc_id)
        await self.ingestor.ingest(doc_id, only="left over")
        return document

    async def reindex(self, owner_id: str | None = None, *, everything: bool = False) -> int:
        """Have the ready documents (of one owner) indexed anew that are indexed in another way than now, or all.

        How many were marked; they serve as they are until then.
        """
        async with self._db.write() as session:
            marked = await jobs_store.want_reindex(session, *self._way, owner_id=owner_id, everything=everything)
        self._queue.nudge()
        return marked

    async def waiting_for_reindex(self) -> int:
        """How many documents are still to be indexed anew."""
        async with self._db.read() as session:
            return await jobs_store.count_wanted(session)

    async def indexed_otherwise(self) -> int:
        """How many ready documents are indexed in another way than now."""
        async with self._db.read() as session:
            return await jobs_store.count_others(session, *self._way)

    async def delete(self, owner_id: str, doc_id: str) -> None:
        """Delete a document with all that was made of it; invisible at once, gone on return. Raises NotFound."""
        async with self._db.write() as session:
            begun = await store.begin_deletion(session, owner_id, doc_id)
        if not begun:
            raise NotFound("There is no such document.")
        self.page_images.forget(doc_id)
        self._queue.nudge()
        await self._remove(owner_id, doc_id)
        self._queue.report(doc_id)

    async def delete_all(self, owner_id: str) -> None:
        """Delete everything of an owner, for the deletion of an account."""
        async with self._db.write() as session:
            batch_ids = await store.delete_groups(session, owner_id)
        for batch_id in batch_ids:  # from now on nothing is unpacked any more
            await asyncio.to_thread((self._uploads / f"{batch_id}{ARCHIVE_SUFFIX}").unlink, missing_ok=True)
        async with self._db.read() as session:
            doc_ids = await store.owned_ids(session, owner_id)
        for doc_id in doc_ids:
            async with self._db.write() as session:
                await store.begin_deletion(session, owner_id, doc_id)
            await self._remove(owner_id, doc_id)
        async with self._db.write() as session:
            await self._index.remove_owner(session, owner_id)

    async def owners(self) -> set[str]:
        """Everybody who has documents, also such that are being deleted, batches or collections."""
        async with self._db.read() as session:
            return await store.owners(session)

    async def stored_of(self, owner_ids: Sequence[str]) -> dict[str, Stored]:
        """How many documents each of these owners has, and the bytes of their originals; nothing for who has none."""
        async with self._db.read() as session:
            return await store.stored_of(session, owner_ids)

    async def sweep(self) -> None:
        """Finish deletions that were cut off, and remove files that belong to nothing."""
        async with self._db.read() as session:
            unfinished = await store.deleting(session)
        for owner_id, doc_id in unfinished:
            await self._remove(owner_id, doc_id)
        old = await asyncio.to_thread(self._old_files)
        async with self._db.read() as session:
            known = await store.all_ids(session)
        for path in old:
            if path.name not in known:
                log.warning("removing %s, which belongs to no document", path)
                await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _examine(self) -> None:
        """Find what is damaged before anybody searches it, and say what is indexed in another way than now."""
        try:
            await self.integrity.check_all(self._embedder)
            self._queue.nudge()
            others = await self.indexed_otherwise()
        except Exception:
            log.exception("the index could not be examined")
            return
        if others:
            log.warning(
                "%d documents are indexed in another way than the settings say now; they are searched as they are, "
                "and `lorestream reindex` indexes them anew",
                others,
            )

    def _old_files(self) -> list[Path]:
        before = time.time() - STRAY_SECONDS
        old = []
        for path in (*self.files.iterdir(), *self._uploads.glob(f"*{PART_SUFFIX}")):
            with suppress(FileNotFoundError):  # moved or removed meanwhile
                if path.stat().st_mtime < before:
                    old.append(path)
        return old

    async def _remove(self, owner_id: str, doc_id: str) -> None:
        """Remove what a deletion has made invisible; can be cut off anywhere and begun again. The row goes last."""
        await asyncio.to_thread((self.files / doc_id).unlink, missing_ok=True)
        removed = CHUNKS_PER_DELETION
        while removed == CHUNKS_PER_DELETION:
            async with self._db.write() as session:
                removed = await store.delete_chunks(session, doc_id, CHUNKS_PER_DELETION)
        async with self._db.write() as session:
            for version in await store.versions(session, doc_id):
                await self._index.remove(session, owner_id, version)
            await store.delete_document(session, doc_id)

    async def _ready(self, owner_id: str, doc_id: str) -> Document:
        document = await self.get(owner_id, doc_id)
        if document.status != "ready":
            raise Conflict("This document has no text yet: it is not indexed.")
        return document

    async def _same_bytes(
        self, owner_id: str, sha256: str, collection_id: str | None, batch_id: str | None
    ) -> Document | None:
        async with self._db.read() as session:
            same = await store.find_same_bytes(session, owner_id, sha256)
        if same is None or (collection_id is None and batch_id is None):
            return same
        async with self._db.write() as session:
            await _group(session, same, collection_id, batch_id)
            return await store.find(session, owner_id, same.doc_id)


async def _group(session: Session, document: Document, collection_id: str | None, batch_id: str | None) -> None:
    """Put a document into a collection and, where it is in none, into a batch. Raises NotFound, Conflict."""
    owner_id, doc_id = document.owner_id, document.doc_id
    if batch_id is not None:
        own = await batches_store.collection_of(session, owner_id, batch_id)
        await batches_store.join(session, owner_id, batch_id, [doc_id])
        if collection_id is None and own is not None and await collections_store.exists(session, owner_id, own):
            collection_id = own
    if collection_id is not None:
        if not await collections_store.exists(session, owner_id, collection_id):
            raise no_collection()
        await collections_store.put(session, owner_id, collection_id, [doc_id])


def move_durably(source: Path, target: Path) -> None:
    """Move a file on one disk so that it outlives a power cut (blocking)."""
    sync(source)
    source.rename(target)
    sync(target.parent)
