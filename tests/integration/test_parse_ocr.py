"""Scanned pages: recognised where Tesseract is installed, page by page within a time; else a message what to do."""

from __future__ import annotations

import math
import re
import shutil
import struct
import time
import zlib
from pathlib import Path

import pypdfium2
import pytest

from lorestream.documents.formats import pdf
from lorestream.documents.formats.page_image import draw
from lorestream.documents.parse import PDF, DocumentFailed, Ocr, Parsed, unpack_words
from lorestream.documents.sandbox import page_image, parse_file
from tests.fakes import files

MIB = 1024 * 1024
LINES = ["The crane lifts crates of every size,", "and nobody ever asked it to be incompre-", "hensible about wind."]
needs_tesseract = pytest.mark.skipif(not shutil.which("tesseract"), reason="Tesseract is not installed")


def scan(lines: list[str], *, turned: int = 0) -> bytes:
    """A PDF whose one page is a picture of these lines, lying on the glass turned by so many degrees."""
    page = strip(lines, turned)[0]
    bitmap = page.render(scale=200 / 72, grayscale=True)
    pixels = b"".join(
        bytes(bitmap.buffer[at * bitmap.stride : at * bitmap.stride + bitmap.width]) for at in range(bitmap.height)
    )
    width, height = page.get_size()
    image = (
        f"<< /Type /XObject /Subtype /Image /Width {bitmap.width} /Height {bitmap.height} /BitsPerComponent 8 "
        f"/ColorSpace /DeviceGray /Filter /FlateDecode /Length "
    ).encode()
    packed = zlib.compress(pixels)
    shown = b"q %d 0 0 %d 0 0 cm /X Do Q" % (width, height)
    bodies = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents 4 0 R " % (width, height)
        + b"/Resources << /XObject << /X 5 0 R >> >> >>",
        b"<< /Length %d >> stream\n%b\nendstream" % (len(shown), shown),
        image + b"%d >> stream\n%b\nendstream" % (len(packed), packed),
    ]
    # Without a table of objects: PDFium makes one.
    objects = b"".join(b"%d 0 obj\n%b\nendobj\n" % (number, body) for number, body in enumerate(bodies, 1))
    return b"%PDF-1.4\n" + objects + b"trailer << /Root 1 0 R >>\n%%EOF\n"


def strip(lines: list[str], turned: int) -> pypdfium2.PdfDocument:
    """The upper part of a page with these lines: less of it is sooner recognised."""
    document = pypdfium2.PdfDocument(files.pdf([lines], rotate=turned))
    document[0].set_cropbox(0, 640, 612, 792)
    return document


