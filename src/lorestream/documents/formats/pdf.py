"""PDF, with PDFium: the text of every page in its own order, and where each of its words stands."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pypdfium2
import pypdfium2.raw as raw

from lorestream.documents.formats import ocr as recognition
from lorestream.documents.formats.paper import HYPHEN, WORD, Edit, Frame, Place, Sheet, join_halves
from lorestream.documents.formats.pdfium import opened
from lorestream.documents.parse import DocumentFailed, Ocr, OnPage, Page, Parsed

# More pages than this are not recognised: many hours.
MAX_RECOGNISED = 2000
# What PDFium gives for the sign HYPHEN when it is asked for one character.
_SOFT = 2
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
# A character beyond 16 bits, which PDFium counts as two; and a hyphen at the end of a line that it takes for another.
_MENDED = re.compile("[\ud800-\udbff][\udc00-\udfff]|(?<=\\w)[\u2010\u00ad] ?\n(?=\\w)")
_ENDS_SENTENCE = re.compile(r"[.!?:…。！？][\"'”’»)\]]*$")
# A line of this share of the page's usual width that ends a sentence ends its paragraph.
_SHORT_LINE = 0.85
_NO_TITLE = re.compile(r"untitled|microsoft word|.*\.\w{2,5}$|[\W\d_]*$", re.IGNORECASE)


def parse(path: Path, *, ocr: Ocr | None = None, on_page: OnPage = lambda *_: None) -> Parsed:
    """The text, page by page, with a blank line between pages; pages without text are recognised with ``ocr``."""
    document = opened(path)
    sheets = []
    for number in range(len(document)):
        on_page("reading", number, len(document))
        sheets.append(_sheet(document, number))
    on_page("reading", len(document), len(document))
    why_not = _recognise(document, sheets, ocr, on_page)
    if not any(sheet.text.strip() for sheet in sheets):
        pages = f"{len(sheets)} page{'' if len(sheets) == 1 else 's'}"
        raise DocumentFailed("no_text", f"The PDF has {pages} but no text{why_not}")
    return _assemble(sheets, _title(document))


def _sheet(document: pypdfium2.PdfDocument, number: int) -> Sheet:
    """One page; a page that PDFium cannot load is empty, the others are still worth reading."""
    sheet = Sheet()
    try:
        page = document[number]
        sheet.width, sheet.height = page.get_size()
        sheet.drawn = raw.FPDFPage_CountObjects(page) > 0
        textpage = page.get_textpage()
        characters = _characters(textpage)
        left, bottom, right, top = page.get_bbox()
        frame = Frame(left, bottom, right, top, page.get_rotation())
        sheet.write(
            _CONTROL.sub(" ", characters.replace("\r\n", " \n").replace("\r", "\n")),
            _words(textpage, characters, frame),
        )
        sheet.edit((*found.span(), _mended(found[0])) for found in _MENDED.finditer(sheet.text))
        page.close()
    except pypdfium2.PdfiumError:
        return sheet
    return sheet


def _characters(textpage: pypdfium2.PdfTextPage) -> str:
    """The page's text, in which every character has the index that PDFium knows it by."""
    count = textpage.count_chars()
    text = str(textpage.get_text_range()) if count else ""
    if len(text) == count:
        return text
    return "".join(_character(textpage, index) for index in range(count))


def _character(textpage: pypdfium2.PdfTextPage, index: int) -> str:
    code = raw.FPDFText_GetUnicode(textpage, index)
    if code == _SOFT and raw.FPDFText_IsHyphen(textpage, index) == 1:
        return HYPHEN
    return chr(code) if code <= 0x10FFFF else "\ufffd"


def _mended(found: str) -> str:
    return HYPHEN if found.endswith("\n") else found.encode("utf-16", "surrogatepass").decode("utf-16")


def _words(textpage: pypdfium2.PdfTextPage, characters: str, frame: Frame) -> Iterator[tuple[int, int, Place]]:
    ruler = _Ruler(textpage)
    for found in WORD.finditer(_CONTROL.sub(" ", characters)):
        start, end = found.span()
        yield start, end, frame.place(ruler.box(start, end))


