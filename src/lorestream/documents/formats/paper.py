"""A page of paper: its text, and where each word of it stands, kept together while the text is put in order."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from lorestream.documents.parse import pack_columns, share

# PDFium's sign for a hyphen at the end of a line; the other half of the word follows at once.
HYPHEN = "\ufffe"
# Scripts without spaces between words: each character is a word of its own.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u31ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
WORD = re.compile(rf"[{_UNSPACED}]|[^\s{HYPHEN}{_UNSPACED}]++{HYPHEN}?|{HYPHEN}")
_BROKEN_WORD = re.compile(rf"(?<!\w)(\w++){HYPHEN}(\w+)")
_WHOLE_WORD = re.compile(r"\w+(?:-\w+)*")

Place = tuple[int, int, int, int]
Edit = tuple[int, int, str]


class Frame:
    """What of a page is shown, in its own coordinates (points, upwards), turned by quarters clockwise."""

    def __init__(self, left: float, bottom: float, right: float, top: float, rotation: int) -> None:
        width, height = right - left or 1.0, top - bottom or 1.0
        # Along the page as it is shown, from its left and from its top: the index of the edge in a box (left, bottom,
        # right, top) that comes first and the one that comes last, where the axis begins, and its length with its sign.
        rightward, leftward = (0, 2, left, width), (2, 0, right, -width)
        upward, downward = (1, 3, bottom, height), (3, 1, top, -height)
        self._axes = {
            90: (upward, rightward),
            180: (leftward, upward),
            270: (downward, leftward),
        }.get(rotation % 360, (rightward, downward))

    def place(self, box: Sequence[float]) -> Place:
        """A box (left, bottom, right, top) on the page as it is shown: from its left and top edge, in ``SHARES``."""
        (x0, x1, left, width), (y0, y1, top, height) = self._axes
        return (
            share((box[x0] - left) / width), share((box[y0] - top) / height),
            share((box[x1] - left) / width), share((box[y1] - top) / height),
        )  # fmt: skip


class Sheet:
    """A page that is being read: its text, and where each word stands; thousands of them fit into memory.

    ``drawn``: there is something on it, be it text or a picture. ``width`` and ``height`` are in points as shown.
    """

    def __init__(self) -> None:
        self.text = ""
        self.width: float | None = None
        self.height: float | None = None
        self.drawn = False
        self._starts, self._ends, self._places = array("I"), array("I"), array("H")

    def write(self, text: str, words: Iterable[tuple[int, int, Place]]) -> None:
        """Put this on it; words are stretches of the text in their order."""
        self.text = text
        for start, end, place in words:
            self._starts.append(start)
            self._ends.append(end)
            self._places.extend(place)

    def edit(self, edits: Iterable[Edit]) -> None:
        """Replace text[start:end] for each (start, end, new), in order; words stay on what they were on.

        An edit inside a word is of its last character, which may become another or none; what is inserted where a word
        begins comes before it.
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
        self._starts, self._ends = _moved(self._starts, edits), _moved(self._ends, edits)

    def words(self) -> bytes | None:
        """The words as ``parse.pack_words`` gives them."""
        return pack_columns(self._starts, self._ends, *(self._places[edge::4] for edge in range(4))) or None


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
        signs = {place: "-" for place, character in enumerate(sheet.text) if character == HYPHEN}
        for halves in _BROKEN_WORD.finditer(sheet.text):
            whole, hyphened = halves[1] + halves[2], f"{halves[1]}-{halves[2]}"
            keeps = hyphened.lower() in known and whole.lower() not in known
            signs[halves.end(1)] = "-" if keeps else ""
        sheet.edit((place, place + 1, sign) for place, sign in signs.items())
