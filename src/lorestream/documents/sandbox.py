"""Reads documents in a child process with limits on memory, processor and wall time.

A crash, an endless loop or a memory bomb costs the document, never the server. The child sees nothing of the server's
environment, cannot write files, and whatever it prints is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import sys
from pathlib import Path

import msgspec

from lorestream.documents.parse import (
    CODE,
    CSV,
    DOCX,
    EPUB,
    HTML,
    JSON,
    MARKDOWN,
    MAX_CHARACTERS,
    PDF,
    PLAIN,
    PPTX,
    XLSX,
    DocumentFailed,
    Ocr,
    OnPage,
    Options,
    Outcome,
    Parsed,
    Progress,
)

MODULES = {
    PDF: "pdf",
    DOCX: "docx",
    PPTX: "pptx",
    XLSX: "xlsx",
    EPUB: "epub",
    HTML: "html",
    MARKDOWN: "markdown",
    PLAIN: "plain",
    CSV: "table",
    JSON: "tree",
    CODE: "code",
}
# UTF-8 takes at most four bytes a character; headings, pages and their words come on top.
MAX_RESULT_BYTES = 4 * MAX_CHARACTERS + 256 * 1024 * 1024
READ_BYTES = 1024 * 1024
COLLECT_SECONDS = 2
_MESSAGES = {
    "memory": "Reading the file needs more memory than the server allows.",
    "broken": "The file is damaged and cannot be read.",
}
_PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TESSDATA_PREFIX")
_Message = Progress | Outcome

log = logging.getLogger(__name__)


async def parse_file(
    path: Path,
    media_type: str,
    *,
    timeout_seconds: float,
    memory_bytes: int,
    ocr: Ocr | None = None,
    on_page: OnPage | None = None,
) -> Parsed:
    """Read one file of a media type that ``parse.detect`` gave; raises DocumentFailed.

    ``memory_bytes`` is what reading may take on top of the bare reader. Scanned pages are recognised with ``ocr``
    (None: not), each adding its ``page_seconds`` to ``timeout_seconds``. ``on_page`` hears of a PDF's pages, at most
    ten times a second. On a timeout or when the caller is cancelled the child and all it started are killed before
    control returns.
    """
    options = Options(ocr=ocr)
    outcome = await _run(path, MODULES[media_type], options, timeout_seconds, memory_bytes, on_page)
    assert outcome.parsed
    return outcome.parsed


async def page_image(path: Path, number: int, width: int, *, timeout_seconds: float, memory_bytes: int) -> bytes:
    """Page ``number`` (from 1) of a PDF as it is shown, as a PNG ``width`` pixels wide, less for a very long page.

    Raises DocumentFailed, with the code ``no_page`` if there is no such page.
    """
    options = Options(page=number, width=width)
    return (await _run(path, "page_image", options, timeout_seconds, memory_bytes, None)).image


async def _run(
    path: Path, module: str, options: Options, timeout_seconds: float, memory_bytes: int, on_page: OnPage | None
) -> Outcome:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lorestream.documents.formats", module, str(path)),
        *(str(memory_bytes), str(math.ceil(timeout_seconds) + 1), msgspec.json.encode(options).decode()),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {"OMP_THREAD_LIMIT": "1"},
        start_new_session=True,
    )
    page_seconds = options.ocr.page_seconds if options.ocr else 0
    started = asyncio.get_running_loop().time()
    outcome = None
    try:
        async with asyncio.timeout_at(started + timeout_seconds) as limit:
            while isinstance(outcome := await _receive(process), Progress):
                if outcome.stage == "recognising":
                    limit.reschedule(started + timeout_seconds + (outcome.done + 1) * page_seconds)
                if on_page:
                    on_page(outcome.stage, outcome.done, outcome.pages)
            code = await process.wait()
    except TimeoutError as error:
        message = f"Reading the file took longer than {timeout_seconds:g} seconds."
        raise DocumentFailed("timeout", message) from error
    finally:
        await _end(process)
    return _checked(outcome, code, path)


async def _receive(process: asyncio.subprocess.Process) -> _Message | None:
    """The child's next message, None at the end of its output: four bytes of length (big-endian), then MessagePack."""
    assert process.stdout
    try:
        length = int.from_bytes(await process.stdout.readexactly(4))
        if length > MAX_RESULT_BYTES:
            raise DocumentFailed("too_large", "The file contains more text than the server allows.")
        content = await process.stdout.readexactly(length)
    except asyncio.IncompleteReadError:
        return None
    return await asyncio.to_thread(msgspec.msgpack.decode, content, type=_Message)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill the child's process group if it still runs, and collect it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(_collect(process))


async def _collect(process: asyncio.subprocess.Process) -> None:
    assert process.stdout
    # Unread output would keep the pipe open; only something that left the process group can hold it longer.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(COLLECT_SECONDS):
            while await process.stdout.read(READ_BYTES):
                pass
    await process.wait()


def _checked(outcome: Outcome | None, code: int, path: Path) -> Outcome:
    """The outcome of a success; raises DocumentFailed."""
    if code == -signal.SIGXCPU:
        raise DocumentFailed("timeout", "Reading the file took too much processor time.")
    if code == -signal.SIGKILL:
        raise DocumentFailed("memory", _MESSAGES["memory"])
    if code or outcome is None:
        log.warning("The reader of %s ended with %d", path.name, code)
        raise DocumentFailed("broken", "The file is damaged, or needs more memory to be read than the server allows.")
    if outcome.parsed or outcome.image:
        return outcome
    if outcome.detail:
        log.info("Reading %s failed: %s", path.name, outcome.detail)
    raise DocumentFailed(outcome.code, outcome.message or _MESSAGES[outcome.code])
