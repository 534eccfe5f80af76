"""PDF, with PDFium: the text of every page in its own order, and where each of its words stands."""

from __future__ import annotations

import ctypes
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pypdfium2
import pypdfium2.raw as raw

from lorestream.documents.formats import ocr as recognition
from lorestream.documents.formats import ruled
from lorestream.documents.formats.paper import HYPHEN, WORD, Edit, Frame, Place, Sheet, join_halves
from lorestream.documents.formats.pdfium import opened
from lorestream.documents.parse import SHARES, DocumentFailed, Ocr, OnPage, Page, Parsed

# More pages than this are not recognised: many hours.
MAX_RECOGNISED = 2000
# Of a page, in which lines are looked for.
MAX_OBJECTS = 20_000
# What PDFium gives for the sign HYPHEN when it is asked for one character.
_SOFT = 2
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
# A character beyond 16 bits, which PDFium counts as two; and a hyphen at the end of a line that it takes for another.
_MENDED = re.compile("[\ud800-\udbff][\udc00-\udfff]|(?<=\\w)[\u2010\u00ad] ?\n(?=\\w)")
# A word so many times as wide as so many characters are high has gaps in it.
_WIDEST = 2.0
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
        gaps: list[int] = []
        text = _CONTROL.sub(" ", characters.replace("\r\n", " \n").replace("\r", "\n"))
        sheet.write(text, _words(_Ruler(textpage), text, frame, gaps))
        sheet.edit((gap, gap, " ") for gap in gaps)
        sheet.edit((*found.span(), _mended(found[0])) for found in _MENDED.finditer(sheet.text))
        sheet.arrange(list(ruled.tables(_drawn(page, frame, sheet), sheet.points)))
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


def _words(ruler: _Ruler, text: str, frame: Frame, gaps: list[int]) -> Iterator[tuple[int, int, Place]]:
    """Each word and where it is; ``gaps`` gets the places where PDFium has taken several for one."""
    for found in WORD.finditer(text):
        start, end = found.span()
        left, bottom, right, top = box = ruler.box(start, end)
        if right - left > _WIDEST * (top - bottom) * (end - start):
            apart = ruler.gaps(start, end)
            gaps += apart
            for part in itertools.pairwise([start, *apart, end]):
                yield *part, frame.place(ruler.box(*part))
        else:
            yield start, end, frame.place(box)


class _Ruler:
    """Measures characters of a page."""

    def __init__(self, textpage: pypdfium2.PdfTextPage) -> None:
        self._page = textpage.raw
        self._box = (ctypes.c_double * 4)()
        pointer = ctypes.POINTER(ctypes.c_double)
        self._left, self._bottom, self._right, self._top = (
            ctypes.cast(ctypes.byref(self._box, edge * ctypes.sizeof(ctypes.c_double)), pointer) for edge in range(4)
        )

    def gaps(self, start: int, end: int) -> list[int]:
        """The places where the next character is further away than the last one is high."""
        boxes = [self._character(index) for index in range(start, end)]
        pairs = enumerate(itertools.pairwise(boxes), start + 1)
        return [place for place, (one, following) in pairs if following[0] - one[2] > max(one[3] - one[1], 1.0)]

    def _character(self, index: int) -> list[float]:
        raw.FPDFText_GetCharBox(self._page, index, self._left, self._right, self._bottom, self._top)
        return self._box[:]

    def box(self, start: int, end: int) -> list[float]:
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
        if not boxes:
            boxes = [self._character(index) for index in range(start, end)]
        lefts, bottoms, rights, tops = zip(*boxes, strict=True)
        return [min(lefts), min(bottoms), max(rights), max(tops)]


def _drawn(page: pypdfium2.PdfPage, frame: Frame, sheet: Sheet) -> Iterator[ruled.Place]:
    """The boxes around lines and areas, those as large as the page left out."""
    edges = [ctypes.c_float() for _ in range(4)]
    pointers = [ctypes.byref(edge) for edge in edges]
    across, down = (sheet.width or 0) / SHARES, (sheet.height or 0) / SHARES
    for index in range(min(raw.FPDFPage_CountObjects(page), MAX_OBJECTS)):
        drawn = raw.FPDFPage_GetObject(page, index)
        if raw.FPDFPageObj_GetType(drawn) == raw.FPDF_PAGEOBJ_PATH and raw.FPDFPageObj_GetBounds(drawn, *pointers):
            x0, y0, x1, y1 = frame.place([edge.value for edge in edges])
            if x1 - x0 < SHARES or y1 - y0 < SHARES:
                yield ruled.Place(x0 * across, y0 * down, x1 * across, y1 * down)


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
    lengths = sorted(filter(None, (len(line.rstrip()) for line in lines)))
    width = lengths[len(lengths) * 9 // 10] if lengths else 0
    start = 0
    for line in lines:
        kept, end = line.rstrip(), start + len(line)
        if len(kept) < len(line):
            yield start + len(kept), end, ""
        is_short = len(kept) < _SHORT_LINE * width and end < len(text) and text[end + 1 : end + 2] != "\n"
        if is_short and _ENDS_SENTENCE.search(kept):
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
