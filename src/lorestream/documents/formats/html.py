"""HTML: the main text of a page as Markdown, with its headings, lists, tables and code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lxml.html
import trafilatura
from lxml.etree import LxmlError, iterwalk
from trafilatura.settings import Document

from lorestream.documents.formats.markdown import outline
from lorestream.documents.formats.plain import decode, normalise
from lorestream.documents.parse import DocumentFailed, Parsed

Element = Any
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?([\w.:-]{1,40})""", re.IGNORECASE)
_DECLARATION = re.compile(r"^\s{0,100}<\?xml[^>]{0,200}\?>")
_SILENT = set("script style noscript template svg head iframe object canvas select button".split())
# Both HTML's names and those of the tree that trafilatura makes (quote, list, item, row, cell, head with rend).
_BLOCKS = set(
    "address article aside blockquote body center dd details div dl dt fieldset figcaption figure footer form header "
    "hr li main nav ol p pre section summary table tbody tfoot thead tr ul h1 h2 h3 h4 h5 h6 "
    "quote list item row head".split()
)
# What ends a block also inside the cell of a table; the rest of a cell stays in one line.
_STRONG = set("table tr row h1 h2 h3 h4 h5 h6 head".split())
_STARTS = {"li": "- ", "item": "- ", "tr": "| ", "row": "| "} | {f"h{n}": "#" * n + " " for n in range(1, 7)}
_BORDER = re.compile(r"(?<!\\)\|")
_CELLS, _LINE_BREAKS, _CODE = {"td", "th", "cell"}, {"br", "lb"}, {"pre", "code"}
MAX_SPAN = 100
# Marks that white space folding leaves alone: the end of a block, and a line's end and a blank of code.
_BREAK, _NEWLINE, _BLANK = "\ue000", "\ue001", "\ue002"
_MARKS = dict.fromkeys(map(ord, _BREAK + _NEWLINE + _BLANK))
# Below this share of the page's visible text or headings the extractor has dropped content, not decoration.
_LEAST_SHARE = 0.4
# The extractor's time grows faster than the page; a larger one is a document, not a page with decoration.
_MAX_EXTRACTED = 1024 * 1024


def parse(path: Path) -> Parsed:
    """The page's main text, or all of its visible text where the extractor finds too little."""
    source = _source(path.read_bytes())
    parsed = _visible(source)
    if len(source) <= _MAX_EXTRACTED and parsed.text:
        main = outline(_main_text(source))
        if _is_whole(main, parsed):
            main.title = parsed.title or main.title
            return main
    return parsed


def visible(data: bytes) -> Parsed:
    """All visible text of a page, which has no decoration; raises DocumentFailed ``broken``."""
    return _visible(_source(data))


def _source(data: bytes) -> str:
    return normalise(_DECLARATION.sub("", _decode(data))).translate(_MARKS)


def _visible(source: str) -> Parsed:
    if not source.strip():
        return Parsed("")
    try:
        page = lxml.html.document_fromstring(source, parser=lxml.html.HTMLParser(huge_tree=True))
    except LxmlError as error:
        raise DocumentFailed("broken", "The page is damaged and cannot be read as HTML.") from error
    parsed = outline(_render(page))
    parsed.title = _title(page) or parsed.title
    return parsed


def _is_whole(main: Parsed, visible: Parsed) -> bool:
    """Whether the extractor left out decoration only, not content or its headings."""
    enough = len(main.text) >= _LEAST_SHARE * len(visible.text)
    return enough and len(main.headings) >= _LEAST_SHARE * len(visible.headings)


def _main_text(source: str) -> str:
    """What trafilatura takes for the content of the page; its fallbacks would lose the headings."""
    found = trafilatura.bare_extraction(
        source, fast=True, favor_recall=True, include_comments=False, include_formatting=True
    )
    return _render(found.body) if isinstance(found, Document) else ""


def _decode(data: bytes) -> str:
    named = _CHARSET.search(data[:4096])
    if named and not data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode(named[1].decode())
        except (LookupError, UnicodeDecodeError):
            pass
    return decode(data)


def _title(page: Element) -> str | None:
    for element in (*page.iter("title"), *page.iter("h1")):
        if text := " ".join(element.text_content().split()):
            return text
    return None


def _render(root: Element) -> str:
    """The visible text as Markdown: headings, list items, rows of tables and code; other blocks stand apart."""
    blocks: list[str] = []
    before = ""
    for piece in "".join(_pieces(root)).split(_BREAK):
        block = " ".join(piece.split()).replace(_NEWLINE, "\n").replace(_BLANK, " ").strip("\n")
        if not block.strip("#-| \n"):
            continue
        kind = block[:2]
        blocks.append(("\n" if kind == before and kind in {"- ", "| "} else "\n\n") + block)
        if kind == "| " != before and (columns := len(_BORDER.findall(block)) - 1) > 1:
            blocks.append("\n|" + " --- |" * columns)
        before = kind
    return "".join(blocks).strip()


def _pieces(root: Element) -> Iterator[str]:
    walker = iterwalk(root, events=("start", "end", "comment", "pi"))
    code = cells = 0
    for event, element in walker:
        tag = _tag(element)
        if event == "start" and tag in _SILENT:
            walker.skip_subtree()
        elif event == "start":
            code, cells = code + (tag in _CODE), cells + (tag in _CELLS)
            yield _opening(tag, code, cells)
            yield _shown(element.text, code, cells)
        else:
            if event == "end":
                code, cells = code - (tag in _CODE), cells - (tag in _CELLS)
            yield " | " * _span(element) if tag in _CELLS else _boundary(tag, cells)
            if element is not root:
                yield _shown(element.tail, code, cells)


def _span(cell: Element) -> int:
    """How many columns a cell covers."""
    found = str(cell.get("colspan", ""))[:5]
    return max(1, min(int(found), MAX_SPAN)) if found.isascii() and found.isdigit() else 1


def _tag(element: Element) -> str:
    """The name, "" for a comment; trafilatura's heading is a ``head`` whose ``rend`` is the name in HTML."""
    tag = element.tag if isinstance(element.tag, str) else ""
    return str(element.get("rend", tag)) if tag == "head" else tag


def _boundary(tag: str, cells: int) -> str:
    if tag not in _BLOCKS:
        return ""
    return " " if cells and tag not in _STRONG else _BREAK


def _opening(tag: str, code: int, cells: int) -> str:
    if tag in _LINE_BREAKS:
        return _NEWLINE if code else " "
    boundary = _boundary(tag, cells)
    return boundary + (_STARTS.get(tag, "") if boundary == _BREAK else "")


def _shown(text: str | None, code: int, cells: int) -> str:
    """A text with the lines and the indentation of code, and without what would end a cell."""
    text = text or ""
    if cells:
        text = text.replace("|", "\\|")
    return text.replace("\n", _NEWLINE).replace(" ", _BLANK) if code and "\n" in text else text
