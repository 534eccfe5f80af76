"""CSV and its relatives: rows of any length as a Markdown table."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lorestream.documents.formats.blocks import Blocks, cell, sheet
from lorestream.documents.formats.plain import decode, normalise
from lorestream.documents.parse import Parsed

_DELIMITERS = ",;\t|"
_SAMPLE_ROWS, _SAMPLE_CHARACTERS = 50, 256 * 1024
_MAX_FIELD = 64 * 1024 * 1024


def parse(path: Path) -> Parsed:
    """The rows, whatever their number of cells, with the first as the header; what is no table is text as it is."""
    csv.field_size_limit(_MAX_FIELD)
    text = normalise(decode(path.read_bytes())).replace("\x00", "\ufffd")
    delimiter = _delimiter(text)
    if delimiter is None:
        return Parsed(text)
    out = Blocks()
    sheet(out, _rows(text, delimiter))
    return out.parsed()


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    lines = (f"{line}\n" for line in text.split("\n"))
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    return ([cell(field) for field in row] for row in rows)


def _delimiter(text: str) -> str | None:
    """What cuts the most rows into one number of cells, more than one; None if nothing does."""
    best, best_score = None, (0.0, 0)
    for delimiter in _DELIMITERS:
        rows = itertools.islice(_rows(text[:_SAMPLE_CHARACTERS], delimiter), _SAMPLE_ROWS)
        widths = Counter(len(row) for row in rows if row)
        width, rows_of_it = max(widths.items(), key=lambda found: (found[0] > 1, found[1]), default=(0, 0))
        score = rows_of_it / max(1, widths.total()), width
        if width > 1 and score > best_score:
            best, best_score = delimiter, score
    return best