class _Ruler:
    """Measures characters of a page."""

    def __init__(self, textpage: pypdfium2.PdfTextPage) -> None:
        self._page = textpage.raw
        self._box = (ctypes.c_double * 4)()
        pointer = ctypes.POINTER(ctypes.c_double)
        self._left, self._bottom, self._right, self._top = (
            ctypes.cast(ctypes.byref(self._box, edge * ctypes.sizeof(ctypes.c_double)), pointer) for edge in range(4)
        )

    def box(self, start: int, end: int) -> Sequence[float]:
        """The box around characters in the page's coordinates: left, bottom, right, top."""
        count = raw.FPDFText_CountRects(self._page, start, end - start)
        if count == 1:
            raw.FPDFText_GetRect(self._page, 0, self._left, self._top, self._right, self._bottom)
            return self._box[:]
        boxes = []
        for index in range(count):
            raw.FPDFText_GetRect(self._page, index, self._left, self._top, self._right, self._bottom)
            boxes.append(self._box[:])
        # Characters without extent have no rectangle.
        for index in range(start, end if not boxes else start):
            raw.FPDFText_GetCharBox(self._page, index, self._left, self._right, self._bottom, self._top)
            boxes.append(self._box[:])
        lefts, bottoms, rights, tops = zip(*boxes, strict=True)
        return min(lefts), min(bottoms), max(rights), max(tops)


def _recognise(document: pypdfium2.PdfDocument, sheets: list[Sheet], ocr: Ocr | None, on_page: OnPage) -> str:
    """Put text on the sheets that are only drawn; if that gives none, why, and what to do, as the end of a sentence."""
    scanned = [number for number, sheet in enumerate(sheets) if sheet.drawn and not sheet.text.strip()]
    if not scanned:
        return ", nor anything that is drawn."
    if ocr is None:
        return "; it looks scanned. Text recognition is switched off on this server (LORESTREAM_OCR)."
    try:
        engine = recognition.Tesseract(ocr)
    except recognition.Unavailable as unavailable:
        return f"; it looks scanned. {unavailable}"
    for done, number in enumerate(scanned[:MAX_RECOGNISED]):
        on_page("recognising", done, len(scanned))
        engine.read(document, number, sheets[number])
    on_page("recognising", len(scanned), len(scanned))
    return ", and none could be recognised in its pictures."


def _assemble(sheets: list[Sheet], title: str | None) -> Parsed:
    join_halves(sheets)
    pages: list[Page] = []
    start = 0
    for number, sheet in enumerate(sheets, 1):
        sheet.edit(_paragraphs(sheet.text))
        sheet.edit(_margins(sheet.text))
        end = start + len(sheet.text)
        pages.append(Page(number, start, end, sheet.width, sheet.height, sheet.words()))
        start = end + 2
    return Parsed("\n\n".join(sheet.text for sheet in sheets), title, pages)


def _paragraphs(text: str) -> Iterator[Edit]:
    """No blanks at the end of a line; a blank line after each that ends a paragraph, as far as its length tells."""
    lines = text.split("\n")
    lengths = sorted(len(line.rstrip()) for line in lines if line.rstrip())
    width = lengths[len(lengths) * 9 // 10] if lengths else 0
    start = 0
    for line in lines:
        kept, end = line.rstrip(), start + len(line)
        if len(kept) < len(line):
            yield start + len(kept), end, ""
        if len(kept) < _SHORT_LINE * width and _ENDS_SENTENCE.search(kept) and end < len(text):
            yield end + 1, end + 1, "\n"
        start = end + 1


def _margins(text: str) -> Iterator[Edit]:
    """No white space at the beginning and the end."""
    begin, end = len(text) - len(text.lstrip()), len(text.rstrip())
    if begin:
        yield 0, begin, ""
    if begin < end < len(text):
        yield end, len(text), ""


def _title(document: pypdfium2.PdfDocument) -> str | None:
    title = str(document.get_metadata_dict().get("Title") or "").strip()
    return None if _NO_TITLE.match(title) else title
