"""``lorestream doctor``: what is here, what is missing and how to get it, and one question asked end to end."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lorestream import __version__
from lorestream.conversations.models import Question
from lorestream.errors import LorestreamError
from lorestream.library import Library
from lorestream.main import WEBUI
from lorestream.providers.catalogue import own_model
from lorestream.providers.gguf import GgufModel
from lorestream.providers.reader import NAME as READER
from lorestream.settings import Settings
from lorestream.streaming.events import Done, Error, Fold

SAMPLE = "Paris is the capital of France.\n\nThe Seine flows through Paris."
SAMPLE_QUESTION = "What is the capital of France?"
LITTLE_SPACE_BYTES = 1024**3

out = Console(highlight=False, soft_wrap=True)


class _Report:
    """Prints one line for each check and remembers whether one failed."""

    def __init__(self) -> None:
        self.failed = False

    def good(self, name: str, text: str) -> None:
        out.print(f"[green]ok[/green]    {name}: {escape(text)}")

    def note(self, name: str, text: str) -> None:
        out.print(f"[yellow]note[/yellow]  {name}: {escape(text)}")

    def bad(self, name: str, text: str) -> None:
        self.failed = True
        out.print(f"[red]wrong[/red] {name}: {escape(text)}")


async def examine(settings: Settings, unknown: Sequence[str]) -> int:
    """Check everything that an answer needs; 0 if all of it is there, else 1."""
    report = _Report()
    report.good("versions", f"Lorestream {__version__}, Python {platform.python_version()}, SQLite "
                f"{sqlite3.sqlite_version}, {os.cpu_count()} processors")  # fmt: skip
    for name in unknown:
        report.note("settings", f"{name} is not a setting of this version; it is ignored")
    _check_data_dir(report, settings.data_dir)
    _check_page(report)
    _check_ocr(report, settings)
    await _check_question(report, await asyncio.to_thread(_check_embedded, report, settings))
    return int(report.failed)


def _check_data_dir(report: _Report, data_dir: Path) -> None:
    existing = next(path for path in (data_dir.resolve(), *data_dir.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if not os.access(existing, os.W_OK):
        report.bad("data", f"{existing} cannot be written; set LORESTREAM_DATA_DIR to a directory that can")
    elif free < LITTLE_SPACE_BYTES:
        report.note("data", f"{data_dir.resolve()}, only {free // 2**20} MiB free")
    else:
        report.good("data", f"{data_dir.resolve()}, {free // 2**30} GiB free")


def _check_page(report: _Report) -> None:
    if (WEBUI / "index.html").is_file():
        report.good("page", "built")
    else:
        report.note("page", "not built; `make run` builds it (needs Node.js 20)")


def _check_ocr(report: _Report, settings: Settings) -> None:
    if settings.ocr == "off":
        report.note("ocr", "off (LORESTREAM_OCR): scanned pages are not read")
    elif found := shutil.which("tesseract"):
        report.good("ocr", f"Tesseract, {found}")
    else:
        report.note("ocr", "no Tesseract: scanned pages are not read (on Debian and Ubuntu: apt install tesseract-ocr)")


def _check_embedded(report: _Report, settings: Settings) -> Settings:
    """Look for an embedded model's file; where it cannot be had, or is still to be fetched, the reader is asked."""
    without = settings.model_copy(update={"model": READER})
    try:
        model = own_model(settings)
        if not isinstance(model, GgufModel):
            return settings
        model.check()
    except LorestreamError as failure:
        report.bad("language model", failure.message)
        return without
    if not model.fetched:
        report.note("language model", f"{model.name} is fetched at the first start (make run); not asked now")
        return without
    size = model.path.stat().st_size / 2**30
    report.good("embedded model", f"{model.path.resolve()}, {size:.1f} GiB, {model.slots} answers at once")
    return settings


async def _check_question(report: _Report, settings: Settings) -> None:
    """Ask one question over one document, in a data directory of its own: the user's is not touched."""
    with tempfile.TemporaryDirectory(prefix="lorestream-doctor-") as folder:
        (Path(folder) / "geo.txt").write_text(SAMPLE)
        models = settings.data_dir / "models"
        if models.is_dir():
            (Path(folder) / "models").symlink_to(models.resolve(), target_is_directory=True)
        try:
            async with _library(settings.model_copy(update={"data_dir": Path(folder)})) as library:
                await _check_embedder(report, library)
                await _check_reranker(report, library)
                await _check_model(report, library)
                await _ask(report, library, Path(folder) / "geo.txt")
        except LorestreamError as failure:
            report.bad("question", failure.message)


@asynccontextmanager
async def _library(settings: Settings) -> AsyncIterator[Library]:
    library = Library(settings)
    await library.open()
    try:
        yield library
    finally:
        await library.close()


async def _check_embedder(report: _Report, library: Library) -> None:
    began = time.perf_counter()
    vector = await library.embedder.embed_query(SAMPLE_QUESTION)
    took = (time.perf_counter() - began) * 1000
    report.good("embedder", f"{library.embedder.name}, {len(vector)} dimensions, {took:.0f} ms for a question")


async def _check_reranker(report: _Report, library: Library) -> None:
    if library.reranker is None:
        return
    began = time.perf_counter()
    await library.reranker.score(SAMPLE_QUESTION, [SAMPLE])
    report.good(
        "reranker", f"{library.reranker.name}, {(time.perf_counter() - began) * 1000:.0f} ms for a short passage"
    )


async def _check_model(report: _Report, library: Library) -> None:
    status = await library.catalogue.describe()
    report.good("language model", f"{status.name} ({status.why})")
    if status.advice:
        report.note("language model", status.advice)


async def _ask(report: _Report, library: Library, path: Path) -> None:
    owner = await library.accounts.local_user()
    document, _ = await library.documents.add_path(owner.user_id, path)
    await library.documents.ingest(document.doc_id)
    began = time.perf_counter()
    started = await library.answers.start(
        owner.user_id, Question(SAMPLE_QUESTION), door="doctor", on_disconnect="cancel"
    )
    fold = Fold()
    async for event in started.reader.events():
        fold.add(event)
    seconds = time.perf_counter() - began
    match fold.terminal:
        case Done(model=model) if fold.sources and fold.answer:
            first = fold.answer.strip().splitlines()[0]
            report.good("question", f"answered by {model} in {seconds:.1f} s from {len(fold.sources)} source: {first}")
        case Error(message=message):
            report.bad("question", message)
        case _:
            report.bad("question", "the sample document was not found for the sample question")
