"""A page of paper: its text, and where each word of it stands, kept together while the text is put in order."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lorestream.documents.parse import Word, pack_words, unpack_words

# PDFium's sign for a hyphen at the end of a line; the other half of the word follows at once.
HYPHEN = "\ufffe"
# Scripts without spaces between words: each character is a word of its own.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u31ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
WORD = re.compile(rf"[{_UNSPACED}]|[^\s{HYPHEN}{_UNSPACED}]++{HYPHEN}?|{HYPHEN}")
_BROKEN_WORD = re.compile(rf"(?<!\w)(\w++){HYPHEN}(\w+)")
_WHOLE_WORD = re.compile(r"\w+(?:-\w+)*")

Box = tuple[float, float, float, float]
Edit = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Frame:
    """What of a page is shown, in its own coordinates (points, upwards), turned by quarters clockwise."""

    left: float
    bottom: float
    right: float
    top: float
    rotation: int

    def shares(self, box: Box) -> Box:
        """A box (left, bottom, right, top) as shares of the page as it is shown, from its top left corner."""
        width, height = self.right - self.left or 1.0, self.top - self.bottom or 1.0
        x0, x1 = (box[0] - self.left) / width, (box[2] - self.left) / width
        y0, y1 = (box[1] - self.bottom) / height, (box[3] - self.bottom) / height
        match self.rotation % 360:
            case 90:
                return y0, x0, y1, x1
            case 180:
                return 1 - x1, y0, 1 - x0, y1
            case 270:
                return 1 - y1, 1 - x1, 1 - y0, 1 - x0
            case _:
                return x0, 1 - y1, x1, 1 - y0


@dataclass(slots=True)
class Sheet:
    """A page that is being read; ``words`` are packed, so that thousands of sheets fit into memory.

    ``drawn``: there is something on it, be it text or a picture. ``width`` and ``height`` are in points as shown.
    """

    text: str = ""
    words: bytes = b""
    width: float | None = None
    height: float | None = None
    drawn: bool = False

    def write(self, text: str, words: Iterable[Word]) -> None:
        """Put this on it."""
        self.text, self.words = text, pack_words([word for word in words if all(map(math.isfinite, word))])

    def edit(self, edits: Iterable[Edit]) -> None:
        """Replace text[start:end] for each (start, end, new), in order; words stay on what they were on.

        An edit inside a word is of its last character, which may become another or none.
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
        self.words = pack_words(list(_moved(unpack_words(self.words), edits))) if self.words else b""


def _moved(words: list[Word], edits: list[Edit]) -> Iterator[Word]:
    """The words at their new places; what is inserted where a word begins comes before it."""
    ends = iter(edits)
    following = next(ends, None)
    shift = 0
    places = sorted({place for word in words for place in word[:2]})
    moved = {}
    for place in places:
        while following and following[1] <= place:
            shift += len(following[2]) - (following[1] - following[0])
            following = next(ends, None)
        moved[place] = place + shift
    for word in words:
        if moved[word.start] < moved[word.end]:
            yield word._replace(start=moved[word.start], end=moved[word.end])


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
