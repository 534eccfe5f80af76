"""JSON, and JSON lines: names and values as lines of text, under headings where they are nested."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lorestream.documents.formats.blocks import Blocks
from lorestream.documents.formats.plain import decode, normalise
from lorestream.documents.parse import MAX_TITLE_CHARACTERS, Parsed

# What is nested deeper is written with its whole path in one line.
HEADING_LEVELS = 3


def parse(path: Path) -> Parsed:
    """``name: value`` a line, an item of a list a paragraph; what is not JSON, or too deep, is text as it is."""
    text = normalise(decode(path.read_bytes()))
    try:
        out = Blocks()
        for value in _values(text):
            _write(value, "", 1, out)
        parsed = out.parsed()
        parsed.title = None
        return parsed
    except (ValueError, RecursionError, MemoryError):
        return Parsed(text)


def _values(text: str) -> Iterator[Any]:
    """The value of a document, or those of its lines."""
    try:
        yield _decoded(text)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise
    else:
        return
    for line in text.split("\n"):
        if line.strip():
            yield _decoded(line)


def _decoded(text: str) -> Any:
    """Numbers stay as they are written."""
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)


def _write(value: Any, path: str, level: int, out: Blocks) -> None:
    if isinstance(value, dict):
        below = {name: inner for name, inner in value.items() if level <= HEADING_LEVELS and _is_nested(inner)}
        _paragraph({name: inner for name, inner in value.items() if name not in below}, out)
        for name, inner in below.items():
            named = f"{path}.{name}" if path else name
            out.add(" ".join(named.split())[:MAX_TITLE_CHARACTERS] or "-", level=level)
            _write(inner, named, level + 1, out)
    else:
        for item in value if _is_nested(value) else [value]:
            _paragraph(item, out)


def _paragraph(value: Any, out: Blocks) -> None:
    if text := "\n".join(_lines(value, "")).strip():
        out.add(text)


def _is_nested(value: Any) -> bool:
    """Whether it is worth a heading: objects, and lists of them."""
    return bool(value) and (
        isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict | list) for item in value))
    )


def _lines(value: Any, path: str) -> Iterator[str]:
    """``path: value`` for each value inside."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _lines(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for number, inner in enumerate(value):
            yield from _lines(inner, f"{path}[{number}]")
    else:
        shown = ", ".join(map(_scalar, value)) if isinstance(value, list) else _scalar(value)
        yield f"{path}: {shown}" if path else shown


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
