"""PDFium: opening a document, and its pages as pixels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pypdfium2

from lorestream.documents.parse import DocumentFailed

MAX_PIXELS = 12_000_000
# FPDF_ERR_PASSWORD and FPDF_ERR_SECURITY of fpdfview.h.
_LOCKED = {4, 5}


def opened(path: Path) -> pypdfium2.PdfDocument:
    """The document; raises DocumentFailed ``encrypted`` or ``broken``."""
    try:
        return pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if error.err_code in _LOCKED:
            message = "The PDF is protected with a password. Remove the protection and upload it again."
            raise DocumentFailed("encrypted", message) from error
        raise DocumentFailed("broken", "The file is damaged and cannot be read as a PDF.") from error


def rendered(page: pypdfium2.PdfPage, scale: float, **options: Any) -> pypdfium2.PdfBitmap:
    """The page at ``scale`` pixels a point, or at less, so that there are no more than ``MAX_PIXELS``."""
    width, height = page.get_size()
    scale = min(scale, math.sqrt(MAX_PIXELS / (width * height)), MAX_PIXELS / (4 * max(width, height)))
    return page.render(scale=scale, maybe_alpha=False, prefer_bgrx=False, **options)


def rows(bitmap: pypdfium2.PdfBitmap, channels: int) -> list[bytes]:
    """The pixels, row by row from the top."""
    view, line = memoryview(bitmap.buffer), bitmap.width * channels
    return [bytes(view[start : start + line]) for start in range(0, bitmap.stride * bitmap.height, bitmap.stride)]
