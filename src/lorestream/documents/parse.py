"""What reading a document gives, how it can fail, and which files are read at all.

The readers themselves are in ``formats``, one module each; ``sandbox`` runs them.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import NamedTuple

import msgspec

from lorestream.errors import UnsupportedType

PDF = "application/pdf"
_OFFICE = "application/vnd.openxmlformats-officedocument."
DOCX = f"{_OFFICE}wordprocessingml.document"
PPTX = f"{_OFFICE}presentationml.presentation"
XLSX = f"{_OFFICE}spreadsheetml.sheet"
EPUB = "application/epub+zip"
HTML, MARKDOWN, PLAIN, CSV, JSON = "text/html", "text/markdown", "text/plain", "text/csv", "application/json"
CODE = "text/x-source-code"

EXTENSIONS = {
    ".pdf": PDF,
    ".docx": DOCX,
    ".pptx": PPTX,
    ".xlsx": XLSX,
    ".epub": EPUB,
    **dict.fromkeys((".html", ".htm", ".xhtml"), HTML),
    **dict.fromkeys((".md", ".markdown"), MARKDOWN),
    **dict.fromkeys(("", ".txt", ".text", ".log"), PLAIN),
    **dict.fromkeys((".csv", ".tsv"), CSV),
    **dict.fromkeys((".json", ".jsonl", ".ndjson", ".geojson", ".ipynb"), JSON),
    **dict.fromkeys(
        (
            ".py .pyi .js .mjs .cjs .jsx .ts .mts .tsx .java .kt .scala .groovy .c .h .cc .cpp .cxx .hpp .cs .go .rs "
            ".rb .php .swift .dart .lua .pl .r .jl .hs .ex .exs .erl .clj .sh .bash .zsh .ps1 .bat .sql .proto "
            ".css .scss .less .vue .svelte .yaml .yml .toml .ini .cfg .conf .properties .env .xml .xsd .xsl .tex .bib "
            ".rst .adoc .org .tf .cmake .gradle .make .diff .patch .srt .vtt"
        ).split(),
        CODE,
    ),
}
SUPPORTED = (
    "PDF, Word (.docx), PowerPoint (.pptx), Excel (.xlsx), EPUB, HTML, Markdown, CSV, JSON, plain text and source code"
)
# A name that every archive of a format holds, near its beginning.
_INSIDE = {
    b"word/": DOCX,
    b"ppt/": PPTX,
    b"xl/": XLSX,
    b"application/epub+zip": EPUB,
    b"META-INF/container.xml": EPUB,
}
_PACKED = {DOCX, PPTX, XLSX, EPUB}
# Enough for detect(): the first bytes of a file.
HEAD_BYTES = 4096
# More text than this is refused: about 40 000 pages.
MAX_CHARACTERS = 64 * 1024 * 1024
MAX_TITLE_CHARACTERS = 300
# Places on a page are kept in this many steps from edge to edge.
SHARES = 65535
_WORD = struct.Struct("<IIHHHH")
_DEFLATED_BYTES = 16 * 1024
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_UNICODE_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
# What cannot be stored, and what would hide text from people: tag characters, apart from those of flags, and overrides
# of the writing direction.
_UNSHOWN = re.compile(
    "(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f)"
    "|[\x00\u202d\u202e\ud800-\udfff\U000e0000-\U000e007f]"
)


@dataclass(frozen=True, slots=True)
class Page:
    """Page ``number`` (from 1) is ``text[start:end]``.

    ``width`` and ``height`` are in points as the page is shown; ``words`` (``pack_words``) tells where each of its
    words stands on it. None of a format without paper.
    """

    number: int
    start: int
    end: int
    width: float | None = None
    height: float | None = None
    words: bytes | None = None


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of ``level`` 1 (highest) to 9, written at ``text[start:end]``; ``text`` is it without markup."""

    start: int
    end: int
    level: int
    text: str


@dataclass(slots=True)
class Parsed:
    """A document's text; every offset is in characters of ``text``."""

    text: str
    title: str | None = None
    pages: list[Page] = field(default_factory=list)
    headings: list[Heading] = field(default_factory=list)


