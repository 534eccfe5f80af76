"""The child process of ``sandbox``: ``python -m lorestream.documents.formats MODULE PATH MEMORY CPU_SECONDS OPTIONS``.

MODULE reads PATH with MEMORY more bytes than it begins with; OPTIONS are ``parse.Options`` in JSON. Writes messages to
its standard output, ``Progress`` and at last one ``Outcome``; nothing else that a library prints gets there.
"""

from __future__ import annotations

import importlib
import os
import resource
import sys
import time
import zipfile
from pathlib import Path
from typing import BinaryIO

import msgspec

from lorestream.documents.parse import DocumentFailed, Options, Outcome, Progress, checked

MAX_OPEN_FILES = 64
PROGRESS_SECONDS = 0.1
# The part that every archive of a format has, by the module that reads it.
ARCHIVES = {
    "docx": "word/document.xml",
    "pptx": "ppt/presentation.xml",
    "xlsx": "xl/workbook.xml",
    "epub": "META-INF/container.xml",
}


def limit(memory_bytes: int, cpu_seconds: int) -> None:
    """No more than ``memory_bytes`` above what is in use now, no files written, no core dump, low priority."""
    used_pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    address_space = used_pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    # The hard limit stays: recognition of pages adds to the soft one.
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(
        resource.RLIMIT_CPU, (cpu_seconds if hard == resource.RLIM_INFINITY else min(cpu_seconds, hard), hard)
    )
    for kind, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, MAX_OPEN_FILES)):
        resource.setrlimit(kind, (most, most))
    os.nice(10)


class Messages:
    """The way out: each message as four bytes of length (big-endian) and MessagePack."""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._last, self._stage = out, 0.0, ""

    def send(self, message: Progress | Outcome) -> None:
        """Write it at once."""
        content = msgspec.msgpack.encode(message)
        self._out.write(len(content).to_bytes(4))
        self._out.write(content)
        self._out.flush()

    def on_page(self, stage: str, done: int, pages: int) -> None:
        """Tell how far the reader is; the beginning and end of a stage always, else not too often."""
        now = time.monotonic()
        if stage != self._stage or done == pages or now - self._last >= PROGRESS_SECONDS:
            self._last, self._stage = now, stage
            self.send(Progress(stage, done, pages))


def read(module: str, path: Path, limits: tuple[int, int], options: Options, messages: Messages) -> Outcome:
    """The outcome of one file."""
    reader = importlib.import_module(f"lorestream.documents.formats.{module}")
    limit(*limits)
    try:
        if module in ARCHIVES and (inside := _inside(path)) not in {None, module}:
            reader = importlib.import_module(f"lorestream.documents.formats.{inside}")
        if module == "page_image":
            return Outcome(image=reader.draw(path, options.page, options.width))
        more = {"ocr": options.ocr, "on_page": messages.on_page} if module == "pdf" else {}
        return Outcome(parsed=checked(reader.parse(path, **more)))
    except DocumentFailed as failed:
        return Outcome(code=failed.code, message=failed.message)
    except MemoryError:
        return Outcome(code="memory")
    except Exception as error:  # noqa: BLE001 (whatever a parser trips over is the file's fault)
        return Outcome(code="broken", detail=f"{type(error).__name__}: {error}"[:500])


def _inside(path: Path) -> str | None:
    """The module for what an archive really is: a file's name and its first bytes do not always tell."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return next((module for module, part in ARCHIVES.items() if part in archive.NameToInfo), None)


def main(module: str, path: str, memory_bytes: str, cpu_seconds: str, options: str) -> None:
    """Keep the standard output for messages, and read."""
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        messages = Messages(out)
        limits = int(memory_bytes), int(cpu_seconds)
        outcome = read(module, Path(path), limits, msgspec.json.decode(options, type=Options), messages)
        try:
            messages.send(outcome)
        except MemoryError:
            messages.send(Outcome(code="memory"))


if __name__ == "__main__":
    main(*sys.argv[1:])
