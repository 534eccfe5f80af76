"""Documents that are ZIP archives of XML: opened within bounds, whatever the archive says of itself.

Sizes, numbers and ratios are checked before anything is unpacked, and bytes are counted as they are unpacked. Elements
are named by their local names: the dialects of one format differ in their namespaces only.
"""

from __future__ import annotations

import posixpath
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError, iterparse

from lorestream.documents.parse import DocumentFailed

MAX_ENTRIES = 10_000
MAX_PART_BYTES = 256 * 1024 * 1024
# Of a part that is held as a tree, which takes some ten times as much.
MAX_TREE_BYTES = 16 * 1024 * 1024
# Real text packs 5 to 60 to one; deflate reaches 1030.
MAX_RATIO, RATIO_FROM_BYTES = 200, 4 * 1024 * 1024
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# All that the Open Packaging Conventions (ECMA-376, part 2) and EPUB allow.
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED = 0x1
# What zipfile and expat raise for what is not as it should be: OSError for a place before the file's beginning,
# RuntimeError also for a tree that is too deep.
_DAMAGED = (
    zipfile.BadZipFile, ParseError, KeyError, EOFError, ValueError, RuntimeError, OverflowError, OSError, zlib.error,
    struct.error,
)  # fmt: skip


class Archive:
    """An open document of this kind ("Word document"); made by ``unpacked``."""

    def __init__(self, archive: zipfile.ZipFile, kind: str) -> None:
        self._archive, self._kind = archive, kind

    def __contains__(self, part: str) -> bool:
        return part in self._archive.NameToInfo

    @contextmanager
    def bounded(self, part: str, most: int | None = None) -> Iterator[Any]:
        """Open a part as a file that ends in DocumentFailed after ``most`` bytes (``MAX_PART_BYTES``)."""
        with self._archive.open(part) as source:
            yield _Bounded(source, self._kind, MAX_PART_BYTES if most is None else most)

    def content(self, part: str) -> bytes:
        """The bytes of a part that becomes a tree."""
        with self.bounded(part, MAX_TREE_BYTES) as source:
            content: bytes = source.read()
            return content

    def elements(self, part: str, most: int | None = None) -> Iterator[tuple[str, int, Element]]:
        """Every (event, depth, element) of an XML part of ``most`` bytes; none if the archive has no such part."""
        if part not in self:
            return
        depth = 0
        with self.bounded(part, most) as source:
            for event, element in iterparse(source, ("start", "end")):  # noqa: S314 (expat limits expansion)
                depth += 1 if event == "start" else 0
                yield event, depth, element
                depth -= 1 if event == "end" else 0

    def root(self, part: str) -> Element | None:
        """The whole tree of a small XML part."""
        found = None
        for event, depth, element in self.elements(part, MAX_TREE_BYTES):
            found = element if (event, depth) == ("end", 1) else None
        return found

    def relations(self, part: str) -> dict[str, tuple[str, str]]:
        """What a part refers to, by id: (the last word of its type, the part's name), external things left out."""
        folder, name = posixpath.split(part)
        found = {}
        for event, _, element in self.elements(f"{folder}/_rels/{name}.rels".lstrip("/")):
            if event == "end" and local(element) == "Relationship" and element.get("TargetMode") != "External":
                target = resolved(part, element.get("Target", ""))
                found[element.get("Id", "")] = element.get("Type", "").rpartition("/")[2], target
        return found

    def core_title(self) -> str | None:
        """The title in the document's properties."""
        for event, _, element in self.elements("docProps/core.xml"):
            if event == "end" and local(element) == "title" and (element.text or "").strip():
                return element.text
        return None


@contextmanager
def unpacked(path: Path, kind: str) -> Iterator[Archive]:
    """The archive of a document, ``kind`` as in "Word document".

    Raises DocumentFailed, also for what goes wrong inside the block: ``encrypted``, ``too_large`` or ``broken``.
    """
    with path.open("rb") as file:
        if file.read(8) == _OLE:
            raise _locked(kind)
    try:
        with zipfile.ZipFile(path) as archive:
            _guard(archive, kind)
            yield Archive(archive, kind)
    except _DAMAGED as error:
        raise DocumentFailed("broken", f"The file is damaged and cannot be read as {_a(kind)}.") from error


def _guard(archive: zipfile.ZipFile, kind: str) -> None:
    """Refuse what unpacks to far more than it should, before anything is unpacked."""
    entries = archive.infolist()
    if any(entry.flag_bits & _ENCRYPTED for entry in entries):
        raise _locked(kind)
    if any(entry.compress_type not in _METHODS for entry in entries):
        raise DocumentFailed("broken", f"The file is packed in a way that {_a(kind)} is not.")
    inflated = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    swollen = inflated > RATIO_FROM_BYTES and inflated > MAX_RATIO * packed
    if len(entries) > MAX_ENTRIES or inflated > 4 * MAX_PART_BYTES or swollen:
        raise _swollen(kind)


class _Bounded:
    """A part of an archive as a file that ends in DocumentFailed after so many bytes."""

    def __init__(self, source: IO[bytes], kind: str, most: int) -> None:
        self._source, self._left, self._kind = source, most, kind

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size if size >= 0 else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise _swollen(self._kind)
        return data


def resolved(part: str, reference: str) -> str:
    """The name of the part that a reference in another part means."""
    target = unquote(reference.partition("#")[0])
    joined = target if target.startswith("/") else posixpath.join(posixpath.dirname(part), target)
    return posixpath.normpath(joined).lstrip("/")


def local(element: Element) -> str:
    """An element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def attribute(element: Element, name: str) -> str:
    """An attribute by its local name, "" without it."""
    return next((value for key, value in element.items() if key.rpartition("}")[2] == name), "")


def nearest(element: Element, *names: str, without: set[str] | frozenset[str] = frozenset()) -> Iterator[Element]:
    """The descendants of these names, but none inside another of them or inside one ``without`` which to look."""
    for child in element:
        if local(child) in names:
            yield child
        elif local(child) not in without:
            yield from nearest(child, *names, without=without)


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "AEIO" else f"a {kind}"


def _locked(kind: str) -> DocumentFailed:
    message = f"The {kind} is protected with a password. Remove the protection and upload it again."
    return DocumentFailed("encrypted", message)


def _swollen(kind: str) -> DocumentFailed:
    return DocumentFailed("too_large", f"The {kind} unpacks to more than the server allows.")
