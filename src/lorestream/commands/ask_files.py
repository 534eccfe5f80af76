"""``lorestream ask QUESTION FILES``: files of this machine, indexed with a progress bar; the index is kept."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn

from lorestream.accounts.models import Principal
from lorestream.commands.terminal import err, show, stopped_by_ctrl_c
from lorestream.console import configure_logging, files_below, read_settings
from lorestream.conversations.models import Question
from lorestream.documents.models import Document
from lorestream.errors import LorestreamError, NoDocuments
from lorestream.library import Library
from lorestream.settings import cache_dir


async def ask_files(
    data_dir: Path | None, model: str | None, question: str, paths: Sequence[Path], k: int, *, as_json: bool
) -> int:
    """Index the files below ``paths``, ask, print; the exit code. The index is kept in ``data_dir``, or a cache."""
    configure_logging(logging.ERROR)
    library = Library(read_settings(data_dir=data_dir or cache_dir(), model=model))
    async with _opened(library):
        owner = await library.accounts.local_user()
        ready = await _index(library, owner, list(files_below(paths)))
        if not ready:
            raise NoDocuments("None of these files could be read.")
        asked = Question(question, k, ready)
        started = await library.answers.start(owner.user_id, asked, door="cli", on_disconnect="cancel")
        try:
            with stopped_by_ctrl_c(lambda: library.runs.stop(started.run_id)):
                return await show(started.reader.events(), as_json=as_json)
        finally:
            started.reader.close()


@asynccontextmanager
async def _opened(library: Library) -> AsyncIterator[None]:
    await library.open()
    try:
        yield
    finally:
        await library.close()


async def _index(library: Library, owner: Principal, paths: Sequence[Path]) -> list[str]:
    """Index what is not yet; the ids of the documents that can be asked."""
    ready: dict[str, None] = {}
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn(), console=err
    )
    with bar:
        task = bar.add_task("Reading your files", total=len(paths))
        for done, path in enumerate(paths):

            def report(_doc_id: str, _status: str, progress: float, done: int = done) -> None:
                bar.update(task, completed=done + progress)

            bar.update(task, description=escape(path.name[:40]), completed=done)
            try:
                document, _ = await library.documents.add_path(owner.user_id, path)
                if document.status == "failed":
                    document = await library.documents.retry(owner.user_id, document.doc_id)
                while not document.settled and await library.documents.ingestor.ingest(document.doc_id, report):
                    document = await library.documents.get(owner.user_id, document.doc_id)
                _note(document, path, ready)
            except LorestreamError as failure:
                err.print(f"{escape(str(path))}: {escape(failure.message)}")
        bar.update(task, description="Read", completed=len(paths))
    return list(ready)


def _note(document: Document, path: Path, ready: dict[str, None]) -> None:
    if document.status == "ready":
        ready[document.doc_id] = None
    else:
        err.print(f"{escape(str(path))}: {escape(document.error_message or document.status)}")
