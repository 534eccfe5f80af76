"""``lorestream ingest``: files, folders and ZIP files into the documents of an account, with a progress bar.

Beside a running server it only adds and follows, and the server's worker indexes; without one it runs the worker
itself. What was added stays added, whatever ends the command: the same command again goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from lorestream.console import files_below
from lorestream.db import now
from lorestream.documents.archive import Entry, documents_of, inspect, unpack
from lorestream.documents.models import Document
from lorestream.documents.parse import DocumentFailed
from lorestream.documents.progress import OVERLAP
from lorestream.documents.upload import ARCHIVE_SUFFIX, PART_SUFFIX
from lorestream.errors import InvalidInput, LorestreamError, NotFound, UnsupportedType
from lorestream.library import Library

EXIT_OK, EXIT_FAILED, EXIT_STOPPED = 0, 1, 130
LOOK_SECONDS = 0.5
CHANGES_PER_LOOK = 500
# Where nothing is heard of a document for so long, it is asked for by its name.
QUIET_SECONDS = 10.0
MAX_FAILURES_SHOWN = 1000
RATE_SECONDS = 15.0
STAGES = {"reading": "reading", "recognising": "recognising the pages of", "indexing": "indexing"}


@dataclass
class Tally:
    """What became of the files so far; ``failed`` are the names with the reasons."""

    files: int = 0
    known: int = 0
    ready: int = 0
    pages: int = 0
    chunks: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        """How many files nothing more happens to."""
        return self.known + self.ready + len(self.failed) + self.skipped.total()


async def ingest_paths(
    library: Library, paths: Sequence[Path], email: str | None, collection: str | None, jobs: int
) -> int:
    """Add the files below ``paths`` and wait until all are indexed; the exit code.

    0 where all are ready, 1 where some failed, 130 when stopped. Raises StartRefused, NotFound and InvalidInput.
    """
    err = Console(stderr=True, highlight=False, soft_wrap=True)
    me = asyncio.current_task()
    assert me
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, me.cancel)
    tally = Tally()
    try:
        async with library.beside():
            owner_id = (await library.users.meant(email)).user_id
            collection_id = await _collection(library, owner_id, collection)
            with _bar(err) as bar:
                await _Ingestion(library, owner_id, collection_id, tally, bar).run(paths, jobs)
    except asyncio.CancelledError:
        err.print(f"Stopped: {tally.done} of {tally.files} files are done. The same command again goes on.")
        return EXIT_STOPPED
    _report(err, tally)
    return EXIT_FAILED if tally.failed else EXIT_OK


async def _collection(library: Library, owner_id: str, name: str | None) -> str | None:
    if name is None:
        return None
    line = " ".join(name.split())
    if not 0 < len(line) <= 100:
        raise InvalidInput("The name of a collection has 1 to 100 characters.")
    owned = {one.name: one.collection_id for one in await library.collections.of_owner(owner_id)}
    return owned.get(line) or (await library.collections.create(owner_id, line)).collection_id


class _Ingestion:
    """Adds files, several at once, and follows what was added until it is settled."""

    def __init__(self, library: Library, owner_id: str, collection_id: str | None, tally: Tally, bar: _Bar) -> None:
        self._library = library
        self._documents = library.documents
        self._settings = library.settings
        self._owner_id = owner_id
        self._collection_id = collection_id
        self._tally = tally
        self._bar = bar
        self._named: set[Path] = set()
        # What was added and is not settled: doc_id, and what the user calls it.
        self._pending: dict[str, str] = {}
        self._counted: dict[str, tuple[int, int]] = {}

    async def run(self, paths: Sequence[Path], jobs: int) -> None:
        """Everything below ``paths``."""
        self._named = set(paths)
        files = await asyncio.to_thread(lambda: list(files_below(paths)))
        self._tally.files = len(files)
        self._bar.show(self._tally)
        added = asyncio.Event()
        following = asyncio.create_task(self._follow(added))
        rest = iter(files)
        adding = [asyncio.create_task(self._add_from(rest)) for _ in range(jobs)]
        try:
            await asyncio.gather(*adding)
            added.set()
            await following
        finally:
            for task in (following, *adding):
                task.cancel()
            await asyncio.gather(following, *adding, return_exceptions=True)

    async def _add_from(self, files: Iterator[Path]) -> None:
        for path in files:
            name = str(path)
            try:
                if path.suffix.lower() == ARCHIVE_SUFFIX:
                    await self._add_archive(path)
                else:
                    sha256 = await asyncio.to_thread(_sha256, path)
                    collection_id = self._collection_id
                    await self._add(
                        name, sha256, partial(self._documents.add_path, self._owner_id, path, collection_id)
                    )
            except UnsupportedType as failure:
                if path in self._named or path.suffix.lower() == ARCHIVE_SUFFIX:
                    self._fail(name, failure.message)
                else:
                    self._tally.skipped[path.suffix.lower()] += 1
            except (LorestreamError, DocumentFailed) as failure:
                self._fail(name, failure.message)
            except OSError as failure:
                self._fail(name, f"It cannot be read: {failure.strerror}.")
            self._bar.show(self._tally)

    async def _add_archive(self, path: Path) -> None:
        limits = self._settings.max_archive_entries, self._settings.max_upload_bytes
        entries = await asyncio.to_thread(inspect, path, max_entries=limits[0], max_bytes=limits[1])
        self._tally.files += entries - 1
        with path.open("rb") as file:
            for entry in documents_of(file):
                try:
                    await self._add_entry(file, entry, f"{path}/{entry.name}")
                except UnsupportedType:
                    self._tally.skipped[Path(entry.filename).suffix.lower()] += 1
                except (LorestreamError, DocumentFailed) as failure:
                    self._fail(f"{path}/{entry.name}", failure.message)
                self._bar.show(self._tally)

    async def _add_entry(self, file: IO[bytes], entry: Entry, name: str) -> None:
        part = self._settings.data_dir / "uploads" / f"{secrets.token_hex(16)}{PART_SUFFIX}"
        try:
            upload = await asyncio.to_thread(unpack, file, entry, part, self._settings.max_upload_bytes)
            add = partial(self._documents.add, self._owner_id, upload, collection_id=self._collection_id)
            await self._add(name, upload.sha256, add)
        finally:
            part.unlink(missing_ok=True)

    async def _add(self, name: str, sha256: str, add: Callable[[], Awaitable[tuple[Document, bool]]]) -> None:
        """Queue what is not known; what failed before is tried again, without being copied again."""
        document = await self._documents.known(self._owner_id, sha256)
        if document is None:
            document, _ = await add()
        elif self._collection_id is not None:
            await self._library.collections.put(self._owner_id, self._collection_id, [document.doc_id])
        if document.status in ("failed", "cancelled"):
            document = await self._documents.retry(self._owner_id, document.doc_id)
        if document.status == "ready" or document.doc_id in self._pending:  # or the same bytes under two names
            self._tally.known += 1
        else:
            self._pending[document.doc_id] = name

    def _fail(self, name: str, reason: str) -> None:
        self._tally.failed.append((name, reason))

    async def _follow(self, added: asyncio.Event) -> None:
        since, heard = now() - OVERLAP, time.monotonic()
        while self._pending or not added.is_set():
            moved = await self._look(since)
            if moved is not None:
                since, heard = moved, time.monotonic()
            elif time.monotonic() - heard > QUIET_SECONDS:
                await self._ask_for_each()
                heard = time.monotonic()
            self._bar.show(self._tally)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await (added.wait() if not added.is_set() else asyncio.Event().wait())

    async def _look(self, since: datetime) -> datetime | None:
        """Note what changed; until when it was, None when nothing did."""
        found: datetime | None = None
        while True:
            changes = await self._documents.changes(self._owner_id, found or since - OVERLAP, CHANGES_PER_LOOK)
            for changed_at, document in changes:
                self._note(document)
                found = changed_at
            if len(changes) < CHANGES_PER_LOOK:
                return found if found and found > since else None

    async def _ask_for_each(self) -> None:
        for doc_id in list(self._pending):
            try:
                self._note(await self._documents.get(self._owner_id, doc_id))
            except NotFound:
                self._fail(self._pending.pop(doc_id), "It was deleted while it was indexed.")

    def _note(self, document: Document) -> None:
        if document.doc_id not in self._pending:
            return
        pages, chunks = self._counted.get(document.doc_id, (0, 0))
        now_counted = document.pages or 0, document.chunks
        self._tally.pages += now_counted[0] - pages
        self._tally.chunks += now_counted[1] - chunks
        self._counted[document.doc_id] = now_counted
        if document.status == "processing":
            self._bar.at_work(document)
        if document.settled:
            name = self._pending.pop(document.doc_id)
            del self._counted[document.doc_id]
            if document.status == "ready":
                self._tally.ready += 1
            else:
                self._fail(name, document.error_message or "It was cancelled.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Bar:
    """The progress bar, and the rate of the last seconds."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task("Looking for files", total=None, numbers="")
        self._rates: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def show(self, tally: Tally) -> None:
        """The numbers as they are now."""
        clock = time.monotonic()
        self._rates = [one for one in self._rates if clock - one[0] < RATE_SECONDS] or [(clock, tally.chunks)]
        seconds, before = self._rates[0]
        rate = (tally.chunks - before) / max(clock - seconds, 0.1)
        if clock - self._rates[-1][0] > 0.5:
            self._rates.append((clock, tally.chunks))
        failed = f", [red]{len(tally.failed)} failed[/red]" if tally.failed else ""
        numbers = f"{tally.pages} pages, {tally.chunks} passages, {rate:.0f}/s{failed}"
        self._progress.update(self._task, completed=tally.done, total=tally.files, numbers=numbers)

    def at_work(self, document: Document) -> None:
        """What the worker is doing."""
        doing = STAGES.get(document.stage or "", "waiting for")
        self._progress.update(self._task, description=escape(f"{doing} {document.filename}"[:48]))