class DocumentFailed(Exception):
    """A document that cannot be read: a stable code and a sentence for a person.

    Codes: ``empty``, ``encrypted``, ``no_text``, ``broken``, ``too_large``, ``timeout``, ``memory``; of a picture of a
    page also ``no_page``.
    """

    def __init__(self, code: str, message: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.code, self.message = code, message


# Hears of (stage, pages done, pages in all); the stage is ``reading`` or ``recognising``.
OnPage = Callable[[str, int, int], None]


class Ocr(msgspec.Struct, frozen=True):
    """Text recognition: Tesseract's ``languages`` ("eng+deu", "" for all installed), and the time for one page."""

    languages: str = ""
    page_seconds: float = 30.0


class Options(msgspec.Struct, omit_defaults=True):
    """What the child process of ``sandbox`` is told, apart from what is read and its limits.

    With ``page`` (from 1) and ``width`` (pixels) it makes a picture of a PDF's page.
    """

    ocr: Ocr | None = None
    page: int = 0
    width: int = 0


class Progress(msgspec.Struct, tag="progress"):
    """A message of the child process: so much of a stage is done."""

    stage: str
    done: int
    pages: int


class Outcome(msgspec.Struct, tag="outcome", omit_defaults=True):
    """Its last message: ``parsed`` or ``image``, or a code; ``detail`` is for the log only."""

    parsed: Parsed | None = None
    image: bytes = b""
    code: str = "broken"
    message: str = ""
    detail: str = ""


class Word(NamedTuple):
    """A word of a page: ``text[page.start + start : page.start + end]``, in the box from (x0, y0) to (x1, y1).

    The box is in shares of the page as it is shown, from its top left corner: 0 to 1.
    """

    start: int
    end: int
    x0: float
    y0: float
    x1: float
    y1: float


def pack_words(words: Sequence[Word]) -> bytes:
    """Words as bytes for the store: deflated rows of two uint32 and four uint16 (little-endian)."""
    return pack_columns(*zip(*((word.start, word.end, *map(share, word[2:])) for word in words), strict=True))


def pack_columns(*columns: Sequence[int]) -> bytes:
    """``pack_words`` for starts, ends and the four edges, in steps of 1/``SHARES``."""
    return zlib.compress(b"".join(map(_WORD.pack, *columns)) if columns else b"")


def unpack_words(packed: bytes, first: int = 0, last: int = 2**32) -> list[Word]:
    """The inverse of ``pack_words``: the words that touch the page's characters from ``first`` to before ``last``."""
    return [
        Word(start, end, *(value / SHARES for value in box))
        for start, end, *box in _rows(packed)
        if start < last and end > first
    ]


def _rows(packed: bytes) -> Iterator[tuple[int, ...]]:
    """A piece at a time, because a page may have millions of words."""
    inflater, rest = zlib.decompressobj(), b""
    for at in range(0, len(packed), _DEFLATED_BYTES):
        rest += inflater.decompress(packed[at : at + _DEFLATED_BYTES])
        whole = len(rest) - len(rest) % _WORD.size
        yield from _WORD.iter_unpack(rest[:whole])
        rest = rest[whole:]


def share(value: float) -> int:
    """A share of the page in steps of 1/``SHARES``, within the page; 0 for what is no number."""
    if value >= 1:
        return SHARES
    return round(value * SHARES) if value > 0 else 0


def detect(filename: str, head: bytes) -> str:
    """The media type of a file, from its name and its first bytes (``HEAD_BYTES`` are enough).

    Raises UnsupportedType, naming what is supported.
    """
    extension = PurePath(filename.replace("\\", "/")).suffix.lower()
    if head.lstrip().startswith(b"%PDF-"):
        return PDF
    kind = EXTENSIONS.get(extension)
    if head.startswith(_ZIP) and (inside := _inside(head)):
        return inside
    if kind is None:
        raise UnsupportedType(f"Files of the type {extension[:20]} cannot be read. Supported: {SUPPORTED}.")
    if kind == PDF or kind in _PACKED:
        return kind
    if head.startswith((_ZIP, _OLE)) or _is_binary(head):
        raise UnsupportedType(f"The content of this file is not text. Supported: {SUPPORTED}.")
    return kind


def _inside(head: bytes) -> str | None:
    """The format of an archive, by the first name in it that tells."""
    found = {head.find(name): kind for name, kind in _INSIDE.items() if name in head}
    return found[min(found)] if found else None


def storable(text: str) -> str:
    """The text with every NUL, lone surrogate and hiding character as a visible U+FFFD, one for one: offsets stay."""
    return _UNSHOWN.sub(lambda found: found[1] or "\ufffd", text)


def checked(parsed: Parsed) -> Parsed:
    """What a reader gave, storable and bounded; raises DocumentFailed ``empty`` or ``too_large``."""
    if not parsed.text.strip():
        raise DocumentFailed("empty", "The file contains no text.")
    if len(parsed.text) > MAX_CHARACTERS:
        millions = MAX_CHARACTERS // 2**20
        raise DocumentFailed("too_large", f"The file contains more than {millions} million characters of text.")
    headings = [Heading(h.start, h.end, h.level, one_line(h.text)) for h in parsed.headings if h.text.strip()]
    return Parsed(storable(parsed.text), one_line(parsed.title or "") or None, parsed.pages, headings)


def one_line(text: str) -> str:
    """A title or heading as one storable line of bounded length."""
    return storable(" ".join(text.split()))[:MAX_TITLE_CHARACTERS]


def _is_binary(head: bytes) -> bool:
    """Whether there are NULs that UTF-16 or UTF-32 would not explain."""
    if head.startswith(_UNICODE_MARKS) or b"\x00" not in head:
        return False
    even, odd = head[::2].count(0), head[1::2].count(0)
    return min(even, odd) > 0 or max(even, odd) < len(head) // 8
