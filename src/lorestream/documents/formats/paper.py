"""A page of paper: its text, and where each word of it stands, kept together while the text is put in order."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from lorestream.documents.formats import ruled
from lorestream.documents.parse import SHARES, pack_columns

# PDFium's sign for a hyphen at the end of a line; the other half of the word follows at once.
HYPHEN = "\ufffe"
# Scripts without spaces between words: each character is a word of its own.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u31ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
WORD = re.compile(rf"[{_UNSPACED}]|[^\s{HYPHEN}{_UNSPACED}]++{HYPHEN}?|{HYPHEN}")
_BROKEN_WORD = re.compile(rf"(?<!\w)(\w++){HYPHEN}(\w+)")
_HYPHEN = re.compile(HYPHEN)
_WHOLE_WORD = re.compile(r"\w+(?:-\w+)*")

Place = tuple[int, int, int, int]
Edit = tuple[int, int, str]


class Frame:
    """What of a page is shown, in its own coordinates (points, upwards), turned by quarters clockwise."""

    def __init__(self, left: float, bottom: float, right: float, top: float, rotation: int) -> None:
        width, height = SHARES / (right - left or 1.0), SHARES / (top - bottom or 1.0)
        # Along the page as it is shown, from its left and from its top: the index of the edge in a box (left, bottom,
        # right, top) that comes first and that which comes last, where the axis begins, and its unit with its sign.
        rightward, leftward = (0, 2, left, width), (2, 0, right, -width)
        upward, downward = (1, 3, bottom, height), (3, 1, top, -height)
        self._axes = {
            90: (upward, rightward),
            180: (leftward, upward),
            270: (downward, leftward),
        }.get(rotation % 360, (rightward, downward))

    def place(self, box: Sequence[float]) -> Place:
        """A box (left, bottom, right, top) on the page as it is shown: from its left and top edge, in ``SHARES``."""
        (x0, x1, left, across), (y0, y1, top, down) = self._axes
        try:
            place = (
                round((box[x0] - left) * across), round((box[y0] - top) * down),
                round((box[x1] - left) * across), round((box[y1] - top) * down),
            )  # fmt: skip
        except (ValueError, OverflowError):  # no numbers: nowhere
            return 0, 0, 0, 0
        if min(place) >= 0 and max(place) <= SHARES:
            return place
        x0, y0, x1, y1 = (min(max(edge, 0), SHARES) for edge in place)
        return x0, y0, x1, y1


class Sheet:
    """A page that is being read: its text, and where each word stands; thousands of them fit into memory.

    ``drawn``: there is something on it, be it text or a picture. ``width`` and ``height`` are in points as shown.
    """

    def __init__(self) -> None:
        self.text = ""
        self.width: float | None = None
        self.height: float | None = None
        self.drawn = False
        self.starts, self.ends, self.places = array("I"), array("I"), array("H")

    def write(self, text: str, words: Iterable[tuple[int, int, Place]]) -> None:
        """Put this on it; words are stretches of the text in their order."""
        self.text = text
        for start, end, place in words:
            self.starts.append(start)
            self.ends.append(end)
            self.places.extend(place)

    def edit(self, edits: Iterable[Edit]) -> None:
        """Replace text[start:end] for each (start, end, new), in order; words stay on what they were on.

        An edit inside a word is of its last character, which may become another or none; what is inserted between two
        words belongs to neither.
        """
        edits = list(edits)
        if not edits:
            return
        parts: list[str] = []
        at = 0
        for start, end, new in edits:
            parts += (self.text[at:start], new)
            at = end
        self.text = "".join([*parts, self.text[at:]])
        self.starts, last = _moved(self.starts, edits), _moved(array("I", [end - 1 for end in self.ends]), edits)
        following = [*self.starts[1:], len(self.text)]
        self.ends = array("I", [min(end + 1, start) for end, start in zip(last, following, strict=False)])

    def points(self) -> list[ruled.Place]:
        """Where each word stands, in points."""
        across, down = (self.width or 0) / SHARES, (self.height or 0) / SHARES
        edges = (self.places[edge::4] for edge in range(4))
        return [
            ruled.Place(x0 * across, y0 * down, x1 * across, y1 * down) for x0, y0, x1, y1 in zip(*edges, strict=True)
        ]

    def arrange(self, tables: Sequence[ruled.Cells]) -> None:
        """Write these tables as Markdown in place of their words, each where its first word is."""
        if not tables:
            return
        number_of = {
            word: number for number, table in enumerate(tables) for row in table for cell in row for word in cell
        }
        writer = _Writer(self)
        to_write = dict(enumerate(tables))
        for word in range(len(self.starts)):
            if word not in number_of:
                writer.word(word)
            elif table := to_write.pop(number_of[word], None):
                writer.table(table)
        self.text, self.starts, self.ends, self.places = writer.text(), writer.starts, writer.ends, writer.places

    def words(self) -> bytes | None:
        """The words as ``parse.pack_words`` gives them; None without any."""
        if not self.starts:
            return None
        return pack_columns(self.starts, self.ends, *(self.places[edge::4] for edge in range(4)))


class _Writer:
    """Writes words of a sheet in another order."""

    def __init__(self, sheet: Sheet) -> None:
        self._sheet = sheet
        self._parts: list[str] = []
        self._length = 0
        self._last = -1
        self.starts, self.ends, self.places = array("I"), array("I"), array("H")

    def word(self, number: int) -> None:
        """A word with what is before it; less of that where another word was before it."""
        gap = self._gap(number)
        if self._last != number - 1:
            gap = "" if self._last < 0 else "\n" if "\n" in gap else " "
        self._plain(gap)
        self._word(number)

    def table(self, rows: ruled.Cells) -> None:
        """A Markdown table, with the first row as its header."""
        self._plain("\n\n" if self._last >= 0 else "")
        rule = f"|{' --- |' * len(rows[0])}\n"
        for row in rows:
            self._plain("|")
            for cell in row:
                self._plain(" ")
                for before, word in zip([None, *cell], cell, strict=False):
                    self._plain(" " if before is not None and (before != word - 1 or self._gap(word)) else "")
                    self._word(word, escaped=True)
                self._plain(" |")
            self._plain(f"\n{rule}")
            rule = ""
        self._plain("\n")
        self._last = -1

    def text(self) -> str:
        """All that was written."""
        return "".join(self._parts)

    def _plain(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)

    def _word(self, number: int, *, escaped: bool = False) -> None:
        text = self._sheet.text[self._sheet.starts[number] : self._sheet.ends[number]]
        self.starts.append(self._length)
        self._plain(text.replace("|", "\\|") if escaped else text)
        self.ends.append(self._length)
        self.places.extend(self._sheet.places[4 * number : 4 * number + 4])
        self._last = number

    def _gap(self, number: int) -> str:
        """What is between a word and the one before it."""
        return self._sheet.text[self._sheet.ends[number - 1] if number else 0 : self._sheet.starts[number]]


def _moved(offsets: array[int], edits: list[Edit]) -> array[int]:
    moved = array("I")
    at = shift = 0
    for start, end, new in edits:
        until = bisect_left(offsets, end, at)
        moved.extend([offset + shift for offset in offsets[at:until]])
        shift += len(new) - (end - start)
        at = until
    moved.extend([offset + shift for offset in offsets[at:]])
    return moved


def join_halves(sheets: list[Sheet]) -> None:
    """Join the words that ends of lines broke, keeping the hyphen of a word that is written with one elsewhere."""
    known = {word.lower() for sheet in sheets for word in _WHOLE_WORD.findall(sheet.text)}
    for sheet in sheets:
        signs = {found.start(): "-" for found in _HYPHEN.finditer(sheet.text)}
        for halves in _BROKEN_WORD.finditer(sheet.text) if signs else ():
            whole, hyphened = halves[1] + halves[2], f"{halves[1]}-{halves[2]}"
            keeps = hyphened.lower() in known and whole.lower() not in known
            signs[halves.end(1)] = "-" if keeps else ""
        sheet.edit((place, place + 1, sign) for place, sign in signs.items())
