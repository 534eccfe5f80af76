"""ZIP files of documents: files within the bounds that were checked, or a refusal; nothing larger or elsewhere."""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
from pathlib import Path

from lorestream.documents.archive import Entry, documents_of, inspect, unpack
from lorestream.documents.parse import DocumentFailed
from lorestream.errors import InvalidInput, PayloadTooLarge, UnsupportedType

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-archives-"))
MAX_ENTRIES, MAX_BYTES = 50, 4096


def made(method: int, *, comment: bytes = b"", before: bytes = b"", large: bool = False) -> bytes:
    """A well-formed one."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        archive.writestr("a/b.md", b"# Hello\n" * 40)
        archive.writestr("../c.txt", b"x")
        archive.writestr(".hidden", b"y")
        with archive.open(zipfile.ZipInfo("Größe.html"), "w", force_zip64=large) as file:
            file.write(b"<p>z</p>")
        archive.comment = comment
    return before + content.getvalue()


def end_64() -> bytes:
    """An archive whose end is in the 64-bit form."""
    whole = made(zipfile.ZIP_STORED)
    start = whole.rfind(b"PK\x05\x06")
    size, offset = struct.unpack_from("<2I", whole, start + 12)
    end = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 4, 4, size, offset)
    return whole[:start] + end + struct.pack("<4sIQI", b"PK\x06\x07", 0, start, 1) + whole[start:]


SEEDS = [
    made(zipfile.ZIP_DEFLATED),
    made(zipfile.ZIP_STORED, comment=b"PK\x05\x06 comment", before=b"#!/bin/sh\n"),
    made(zipfile.ZIP_DEFLATED, large=True),
    made(zipfile.ZIP_BZIP2),
    end_64(),
]


def one(data: bytes) -> None:
    """Inspect an archive, and unpack it where it passes."""
    path = FOLDER / "x.zip"
    path.write_bytes(data)
    try:
        count = inspect(path, max_entries=MAX_ENTRIES, max_bytes=MAX_BYTES)
    except (InvalidInput, UnsupportedType, PayloadTooLarge):
        return
    with path.open("rb") as file:
        entries = list(documents_of(file))
        assert 0 < len(entries) == count <= MAX_ENTRIES
        for entry in entries:
            unpacked(file, entry)
    assert {found.name for found in FOLDER.iterdir()} <= {"x.zip", "part"}


def unpacked(file: io.BufferedReader, entry: Entry) -> None:
    """One file, if it can be had."""
    try:
        upload = unpack(file, entry, FOLDER / "part", MAX_BYTES)
    except (DocumentFailed, UnsupportedType, PayloadTooLarge):
        return
    assert 0 < upload.bytes == entry.size == (FOLDER / "part").stat().st_size <= MAX_BYTES
    assert "/" not in upload.filename
