"""Which files are taken, and as what."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorestream.documents.parse import (
    CODE,
    CSV,
    DOCX,
    EPUB,
    HEAD_BYTES,
    HTML,
    JSON,
    MARKDOWN,
    PDF,
    PLAIN,
    PPTX,
    XLSX,
    DocumentFailed,
    Heading,
    Parsed,
    checked,
    detect,
    storable,
)
from lorestream.errors import UnsupportedType
from tests.fakes import files

TEXT = "Grüße aus dem Hafen".encode()


@pytest.mark.parametrize(
    ("filename", "head", "expected"),
    [
        ("a.pdf", b"%PDF-1.7", PDF),
        ("a.txt", b"%PDF-1.7", PDF),
        ("a", b"\n%PDF-1.7", PDF),
        ("a.pdf", b"damaged", PDF),
        ("A.DOCX", b"PK\x03\x04", DOCX),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", DOCX),
        ("a.html", TEXT, HTML),
        ("a.HTM", TEXT, HTML),
        ("a.md", TEXT, MARKDOWN),
        ("a.tar.markdown", TEXT, MARKDOWN),
        ("a.txt", TEXT, PLAIN),
        ("a.text", TEXT, PLAIN),
        ("a.log", TEXT, PLAIN),
        ("README", TEXT, PLAIN),
        ("a.pptx", b"PK\x03\x04", PPTX),
        ("a.xlsx", b"PK\x03\x04", XLSX),
        ("a.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", XLSX),
        ("a.epub", b"PK\x03\x04", EPUB),
        ("a.docx", b"PK\x03\x04 docProps/app.xml ppt/presentation.xml", PPTX),
        ("a.zip", b"PK\x03\x04 xl/workbook.xml xl/embeddings/word/", XLSX),
        ("a", b"PK\x03\x04 mimetypeapplication/epub+zip", EPUB),
        ("a.CSV", b"a;b", CSV),
        ("a.tsv", b"a", CSV),
        ("a.json", b"{}", JSON),
        ("a.jsonl", b"{}", JSON),
        ("a.py", b"import os", CODE),
        ("a.test.tsx", b"<a/>", CODE),
        ("a.yaml", TEXT, CODE),
        ("../x\\y/notes", TEXT, PLAIN),
        ("a.txt", "Grüße".encode("utf-16"), PLAIN),
        ("a.txt", "Grüße aus dem Hafen".encode("utf-16-le"), PLAIN),
        ("a.txt", "Grüße".encode("utf-32"), PLAIN),
        ("a.txt", b"", PLAIN),
    ],
)
def test_supported(filename: str, head: bytes, expected: str) -> None:
    assert detect(filename, head) == expected


@pytest.mark.parametrize(
    ("filename", "head"),
    [
        ("a.png", b"\x89PNG\r\n"),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        ("a.zip", b"PK\x03\x04"),
        ("a.csv", b"PK\x03\x04 some archive"),
        ("a.py", b"\x00\x01\x02" * 9),
        ("a.txt", b"PK\x03\x04 some archive"),
        ("a.txt", b"\x7fELF\x02\x01\x01" + b"\x00" * 50 + b"\x03\x00\x3e\x00"),
        ("a", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01"),
        (".gitignore.exe", TEXT),
        ("a." + "x" * 300, TEXT),
    ],
)
def test_the_rest_is_refused_naming_what_is_supported(filename: str, head: bytes) -> None:
    with pytest.raises(UnsupportedType, match=r"PDF, Word \(\.docx\)") as refused:
        detect(filename, head)
    assert len(refused.value.message) < 300


def test_a_word_document_under_another_name(tmp_path: Path) -> None:
    content = files.docx(tmp_path / "a", files.paragraph("x")).read_bytes()
    assert detect("notes.txt", content[:HEAD_BYTES]) == DOCX


def test_what_a_reader_gives_is_made_storable_one_for_one() -> None:
    parsed = checked(
        Parsed("a\x00b\ud800c", " A\n title\x00 ", headings=[Heading(0, 1, 1, "h\udfff"), Heading(1, 2, 1, " ")])
    )
    assert parsed == Parsed("a\ufffdb\ufffdc", "A title\ufffd", headings=[Heading(0, 1, 1, "h\ufffd")])
    parsed.text.encode()


@pytest.mark.parametrize("text", ["", " \n\t ", "\u3000\xa0"])
def test_a_text_of_white_space_is_empty(text: str) -> None:
    with pytest.raises(DocumentFailed) as failed:
        checked(Parsed(text))
    assert failed.value.code == "empty"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x00b\ud800", "a\ufffdb\ufffd"),
        ("a\U000e0049\U000e0067\U000e007fb", "a\ufffd\ufffd\ufffdb"),
        ("\u202egpj", "\ufffdgpj"),
        ("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f!", None),
        ("می\u200cخواهم \u2067עברית\u2069 soft\u00adhyphen", None),
    ],
)
def test_what_would_hide_text_is_shown_and_offsets_stay(text: str, expected: str | None) -> None:
    assert storable(text) == (text if expected is None else expected)
    assert len(storable(text)) == len(text)
