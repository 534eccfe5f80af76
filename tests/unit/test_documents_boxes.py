"""The words of a page become one box a line, in reading order, of what a stretch of text touches."""

from __future__ import annotations

import random

import pytest

from lorestream.documents.boxes import Box, boxes_of
from lorestream.documents.models import StoredPage
from lorestream.documents.parse import SHARES, Word, pack_words, unpack_words


def page(*words: tuple[float, float, float, float], start: int = 0) -> StoredPage:
    """A page of 600 by 800 points whose words, in these boxes, are of four letters with a blank between them."""
    packed = pack_words([Word(5 * n, 5 * n + 4, *box) for n, box in enumerate(words)])
    return StoredPage(1, start, 600, 800, packed)


def rounded(boxes: list[Box]) -> list[tuple[float, ...]]:
    return [tuple(round(share, 2) for share in box) for box in boxes]


TWO_LINES = ((0.1, 0.1, 0.2, 0.12), (0.21, 0.105, 0.3, 0.12), (0.1, 0.13, 0.2, 0.15), (0.21, 0.13, 0.4, 0.15))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 19, [(0.1, 0.1, 0.3, 0.12), (0.1, 0.13, 0.4, 0.15)]),
        (0, 1, [(0.1, 0.1, 0.2, 0.12)]),
        (3, 6, [(0.1, 0.1, 0.3, 0.12)]),
        (4, 5, []),  # the blank between two words
        (8, 12, [(0.21, 0.1, 0.3, 0.12), (0.1, 0.13, 0.2, 0.15)]),
        (19, 100, []),
    ],
)
def test_the_words_that_a_stretch_touches(start: int, end: int, expected: list[tuple[float, ...]]) -> None:
    assert rounded(boxes_of(page(*TWO_LINES), start, end)) == expected
    assert rounded(boxes_of(page(*TWO_LINES, start=1000), 1000 + start, 1000 + end)) == expected


def test_of_a_page_of_very_many_words_those_touched_are_found() -> None:
    chance = random.Random(1)
    edges = [[chance.randrange(SHARES) / SHARES for _ in range(4)] for _ in range(20_000)]
    many = [Word(2 * n, 2 * n + 1, *four) for n, four in enumerate(edges)]
    packed = pack_words(many)
    assert unpack_words(packed) == many
    assert unpack_words(packed, 20_000, 20_010) == many[10_000:10_005]
    assert unpack_words(packed, 39_999) == []
    assert unpack_words(pack_words([])) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        # A subscript is of its line; a heading in letters of twice the height is, too.
        (((0.1, 0.1, 0.2, 0.12), (0.2, 0.108, 0.22, 0.122)), [(0.1, 0.1, 0.22, 0.12)]),
        (((0.1, 0.1, 0.2, 0.14), (0.22, 0.12, 0.3, 0.14)), [(0.1, 0.1, 0.3, 0.14)]),
        # From right to left.
        (((0.8, 0.1, 0.9, 0.12), (0.7, 0.1, 0.79, 0.12)), [(0.7, 0.1, 0.9, 0.12)]),
        # Two columns, and the cells of a table.
        (((0.1, 0.1, 0.3, 0.12), (0.6, 0.1, 0.8, 0.12)), [(0.1, 0.1, 0.3, 0.12), (0.6, 0.1, 0.8, 0.12)]),
        # Where a column ends and the next one begins.
        (((0.1, 0.9, 0.3, 0.92), (0.32, 0.1, 0.5, 0.12)), [(0.1, 0.9, 0.3, 0.92), (0.32, 0.1, 0.5, 0.12)]),
        ((), []),
    ],
)
def test_what_is_one_line(
    words: tuple[tuple[float, float, float, float], ...], expected: list[tuple[float, ...]]
) -> None:
    assert rounded(boxes_of(page(*words), 0, 1000)) == expected
