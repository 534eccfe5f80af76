"""PowerPoint presentations (Office Open XML): a page for each slide, read from the XML itself.

Pictures are never opened. The order of the slides is the presentation's, that of shapes the order of their painting.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from lorestream.documents.formats.archive import Archive, attribute, local, nearest, unpacked
from lorestream.documents.formats.blocks import Blocks, cell, table
from lorestream.documents.parse import DocumentFailed, Parsed

_PRESENTATION = "ppt/presentation.xml"
_CHARACTERS = {"br": "\n", "tab": "\t"}
_TITLES = {"title", "ctrTitle"}
# Kinds of placeholders that say the same on every slide.
_DECORATION = {"sldNum", "dt", "ftr", "hdr", "sldImg"}
# The same again for older programs.
_SILENT = frozenset({"Fallback"})
_MAX_POINTS = 2000


def parse(path: Path) -> Parsed:
    """Each slide's title as a heading, then its texts, tables as Markdown, charts' data, and the speaker's notes."""
    with unpacked(path, "PowerPoint presentation") as archive:
        if _PRESENTATION not in archive:
            raise DocumentFailed("broken", "The file is not a PowerPoint presentation.")
        out = Blocks()
        for slide in _slides(archive):
            out.page()
            _slide(archive, slide, out)
        return out.parsed(archive.core_title())


def _slides(archive: Archive) -> list[str]:
    """The names of the slides' parts in their order, hidden ones too."""
    relations = archive.relations(_PRESENTATION)
    root = archive.root(_PRESENTATION)
    ids = [] if root is None else [value for slide in nearest(root, "sldId") for value in _references(slide)]
    return [relations[value][1] for value in ids if value in relations and relations[value][1] in archive]


def _references(element: Element) -> list[str]:
    """Its relationship ids; ``id`` without a namespace is another thing."""
    return [value for key, value in element.items() if key.startswith("{") and key.endswith("}id")]


def _slide(archive: Archive, part: str, out: Blocks) -> None:
    root, relations = archive.root(part), archive.relations(part)
    shapes = [] if root is None else list(nearest(root, "sp", "graphicFrame", without=_SILENT))
    for shape in sorted(shapes, key=lambda shape: _placeholder(shape) not in _TITLES):
        _shape(archive, shape, relations, out)
    for kind, target in relations.values():
        notes = archive.root(target) if kind == "notesSlide" else None
        if notes is not None:
            for shape in nearest(notes, "sp"):
                if text := "\n".join(_paragraphs(shape)) if _placeholder(shape) == "body" else "":
                    out.add(f"Notes: {text}")


def _shape(archive: Archive, shape: Element, relations: dict[str, tuple[str, str]], out: Blocks) -> None:
    kind = _placeholder(shape)
    if local(shape) == "graphicFrame":
        for inside in nearest(shape, "tbl", "chart", "relIds", without=_SILENT):
            _graphic(archive, inside, relations, out)
    elif kind in _TITLES:
        if title := " ".join(" ".join(_paragraphs(shape)).split()):
            out.add(title, level=1)
    elif kind not in _DECORATION:
        lines = list(_paragraphs(shape))
        for text in lines:
            out.add(f"- {text}" if len(lines) > 1 and kind else text, in_list=len(lines) > 1)


def _graphic(archive: Archive, inside: Element, relations: dict[str, tuple[str, str]], out: Blocks) -> None:
    if local(inside) == "tbl":
        rows = ([cell(" ".join(_paragraphs(column))) for column in nearest(row, "tc")] for row in nearest(inside, "tr"))
        if written := table(rows):
            out.add(written)
        return
    targets = [relations[name] for _, name in inside.items() if name in relations]
    for kind, target in targets:
        root = archive.root(target)
        if root is not None and kind == "chart":
            _chart(root, out)
        elif root is not None and kind == "diagramData":
            for text in _paragraphs(root):
                out.add(f"- {text}", in_list=True)


def _chart(root: Element, out: Blocks) -> None:
    """The title, and a table of the categories with the values of each series."""
    for title in nearest(root, "title"):
        if text := " ".join(_paragraphs(title)):
            out.add(text)
    columns: list[list[str]] = []
    for series in nearest(root, "ser"):
        parts = {local(part): part for part in series}
        if not columns:
            columns.append(["", *_points(parts.get("cat", parts.get("xVal")))])
        name = " ".join(_points(parts.get("tx")))
        columns.append([name, *_points(parts.get("val", parts.get("yVal")))])
    height = max(map(len, columns), default=0)
    rows = ([cell(column[at]) if at < len(column) else "" for column in columns] for at in range(height))
    if written := table(rows):
        out.add(written)


def _points(part: Element | None) -> list[str]:
    """The values that a chart keeps of its sheet."""
    values = [] if part is None else [value.text or "" for value in part.iter() if local(value) == "v"]
    return values[:_MAX_POINTS]


def _placeholder(shape: Element) -> str:
    """The kind of a placeholder ("body" where it is not said), "" for other shapes."""
    found = next((part for part in nearest(shape, "ph", "txBody", "graphic") if local(part) == "ph"), None)
    return "" if found is None else attribute(found, "type") or "body"


def _paragraphs(element: Element) -> Iterator[str]:
    """The texts of its paragraphs."""
    for paragraph in nearest(element, "p", without=_SILENT):
        text = "".join(
            (part.text or "") if local(part) == "t" else _CHARACTERS.get(local(part), "") for part in paragraph.iter()
        ).strip()
        if text:
            yield text
