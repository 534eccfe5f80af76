"""Markdown: the source text as it is, with its headings."""

from __future__ import annotations

import re
from pathlib import Path

from lorestream.documents.formats.plain import decode, normalise
from lorestream.documents.parse import Heading, Parsed

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+|$)")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_NOT_A_PARAGRAPH = re.compile(r"\s*(?:[-*+>|]|\d{1,9}[.)]\s)|\s{4}")
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
_CLOSING = re.compile(r"[ \t]#+$")
_EMPHASIS = re.compile(r"(?<!\w)[*_]{1,3}(?=\S)|(?<=\S)[*_]{1,3}(?!\w)|[*`]|~~")
_FRONT_TITLE = re.compile(r"title:[ \t]*(.+)", re.IGNORECASE)


def parse(path: Path) -> Parsed:
    """The source text; the title is that of the front matter, else the first heading of level 1."""
    return outline(normalise(decode(path.read_bytes())))


def outline(text: str) -> Parsed:
    """Markdown with its headings (``#`` and underlined), those in code blocks left out."""
    body, title = _front_matter(text)
    headings = _headings(text, body)
    title = title or next((heading.text for heading in headings if heading.level == 1), None)
    return Parsed(text, title, headings=headings)


def _front_matter(text: str) -> tuple[int, str | None]:
    """Where the body starts, and the title that YAML front matter names."""
    end = text.find("\n---", 3) if text.startswith("---\n") else -1
    if end < 0:
        return 0, None
    for line in text[4:end].split("\n"):
        if found := _FRONT_TITLE.match(line):
            return end + 4, found[1].strip().strip("\"'")
    return end + 4, None


def _headings(text: str, start: int) -> list[Heading]:
    headings: list[Heading] = []
    fence, before, before_start = "", "", start
    for line in text[start:].split("\n"):
        end = start + len(line)
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line[mark.end() :].strip():
                fence = ""
        elif mark and "`" not in line[mark.end() :]:
            fence = mark[1]
        elif atx := _ATX.match(line):
            headings.append(_heading(start, end, len(atx[1]), line[atx.end() :]))
        elif before.strip() and (under := _UNDERLINE.match(line)) and not _NOT_A_PARAGRAPH.match(before):
            headings.append(_heading(before_start, end, 1 if under[1][0] == "=" else 2, before))
        is_text = not (fence or mark or _ATX.match(line))
        before, before_start = (line if is_text else ""), start
        start = end + 1
    return [heading for heading in headings if heading.text]


def _heading(start: int, end: int, level: int, source: str) -> Heading:
    return Heading(start, end, level, plain_text(_CLOSING.sub("", source.rstrip())))


def plain_text(source: str) -> str:
    """One line of Markdown without links and emphasis."""
    return _EMPHASIS.sub("", _LINK.sub(r"\1", source)).strip(" \t#")
