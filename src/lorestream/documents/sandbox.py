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

from lorestream.documents.parse import DOCX, HTML, MARKDOWN, MAX_CHARACTERS, PDF, PLAIN, DocumentFailed, Outcome, Parsed

MODULES = {PDF: "pdf", DOCX: "docx", HTML: "html", MARKDOWN: "markdown", PLAIN: "plain"}
# UTF-8 takes at most four bytes a character; headings and pages come on top.
MAX_RESULT_BYTES = 4 * MAX_CHARACTERS + 64 * 1024 * 1024
READ_BYTES = 1024 * 1024
COLLECT_SECONDS = 2
_MESSAGES = {
    "memory": "Reading the file needs more memory than the server allows.",
    "broken": "The file is damaged and cannot be read.",
}
_PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")

log = logging.getLogger(__name__)


async def parse_file(path: Path, media_type: str, *, timeout_seconds: float, memory_bytes: int) -> Parsed:
    """Read one file of a media type that ``parse.detect`` gave; raises DocumentFailed.

    ``memory_bytes`` is what reading may take on top of the bare reader. On a timeout or when the caller is cancelled
    the child and all it started are killed before control returns.
    """
    cpu_seconds = math.ceil(timeout_seconds) + 1
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lorestream.documents.formats"),
        *(MODULES[media_type], str(path), str(memory_bytes), str(cpu_seconds)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_seconds):
            content = await _receive(process)
            code = await process.wait()
    except TimeoutError as error:
        message = f"Reading the file took longer than {timeout_seconds:g} seconds."
        raise DocumentFailed("timeout", message) from error
    finally:
        await _end(process)
    return _outcome(content, code, path)


async def _receive(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout
    content = bytearray()
    while part := await process.stdout.read(READ_BYTES):
        content += part
        if len(content) > MAX_RESULT_BYTES:
            raise DocumentFailed("too_large", "The file contains more text than the server allows.")
    return bytes(content)


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


def _outcome(content: bytes, code: int, path: Path) -> Parsed:
    if code == -signal.SIGXCPU:
        raise DocumentFailed("timeout", "Reading the file took too much processor time.")
    if code == -signal.SIGKILL:
        raise DocumentFailed("memory", _MESSAGES["memory"])
    if code:
        log.warning("The reader of %s ended with %d", path.name, code)
        raise DocumentFailed("broken", "The file is damaged, or needs more memory to be read than the server allows.")
    outcome = msgspec.msgpack.decode(content, type=Outcome)
    if outcome.parsed:
        return outcome.parsed
    if outcome.detail:
        log.info("Reading %s failed: %s", path.name, outcome.detail)
    raise DocumentFailed(outcome.code, outcome.message or _MESSAGES[outcome.code])
