"""Every passage of a PDF is where its boxes are: its words give back its text, and PDFium finds each in its box.

Over PDFs that Chromium prints here, and over a folder of one's own: ``pytest tests/integration/test_parse_boxes.py
--pdfs DIR``.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pypdfium2
import pypdfium2.raw as raw
import pytest

from lorestream.documents.chunk import split
from lorestream.documents.formats import pdf
from lorestream.documents.parse import DocumentFailed, Page, Parsed, Word, checked, unpack_words
from tests.e2e.page import CHROMIUM
from tests.fakes import files

# A device so fine that PDFium's whole numbers do not matter.
PIXELS = 1_000_000
STYLE = "body{font:12px serif} .c{columns:3} td{border:1px solid} .r{writing-mode:vertical-rl} @page{size:A5}"
STYLE += " table{border-collapse:collapse}"
LOREM = "The crane lifts crates of all sizes; efficient offices file five first-class affidavits. "
PRINTED = f"""<!DOCTYPE html><meta charset=utf-8><title>Crane book</title><style>{STYLE}</style>
<h1>Über das Heben — 起重机</h1><div class=c lang=en style="hyphens:manual">{LOREM * 12}extraordi&shy;narily
incompre&shy;hensi&shy;bilities {"counterrevolution&shy;ary&shy;ism " * 20}</div>
<table>{"".join(f"<tr><td>{n}<td>{n * 37} kg<td>North|South {n}" for n in range(7))}</table>
<p>Between.</p><table><tr><td colspan=2>Both<td rowspan=2>Tall</tr><tr><td>a<td>b c</tr><tr><td>d<td>e<td>f|g</table>
<p>After.</p><div style="border:1px solid">A frame.</div>
<p dir=rtl>הרמת משאות כבדים בנמל הישן: 48 טון, (Crane 7) בלבד. رافعة الميناء القديمة</p>
<p>日本語のテキストです。これはテストです。 𝐁𝐨𝐥𝐝 𝐦𝐚𝐭𝐡 a<sup>12</sup>+b<sub>3</sub></p>
<div class=r>Turned by a quarter.</div><p style="page-break-before:always">{LOREM * 30}</p>
<p style="transform:rotate(30deg);margin:80px">Slanted words.</p><footer>1 A note at the foot.</footer>"""
# White space, and what makes a table of rows.
MARKUP = re.compile(r"\s|^\|( --- \|)+$|\\?\|", re.MULTILINE)
IGNORED = re.compile("[\\s\\x00-\\x1f\\x7f\ufffe\ufffd\u00ad\u2010-\u2015|\\\\-]+")


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Chromium makes of a page with much of what a page can have."""
    folder = tmp_path_factory.mktemp("print")
    (folder / "page.html").write_text(PRINTED)
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={folder}/user")
    command = (CHROMIUM, *flags, f"--print-to-pdf={folder}/page.pdf", (folder / "page.html").as_uri())
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    shutil.rmtree(folder / "user")
    return folder / "page.pdf"


def test_what_a_browser_prints(printed: Path) -> None:
    parsed = read(printed)
    assert "incomprehensibilities" in parsed.text
    assert "first-class" in parsed.text
    assert "counterrevolutionaryism" in parsed.text
    assert (
        "\n| 0 | 0 kg | North\\|South 0 |\n| --- | --- | --- |\n| 1 | 37 kg | North\\|South 1 |\n| 2 |" in parsed.text
    )
    assert "\n\n| Both |  | Tall |\n| --- | --- | --- |\n| a | b c |  |\n| d | e | f\\|g |\n\nAfter." in parsed.text
    assert wrong(printed, parsed) == []


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_turned_and_cropped(printed: Path, tmp_path: Path, rotation: int) -> None:
    document = pypdfium2.PdfDocument(printed)
    for page in document:
        width, height = page.get_size()
        page.set_rotation(rotation)
        page.set_cropbox(20, 30, width - 10, height - 25)
    document.save(tmp_path / "turned.pdf")
    parsed = read(tmp_path / "turned.pdf")
    first = parsed.pages[0]
    shown = (width - 30, height - 55) if rotation == 180 else (height - 55, width - 30)
    assert (first.width, first.height) == pytest.approx(shown, abs=0.1)
    assert wrong(tmp_path / "turned.pdf", parsed) == []


