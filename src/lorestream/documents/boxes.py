"""Where a stretch of a document's text stands on paper: the words of its pages, joined line by line. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from lorestream.documents.models import StoredPage
from lorestream.documents.parse import Word, unpack_words

# Two words stand in one line where their heights overlap by this share of the lower one, and no gap of more than
# this many heights (of a table, of columns) is between them.
OVERLAP = 0.5
GAP_HEIGHTS = 3.0


class Box(NamedTuple):
    """A rectangle in shares of its page as it is shown, from the top left corner: 0 to 1."""

    x0: float
    y0: float
    x1: float
    y1: float


def boxes_of(page: StoredPage, start: int, end: int) -> list[Box]:
    """A box for every line, in reading order, of the words that ``text[start:end]`` touches on this page."""
    touched = unpack_words(page.words, start - page.start, end - page.start)
    return _lines(touched, page.width / page.height)


def _lines(words: Iterable[Word], aspect: float) -> list[Box]:
    """``aspect`` is the page's width by its height."""
    lines: list[Box] = []
    for word in words:
        box = Box(*word[2:])
        if lines and _same_line(lines[-1], box, aspect):
            lines[-1] = _around(lines[-1], box)
        else:
            lines.append(box)
    return lines


def _same_line(line: Box, box: Box, aspect: float) -> bool:
    low, high = sorted((line.y1 - line.y0, box.y1 - box.y0))
    overlap = min(line.y1, box.y1) - max(line.y0, box.y0)
    gap = max(box.x0 - line.x1, line.x0 - box.x1) * aspect
    return overlap >= OVERLAP * low and gap <= GAP_HEIGHTS * high


def _around(one: Box, other: Box) -> Box:
    return Box(min(one.x0, other.x0), min(one.y0, other.y0), max(one.x1, other.x1), max(one.y1, other.y1))
