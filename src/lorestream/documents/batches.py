"""Batches: files that came together, by single uploads or as a ZIP file, followed and cancelled as one."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

from lorestream.accounts.models import Principal
from lorestream.accounts.quotas import Quotas
from lorestream.db import Database, Session, now
from lorestream.documents import batches_store as store
from lorestream.documents.archive import inspect
from lorestream.documents.models import Batch
from lorestream.documents.service import Documents, move_durably
from lorestream.documents.unpack import Unpacker
from lorestream.documents.upload import ARCHIVE_SUFFIX, Upload, disk_errors
from lorestream.errors import Conflict, NotFound, QuotaExceeded
from lorestream.settings import Settings

log = logging.getLogger(__name__)

# Rows of one owner; those without documents are forgotten after a day.
MAX_BATCHES = 10_000
KEPT_EMPTY = timedelta(days=1)
# An archive is as large as an upload and counts against no quota until its files are documents.
MAX_UNPACKING = 10
# Younger files may belong to an archive that is just being stored.
STRAY_SECONDS = 3600.0


class Batches:
    """The batches of all owners. Every call names the owner, and raises NotFound for what is not theirs."""

    def __init__(self, db: Database, documents: Documents, quotas: Quotas, settings: Settings) -> None:
        """No I/O. Archives that wait are kept under the data directory in ``uploads``, named by batch_id."""
        self.unpacker = Unpacker(
            db,
            quotas,
            documents.files,
            settings.data_dir / "uploads",
            documents.ingestor.worker_id,
            max_upload_bytes=settings.max_upload_bytes,
        )
        self._db = db
        self._documents = documents
        self._settings = settings
        self._archives = settings.data_dir / "uploads"

    async def create(self, owner_id: str, name: str, collection_id: str | None = None) -> Batch:
        """A batch for files that are uploaded one by one. Raises NotFound for the collection, QuotaExceeded."""
        await self._documents.check(owner_id, collection_id, None)
        return await self._insert(owner_id, secrets.token_hex(16), name, collection_id)

    @asynccontextmanager
    async def receive(
        self,
        user: Principal,
        stream: AsyncIterator[bytes],
        content_type: str,
        declared_bytes: int,
        collection_id: str | None = None,
    ) -> AsyncIterator[Upload]:
        """An uploaded archive as a temporary file, to be added inside the block; see ``Documents.receive``.

        Raises NotFound for the collection and Conflict for too many archives at once, before the body is read.
        """
        await self._documents.check(user.user_id, collection_id, None)
        async with self._db.read() as session:
            await _room(session, user.user_id)
        async with self._documents.receive(user, stream, content_type, declared_bytes) as upload:
            yield upload

    async def add(self, owner_id: str, upload: Upload, collection_id: str | None = None) -> Batch:
        """A batch of the files in an uploaded archive, which is moved, and unpacked in the background.

        Raises what ``archive.inspect`` does, before anything is stored; NotFound, Conflict, QuotaExceeded, StorageFull.
        """
        limits = self._settings.max_archive_entries, self._settings.max_upload_bytes
        entries = await asyncio.to_thread(inspect, upload.path, max_entries=limits[0], max_bytes=limits[1])
        batch_id = secrets.token_hex(16)
        archive = self._archive(batch_id)
        with disk_errors():
            await asyncio.to_thread(move_durably, upload.path, archive)
        try:
            return await self._insert(owner_id, batch_id, upload.filename, collection_id, entries)
        except Exception:
            archive.unlink(missing_ok=True)
            raise
        finally:
            self._documents.nudge()

    async def get(self, owner_id: str, batch_id: str) -> Batch:
        """One batch."""
        async with self._db.read() as session:
            batch = await store.find(session, owner_id, batch_id)
        if batch is None:
            raise NotFound("There is no such batch.")
        return batch

    async def page(self, owner_id: str, limit: int, after: tuple[datetime, str] | None) -> list[Batch]:
        """Up to ``limit`` batches, newest first, older than ``after`` (created_at, batch_id)."""
        async with self._db.read() as session:
            return await store.page_of(session, owner_id, limit, after)

    async def cancel(self, owner_id: str, batch_id: str) -> Batch:
        """Stop unpacking, and cancel what is not settled; what is ready stays. Again, it changes nothing.

        Raises Conflict where everything is settled already.
        """
        batch = await self.get(owner_id, batch_id)
        if batch.status == "done":
            raise Conflict("Nothing is left to cancel in this batch.")
        async with self._db.write() as session:
            cancelled = await store.cancel(session, owner_id, batch_id)
        await asyncio.to_thread(self._archive(batch_id).unlink, missing_ok=True)
        for doc_id in cancelled:
            self._documents.tell(doc_id)
        self._documents.nudge()  # the worker stops what it is doing, and removes what is left over
        self._documents.tell(batch_id)
        return await self.get(owner_id, batch_id)

    async def sweep(self) -> None:
        """Remove archives that nobody will unpack, and batches of nothing."""
        old = await asyncio.to_thread(self._old_archives)
        async with self._db.read() as session:
            alive = await store.unpacking(session)
        for path in old:
            if path.stem not in alive:
                log.warning("removing the archive %s, which belongs to no batch", path)
                await asyncio.to_thread(path.unlink, missing_ok=True)
        async with self._db.write() as session:
            await store.forget_empty(session, now() - KEPT_EMPTY)

    def _old_archives(self) -> list[Path]:
        before = time.time() - STRAY_SECONDS
        old = []
        for path in self._archives.glob(f"*{ARCHIVE_SUFFIX}"):
            with suppress(FileNotFoundError):  # removed meanwhile
                if path.stat().st_mtime < before:
                    old.append(path)
        return old

    def _archive(self, batch_id: str) -> Path:
        return self._archives / f"{batch_id}{ARCHIVE_SUFFIX}"

    async def _insert(
        self, owner_id: str, batch_id: str, name: str, collection_id: str | None, entries: int | None = None
    ) -> Batch:
        async with self._db.write() as session:
            if entries is not None:
                await _room(session, owner_id)
            if await store.count(session, owner_id) >= MAX_BATCHES:
                raise QuotaExceeded(f"You have {MAX_BATCHES} batches; delete documents of some first.")
            await store.insert_batch(session, owner_id, batch_id, name, collection_id, entries)
        return await self.get(owner_id, batch_id)


async def _room(session: Session, owner_id: str) -> None:
    if await store.count(session, owner_id, unpacking=True) >= MAX_UNPACKING:
        raise Conflict(f"{MAX_UNPACKING} of your archives are still being unpacked; wait for one of them.")
