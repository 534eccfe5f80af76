"""Workers of a data directory that get a signal at one of their transactions: cheap enough for every single one.

``python -m tests.fakes.killing`` imports everything once, has no threads, and forks a process for every order that
``Killer`` sends: a JSON object a line on stdin, answered by one a line on stdout.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

from lorestream.db import Database
from lorestream.documents import ingest, jobs_store
from lorestream.documents.parse import Heading, Page, Parsed
from lorestream.documents.store import LEASE_SECONDS
from tests.fakes.documents import desk

# Little enough that a short text makes a transaction of every kind several times.
SIZES = {"CHUNKS_PER_BATCH": 2, "CHUNKS_PER_DELETION": 2, "PAGES_PER_BATCH": 1, "TEXT_PART_CHARACTERS": 400}


class Killer:
    """The test's side of it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    async def start(self, data_dir: Path, work: str, doc_id: str = "", **order: Any) -> int:
        """Begin ``work`` ("ingest", "delete", "recover") in a process of its own; its pid.

        ``at`` is the transaction (from 1) at which it gets ``signal``, once it is committed or, with ``inside``, just
        before. ``lease_seconds`` is another length of its leases, ``settings`` other settings.
        """
        return await self._ask({"data_dir": str(data_dir), "work": work, "doc_id": doc_id, **order})

    async def wait(self, pid: int) -> int:
        """How it ended: the number of its transactions, or minus the signal that ended or stopped it."""
        code = await self._ask({"wait": pid})
        assert code != 255, "it failed; its standard error says how"
        return code

    async def run(self, data_dir: Path, work: str, doc_id: str = "", **order: Any) -> int:
        """``start`` and ``wait``."""
        return await self.wait(await self.start(data_dir, work, doc_id, **order))

    async def _ask(self, order: dict[str, Any]) -> int:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        async with asyncio.timeout(60):
            return int(await asyncio.to_thread(self._process.stdout.readline))


@contextmanager
def killer() -> Iterator[Killer]:
    """One that is ready for orders."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-m", "tests.fakes.killing"], stdin=pipe, stdout=pipe) as process:
        try:
            yield Killer(process)
        finally:
            process.kill()


async def _read(path: Path, *_args: Any, **_limits: Any) -> Parsed:
    """What a reader gives, without a process of its own: each paragraph is a page, the first line a heading."""
    text = await asyncio.to_thread(path.read_text)
    heading = text.partition("\n")[0]
    pages, start = [], 0
    for number, part in enumerate(text.split("\n\n"), 1):
        end = min(len(text), start + len(part) + 2)
        pages.append(Page(number, start, end, 600.0, 800.0, b"words"))
        start = end
    return Parsed(text, heading, pages, [Heading(0, len(heading), 1, heading)])


def _signal_at(order: dict[str, Any], finished: list[int]) -> None:
    begin, numbers = Database.write, count(1)

    @asynccontextmanager
    async def write(db: Database) -> AsyncIterator[Any]:
        hit = next(numbers) == order.get("at")
        async with begin(db) as session:
            yield session
            if hit and order.get("inside"):
                os.kill(os.getpid(), order["signal"])
        finished.append(1)
        if hit:
            os.kill(os.getpid(), order["signal"])

    Database.write = write  # type: ignore[method-assign,assignment]


async def _work(order: dict[str, Any]) -> None:
    async with desk(Path(order["data_dir"]), **order.get("settings", {})) as at:
        if order["work"] == "delete":
            await at.documents.delete("alice", order["doc_id"])
        elif order["work"] == "recover":
            async with at.db.write() as session:
                await jobs_store.release(session, None, counted=True)
            await at.documents.sweep()
        if order["work"] != "delete":
            while await at.documents.ingestor.ingest(order["doc_id"] or None):
                pass


def _child(order: dict[str, Any]) -> NoReturn:
    finished: list[int] = []
    try:
        os.close(0)
        os.close(1)
        _signal_at(order, finished)
        vars(jobs_store).update(LEASE_SECONDS=order.get("lease_seconds", LEASE_SECONDS))
        asyncio.run(_work(order))
    except BaseException:  # noqa: BLE001 (a process of its own, that tells it and ends)
        traceback.print_exc()
        os._exit(255)
    os._exit(len(finished))


def _main() -> None:
    ingest.parse_file = _read  # type: ignore[attr-defined]
    for name, size in SIZES.items():
        setattr(ingest, name, size)
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], os.WUNTRACED)
            stopped = -os.WSTOPSIG(status) if os.WIFSTOPPED(status) else 0
            answer = stopped or os.waitstatus_to_exitcode(status)
        elif not (answer := os.fork()):
            _child(order)
        print(answer, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _main()
