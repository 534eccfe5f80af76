"""Uploads: one file with a harmless name, or a refusal; never anything left in the folder."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path

from lorestream.documents.parse import detect
from lorestream.documents.upload import MAX_FILENAME, clean_filename, received
from lorestream.errors import LorestreamError, UnsupportedType

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-upload-"))
LOOP = asyncio.new_event_loop()
MAX_BYTES = 4096
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="'
SEEDS = [
    b"\x05" + HEAD + b'x.md"\r\nContent-Type: text/plain\r\n\r\n# Hello\r\n--b--\r\n',
    b"\x01" + HEAD + b'..\\\\..\\"x;.html"\r\n\r\nx\r\n--b\r\n\r\n--b--\r\n',
    b"\x20" + HEAD + "a\u202egpj.md\U000e0041".encode() + b'"\r\n\r\ny\r\n--b--\r\n',
    b"\x09--b\r\nContent-Disposition: form-data; name=file; filename*=utf-8''%2e%2e%2fx\r\n\r\nz\r\n--b--",
    b"\x03preamble\r\n" + HEAD + b'x"\r\nX: ' + b"y" * 300 + b"\r\n\r\n\r\n--b--\r\nepilogue",
    b"\x11\n--b\n" + HEAD + b"\r\n\r\n" + b"z" * 5000,
]


async def _pieces(body: bytes, step: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), step):
        yield body[start : start + step]


async def _receive(body: bytes, step: int, content_type: str = "multipart/form-data; boundary=b") -> None:
    with contextlib.suppress(LorestreamError):
        async with received(_pieces(body, step), content_type, FOLDER, MAX_BYTES) as upload:
            assert 0 < upload.bytes <= MAX_BYTES
            assert upload.path.stat().st_size == upload.bytes
            check(upload.filename)
            with contextlib.suppress(UnsupportedType):
                detect(upload.filename, upload.head)


def check(name: str) -> None:
    """A name that is a label and nothing else."""
    assert 0 < len(name) <= MAX_FILENAME
    assert name not in {".", ".."}
    assert not {"/", "\\", "\0"} & set(name)
    assert not [character for character in name if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}]


def one(data: bytes) -> None:
    """Receive a form; take all of it as a content type and as a name, too."""
    step, body = (data[0] if data else 0) + 1, data[1:]
    LOOP.run_until_complete(_receive(body, step))
    LOOP.run_until_complete(_receive(SEEDS[0][1:], step, "multipart/form-data" + body.decode("latin-1")[:300]))
    assert not list(FOLDER.iterdir())
    name = body.decode("utf-8", "replace")
    check(clean_filename(name))
    assert clean_filename(clean_filename(name)) == clean_filename(name)
