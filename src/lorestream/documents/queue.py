"""Waiting for documents to be indexed, and the worker process that indexes them.

The documents table is the queue. The worker is a child of the web process: a line on its stdin says that there is
work, the end of its stdin that the parent is gone; on its stdout it reports one JSON object a line.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import msgspec

from lorestream.db import Database
from lorestream.documents import jobs_store as store

log = logging.getLogger(__name__)

WORKER_COMMAND = (sys.executable, "-m", "lorestream.ingest_worker")
FIRST_RESTART_SECONDS = 0.5
LAST_RESTART_SECONDS = 30.0
# A worker that lived this long did not die of its start: the next restart is quick again.
HEALTHY_SECONDS = 60.0
STOP_SECONDS = 3.0
# Watched by those who follow many documents.
ANY = ""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Report(msgspec.Struct, omit_defaults=True):
    """One line of a worker: at first who it is, then how a document is doing (``progress`` from 0 to 1)."""

    worker_id: str = ""
    doc_id: str = ""
    status: str = ""
    progress: float = 0.0


class Watchers:
    """Who waits for which document. On its own the queue of a process that calls ``Ingestor.ingest`` itself."""

    def __init__(self) -> None:
        """Start with nobody waiting."""
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def watch(self, doc_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the document may have changed; clear it before reading the document."""
        news = asyncio.Event()
        self._waiting[doc_id].add(news)
        try:
            yield news
        finally:
            self._waiting[doc_id].discard(news)
            if not self._waiting[doc_id]:
                del self._waiting[doc_id]

    def report(self, doc_id: str, _status: str = "", _progress: float = 0.0) -> None:
        """Wake those who wait for the document (or batch), and those who wait for ANY."""
        for name in (doc_id, ANY):
            for news in self._waiting.get(name, ()):
                news.set()

    def nudge(self) -> None:
        """Say that a document was queued or deleted."""


class IngestProcess(Watchers):
    """Keeps one worker process alive. ``open`` starts it, ``close`` ends it within STOP_SECONDS."""

    def __init__(
        self, db: Database, environment: Mapping[str, str], *, command: Sequence[str] = WORKER_COMMAND
    ) -> None:
        """Take the settings as variables (``Settings.as_environment()``); they go over this process's own."""
        super().__init__()
        self._db = db
        self._command = command
        threads = str(max(1, (os.cpu_count() or 1) // 2))
        self._environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, threads), **environment}
        self._process: asyncio.subprocess.Process | None = None
        self._worker_id = ""
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether a worker process is running now."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        """The worker's process id, while it runs."""
        return self._process.pid if self._process is not None and self.alive else None

    async def open(self) -> None:
        """Queue again what a worker of an earlier life left, then start this one's."""
        async with self._db.write() as session:
            await store.release(session, None, counted=True)
        self._supervisor = asyncio.create_task(self._supervise(), name="ingest-supervisor")

    def nudge(self) -> None:
        """Wake the worker; where it is just restarting it looks for work by itself."""
        if self._process is not None and self._process.stdin is not None and self.alive:
            with suppress(ConnectionError, RuntimeError):
                self._process.stdin.write(b"\n")

    async def close(self) -> None:
        """End the worker; what it was working on is queued again and does not count as an attempt."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
            await self._release(counted=False)

    async def _supervise(self) -> None:
        delay = FIRST_RESTART_SECONDS
        while True:
            started = time.monotonic()
            try:
                await self._live_once()
            except OSError:
                log.exception("the ingestion worker could not be started")
            await self._release(counted=True)
            delay = FIRST_RESTART_SECONDS if time.monotonic() - started > HEALTHY_SECONDS else delay
            log.warning("the ingestion worker ended; it starts again in %.1f s", delay)
            await asyncio.sleep(delay)
            delay = min(2 * delay, LAST_RESTART_SECONDS)

    async def _live_once(self) -> None:
        pipe = asyncio.subprocess.PIPE
        process = self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=pipe,
            stdout=pipe,
            env=self._environment,
            start_new_session=True,  # a Ctrl-C reaches the parent alone, which ends it
        )
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                self._heard(line)
        finally:
            await self._end(process)

    def _heard(self, line: bytes) -> None:
        try:
            report = msgspec.json.decode(line, type=Report)
        except msgspec.DecodeError:
            log.warning("the ingestion worker wrote something else than a report")
            return
        self._worker_id = report.worker_id or self._worker_id
        if report.doc_id:
            self.report(report.doc_id)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _release(self, *, counted: bool) -> None:
        """The child is dead, so its leases are free at once."""
        worker_id, self._worker_id = self._worker_id, ""
        if not worker_id:
            return
        try:
            async with self._db.write() as session:
                released = await store.release(session, worker_id, counted=counted)
        except Exception:
            log.exception("the dead worker's documents could not be queued again; their leases end by themselves")
            return
        for doc_id in released:
            self.report(doc_id)
