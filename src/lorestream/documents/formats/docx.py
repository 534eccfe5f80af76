"""Word documents (Office Open XML, Transitional and Strict alike).

Read from the XML itself, block by block: only the parts that hold text are unpacked, and no more than a bounded number
of bytes of them, whatever the archive claims. Both dialects differ in their namespaces only, so that local names serve.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from xml.etree.ElementTree import Element, ParseError, iterparse

from lorestream.documents.parse import DocumentFailed, Heading, Parsed

MAX_ENTRIES = 10_000
MAX_PART_BYTES = 256 * 1024 * 1024
# Real text packs 5 to 60 to one; deflate reaches 1030.
MAX_RATIO, RATIO_FROM_BYTES = 200, 4 * 1024 * 1024
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# What is deleted, an instruction, or the same again for older programs.
_SILENT = {"del", "moveFrom", "delText", "instrText", "Fallback", "pPr", "rPr", "tblPr", "sectPr", "binData", "rt"}
_CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
# What zipfile and expat raise for what is not as it should be: OSError for a place before the file's beginning,
# RuntimeError also for a tree that is too deep.
_DAMAGED = (
    zipfile.BadZipFile, ParseError, KeyError, EOFError, ValueError, RuntimeError, OverflowError, OSError, zlib.error,
    struct.error,
)  # fmt: skip
# All that the Open Packaging Conventions allow (ECMA-376, part 2).
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_PARTS = ("word/document.xml", "word/footnotes.xml", "word/endnotes.xml")


@dataclass
class _Style:
    """What a paragraph style says about its place: heading level (1…9, 0 for the title), and list membership."""

    level: int | None = None
    is_list: bool = False
    parent: str = ""


@dataclass
class _Out:
    """The document as it is written down."""

    parts: list[str] = field(default_factory=list)
    headings: list[Heading] = field(default_factory=list)
    length: int = 0
    in_list: bool = False
    title: str | None = None

    def add(self, text: str, *, level: int | None = None, in_list: bool = False) -> None:
        """A block on its own; items of one list in lines."""
        gap = "" if not self.parts else "\n" if in_list and self.in_list else "\n\n"
        start = self.length + len(gap)
        self.parts.append(gap + text)
        self.length, self.in_list = start + len(text), in_list
        if level == 0:
            self.title = self.title or text
        if level is not None:
            self.headings.append(Heading(start, self.length, max(level, 1), text))


def parse(path: Path) -> Parsed:
    """Paragraphs, headings by style or outline level, list items, tables as Markdown, then foot- and endnotes."""
    with path.open("rb") as file:
        if file.read(8) == _OLE:
            message = "The Word document is protected with a password. Remove the protection and upload it again."
            raise DocumentFailed("encrypted", message)
    try:
        with zipfile.ZipFile(path) as archive:
            _guard(archive)
            return _read(archive)
    except _DAMAGED as error:
        raise DocumentFailed("broken", "The file is damaged and cannot be read as a Word document.") from error


def _guard(archive: zipfile.ZipFile) -> None:
    """Refuse what unpacks to far more than it should, before anything is unpacked."""
    entries = archive.infolist()
    if any(entry.compress_type not in _METHODS for entry in entries):
        raise DocumentFailed("broken", "The file is packed in a way that Word documents are not.")
    inflated = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    swollen = inflated > RATIO_FROM_BYTES and inflated > MAX_RATIO * packed
    if len(entries) > MAX_ENTRIES or inflated > 4 * MAX_PART_BYTES or swollen:
        raise DocumentFailed("too_large", "The Word document unpacks to more than the server allows.")


class _Bounded:
    """A part of the archive as a file that ends in DocumentFailed after ``MAX_PART_BYTES``."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source, self._left = source, MAX_PART_BYTES

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size if size >= 0 else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise DocumentFailed("too_large", "The Word document unpacks to more than the server allows.")
        return data


def _elements(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[str, int, Element]]:
    """Every (event, depth, element) of a part; none if the archive has no such part."""
    if part not in archive.NameToInfo:
        return
    depth = 0
    with archive.open(part) as source:
        bounded: Any = _Bounded(source)
        for event, element in iterparse(bounded, ("start", "end")):  # noqa: S314 (expat limits expansion)
            depth += 1 if event == "start" else 0
            yield event, depth, element
            depth -= 1 if event == "end" else 0


def _read(archive: zipfile.ZipFile) -> Parsed:
    styles, out = _styles(archive), _Out()
    if _PARTS[0] not in archive.NameToInfo:
        raise DocumentFailed("broken", "The file is not a Word document.")
    for part in _PARTS:
        for event, depth, element in _elements(archive, part):
            # word/document.xml: document > body > block; notes: footnotes > footnote > block.
            if event == "end" and depth == 3:
                _block(element, styles, out)
                element.clear()
    title = out.title or _core_title(archive)
    title = title or next((heading.text for heading in out.headings if heading.level == 1), None)
    return Parsed("".join(out.parts), title, headings=out.headings)


