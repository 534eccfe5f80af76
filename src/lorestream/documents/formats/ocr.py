"""Text recognition with Tesseract, where it is installed: a page goes in as pixels, its words come out with boxes.

Nothing is written to disk; the recognition is a process of its own under the reader's limits, ended after its time.
"""

from __future__ import annotations

import csv
import itertools
import math
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pypdfium2

from lorestream.documents.formats.paper import HYPHEN, Frame, Place, Sheet
from lorestream.documents.formats.pdfium import rendered, rows
from lorestream.documents.parse import Ocr

# What Tesseract is made for, in dots an inch.
RESOLUTION = 300
# Below this a word is a guess about something that is not text (0 to 100).
LEAST_CONFIDENCE = 30.0
# A page whose words are worse than this on average may be upside down.
DOUBTFUL = 60.0
# "1": with detection of the orientation, which needs data of its own; "3": without.
_ORIENTATION = "osd"
_NO_LANGUAGES = {_ORIENTATION, "equ", "snum"}
_MOST_LANGUAGES = 10
_INSTALL = "install Tesseract with its language data (on Debian and Ubuntu: apt install tesseract-ocr), and retry"


class Unavailable(Exception):
    """Why nothing can be recognised, and what to do about it, for a person."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A recognised word: ``line`` tells those of one line; the box is in pixels from the top left corner."""

    paragraph: tuple[str, ...]
    line: tuple[str, ...]
    text: str
    confidence: float
    box: tuple[float, float, float, float]


class Tesseract:
    """The installed engine; raises Unavailable where there is none, or none of the languages."""

    def __init__(self, ocr: Ocr) -> None:
        executable = shutil.which("tesseract")
        if executable is None:
            raise Unavailable(f"To have it read, {_INSTALL}.")
        self._executable, self._seconds = executable, ocr.page_seconds
        installed = self._installed()
        wanted = ocr.languages.split("+") if ocr.languages else sorted(installed - _NO_LANGUAGES)[:_MOST_LANGUAGES]
        if missing := [language for language in wanted if language not in installed]:
            raise Unavailable(f"Tesseract lacks data for {', '.join(missing)} (LORESTREAM_OCR_LANGUAGES).")
        if not wanted:
            raise Unavailable(f"Tesseract has no language data; {_INSTALL}.")
        mode = "1" if _ORIENTATION in installed else "3"
        self._arguments = ("stdin", "stdout", "-l", "+".join(wanted), "--psm", mode)

    def read(self, document: pypdfium2.PdfDocument, number: int, sheet: Sheet) -> None:
        """Recognise a page and put its text on the sheet; one that takes too long, or is no text, stays empty."""
        _allow_processor_time(math.ceil(self._seconds))
        end = time.monotonic() + self._seconds
        try:
            page = document[number]
            bitmap = rendered(page, RESOLUTION / 72, grayscale=True)
            width, height, pixels = bitmap.width, bitmap.height, b"".join(rows(bitmap, 1))
            bitmap.close()
            resolution = max(70, round(72 * width / page.get_size()[0]))
            page.close()
            seen = self._recognised(width, height, pixels, resolution, end)
            if seen and _confidence(seen) < DOUBTFUL:
                turned = self._recognised(width, height, pixels[::-1], resolution, end)
                if _confidence(turned) > _confidence(seen):
                    seen = [_upright(one, width, height) for one in turned]
        except (pypdfium2.PdfiumError, subprocess.SubprocessError, ZeroDivisionError):
            return
        _write(sheet, [one for one in seen if one.confidence >= LEAST_CONFIDENCE], width, height)

    def _recognised(self, width: int, height: int, pixels: bytes, resolution: int, end: float) -> list[_Seen]:
        image = b"P5 %d %d 255\n%b" % (width, height, pixels)
        return _words(self._run((*self._arguments, "--dpi", str(resolution), "tsv"), image, end - time.monotonic()))

    def _installed(self) -> set[str]:
        try:
            return set(self._run(("--list-langs",), b"", self._seconds).split("\n")[1:]) - {""}
        except subprocess.SubprocessError as error:
            raise Unavailable(f"Tesseract does not run; {_INSTALL}.") from error

    def _run(self, arguments: Sequence[str], given: bytes, seconds: float) -> str:
        command = [self._executable, *arguments]
        done = subprocess.run(command, input=given, capture_output=True, timeout=max(seconds, 0.0), check=True)  # noqa: S603
        return done.stdout.decode("utf-8", "replace")


def _allow_processor_time(seconds: int) -> None:
    """So much more for this process, which draws the page."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if soft != resource.RLIM_INFINITY:
        soft += seconds
        resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _words(table: str) -> list[_Seen]:
    """The words of Tesseract's TSV: level (5 is a word), page, block, paragraph, line, word, box, confidence, text."""
    seen = []
    for row in csv.reader(table.split("\n"), delimiter="\t", quoting=csv.QUOTE_NONE):
        if len(row) == 12 and row[0] == "5" and (text := "".join(row[11].split())):
            left, top, width, height = map(float, row[6:10])
            seen.append(
                _Seen(tuple(row[2:4]), tuple(row[2:5]), text, float(row[10]), (left, top, left + width, top + height))
            )
    return seen


def _confidence(seen: Sequence[_Seen]) -> float:
    characters = sum(len(one.text) for one in seen)
    return sum(one.confidence * len(one.text) for one in seen) / characters if characters else 0.0


def _upright(one: _Seen, width: int, height: int) -> _Seen:
    """A word of the page turned by 180 degrees."""
    x0, y0, x1, y1 = one.box
    return _Seen(one.paragraph, one.line, one.text, one.confidence, (width - x1, height - y1, width - x0, height - y0))


def _write(sheet: Sheet, seen: Sequence[_Seen], width: int, height: int) -> None:
    """Words with blanks, lines and paragraphs between them; a hyphen at the end of a line is marked as one."""
    parts: list[str] = []
    frame = Frame(0, 0, width, height, 0)
    words: list[tuple[int, int, Place]] = []
    at = 0
    for one, (text, after) in zip(seen, _spaced(seen), strict=True):
        x0, y0, x1, y1 = one.box
        words.append((at, at + len(text), frame.place((x0, height - y1, x1, height - y0))))
        parts += (text, after)
        at += len(text) + len(after)
    sheet.write("".join(parts), words)


def _spaced(seen: Sequence[_Seen]) -> Iterator[tuple[str, str]]:
    for one, following in itertools.zip_longest(seen, seen[1:]):
        if following is None:
            yield one.text, ""
        elif one.line == following.line:
            yield one.text, " "
        elif one.paragraph != following.paragraph:
            yield one.text, "\n\n"
        elif len(one.text) > 1 and one.text.endswith("-") and following.text[0].islower():
            yield one.text[:-1] + HYPHEN, ""
        else:
            yield one.text, "\n"
