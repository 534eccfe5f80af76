"""Source code and configuration: the text as it is, its top-level definitions as headings."""

from __future__ import annotations

import re
from pathlib import Path

from lorestream.documents.formats.plain import decode, normalise
from lorestream.documents.parse import Heading, Parsed

_MODIFIER = (
    "export|default|declare|public|private|protected|internal|static|final|abstract|sealed|open|override|async|inline|"
    "virtual|extern|unsafe|const|data|case|partial|pub(?:\\([a-z]{1,10}\\))?"
)
_KEYWORD = (
    "def|class|function|func|fn|fun|interface|struct|enum|trait|impl|type|module|namespace|object|record|protocol|"
    "extension|sub|defmodule|macro_rules!|package|message|service"
)
# Definitions without indentation, in the common languages; each kind as one line from its first character.
_DEFINITION = re.compile(
    rf"(?:(?:{_MODIFIER})[ \t]+){{0,6}}(?:{_KEYWORD})\b[^\n]*"
    r"|(?:export[ \t]+)?(?:const|let|var)[ \t]+[$\w]{1,100}[^\n=]{0,200}=[ \t]*(?:async[ \t]*)?(?:function\b|\()[^\n]*"
    # A function of C and its relatives: a type, a name, its parameters, and no end of a statement.
    r"|[A-Za-z_][\w:<>,*&~ \t]{0,200}[ \t*&][\w:~]{1,100}\([^\n;]{0,400}[){][ \t]*"
    r"|[\w.-]{1,100}[ \t]*\(\)[ \t]*\{[^\n]*"
    r"|create[ \t]+(?:or[ \t]+replace[ \t]+)?(?:table|view|function|procedure|trigger|index|type)\b[^\n]*"
    r"|\[{1,2}[^\]\n]{1,200}\]{1,2}[ \t]*"
    r"|\\(?:part|chapter|(?:sub){0,2}section|paragraph)\*?\{[^\n]{1,300}",
    re.IGNORECASE,
)
_STATEMENT = re.compile(
    r"(?:if|else|elif|for|while|switch|return|with|try|except|catch|do|case|when|assert|raise|throw|"
    r"await|yield|new|delete|print|echo|import|from|using|include|require|goto)\b"
)
_LATEX = {"part": 1, "chapter": 1, "section": 2, "subsection": 3, "subsubsection": 4, "paragraph": 5}
_COMMAND = re.compile(r"\\(\w+)\*?\{([^}\n]*)")
_MAX_LINE = 1000


def parse(path: Path) -> Parsed:
    """The text, with a heading where a function, a class, a section or the like begins."""
    text = normalise(decode(path.read_bytes()))
    headings: list[Heading] = []
    start = 0
    for line in text.split("\n"):
        if len(line) <= _MAX_LINE and _DEFINITION.fullmatch(line) and not _STATEMENT.match(line):
            headings.append(_heading(start, line))
        start += len(line) + 1
    return Parsed(text, headings=headings)


def _heading(start: int, line: str) -> Heading:
    command = _COMMAND.match(line)
    level = _LATEX.get(command[1].lower(), 2) if command else 1
    shown = command[2] if command else line.rstrip(" \t{(:=")
    return Heading(start, start + len(line), level, shown or line)
