"""Word documents (Office Open XML, Transitional and Strict alike).

Read from the XML itself, block by block: only the parts that hold text are unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from lorestream.documents.formats.archive import Archive, attribute, local, nearest, unpacked
from lorestream.documents.formats.blocks import Blocks, cell, table
from lorestream.documents.parse import DocumentFailed, Parsed

# What is deleted, an instruction, or the same again for older programs.
_SILENT = {"del", "moveFrom", "delText", "instrText", "Fallback", "pPr", "rPr", "tblPr", "sectPr", "binData", "rt"}
_CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
# As many columns as Word allows.
MAX_SPAN = 63
_PARTS = ("word/document.xml", "word/footnotes.xml", "word/endnotes.xml")


@dataclass
class _Style:
    """What a paragraph style says about its place: heading level (1…9, 0 for the title), and list membership."""

    level: int | None = None
    is_list: bool = False
    parent: str = ""


def parse(path: Path) -> Parsed:
    """Paragraphs, headings by style or outline level, list items, tables as Markdown, then foot- and endnotes."""
    with unpacked(path, "Word document") as archive:
        return _read(archive)


def _read(archive: Archive) -> Parsed:
    styles, out = _styles(archive), Blocks()
    if _PARTS[0] not in archive:
        raise DocumentFailed("broken", "The file is not a Word document.")
    for part in _PARTS:
        for event, depth, element in archive.elements(part):
            # word/document.xml: document > body > block; notes: footnotes > footnote > block.
            if event == "end" and depth == 3:
                _block(element, styles, out)
                element.clear()
    return out.parsed(archive.core_title())


def _block(element: Element, styles: dict[str, _Style], out: Blocks) -> None:
    name = local(element)
    if name == "p":
        _paragraph(element, styles, out)
    elif name == "tbl":
        if written := table(_row(row) for row in nearest(element, "tr", without=_SILENT)):
            out.add(written)
    elif name not in _SILENT:
        for child in element:
            _block(child, styles, out)


def _paragraph(element: Element, styles: dict[str, _Style], out: Blocks) -> None:
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
        name = local(child)
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
    for column in nearest(row, "tc", without=_SILENT):
        boxes: list[Element] = []
        texts = ["".join(_texts(paragraph, boxes)) for paragraph in nearest(column, "p", without=_SILENT)]
        texts += ["".join(_texts(paragraph, [])) for box in boxes for paragraph in nearest(box, "p", without=_SILENT)]
        cells += [cell(" ".join(texts)), *[""] * (_span(column) - 1)]
    return cells


def _span(column: Element) -> int:
    """How many columns a cell covers."""
    properties = next((child for child in column if local(child) == "tcPr"), None)
    spans = () if properties is None else (attribute(part, "val") for part in properties if local(part) == "gridSpan")
    found = next(iter(spans), "")
    return max(1, min(int(found), MAX_SPAN)) if found.isascii() and found.isdigit() else 1


def _styles(archive: Archive) -> dict[str, _Style]:
    """The paragraph styles by id, each with what it inherits."""
    found: dict[str, _Style] = {}
    for event, depth, element in archive.elements("word/styles.xml"):
        if event == "end" and depth == 2 and local(element) == "style":
            found[attribute(element, "styleId")] = _style(element)
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
        if local(child) == "name":
            style.level = _named_level(attribute(child, "val"))
        elif local(child) == "basedOn":
            style.parent = attribute(child, "val")
        elif local(child) == "pPr":
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
    properties = next((child for child in paragraph if local(child) == "pPr"), None)
    style = _Style()
    if properties is not None:
        named = next((attribute(child, "val") for child in properties if local(child) == "pStyle"), "")
        base = styles.get(named, style)
        style = _Style(base.level, base.is_list)
        _apply(properties, style)
    return style


def _apply(properties: Element, style: _Style) -> None:
    """Outline level (0…8; 9 is body text) and numbering of a ``pPr``."""
    for child in properties:
        if local(child) == "outlineLvl" and style.level is None:
            level = attribute(child, "val")
            style.level = int(level) + 1 if level in set("012345678") else None
        elif local(child) == "numPr":
            style.is_list = all(attribute(part, "val") != "0" for part in child if local(part) == "numId")
