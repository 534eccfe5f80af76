"""Words on a page: whatever becomes of the text, each keeps its letters and its place."""

from __future__ import annotations

import itertools

from lorestream.documents.formats import ruled
from lorestream.documents.formats.paper import HYPHEN, WORD, Frame, Sheet, join_halves
from lorestream.documents.parse import unpack_words

SEEDS = [
    b"\x05" + bytes([10, 10, 90, 11, 10, 30, 90, 31, 10, 50, 90, 51, 10, 10, 11, 50, 50, 10, 51, 50])
    + b"a b\nc|d e. \nf exam\x01ple well-\x01known",
    b"\x01\x00\x00\xff\xff" + "北京 x".encode(), b"\x00no table\x01here",
]  # fmt: skip


def one(data: bytes) -> None:
    """Lay words out in a row of places, rule lines among them, and bring the text into order."""
    count = 4 * (data[0] % 40 if data else 0)
    boxes = [
        ruled.Place(*sorted(box)) for box in (data[at : at + 4] for at in range(1, 1 + min(count, len(data) - 4), 4))
    ]
    text = data[1 + count :].decode("utf-8", "replace").replace("\x01", HYPHEN)
    frame = Frame(0, 0, 100, 100, 90 * (len(data) % 4))
    sheet = Sheet()
    sheet.width = sheet.height = 100
    words = [found.span() for found in WORD.finditer(text)]
    sheet.write(
        text, ((a, b, frame.place((a * 7 % 97, a * 13 % 89, a * 7 % 97 + 3, a * 13 % 89 + 2))) for a, b in words)
    )
    letters = sorted(letters_of(text[a:b]) for a, b in words)
    sheet.arrange(list(ruled.tables(boxes, sheet.points)))
    join_halves([sheet])
    found = unpack_words(sheet.words() or b"") if sheet.words() else []
    assert sorted(letters_of(sheet.text[word.start : word.end]) for word in found) == letters
    assert all(one.end <= other.start for one, other in itertools.pairwise(found))


def letters_of(word: str) -> str:
    """A word without what tables and ends of lines change."""
    return word.replace("\\", "").replace("-", "").replace(HYPHEN, "")
