"""EPUB books: the chapters in their reading order, each read as the HTML that it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from lorestream.documents.formats import html
from lorestream.documents.formats.archive import Archive, attribute, local, nearest, resolved, unpacked
from lorestream.documents.formats.blocks import Blocks
from lorestream.documents.parse import DocumentFailed, Parsed

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_CHAPTERS = {"application/xhtml+xml", "text/html", "application/x-dtbook+xml"}
_CONTENTS = "application/x-dtbncx+xml"


def parse(path: Path) -> Parsed:
    """The text as Markdown; a chapter without a heading of its own has its name in the table of contents."""
    with unpacked(path, "EPUB book") as archive:
        package = _package(archive)
        root = archive.root(package)
        if root is None:
            raise DocumentFailed("broken", "The EPUB book has no list of its contents.")
        items = {attribute(item, "id"): item for item in nearest(root, "item")}
        names = dict(_names(archive, package, items.values()))
        out = Blocks()
        for name in dict.fromkeys(attribute(reference, "idref") for reference in nearest(root, "itemref")):
            item = items.get(name)
            part = "" if item is None else resolved(package, attribute(item, "href"))
            if item is not None and attribute(item, "media-type") in _CHAPTERS and part in archive:
                _chapter(archive, part, names.get(part), out)
        title = next((" ".join((title.text or "").split()) for title in nearest(root, "title")), None)
        parsed = out.parsed()
        if not parsed.text.strip() and _ENCRYPTION in archive:
            raise DocumentFailed("encrypted", "The EPUB book is protected (DRM) and cannot be read.")
        parsed.title = title or parsed.title
        return parsed


def _package(archive: Archive) -> str:
    root = archive.root(_CONTAINER) if _CONTAINER in archive else None
    for file in nearest(root, "rootfile") if root is not None else ():
        if (part := attribute(file, "full-path")) in archive:
            return part
    raise DocumentFailed("broken", "The file is not an EPUB book.")


def _chapter(archive: Archive, part: str, name: str | None, out: Blocks) -> None:
    chapter = html.visible(archive.content(part))
    if name and chapter.text and not chapter.headings:
        out.add(name, level=1)
    if chapter.text:
        out.include(chapter)


def _names(archive: Archive, package: str, items: Iterable[Element]) -> Iterator[tuple[str, str]]:
    """The chapters' names by part: from the navigation document (EPUB 3), else from the NCX file (EPUB 2)."""
    for item in items:
        part = resolved(package, attribute(item, "href"))
        is_navigation = "nav" in attribute(item, "properties").split()
        root = archive.root(part) if is_navigation or attribute(item, "media-type") == _CONTENTS else None
        for entry in nearest(root, "a", "navPoint") if root is not None else ():
            yield from _entry(part, entry)


def _entry(part: str, entry: Element) -> Iterator[tuple[str, str]]:
    if local(entry) == "a":
        yield resolved(part, attribute(entry, "href")), " ".join("".join(entry.itertext()).split())
        return
    for text, content in zip(nearest(entry, "text"), nearest(entry, "content"), strict=False):
        yield resolved(part, attribute(content, "src")), " ".join((text.text or "").split())
