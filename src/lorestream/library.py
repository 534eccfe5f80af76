"""The services without HTTP: what the web application, the worker and the command line are made of.

Built without I/O; ``open`` does what must be done before the first use, ``close`` ends it in the opposite order.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import IO

from lorestream.accounts.audit import Audit
from lorestream.accounts.invitations import Invitations
from lorestream.accounts.keys import Keys
from lorestream.accounts.quotas import Quotas
from lorestream.accounts.service import Accounts
from lorestream.accounts.tickets import Tickets
from lorestream.accounts.users import Users
from lorestream.accounts.watch import Watch
from lorestream.admission import Admission, Seats
from lorestream.conversations.answer import Answers
from lorestream.conversations.feedback import Feedback
from lorestream.conversations.store import MessageStore
from lorestream.conversations.threads import Conversations
from lorestream.db import Database
from lorestream.documents.batches import Batches
from lorestream.documents.collections import Collections
from lorestream.documents.progress import Progress
from lorestream.documents.service import Documents
from lorestream.errors import StartRefused
from lorestream.index.sqlite import SqliteIndex
from lorestream.limits import RateLimiter
from lorestream.locks import locked
from lorestream.ops.personal_data import PersonalData
from lorestream.providers.catalogue import Catalogue
from lorestream.providers.cross_encoder import CrossEncoder
from lorestream.providers.embedders import build_embedder
from lorestream.providers.minilm import MiniLM
from lorestream.providers.reader import NAME as READER
from lorestream.retrieval.search import Retrieval
from lorestream.retrieval.spaces import Embedders
from lorestream.settings import Settings
from lorestream.shared import SharedCounts
from lorestream.streaming.fleet import Fleet
from lorestream.streaming.log import MemoryLog, RunLog
from lorestream.streaming.log_redis import SCRIPTS, RedisLog
from lorestream.streaming.redis_link import RedisLink
from lorestream.streaming.runs import Runs

log = logging.getLogger(__name__)

ANSWERS_TAKEN = "You already have {limit} answers being written; wait for one to end, or stop one."
STREAMS_TAKEN = "You already have {limit} open answer streams; close one first."
INGEST_LOOK_SECONDS = 2.0
SWEEP_SECONDS = 600.0
# A worker that starts waits this long for another one to finish the migrations.
START_SECONDS = 30.0


class Library:
    """Every service of one data directory, wired together."""

    def __init__(self, settings: Settings) -> None:
        """Build the services; nothing is read or written yet."""
        self.settings = settings
        self._counts = SharedCounts(settings.redis_url.get_secret_value()) if settings.redis_url else None
        self.limiter = RateLimiter(shared=self._counts)
        self.db = Database(settings.data_dir / "lorestream.db")
        self.embedder = build_embedder(settings, settings.embedder)
        self.index = SqliteIndex(self.db)
        self.audit = Audit(self.db)
        self.invitations = Invitations(self.db, self.audit)
        self.keys = Keys(self.db, self.audit)
        self.tickets = Tickets(self.db, settings.total_timeout_seconds + settings.log_retention_seconds)
        self.watch = Watch(self.db)
        self.accounts = Accounts(self.db, settings, self.limiter, self.audit, self.invitations)
        self.quotas = Quotas(self.db, settings, self.limiter)
        self.users = Users(self.db, self.accounts.passwords, self.audit, settings.password_min_length)
        self.collections = Collections(self.db)
        self.documents = Documents(self.db, self.index, self.embedder, self.quotas, settings)
        self.batches = Batches(self.db, self.documents, self.quotas, settings)
        self.progress = Progress(self.db, self.documents)
        self.embedders = Embedders(self.embedder, partial(build_embedder, settings))
        self.reranker = CrossEncoder(settings.reranker) if settings.reranker else None
        self.retrieval = Retrieval(
            self.db, self.index, self.embedders, settings.relevance_floor, dense_weight=settings.dense_weight,
            integrity=self.documents.integrity, reranker=self.reranker, rerank_candidates=settings.rerank_candidates,
        )  # fmt: skip
        self.catalogue = Catalogue(settings, self.embedder)
        store = MessageStore(self.db)
        kept = settings.log_retention_seconds, settings.log_max_bytes
        runs_log: RunLog = MemoryLog(*kept)
        self._shared: _Shared | None = None
        if settings.redis_url:
            self._shared = _Shared(settings.redis_url.get_secret_value(), store, *kept)
            runs_log = self._shared.log
        self.runs = Runs(
            runs_log,
            store.checkpoint,
            grace_seconds=settings.disconnect_grace_seconds,
            total_timeout_seconds=settings.total_timeout_seconds,
            siblings=self._shared.fleet if self._shared else None,
        )
        self.answer_seats = Seats("answers", ANSWERS_TAKEN, self._counts)
        self.stream_seats = Seats("streams", STREAMS_TAKEN, self._counts)
        self.admission = Admission(self.catalogue.at_once, settings.max_queued_runs, self.answer_seats, {READER})
        self.answers = Answers(
            store, self.retrieval, self.catalogue, self.runs, self.admission, self.quotas, self.watch, settings
        )
        self.conversations = Conversations(self.db, self.answers)
        self.feedback = Feedback(self.db)
        self.personal_data = PersonalData(
            self.accounts, self.keys, self.users, self.watch, self.conversations, self.documents,
            self.collections, self.batches, self.audit, settings.audit_days,
        )  # fmt: skip
        self._store = store
        self._closing = AsyncExitStack()

    async def open(self) -> None:
        """Take the data directory, bring the tables up to date, end what a killed process left running.

        Raises StartRefused when the directory cannot be used, is in use, or holds something of another version.
        """
        lock, alone = await asyncio.to_thread(_lock, self.settings.data_dir, shared=self._shared is not None)
        self._closing.callback(lock.close)
        await asyncio.to_thread(_refuse_lost, self.db.path, self.documents.files)
        await asyncio.to_thread(self.db.migrate)
        self._closing.push_async_callback(self.db.close)
        if self._shared:
            await self._shared.link.open()
            self._closing.push_async_callback(self._shared.link.close)
        if self._counts:
            self._closing.push_async_callback(self._counts.close)
            for seats in (self.answer_seats, self.stream_seats):
                await self._closing.enter_async_context(seats.holding())
        await self.accounts.open()
        self._closing.push_async_callback(self.accounts.close)
        self._closing.push_async_callback(self.keys.close)
        await self.watch.open()
        self._closing.push_async_callback(self.watch.close)
        await self.documents.open()
        if alone:  # proved by the lock: whatever is called running has lost its process
            await (self._shared.fleet.recover_all() if self._shared else self._store.interrupt_running())
        if self._shared:
            await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_SH)
        self._closing.push_async_callback(self.index.close)
        self._closing.push_async_callback(self.embedder.close)
        self._closing.push_async_callback(self.embedders.close)
        self._closing.push_async_callback(self.catalogue.close)
        await self.catalogue.open()
        if isinstance(self.embedder, MiniLM):
            await self.embedder.open()  # so that nobody's first question waits for it
        if self.reranker:
            self._closing.push_async_callback(self.reranker.close)
            await self.reranker.open()
        if self._shared:
            await self._shared.log.open(on_stop=self.runs.stop_here, on_fenced=self.runs.abandon)
            self._closing.push_async_callback(self._shared.log.close)
            await self._shared.fleet.open(self.runs)
            self._closing.push_async_callback(self._shared.fleet.close)
        await self.runs.open()
        self._closing.push_async_callback(self.runs.close)

    @asynccontextmanager
    async def ingesting(self) -> AsyncIterator[None]:
        """Inside the block one of the workers of the data directory indexes what is queued; the others stand by."""
        tried = asyncio.Event()
        tasks = [asyncio.create_task(self._ingest_once_free(tried)), asyncio.create_task(tried.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                tasks[0].result()
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ingest_once_free(self, tried: asyncio.Event) -> None:
        with (self.settings.data_dir / ".ingest.lock").open("ab") as lock:
            while not locked(lock, fcntl.LOCK_EX):
                tried.set()
                await asyncio.sleep(INGEST_LOOK_SECONDS)
            sweeps = (self.documents.sweep, self.batches.sweep, self.personal_data.sweep)
            async with self.documents.ingesting(), _sweeping(*sweeps):
                tried.set()
                await asyncio.Event().wait()

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """For commands about documents, whether a server runs on the data directory or not; instead of ``open``.

        Inside the block documents are indexed: by the server's worker or, where there is none, by one of this process.
        Raises StartRefused.
        """
        await asyncio.to_thread(self._prepare)
        await self.documents.open()
        try:
            async with self.ingesting():
                yield
        finally:
            await self.index.close()
            await self.embedder.close()
            await self.db.close()

    def _prepare(self) -> None:
        """Make the tables where nobody works here; otherwise they must be those of this version (blocking)."""
        try:
            lock, _ = _lock(self.settings.data_dir, shared=False)
        except StartRefused:
            if self.db.is_current():
                return
            raise
        with lock:
            self.db.migrate()

    async def close(self) -> None:
        """End every run, then free what was opened."""
        await self._closing.aclose()


class _Shared:
    """What the workers of one data directory share through Redis."""

    def __init__(self, url: str, store: MessageStore, retention_seconds: float, max_bytes: int) -> None:
        self.link = RedisLink(url, SCRIPTS)
        self.log = RedisLog(self.link, retention_seconds, max_bytes)
        self.fleet = Fleet(self.link, self.log, store.running, store.interrupt)


def _lock(data_dir: Path, *, shared: bool) -> tuple[IO[bytes], bool]:
    """Hold the data directory until the file is closed, and whether nobody else does (blocking).

    Alone, the lock is exclusive. Otherwise, where it may be ``shared``, others hold it shared as well: one that starts
    holds it alone at first, so that its migrations and its recovery meet nobody.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (data_dir / ".lock").open("ab")
    except OSError as error:
        raise StartRefused(
            f"The data directory {data_dir.resolve()} cannot be written ({os.strerror(error.errno or 0)}). "
            "Set LORESTREAM_DATA_DIR to a directory that can."
        ) from error
    if locked(file, fcntl.LOCK_EX):
        return file, True
    deadline = time.monotonic() + (START_SECONDS if shared else 0)
    while time.monotonic() < deadline:
        if locked(file, fcntl.LOCK_SH):
            return file, False
        time.sleep(0.05)
    file.close()
    raise StartRefused(
        f"Another Lorestream is using the data directory {data_dir.resolve()}. Stop it, or set LORESTREAM_DATA_DIR to "
        "another directory, or let both work together: set LORESTREAM_REDIS_URL for each of them."
    )


@asynccontextmanager
async def _sweeping(*sweeps: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Inside the block what was left over is removed, at once and every SWEEP_SECONDS, by each of these in turn."""

    async def regularly() -> None:
        while True:
            for sweep in sweeps:
                try:
                    await sweep()
                except Exception:
                    log.exception("sweeping up failed; it is tried again")
            await asyncio.sleep(SWEEP_SECONDS)

    task = asyncio.create_task(regularly(), name="sweeper")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def _refuse_lost(database: Path, files: Path) -> None:
    """Raise StartRefused where there are documents and no database: an empty one would hide that it is lost."""
    if (not database.exists() or not database.stat().st_size) and files.is_dir() and any(files.iterdir()):
        raise StartRefused(
            f"The database {database} is missing or empty, but there are documents in {files}. Restore a backup of "
            "it; or, to begin anew, move the data directory away."
        )