def _block(element: Element, styles: dict[str, _Style], out: _Out) -> None:
    name = _name(element)
    if name == "p":
        _paragraph(element, styles, out)
    elif name == "tbl":
        if table := _table([_row(row) for row in _nearest(element, "tr")]):
            out.add(table)
    elif name not in _SILENT:
        for child in element:
            _block(child, styles, out)


def _paragraph(element: Element, styles: dict[str, _Style], out: _Out) -> None:
    boxes: list[Element] = []
    text = "".join(_texts(element, boxes)).strip()
    style = _style_of(element, styles)
    if text and style.level is not None:
        out.add(" ".join(text.split()), level=style.level)
    elif text and style.is_list:
        out.add(f"- {text}", in_list=True)
    elif text:
        out.add(text)
    for box in boxes:
        for child in box:
            _block(child, styles, out)


def _texts(element: Element, boxes: list[Element]) -> Iterator[str]:
    """The characters of a paragraph; the text boxes anchored in it are put into ``boxes``."""
    for child in element:
        name = _name(child)
        if name == "t":
            yield child.text or ""
        elif name in _CHARACTERS:
            yield _CHARACTERS[name]
        elif name == "txbxContent":
            boxes.append(child)
        elif name not in _SILENT:
            yield from _texts(child, boxes)


def _row(row: Element) -> list[str]:
    """The texts of a row's cells, each in one line; nested tables and boxes are part of their cell."""
    cells = []
    for cell in _nearest(row, "tc"):
        boxes: list[Element] = []
        texts = ["".join(_texts(paragraph, boxes)) for paragraph in _nearest(cell, "p")]
        texts += ["".join(_texts(paragraph, [])) for box in boxes for paragraph in _nearest(box, "p")]
        cells.append(" ".join(" ".join(texts).split()).replace("|", "\\|"))
    return cells


def _nearest(element: Element, name: str) -> Iterator[Element]:
    """The descendants of that name, but none inside another of them."""
    for child in element:
        if _name(child) == name:
            yield child
        elif _name(child) not in _SILENT:
            yield from _nearest(child, name)


def _table(rows: list[list[str]]) -> str:
    """A Markdown table; a table of one column is only a frame around paragraphs."""
    rows = [row for row in rows if any(row)]
    width = max((len(row) for row in rows), default=0)
    if width <= 1:
        return "\n\n".join(row[0].replace("\\|", "|") for row in rows)
    lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]])


def _styles(archive: zipfile.ZipFile) -> dict[str, _Style]:
    """The paragraph styles by id, each with what it inherits."""
    found: dict[str, _Style] = {}
    for event, depth, element in _elements(archive, "word/styles.xml"):
        if event == "end" and depth == 2 and _name(element) == "style":
            found[_value(element, "styleId")] = _style(element)
    for style in found.values():
        seen, above = {id(style)}, found.get(style.parent)
        while above and id(above) not in seen:
            seen.add(id(above))
            style.level = above.level if style.level is None else style.level
            style.is_list = style.is_list or above.is_list
            above = found.get(above.parent)
    return found


def _style(element: Element) -> _Style:
    style = _Style()
    for child in element:
        if _name(child) == "name":
            style.level = _named_level(_value(child, "val"))
        elif _name(child) == "basedOn":
            style.parent = _value(child, "val")
        elif _name(child) == "pPr":
            _apply(child, style)
    return style


def _named_level(name: str) -> int | None:
    """The level of a built-in style, whose name is English in every language of Word."""
    kind, _, number = name.lower().partition(" ")
    if kind == "heading" and number in set("123456789"):
        return int(number)
    return 0 if kind == "title" and not number else None


def _style_of(paragraph: Element, styles: dict[str, _Style]) -> _Style:
    """The paragraph's own properties over those of its style."""
    properties = next((child for child in paragraph if _name(child) == "pPr"), None)
    style = _Style()
    if properties is not None:
        named = next((_value(child, "val") for child in properties if _name(child) == "pStyle"), "")
        base = styles.get(named, style)
        style = _Style(base.level, base.is_list)
        _apply(properties, style)
    return style


def _apply(properties: Element, style: _Style) -> None:
    """Outline level (0…8; 9 is body text) and numbering of a ``pPr``."""
    for child in properties:
        if _name(child) == "outlineLvl" and style.level is None:
            level = _value(child, "val")
            style.level = int(level) + 1 if level in set("012345678") else None
        elif _name(child) == "numPr":
            style.is_list = all(_value(part, "val") != "0" for part in child if _name(part) == "numId")


def _core_title(archive: zipfile.ZipFile) -> str | None:
    for event, _, element in _elements(archive, "docProps/core.xml"):
        if event == "end" and _name(element) == "title" and (element.text or "").strip():
            return element.text
    return None


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _value(element: Element, name: str) -> str:
    """An attribute by its local name."""
    return next((value for key, value in element.items() if key.rpartition("}")[2] == name), "")
