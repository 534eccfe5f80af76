"""Pictures of a PDF's pages, drawn by PDFium within a bounded number of pixels."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pypdfium2

from lorestream.documents.formats.pdfium import opened, rendered, rows
from lorestream.documents.parse import DocumentFailed

# Text on white packs well at once; more effort takes seconds and gains little.
_DEFLATE_LEVEL = 3
_RGB_8_BIT = struct.pack(">BBBBB", 8, 2, 0, 0, 0)


def draw(path: Path, number: int, width: int) -> bytes:
    """Page ``number`` (from 1) as it is shown, as a PNG ``width`` pixels wide, less if it had too many pixels.

    Raises DocumentFailed, ``no_page`` if there is no such page.
    """
    document = opened(path)
    if not 1 <= number <= len(document):
        raise DocumentFailed("no_page", f"The document has {len(document)} pages, and none with the number {number}.")
    try:
        page = document[number - 1]
        bitmap = rendered(page, width / page.get_size()[0], rev_byteorder=True)
    except (pypdfium2.PdfiumError, ZeroDivisionError) as error:
        raise DocumentFailed("broken", f"Page {number} is damaged and cannot be drawn.") from error
    return _png(bitmap.width, bitmap.height, rows(bitmap, 3))


def _png(width: int, height: int, lines: list[bytes]) -> bytes:
    """W3C Portable Network Graphics, with no filter on any row."""
    pixels = zlib.compress(b"".join(b"\x00" + line for line in lines), _DEFLATE_LEVEL)
    header = struct.pack(">II", width, height) + _RGB_8_BIT
    return b"\x89PNG\r\n\x1a\n" + _part(b"IHDR", header) + _part(b"IDAT", pixels) + _part(b"IEND", b"")


def _part(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
