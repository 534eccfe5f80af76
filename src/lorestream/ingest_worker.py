"""The worker process of a data directory, which its server starts: ``python -m lorestream.ingest_worker``.

A program of its own, so that it loads what indexing takes and nothing of the server.
"""

from __future__ import annotations

import asyncio
import logging
import sys

import uvloop

from lorestream.accounts.quotas import Quotas
from lorestream.db import Database
from lorestream.documents.ingest import Ingestor
from lorestream.documents.unpack import Unpacker
from lorestream.documents.worker import run_worker
from lorestream.index.sqlite import SqliteIndex
from lorestream.limits import RateLimiter
from lorestream.providers.embedders import build_embedder
from lorestream.settings import Settings


def main() -> None:
    """Index what is queued until stdin ends, with the settings of the environment, which are its parent's."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    settings = Settings()
    database = Database(settings.data_dir / "lorestream.db")
    embedder = build_embedder(settings, settings.embedder)
    files, uploads = settings.data_dir / "files", settings.data_dir / "uploads"
    ingestor = Ingestor(database, SqliteIndex(database), embedder, files, settings)
    quotas = Quotas(database, settings, RateLimiter())
    unpacker = Unpacker(
        database, quotas, files, uploads, ingestor.worker_id, max_upload_bytes=settings.max_upload_bytes
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_worker(ingestor, unpacker))


if __name__ == "__main__":
    main()
