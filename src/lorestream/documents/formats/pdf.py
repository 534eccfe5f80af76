"""PDF, with PDFium: the text of every page in its own order."""

from __future__ import annotations

import re
from pathlib import Path

import pypdfium2

from lorestream.documents.formats.plain import normalise
from lorestream.documents.parse import DocumentFailed, Page, Parsed

# FPDF_ERR_PASSWORD and FPDF_ERR_SECURITY of fpdfview.h.
_LOCKED = {4, 5}
# PDFium writes U+FFFE for a hyphen at the end of a line and joins the halves of the word.
_BROKEN_WORD = re.compile("(?<!\\w)(\\w++)\ufffe(\\w+)")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]+")
_WORD = re.compile(r"\w+(?:-\w+)*")
_ENDS_SENTENCE = re.compile(r"[.!?:…。！？][\"'”’»)\]]*$")
# A line of this share of the page's usual width that ends a sentence ends its paragraph.
_SHORT_LINE = 0.85
_NO_TITLE = re.compile(r"untitled|microsoft word|.*\.\w{2,5}$|[\W\d_]*$", re.IGNORECASE)


def parse(path: Path) -> Parsed:
    """The text, page by page, with a blank line between pages."""
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if error.err_code in _LOCKED:
            message = "The PDF is protected with a password. Remove the protection and upload it again."
            raise DocumentFailed("encrypted", message) from error
        raise DocumentFailed("broken", "The file is damaged and cannot be read as a PDF.") from error
    texts = [_page_text(document, number) for number in range(len(document))]
    if not any(text.strip() for text in texts):
        pages = f"{len(texts)} page{'' if len(texts) == 1 else 's'}"
        message = f"The PDF has {pages} but no text; it looks scanned. Run text recognition (OCR) on it first."
        raise DocumentFailed("no_text", message)
    return _assemble(texts, _title(document))


def _page_text(document: pypdfium2.PdfDocument, number: int) -> str:
    """One page's text; a page that PDFium cannot load has none, the others are still worth reading."""
    try:
        page = document[number]
        text = page.get_textpage().get_text_range()
        page.close()
    except pypdfium2.PdfiumError:
        return ""
    return _CONTROL.sub(" ", normalise(text))


def _assemble(texts: list[str], title: str | None) -> Parsed:
    words = {word.lower() for text in texts for word in _WORD.findall(text)}

    def join(halves: re.Match[str]) -> str:
        whole, hyphened = halves[1] + halves[2], f"{halves[1]}-{halves[2]}"
        return hyphened if hyphened.lower() in words and whole.lower() not in words else whole

    pages: list[Page] = []
    parts: list[str] = []
    start = 0
    for number, source in enumerate(texts, 1):
        text = _paragraphs(_BROKEN_WORD.sub(join, source).replace("\ufffe", "-")).strip()
        pages.append(Page(number, start, start + len(text)))
        parts.append(text)
        start += len(text) + 2
    return Parsed("\n\n".join(parts), title, pages)


def _paragraphs(text: str) -> str:
    """A blank line after each line that ends a paragraph, as far as its length tells."""
    lines = [line.rstrip() for line in text.split("\n")]
    lengths = sorted(len(line) for line in lines if line)
    width = lengths[len(lengths) * 9 // 10] if lengths else 0
    ends = (len(line) < _SHORT_LINE * width and _ENDS_SENTENCE.search(line) for line in lines)
    return "\n".join(line + "\n" * bool(end) for line, end in zip(lines, ends, strict=True))


def _title(document: pypdfium2.PdfDocument) -> str | None:
    title = str(document.get_metadata_dict().get("Title") or "").strip()
    return None if _NO_TITLE.match(title) else title
