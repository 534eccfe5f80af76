"""Excel workbooks: each sheet a heading and its tables as Markdown, with the values that formulas last had."""

from __future__ import annotations

import datetime
import itertools
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import openpyxl

from lorestream.documents.formats.archive import unpacked
from lorestream.documents.formats.blocks import Blocks, cell, sheet
from lorestream.documents.parse import DocumentFailed, Parsed

_WORKBOOK = "xl/workbook.xml"
# Cells that are looked at, empty ones between others too.
MAX_CELLS = 20_000_000


def parse(path: Path) -> Parsed:
    """Sheets in their order, hidden ones too; empty rows divide tables, and long ones repeat their header."""
    with unpacked(path, "Excel workbook") as archive:
        if _WORKBOOK not in archive:
            raise DocumentFailed("broken", "The file is not an Excel workbook.")
        title = archive.core_title()
    out = Blocks()
    with unpacked(path, "Excel workbook"), path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what openpyxl cannot keep does not matter to a reader
        try:
            for one in openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False).worksheets:
                one.reset_dimensions()
                rows = _rows(one.iter_rows(values_only=True))
                if first := next(filter(any, rows), None):
                    out.add(one.title, level=1)
                    sheet(out, itertools.chain([first], rows))
        except (DocumentFailed, MemoryError):
            raise
        except Exception as error:  # whatever openpyxl trips over in a damaged workbook
            raise ValueError("not a workbook") from error
    parsed = out.parsed()
    parsed.title = title  # the name of a sheet is none for a workbook
    return parsed


def _rows(rows: Iterable[tuple[object, ...]]) -> Iterator[list[str]]:
    left = MAX_CELLS
    for row in rows:
        left -= len(row) + 1
        if left < 0:
            raise DocumentFailed("too_large", f"The workbook has more than {MAX_CELLS // 10**6} million cells.")
        texts = [_text(value) for value in row]
        while texts and not texts[-1]:
            texts.pop()
        yield texts


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).upper()
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case datetime.datetime() if value.time() == datetime.time():
            return value.date().isoformat()
        case datetime.datetime():
            return value.isoformat(" ", "seconds")
        case datetime.date() | datetime.time():
            return value.isoformat()
        case _:
            return cell(str(value))
