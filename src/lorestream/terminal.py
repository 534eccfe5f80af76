"""``lorestream ask``: index files with a progress bar, then stream the answer and its sources into the terminal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn

from lorestream.accounts.models import Principal
from lorestream.console import files_below
from lorestream.conversations.answer import Started
from lorestream.conversations.models import Question
from lorestream.documents.models import Document
from lorestream.errors import LorestreamError
from lorestream.library import Library
from lorestream.streaming.events import Done, Error, Source, Sources, Token

EXIT_OK, EXIT_FAILED, EXIT_STOPPED = 0, 1, 130

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


async def ask_documents(library: Library, question: str, paths: Sequence[Path], k: int) -> int:
    """Index the files below ``paths``, ask, print; the exit code: 0, 1 for a failure, 130 when stopped."""
    async with _opened(library):
        owner = await library.accounts.local_user()
        ready = await _index(library, owner, list(files_below(paths)))
        if not ready:
            err.print("None of these files could be read.")
            return EXIT_FAILED
        asked = Question(question, k, ready)
        started = await library.answers.start(owner.user_id, asked, door="cli", on_disconnect="cancel")
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, _stop_soon, library, started)
        try:
            return await _show(started)
        finally:
            loop.remove_signal_handler(signal.SIGINT)
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


def _stop_soon(library: Library, started: Started) -> None:
    asyncio.get_running_loop().create_task(library.runs.stop(started.run_id))


async def _show(started: Started) -> int:
    code = EXIT_FAILED
    async for event in started.reader.events():
        match event:
            case Sources(sources):
                _show_sources(sources)
            case Token(text):
                out.print(escape(text), end="")
                out.file.flush()
            case Done():
                code = EXIT_STOPPED if event.finish_reason == "cancelled" else EXIT_OK
                out.print("\n[dim](stopped)[/dim]" if code else "")
                err.print(f"[dim]{escape(event.model)}, {event.timings.total_ms / 1000:.1f} s[/dim]")
            case Error():
                out.print("")
                err.print(escape(event.message))
    return code


def _show_sources(sources: Sequence[Source]) -> None:
    for source in sources:
        page = f", page {source.page}" if source.page else ""
        snippet = " ".join(source.text.split())[:100]
        out.print(f"[bold]\\[{source.n}][/bold] {escape(source.title)}{page}  [dim]{escape(snippet)}…[/dim]")
    if sources:
        out.print("")