@contextmanager
def _bar(err: Console) -> Iterator[_Bar]:
    with _lines_above(err):
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[numbers]}"), TimeElapsedColumn())
        with Progress(TextColumn("{task.description}"), *columns, console=err) as progress:
            yield _Bar(progress)


@contextmanager
def _lines_above(err: Console) -> Iterator[None]:
    """On a terminal, let what this process and its worker write to stderr appear line by line above the bar."""
    if not err.is_terminal:
        yield
        return
    sys.stderr.flush()
    terminal, (read, write) = os.dup(2), os.pipe()
    os.dup2(write, 2)
    os.close(write)

    def relay() -> None:
        with os.fdopen(read, errors="replace") as lines:
            for line in lines:
                err.print(escape(line.rstrip("\n")))

    # Ends with the process: the worker holds the other end longer than there is a bar.
    threading.Thread(target=relay, daemon=True).start()
    err.file = os.fdopen(terminal, "w", closefd=False)
    try:
        yield
    finally:
        err.file.flush()
        os.dup2(terminal, 2)
        err.file = sys.stderr
        os.close(terminal)


def _report(err: Console, tally: Tally) -> None:
    parts = [f"{tally.ready} files indexed", f"{tally.known} known already"] if tally.known else []
    parts = parts or [f"{tally.ready} files indexed"]
    if tally.skipped:
        kinds = ", ".join(f"{count} {kind or 'without ending'}" for kind, count in tally.skipped.most_common(10))
        parts.append(f"{tally.skipped.total()} of types that cannot be read left out ({kinds})")
    if tally.failed:
        parts.append(f"{len(tally.failed)} failed")
    err.print(", ".join(parts) + ".")
    for name, reason in tally.failed[:MAX_FAILURES_SHOWN]:
        err.print(f"  {escape(name)}: {escape(reason)}")
    if (more := len(tally.failed) - MAX_FAILURES_SHOWN) > 0:
        err.print(f"  … and {more} more.")