def together(path: Path, *parts: bytes) -> Path:
    """The pages of several PDFs in one."""
    whole = pypdfium2.PdfDocument.new()
    for part in parts:
        whole.import_pages(pypdfium2.PdfDocument(part))
    whole.save(path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


@needs_tesseract
async def test_the_scanned_page_of_a_document_is_recognised(file: Path) -> None:
    together(file, files.pdf([["A page of text."]]), scan(LINES), files.pdf([[]]))
    heard: list[tuple[str, int, int]] = []
    parsed = await parse_file(
        file,
        PDF,
        timeout_seconds=60,
        memory_bytes=384 * MIB,
        ocr=Ocr("eng", 60),
        on_page=lambda *one: heard.append(one),
    )
    assert [parsed.text[page.start : page.end] for page in parsed.pages] == [
        "A page of text.",
        "The crane lifts crates of every size,\nand nobody ever asked it to be incomprehensible about wind.",
        "",
    ]
    assert heard[0] == ("reading", 0, 3)
    assert heard[-3:] == [("reading", 3, 3), ("recognising", 0, 1), ("recognising", 1, 1)]


@needs_tesseract
@pytest.mark.parametrize("turned", [0, 180])
def test_words_of_a_scan_are_where_they_are_seen(file: Path, turned: int) -> None:
    file.write_bytes(scan(LINES, turned=turned))
    parsed = pdf.parse(file, ocr=Ocr("eng", 60))
    there = {text: tuple(round(edge, 2) for edge in box) for text, box in boxes(parsed)}
    expected = {"".join(text.split("-")): box for text, box in boxes(printed(file.with_name("text.pdf"), turned))}
    for text in ("crane", "nobody", "wind."):
        assert there[text] == pytest.approx(expected[text], abs=0.02)


def printed(path: Path, turned: int) -> Parsed:
    strip(LINES, turned).save(path)
    return pdf.parse(path)


def boxes(parsed: Parsed) -> list[tuple[str, tuple[float, ...]]]:
    return [(parsed.text[word.start : word.end], word[2:]) for word in unpack_words(parsed.pages[0].words or b"")]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine of one's own: a script to be written."""
    script = tmp_path / "bin" / "tesseract"
    script.parent.mkdir()
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    return script


LISTS = '#!/bin/sh\n[ "$1" = --list-langs ] && printf "List:\\neng\\nosd\\n" && exit\n'


def write(script: Path, body: str) -> None:
    script.write_text(LISTS + body)
    script.chmod(0o755)


async def test_a_page_that_takes_too_long_stays_empty_and_the_others_count(file: Path, engine: Path) -> None:
    write(engine, f"[ -e {engine}.been ] && exec sleep 600\necho > {engine}.been; exec sleep 600\n")
    together(file, scan(["one"]), files.pdf([["Text."]]), scan(["three"]))
    began = time.monotonic()
    parsed = await parse_file(file, PDF, timeout_seconds=60, memory_bytes=384 * MIB, ocr=Ocr("", 0.3))
    assert [parsed.text[page.start : page.end] for page in parsed.pages] == ["", "Text.", ""]
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("script", "languages", "words"),
    [
        (None, "", "apt install tesseract-ocr"),
        ("exit 1\n", "", "none could be recognised"),
        ("", "deu+eng", r"lacks data for deu \(LORESTREAM_OCR_LANGUAGES\)"),
    ],
)
async def test_what_cannot_be_recognised_says_what_to_do(
    file: Path, engine: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, languages: str, words: str
) -> None:
    if script is None:
        monkeypatch.setenv("PATH", str(engine.parent))
    else:
        write(engine, script)
    together(file, scan(["x"]))
    with pytest.raises(DocumentFailed, match=words) as failed:
        await parse_file(file, PDF, timeout_seconds=60, memory_bytes=384 * MIB, ocr=Ocr(languages, 30))
    assert failed.value.code == "no_text"


def test_recognition_that_is_switched_off_says_so(file: Path) -> None:
    file.write_bytes(scan(["x"]))
    with pytest.raises(DocumentFailed, match=r"looks scanned.*LORESTREAM_OCR"):
        pdf.parse(file)


async def test_a_page_as_a_picture(file: Path) -> None:
    together(file, files.pdf([["Hoist"], ["Turned"]], rotate=90))
    image = await page_image(file, 2, 500, timeout_seconds=60, memory_bytes=384 * MIB)
    assert (image[:8], size(image)) == (b"\x89PNG\r\n\x1a\n", (500, math.ceil(500 * 612 / 792)))
    with pytest.raises(DocumentFailed, match="2 pages, and none with the number 3") as failed:
        await page_image(file, 3, 500, timeout_seconds=60, memory_bytes=384 * MIB)
    assert failed.value.code == "no_page"


def test_pictures_are_of_bounded_size(file: Path) -> None:
    for box in (b"[0 0 9 14000]", b"[0 0 14000000 14000000]", b"[0 0 1 0.00001]"):
        file.write_bytes(files.pdf([["x"]]).replace(b"[0 0 612 792]", box))
        width, height = size(draw(file, 1, 2000))
        assert width * height <= 13_000_000


def size(image: bytes) -> tuple[int, int]:
    found = re.match(rb".{12}IHDR(.{8})", image, re.DOTALL)
    assert found
    width, height = struct.unpack(">II", found[1])
    return width, height
