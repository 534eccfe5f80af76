"""Receiving one uploaded file: multipart from the network straight to a temporary file, never whole in memory.

The form is read here and not by the web framework because a framework reads it before it asks who is calling, and
spools it where this server's limits and its disk are not known. Whatever goes wrong, the temporary file is removed.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from lorestream.documents.parse import HEAD_BYTES
from lorestream.errors import InvalidInput, PayloadTooLarge, StorageFull, UploadStalled

FIELD = "file"
FLUSH_BYTES = 1024 * 1024
IDLE_SECONDS = 30.0
# How much is still read, and dropped, after the file has grown too large, so that the client reads our refusal.
FRAMING_BYTES = 64 * 1024
MAX_FILENAME = 255
MALFORMED = "The multipart form is malformed or was cut off."
PART_SUFFIX, ARCHIVE_SUFFIX = ".part", ".zip"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_HIDING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")


@contextmanager
def disk_errors() -> Iterator[None]:
    """Translate a full disk into StorageFull."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull from error
        raise


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, outlive a power cut (blocking)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Upload:
    """A whole file at ``path``, and the name it had where it came from (for people, never a path)."""

    path: Path
    filename: str
    head: bytes
    bytes: int
    sha256: str


def clean_filename(name: str) -> str:
    """A name as metadata: the last path component, ≤ 255 characters, none of them for control, direction or tags."""
    last = re.split(r"[/\\]", name)[-1]
    kept = "".join(char for char in _HIDING.sub("", last) if unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp"))
    kept = kept.strip()
    if len(kept) > MAX_FILENAME:
        stem, dot, ending = kept.rpartition(".")
        ending = dot + ending if dot and len(ending) <= 16 else ""
        kept = ((stem if ending else kept)[: MAX_FILENAME - len(ending)] + ending).strip()
    return kept if kept.strip(".") else "document"


class _Target:
    """The temporary file; every method blocks and runs in a thread."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{secrets.token_hex(16)}{PART_SUFFIX}"
        self._file = self.path.open("xb")
        self._digest = hashlib.sha256()

    def write(self, pieces: list[bytes]) -> None:
        data = b"".join(pieces)
        self._digest.update(data)
        self._file.write(data)

    def finish(self) -> str:
        self._file.flush()
        self._file.close()
        return self._digest.hexdigest()

    def discard(self) -> None:
        with suppress(OSError):  # closing flushes, and the disk may be full
            self._file.close()
        self.path.unlink(missing_ok=True)


class _Form:
    """The parser's callbacks: collects the bytes of the one file, and the first thing that is wrong."""

    def __init__(self, max_bytes: int) -> None:
        self.filename: str | None = None
        self.pieces: list[bytes] = []
        self.pending = 0
        self.head = b""
        self.size = 0
        self.refusal: InvalidInput | PayloadTooLarge | None = None
        self._max_bytes = max_bytes
        self._name = self._value = b""
        self._disposition = b""
        self.ended = False

    def on_end(self) -> None:
        self.ended = True

    def on_part_begin(self) -> None:
        self._disposition = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != FIELD.encode() or b"filename" not in options:
            self._refuse(f"Send the file as the form field {FIELD!r}, and no other field.")
        elif self.filename is not None:
            self._refuse("One file a request, please.")
        else:
            self.filename = clean_filename(options[b"filename"].decode("utf-8", "replace"))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self.refusal is not None:
            return
        self.size += end - start
        if self.size > self._max_bytes:
            self.refusal = PayloadTooLarge(f"The file is larger than the {self._max_bytes} bytes this server takes.")
            self.pieces.clear()
            return
        piece = data[start:end]
        self.pieces.append(piece)
        self.pending += len(piece)
        if len(self.head) < HEAD_BYTES:
            self.head += piece[: HEAD_BYTES - len(self.head)]

    def take(self) -> list[bytes]:
        pieces, self.pieces, self.pending = self.pieces, [], 0
        return pieces

    def _refuse(self, message: str) -> None:
        self.refusal = self.refusal or InvalidInput(message)


@asynccontextmanager
async def received(
    stream: AsyncIterator[bytes], content_type: str, folder: Path, max_bytes: int
) -> AsyncIterator[Upload]:
    """Read a multipart body into a temporary file in ``folder``; it is gone after the block unless it was moved.

    Raises InvalidInput (malformed, no file, more than one, empty), PayloadTooLarge past ``max_bytes``, StorageFull,
    and UploadStalled after IDLE_SECONDS without a byte.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise InvalidInput(f"Send the file as multipart/form-data, in the field {FIELD!r}.")
    with disk_errors():
        target = await asyncio.to_thread(_Target, folder)
    try:
        with disk_errors():
            form, sha256 = await _read(stream, options[b"boundary"], target, max_bytes)
        assert form.filename is not None
        yield Upload(target.path, form.filename, form.head, form.size, sha256)
    finally:
        target.discard()


async def _read(stream: AsyncIterator[bytes], boundary: bytes, target: _Target, max_bytes: int) -> tuple[_Form, str]:
    form = _Form(max_bytes)
    callbacks = {name: getattr(form, name) for name in dir(form) if name.startswith("on_")}
    try:
        parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]  # a TypedDict of these names
        total = 0
        async for data in _paced(stream):
            total += len(data)
            parser.write(data)
            if form.pending >= FLUSH_BYTES:
                await asyncio.to_thread(target.write, form.take())
            if form.refusal is not None and total > max_bytes + FRAMING_BYTES:
                break
    except FormParserError as error:
        raise InvalidInput(MALFORMED) from error
    if form.refusal is not None:
        raise form.refusal
    if not form.ended:
        raise InvalidInput(MALFORMED)
    if form.filename is None:
        raise InvalidInput(f"Send the file as multipart/form-data, in the field {FIELD!r}.")
    if not form.size:
        raise InvalidInput("The file is empty.")
    await asyncio.to_thread(target.write, form.take())
    return form, await asyncio.to_thread(target.finish)


async def _paced(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                data = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise UploadStalled from error
        yield data


@asynccontextmanager
async def copied(source: Path, folder: Path, max_bytes: int) -> AsyncIterator[Upload]:
    """A local file, copied like an upload. Raises InvalidInput for an empty or unreadable one, PayloadTooLarge."""
    target = folder / f"{secrets.token_hex(16)}{PART_SUFFIX}"
    try:
        yield await asyncio.to_thread(_copy, source, target, max_bytes)
    finally:
        target.unlink(missing_ok=True)


def _copy(source: Path, target: Path, max_bytes: int) -> Upload:
    try:
        with source.open("rb") as file:
            size = source.stat().st_size
            if not size:
                raise InvalidInput(f"The file {source} is empty.")
            if size > max_bytes:
                raise PayloadTooLarge(f"The file {source} is larger than {max_bytes} bytes (MAX_UPLOAD_BYTES).")
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise InvalidInput(f"The file {source} cannot be read: {error.strerror}.") from error
    with disk_errors():
        shutil.copyfile(source, target)
    with target.open("rb") as copy:
        sha256 = hashlib.file_digest(copy, "sha256").hexdigest()
    return Upload(target, clean_filename(source.name), head, target.stat().st_size, sha256)
