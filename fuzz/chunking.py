"""Splitting text: passages are pieces of it, in order, small enough, and nothing that can be seen is left out."""

from __future__ import annotations

import re

from lorestream.documents.chunk import CHARACTERS_PER_TOKEN, embedding_text, split
from lorestream.documents.formats.markdown import outline
from lorestream.documents.formats.plain import normalise
from lorestream.documents.parse import DocumentFailed, Page, checked

WORDS = re.compile(r"\w{1,4}|[^\w\s]")
MAX_TOKENS = 12
SEEDS = [
    b"# Title\n\nOne paragraph. Of two sentences.\n\n## Below\n\nMore " + b"words and words " * 40,
    "Überschrift\n===\n\n日本語の文。もう一つの文。\n\n- item\n- item\n".encode(),
    b"---\ntitle: Front\n---\n\n```\n# no heading\n```\n\n| a | b |\n| - | - |\n| 1 | 2 |\n",
    b"a" * 2000 + b"\n\n" + b"b " * 500, b"\x0c\x0c\n \n\n\t x \n", "\u2028\u0085\u200b".encode() * 9,
]  # fmt: skip


def one(data: bytes) -> None:
    """Split a Markdown text with pages."""
    try:
        parsed = checked(outline(normalise(data.decode("utf-8", "replace"))))
    except DocumentFailed:
        return
    text, middle = parsed.text, len(parsed.text) // 2
    if data[:1] > b"m":
        parsed.pages = [Page(1, 0, middle), Page(2, middle, len(text))]
    spans = [(found.start(), found.end()) for found in WORDS.finditer(text)]
    chunks = split(parsed, lambda _: spans, max_tokens=MAX_TOKENS, overlap_tokens=3)
    seen = bytearray(len(text))
    for index, chunk in enumerate(chunks):
        assert chunk.index == index
        assert chunk.text == text[chunk.start : chunk.end]
        assert chunk.text.strip()
        assert chunk.tokens <= MAX_TOKENS
        assert len(chunk.text) <= MAX_TOKENS * CHARACTERS_PER_TOKEN
        assert embedding_text("A title", chunk).endswith(chunk.text)
        seen[chunk.start : chunk.end] = b"\1" * len(chunk.text)
    assert not "".join(one for one, was in zip(text, seen, strict=True) if not was).strip()
