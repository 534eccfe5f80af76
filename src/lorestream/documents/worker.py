"""The worker process: works on what is queued, at low priority, until its parent is gone."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress

import msgspec

from lorestream.documents.ingest import Ingestor
from lorestream.documents.jobs_store import Only
from lorestream.documents.queue import Report
from lorestream.documents.unpack import Unpacker

log = logging.getLogger(__name__)

NICENESS = 10
# Documents whose worker died without a supervisor to tell, or that wait for another attempt, are found by looking.
LOOK_SECONDS = 2.0
# Time for the document at hand to be put back when the process is to end.
END_SECONDS = 2.0


async def run_worker(ingestor: Ingestor, unpacker: Unpacker) -> None:
    """Index what is queued and unpack archives until stdin ends or a signal asks to stop; a line on stdin means work.

    Standard output carries ``queue.Report`` lines and nothing else. Ends the process itself (``os._exit``): threads
    in the middle of an embedding must not outlive the parent.
    """
    os.nice(NICENESS)
    stop, nudge, added = asyncio.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def unpacked(batch_id: str) -> None:
        _write(Report(doc_id=batch_id))
        nudge.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = {
        asyncio.create_task(stop.wait()),
        asyncio.create_task(_listen(nudge, added)),
        asyncio.create_task(_work(ingestor, nudge, None)),
        # Reads a file while passages of another are embedded. Only what was never begun: a document that kills this
        # process does so at most once with the same companion.
        asyncio.create_task(_work(ingestor, nudge, "new")),
        asyncio.create_task(unpacker.run(added, unpacked)),
    }
    _write(Report(worker_id=ingestor.worker_id))
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    code = 0
    for task in done:
        if error := task.exception():
            log.error("the ingestion worker failed", exc_info=error)
            code = 1
    with suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await ingestor.release()
    logging.shutdown()
    os._exit(code)


async def _listen(*nudged: asyncio.Event) -> None:
    """Return when stdin ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        for one in nudged:
            one.set()


async def _work(ingestor: Ingestor, nudge: asyncio.Event, only: Only | None) -> None:
    while True:
        nudge.clear()
        if await ingestor.ingest(on_progress=_report, only=only) is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await nudge.wait()


def _report(doc_id: str, status: str, progress: float) -> None:
    _write(Report(doc_id=doc_id, status=status, progress=round(progress, 4)))


def _write(report: Report) -> None:
    with suppress(BrokenPipeError):  # the parent is gone: stdin says so as well
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.buffer.flush()