def test_words_are_where_they_are_seen(tmp_path: Path) -> None:
    """By hand: Helvetica of 12 points, its baseline 72 points from the left and from the top."""
    path = tmp_path / "a.pdf"
    path.write_bytes(files.pdf([["Hoist", "", "again"]]))
    parsed = read(path)
    words = words_of(parsed.pages[0])
    assert [parsed.text[word.start : word.end] for word in words] == ["Hoist", "again"]
    assert words[0][2:] == pytest.approx((72 / 612, (72 - 9) / 792, (72 + 28) / 612, 72 / 792), abs=0.003)


def test_every_passage_of_a_folder(pdfs: Path | None, printed: Path, measured: Callable[[str], None]) -> None:
    passages = words = 0
    for path in sorted((pdfs or printed.parent).glob("**/*.pdf")):
        try:
            parsed = read(path)
        except DocumentFailed as failed:
            measured(f"{path.name}: {failed.code}")
            continue
        assert wrong(path, parsed) == [], path
        passages += len(split(parsed, tokens))
        words += sum(len(words_of(page)) for page in parsed.pages)
    measured(f"{passages} passages and {words} words in their boxes")


def read(path: Path) -> Parsed:
    return checked(pdf.parse(path))


def wrong(path: Path, parsed: Parsed) -> list[str]:
    """The passages that their words do not give back, and the words that PDFium does not find in their boxes."""
    found = []
    pages = {page.number: page for page in parsed.pages}
    for chunk in split(parsed, tokens):
        page = pages[chunk.page or 0]
        start, end = chunk.start - page.start, chunk.end - page.start
        spans = [(max(word.start, start), min(word.end, end)) for word in words_of(page)]
        text = "".join(parsed.text[page.start + a : page.start + b] for a, b in spans if a < b)
        if MARKUP.sub("", text) != MARKUP.sub("", chunk.text):
            found.append(f"passage {chunk.index}: {text!r}, not {chunk.text!r}")
    document = pypdfium2.PdfDocument(path)
    return found + [problem for page in parsed.pages for problem in not_in_their_boxes(document, page, parsed.text)]


def not_in_their_boxes(document: pypdfium2.PdfDocument, page: Page, text: str) -> Iterator[str]:
    words = words_of(page)
    assert [word.start for word in words] == sorted(word.start for word in words)
    original = document[page.number - 1]
    textpage = original.get_textpage()
    for word in words:
        expected = IGNORED.sub("", text[page.start + word.start : page.start + word.end])
        there = IGNORED.sub("", textpage.get_text_bounded(*on_page(original, word)))
        if expected not in there and not outside(word):
            yield f"page {page.number}: {expected!r} is not in {there!r}"


def on_page(page: pypdfium2.PdfPage, word: Word) -> tuple[float, float, float, float]:
    """A word's box in the page's own coordinates, by PDFium's reckoning: left, bottom, right, top."""
    corners = []
    for across, down in ((word.x0, word.y0), (word.x1, word.y1)):
        x, y = ctypes.c_double(), ctypes.c_double()
        at = round(across * PIXELS), round(down * PIXELS)
        raw.FPDF_DeviceToPage(page, 0, 0, PIXELS, PIXELS, 0, *at, ctypes.byref(x), ctypes.byref(y))
        corners.append((x.value, y.value))
    (x0, y0), (x1, y1) = corners
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def outside(word: Word) -> bool:
    """Whether it is (in part) where the page is cut off, or has no extent."""
    return min(word[2:]) <= 0 or max(word[2:]) >= 1 or word.x0 == word.x1 or word.y0 == word.y1


def words_of(page: Page) -> list[Word]:
    return unpack_words(page.words) if page.words else []


def tokens(text: str) -> list[tuple[int, int]]:
    return [found.span() for found in re.finditer(r"\w{1,6}|[^\w\s]", text)]
