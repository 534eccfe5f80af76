"""The services without HTTP: what the web application, the worker and the command line are made of.

Built without I/O; ``open`` does what must be done before the first use, ``close`` ends it in the opposite order.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import IO

from lorestream.accounts.service import Accounts
from lorestream.admission import Admission, Seats
from lorestream.conversations.answer import Answers
from lorestream.conversations.store import MessageStore
from lorestream.conversations.threads import Conversations
from lorestream.db import Database
from lorestream.documents.service import Documents
from lorestream.errors import StartRefused
from lorestream.index.sqlite import SqliteIndex
from lorestream.limits import RateLimiter
from lorestream.providers.base import Embedder
from lorestream.providers.catalogue import Catalogue, openai_endpoint
from lorestream.providers.minilm import MiniLM
from lorestream.providers.reader import NAME as READER
from lorestream.providers.remote_embedders import OllamaEmbedder, OpenAIEmbedder
from lorestream.providers.upstream import Endpoint
from lorestream.retrieval.search import Retrieval
from lorestream.settings import Settings
from lorestream.streaming.log import MemoryLog
from lorestream.streaming.runs import Runs


def build_embedder(settings: Settings) -> Embedder:
    """The embedder that the settings name."""
    kind, _, name = settings.embedder.partition(":")
    if kind == "ollama":
        return OllamaEmbedder(name, Endpoint(settings.ollama_url))
    if kind == "openai" and (endpoint := openai_endpoint(settings)):
        return OpenAIEmbedder(name, endpoint)
    return MiniLM(settings.data_dir / "models")


class Library:
    """Every service of one data directory, wired together."""

    def __init__(self, settings: Settings) -> None:
        """Build the services; nothing is read or written yet."""
        self.settings = settings
        self.limiter = RateLimiter()
        self.db = Database(settings.data_dir / "lorestream.db")
        self.embedder = build_embedder(settings)
        self.index = SqliteIndex(self.db)
        self.accounts = Accounts(self.db, settings, self.limiter)
        self.documents = Documents(self.db, self.index, self.embedder, settings)
        self.retrieval = Retrieval(self.db, self.index, self.embedder, settings.relevance_floor)
        self.catalogue = Catalogue(settings, self.embedder)
        store = MessageStore(self.db)
        self.runs = Runs(
            MemoryLog(settings.log_retention_seconds, settings.log_max_bytes),
            store.checkpoint,
            grace_seconds=settings.disconnect_grace_seconds,
            total_timeout_seconds=settings.total_timeout_seconds,
        )
        self.admission = Admission(
            settings.model_concurrency, settings.max_queued_runs, settings.max_runs_per_user, {READER}
        )
        self.stream_seats = Seats(settings.max_streams_per_user, "open answer streams")
        self.answers = Answers(store, self.retrieval, self.catalogue, self.runs, self.admission, settings)
        self.conversations = Conversations(self.db, self.answers)
        self._store = store
        self._closing = AsyncExitStack()

    async def open(self) -> None:
        """Take the data directory, bring the tables up to date, end what a killed process left running.

        Raises StartRefused when the directory cannot be used, is in use, or holds something of another version.
        """
        lock = await asyncio.to_thread(_lock, self.settings.data_dir)
        self._closing.callback(lock.close)
        await asyncio.to_thread(self.db.migrate)
        self._closing.push_async_callback(self.db.close)
        await self.accounts.open()
        self._closing.push_async_callback(self.accounts.close)
        await self.documents.open()
        # The lock proves that no other process writes answers here, so whatever still runs has lost its process.
        await self._store.interrupt_running()
        self._closing.push_async_callback(self.index.close)
        self._closing.push_async_callback(self.embedder.close)
        if isinstance(self.embedder, MiniLM):
            await self.embedder.open()  # so that nobody's first question waits for it
        await self.runs.open()
        self._closing.push_async_callback(self.runs.close)

    async def close(self) -> None:
        """End every run, then free what was opened."""
        await self._closing.aclose()


def _lock(data_dir: Path) -> IO[bytes]:
    """Hold the data directory for this process until the file is closed (blocking)."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (data_dir / ".lock").open("ab")
    except OSError as error:
        raise StartRefused(
            f"The data directory {data_dir.resolve()} cannot be written ({os.strerror(error.errno or 0)}). "
            "Set LORESTREAM_DATA_DIR to a directory that can."
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise StartRefused(
            f"Another Lorestream is using the data directory {data_dir.resolve()}. Stop it, or set "
            "LORESTREAM_DATA_DIR to another directory."
        ) from error
    return file
