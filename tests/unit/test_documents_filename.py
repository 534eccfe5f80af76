"""File names are words for people: nothing in them can be a path, a header or a trick of direction."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorestream.documents.ingest import title_of
from lorestream.documents.upload import clean_filename


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\x.md", "x.md"),
        ("/etc/shadow", "shadow"),
        ("C:\\Users\\me\\a.docx", "a.docx"),
        ("a\x00b\r\nc.txt", "abc.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ('a";x=.html', 'a";x=.html'),
        ("Grüße 🙂.md", "Grüße 🙂.md"),
        ("CON", "CON"),
        ("", "document"),
        ("..", "document"),
        ("///", "document"),
        (" \t ", "document"),
    ],
)
def test_known_tricks(given_name: str, kept: str) -> None:
    assert clean_filename(given_name) == kept


def test_a_long_name_keeps_its_ending() -> None:
    assert clean_filename("x" * 300 + ".pdf") == "x" * 251 + ".pdf"
    assert clean_filename("x" * 300) == "x" * 255
    assert len(clean_filename("a." + "b" * 300)) == 255


@given(st.text(max_size=400))
def test_any_name_becomes_one_that_is_safe(name: str) -> None:
    kept = clean_filename(name)
    assert 1 <= len(kept) <= 255
    assert not set("/\\\x00\r\n\u202e") & set(kept)
    assert clean_filename(kept) == kept or kept.rstrip() != kept
    kept.encode()


def test_a_title_is_one_line() -> None:
    assert title_of("  A\n title ", "x.pdf") == "A title"
    assert title_of(None, "annual report.pdf") == "annual report"
    assert title_of("", ".md") == ".md"
    assert len(title_of("x" * 1000, "x.pdf")) == 200
