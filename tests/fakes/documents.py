"""The documents area by itself: its routes over real storage, with a worker in this process or in its own."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import httpx
from fastapi import FastAPI, Header
from sqlalchemy import text
from starlette.types import ASGIApp, Receive, Scope, Send

from lorestream.accounts.caller import current_user
from lorestream.accounts.models import Principal
from lorestream.accounts.quotas import Quotas
from lorestream.accounts.watch import Watch
from lorestream.admission import Seats
from lorestream.db import Database
from lorestream.documents import jobs_store
from lorestream.documents.batches import Batches
from lorestream.documents.batches_routes import router as batches_router
from lorestream.documents.collections import Collections
from lorestream.documents.collections_routes import router as collections_router
from lorestream.documents.pages_routes import router as pages_router
from lorestream.documents.progress import Progress
from lorestream.documents.progress_routes import router as progress_router
from lorestream.documents.queue import Watchers
from lorestream.documents.routes import router
from lorestream.documents.service import Documents
from lorestream.documents.worker import run_worker
from lorestream.errors import Unauthenticated
from lorestream.http import install_error_handlers
from lorestream.index.sqlite import SqliteIndex
from lorestream.limits import RateLimiter
from lorestream.main import UPLOAD_PATHS
from lorestream.middleware import BodyLimit, RequestContext, add_slash_twins
from lorestream.retrieval.routes import router as search_router
from lorestream.retrieval.search import Retrieval
from lorestream.retrieval.spaces import Embedders
from lorestream.settings import Settings
from tests.fakes.embedder import WordEmbedder

ALICE, BOB = "alice", "bob"
TABLES = ("documents", "document_texts", "document_pages", "chunks", "chunk_texts", "vectors", "collection_documents")


@dataclass
class Desk:
    """Everything of one data directory."""

    settings: Settings
    db: Database
    index: SqliteIndex
    embedder: WordEmbedder
    documents: Documents
    retrieval: Retrieval
    quotas: Quotas

    def __post_init__(self) -> None:
        self.batches = Batches(self.db, self.documents, self.quotas, self.settings)
        self.progress = Progress(self.db, self.documents)
        self.seats = Seats("streams", "{limit} streams")
        self.watch = Watch(self.db)

    async def rows(self, table: str, where: str = "1") -> int:
        """How many rows a table has."""
        async with self.db.read() as session:
            found: int = (await session.execute(text(f"SELECT count(*) FROM {table} WHERE {where}"))).scalar_one()
        return found

    async def left_over(self) -> dict[str, int]:
        """Rows and files that are there; empty when there is nothing at all."""
        counts = {table: await self.rows(table) for table in TABLES}
        counts["files"] = len(list(self.documents.files.iterdir()))
        counts["uploads"] = len(list((self.settings.data_dir / "uploads").iterdir()))
        return {name: count for name, count in counts.items() if count}

    async def add(self, owner: str, name: str, content: bytes) -> str:
        """Queue a file; its doc_id."""
        source = self.settings.data_dir / "source" / secrets.token_hex(4)  # the same name may come twice at once
        await asyncio.to_thread(source.mkdir, parents=True)
        await asyncio.to_thread((source / name).write_bytes, content)
        document, _ = await self.documents.add_path(owner, source / name)
        return document.doc_id

    async def indexed(self, owner: str, name: str, content: bytes) -> str:
        """Queue a file and index it in this process; its doc_id."""
        doc_id = await self.add(owner, name, content)
        await self.documents.ingest(doc_id)
        return doc_id


@cache
def _empty_database() -> bytes:
    """One with all tables: a copy takes a sixth of the time that the migrations take."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        Database(path).migrate()
        return path.read_bytes()


@asynccontextmanager
async def desk(data_dir: Path, **settings: Any) -> AsyncIterator[Desk]:
    """A fresh or existing data directory, opened."""
    chosen = Settings(data_dir=data_dir, **settings)
    db = Database(data_dir / "lorestream.db")
    await asyncio.to_thread(data_dir.mkdir, parents=True, exist_ok=True)
    if not db.path.exists():
        await asyncio.to_thread(db.path.write_bytes, _empty_database())
    await asyncio.to_thread(db.migrate)
    index, embedder = SqliteIndex(db), WordEmbedder()
    command = (sys.executable, "-m", "tests.fakes.documents", str(data_dir))
    quotas = Quotas(db, chosen, RateLimiter())
    documents = Documents(db, index, embedder, quotas, chosen, worker_command=command)
    await documents.open()
    try:
        yield Desk(
            chosen,
            db,
            index,
            embedder,
            documents,
            Retrieval(db, index, Embedders(embedder), chosen.relevance_floor, integrity=documents.integrity),
            quotas,
        )
    finally:
        await db.close()


class LocalQueue(Watchers):
    """A queue whose worker is a task of this process."""

    def __init__(self) -> None:
        super().__init__()
        self.nudged, self.added = asyncio.Event(), asyncio.Event()

    def nudge(self) -> None:
        self.nudged.set()
        self.added.set()


@asynccontextmanager
async def local_worker(at: Desk) -> AsyncIterator[None]:
    """Inside the block, a task of this process indexes what is queued."""
    queue = LocalQueue()
    at.documents._queue = queue

    async def work() -> None:
        while True:
            queue.nudged.clear()
            if await at.documents.ingestor.ingest(on_progress=queue.report) is None:
                await queue.nudged.wait()

    def unpacked(batch_id: str) -> None:
        queue.report(batch_id)
        queue.nudged.set()

    tasks = [asyncio.create_task(work()), asyncio.create_task(at.batches.unpacker.run(queue.added, unpacked))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def application(at: Desk) -> ASGIApp:
    """The routes of documents and collections; the header X-User says who is asking."""
    app = FastAPI(redirect_slashes=False)
    install_error_handlers(app)
    app.include_router(router)
    app.include_router(progress_router)
    app.include_router(batches_router)
    for one in (pages_router, collections_router, search_router):
        app.include_router(one)
    add_slash_twins(app)

    async def named_user(x_user: Annotated[str, Header()] = "") -> Principal:
        if not x_user:
            raise Unauthenticated
        return Principal(user_id=x_user, email=f"{x_user}@example.com", session_id="")

    app.dependency_overrides[current_user] = named_user
    app.add_middleware(BodyLimit, max_upload_bytes=at.settings.max_upload_bytes, upload_paths=UPLOAD_PATHS)
    app.add_middleware(RequestContext)

    async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {
            "documents": at.documents, "collections": Collections(at.db), "batches": at.batches,
            "progress": at.progress, "settings": at.settings, "stream_seats": at.seats, "quotas": at.quotas,
            "watch": at.watch, "retrieval": at.retrieval,
        }  # fmt: skip
        await app(scope, receive, send)

    return with_state


def client(at: Desk, user: str = ALICE) -> httpx.AsyncClient:
    """A client of the routes, as one user."""
    transport = httpx.ASGITransport(application(at))
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers={"X-User": user}, timeout=60)


def _die_at(point: str) -> None:
    """Make this process kill itself when it comes to ``point``, the name of a store function, after its work."""
    original = getattr(jobs_store, point)

    async def deadly(*args: Any, **kwargs: Any) -> Any:
        result = await original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(jobs_store, point, deadly)


async def _worker(data_dir: Path) -> None:
    deadly = data_dir / "die-at"
    if deadly.exists():
        point = deadly.read_text()
        deadly.unlink()
        _die_at(point)
    async with desk(data_dir) as at:
        await run_worker(at.documents.ingestor, at.batches.unpacker)


if __name__ == "__main__":
    asyncio.run(_worker(Path(sys.argv[1])))
