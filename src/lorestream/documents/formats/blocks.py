"""A document that is written down block by block: paragraphs, headings, items of lists, and tables as Markdown."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from lorestream.documents.parse import MAX_CHARACTERS, DocumentFailed, Heading, Page, Parsed

Row = Sequence[str]
# The header of a long table is repeated for so many characters of rows: they make a passage of their own.
PART_CHARACTERS = 500
# Not if it is itself long.
MAX_REPEATED = 250
# As many as a sheet of Excel has; no passage of a wider table says anything.
MAX_COLUMNS = 16_384
# Rows that are looked at to tell a table's title from its header.
_LOOK_AHEAD = 50


class Blocks:
    """Text with its headings and pages, as it grows; raises DocumentFailed ``too_large`` when it is too much."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._headings: list[Heading] = []
        self._pages: list[Page] = []
        self._length = 0
        self._in_list = False
        self._title: str | None = None

    def add(self, text: str, *, level: int | None = None, in_list: bool = False) -> None:
        """A block on its own; items of one list in lines. ``level`` 1 to 9 is a heading, 0 the document's title."""
        gap = "" if not self._parts else "\n" if in_list and self._in_list else "\n\n"
        start = self._length + len(gap)
        self._parts.append(gap + text)
        self._length, self._in_list = start + len(text), in_list
        if self._length > MAX_CHARACTERS:
            raise DocumentFailed("too_large", "The file contains more text than the server allows.")
        if level == 0:
            self._title = self._title or text
        if level is not None:
            self._headings.append(Heading(start, self._length, min(max(level, 1), 9), text))

    def include(self, parsed: Parsed) -> None:
        """Another document's text, with its headings."""
        start = self._length + (2 if self._parts else 0)
        self.add(parsed.text)
        self._headings += [Heading(start + h.start, start + h.end, h.level, h.text) for h in parsed.headings]

    def page(self) -> None:
        """The next page begins with the next block."""
        start = self._length + (2 if self._parts else 0)
        self._end_page()
        self._pages.append(Page(len(self._pages) + 1, start, start))

    def _end_page(self) -> None:
        if self._pages:
            last = self._pages[-1]
            self._pages[-1] = Page(last.number, min(last.start, self._length), self._length)

    def parsed(self, title: str | None = None) -> Parsed:
        """All of it; its title, else this one, else the first heading of level 1."""
        self._end_page()
        title = self._title or title or next((h.text for h in self._headings if h.level == 1), None)
        return Parsed("".join(self._parts), title, self._pages, self._headings)


def cell(text: str) -> str:
    """A text as the cell of a Markdown table: one line."""
    return " ".join(text.split()).replace("|", "\\|")


def line(row: Row) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(row)} |"


def table(rows: Iterable[Row]) -> str:
    """A Markdown table of cells; one of a single column is only a frame around paragraphs."""
    rows = [row for row in rows if any(row)]
    width = max((len(row) for row in rows), default=0)
    if width <= 1:
        return "\n\n".join(row[0].replace("\\|", "|") for row in rows)
    lines = [line([*row, *[""] * (width - len(row))]) for row in rows]
    return "\n".join([lines[0], _rule(width), *lines[1:]])


def sheet(out: Blocks, rows: Iterable[Row]) -> None:
    """Tables of any length, apart where there are empty rows; each part of a long one has the header again.

    Rows are neither cut nor filled up, so that a wide one costs no more than itself.
    """
    for full, group in itertools.groupby(map(_bounded, rows), key=any):
        if full:
            _table_in_parts(out, group)


def _bounded(row: Row) -> Row:
    if len(row) > MAX_COLUMNS:
        raise DocumentFailed("too_large", f"A table of the file has more than {MAX_COLUMNS} columns.")
    return row


def _table_in_parts(out: Blocks, rows: Iterator[Row]) -> None:
    ahead = list(itertools.islice(rows, _LOOK_AHEAD))
    indent = min(next(place for place, text in enumerate(row) if text) for row in ahead)
    widest = max(len(row) for row in ahead)
    while ahead and len(ahead[0]) - indent == 1 and widest - indent > 1:
        out.add(ahead.pop(0)[indent].replace("\\|", "|"))
    trimmed = (row[indent:] if not any(row[:indent]) else row for row in itertools.chain(ahead, rows))
    if widest - indent <= 1:
        for row in trimmed:
            out.add(" | ".join(row).replace("\\|", "|"), in_list=True)
        return
    header = next(trimmed)
    head = [line(header), _rule(len(header))]
    repeats = len(head[0]) <= MAX_REPEATED
    lines, length = list(head), 0
    for row in trimmed:
        written = line(row)
        if repeats and length and length + len(written) > PART_CHARACTERS:
            out.add("\n".join(lines))
            lines, length = list(head), 0
        lines.append(written)
        length += len(written)
    out.add("\n".join(lines))


def _rule(width: int) -> str:
    return "|" + " --- |" * width
