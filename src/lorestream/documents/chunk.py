"""Splitting a document into the passages that are embedded, found and cited.

Paragraphs first, then sentences, under their headings: a passage never crosses a heading or a page, and whole
paragraphs are put together while they fit. Only a paragraph that is too long is split at its sentences, with whole
sentences of overlap, and only a sentence that is too long is cut between tokens. The text is tokenised once.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lorestream.documents.parse import Heading, Parsed
from lorestream.text import sentence_spans

Span = tuple[int, int]
TokenSpans = Callable[[str], list[Span]]

MAX_TOKENS, OVERLAP_TOKENS = 230, 40
# Tokens of an embedded text, of which a passage leaves the rest to its title and heading.
EMBEDDED_TOKENS = 254
# A bound for text whose tokens are long (unknown words, runs of blanks), so that no passage is large.
CHARACTERS_PER_TOKEN = 16
PATH_SEPARATOR = " > "
_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")
_WORDS = re.compile(r"\S+\s*")
_PIECES = re.compile(r"[A-Za-zÀ-ɏ0-9]{1,2}|\S")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Passage ``index`` (from 0): ``text`` is ``parsed.text[start:end]``, never blank.

    ``heading`` is the path of its headings ("Use > Limits", "" without any), ``page`` the page it is on (from 1, None
    without pages), ``tokens`` its length in the embedder's tokens.
    """

    index: int
    start: int
    end: int
    text: str
    heading: str
    page: int | None
    tokens: int


def split(
    parsed: Parsed, token_spans: TokenSpans, *, max_tokens: int = MAX_TOKENS, overlap_tokens: int = OVERLAP_TOKENS
) -> list[Chunk]:
    """The passages of a document in order: at most ``max_tokens`` each, every visible character in at least one.

    ``token_spans`` gives the (start, end) offsets of a text's tokens; it is called once (blocking, linear).
    """
    ruler = _Ruler(parsed.text, [start for start, _ in token_spans(parsed.text)], max_tokens)
    page_starts = [page.start for page in parsed.pages]
    chunks: list[Chunk] = []
    for section in _sections(parsed):
        for start, end in _visible(parsed.text, _passages(ruler, section, overlap_tokens)):
            page = parsed.pages[max(0, bisect_right(page_starts, start) - 1)].number if parsed.pages else None
            tokens = ruler.count(start, end)
            chunks.append(Chunk(len(chunks), start, end, parsed.text[start:end], section.path, page, tokens))
    return chunks


def embedding_text(title: str, chunk: Chunk, max_tokens: int = EMBEDDED_TOKENS) -> str:
    """What is embedded for a passage: "title > heading" in a line before it, as far as there is room for it.

    The room is what the passage leaves of ``max_tokens``; a word of the title counts as a token for two letters, which
    is more than it takes.
    """
    room = max_tokens - chunk.tokens
    kept, path = "", chunk.heading
    if title and path != title and not path.startswith(title + PATH_SEPARATOR):
        path = f"{title}{PATH_SEPARATOR}{path}" if path else title
    for word in _WORDS.findall(path):
        room -= len(_PIECES.findall(word))
        if room < 0:
            break
        kept += word
    kept = kept.rstrip(" >")
    return f"{kept}\n{chunk.text}" if kept else chunk.text


class _Ruler:
    """Measures spans of one text in tokens."""

    def __init__(self, text: str, starts: list[int], max_tokens: int) -> None:
        self.text, self._starts = text, starts
        self._max_tokens, self._max_characters = max_tokens, max_tokens * CHARACTERS_PER_TOKEN

    def count(self, start: int, end: int) -> int:
        return bisect_left(self._starts, end) - bisect_left(self._starts, start)

    def fits(self, start: int, end: int) -> bool:
        return end - start <= self._max_characters and self.count(start, end) <= self._max_tokens

    def cut(self, start: int, end: int) -> Iterator[Span]:
        """Cut what is too long into pieces that fit: after white space, else between tokens, else anywhere."""
        while not self.fits(start, end):
            first = bisect_left(self._starts, start)
            over = self._starts[first + self._max_tokens] if first + self._max_tokens < len(self._starts) else end
            stop = min(over, start + self._max_characters)
            stop = self._after_space(start, stop) or self._token_start(start, stop) or stop
            yield start, stop
            start = stop
        yield start, end

    def _after_space(self, start: int, stop: int) -> int | None:
        """The last place after white space in the second half, if any."""
        for place in range(stop, (start + stop) // 2, -1):
            if self.text[place - 1].isspace():
                return place
        return None

    def _token_start(self, start: int, stop: int) -> int | None:
        index = bisect_right(self._starts, stop) - 1
        return self._starts[index] if index >= 0 and self._starts[index] > start else None


@dataclass
class _Section:
    """A stretch of text with one heading path, on one page; ``body`` is where its headings are over."""

    start: int
    body: int
    end: int
    path: str


def _sections(parsed: Parsed) -> list[_Section]:
    """The text from heading to heading and page to page; headings without text belong to what follows them."""
    headings = {heading.start: heading for heading in parsed.headings}
    borders = sorted({0, *headings, *(page.start for page in parsed.pages if page.start)} | {len(parsed.text)})
    sections: list[_Section] = []
    above: list[Heading] = []
    bare: int | None = None
    for start, end in itertools.pairwise(borders):
        heading = headings.get(start)
        if heading:
            above = [other for other in above if other.level < heading.level] + [heading]
        body = heading.end if heading else start
        if not parsed.text[body:end].strip() and end < len(parsed.text):
            bare = start if bare is None else bare
            continue
        path = PATH_SEPARATOR.join(other.text for other in above)
        sections.append(_Section(start if bare is None else bare, body, end, path))
        bare = None
    return sections


def _passages(ruler: _Ruler, section: _Section, overlap_tokens: int) -> Iterator[Span]:
    """Paragraphs of a section put together while they fit; a longer one split."""
    current: Span | None = None
    for start, end in _paragraphs(ruler.text, section):
        if current and ruler.fits(current[0], end):
            current = current[0], end
            continue
        if current:
            yield current
        *parts, current = _split_paragraph(ruler, start, end, overlap_tokens)
        yield from parts
    if current:
        yield current


def _paragraphs(text: str, section: _Section) -> Iterator[Span]:
    """The paragraphs without the white space around them; headings at the start belong to the first."""
    start = section.start
    body = section.end - len(text[section.body : section.end].lstrip())
    for gap in _BLANK_LINES.finditer(text, body, section.end):
        yield from _stripped(text, start, gap.start())
        start = gap.end()
    yield from _stripped(text, start, section.end)


def _visible(text: str, spans: Iterator[Span]) -> Iterator[Span]:
    """The spans without the white space around them; none of it alone."""
    for start, end in spans:
        yield from _stripped(text, start, end)


def _stripped(text: str, start: int, end: int) -> list[Span]:
    piece = text[start:end]
    stripped = piece.strip()
    start += len(piece) - len(piece.lstrip())
    return [(start, start + len(stripped))] if stripped else []


def _split_paragraph(ruler: _Ruler, start: int, end: int, overlap_tokens: int) -> list[Span]:
    """A paragraph as passages that fit, each beginning with the last sentences of the one before."""
    if ruler.fits(start, end):
        return [(start, end)]
    sentences = [piece for a, b in _sentences(ruler.text, start, end) for piece in ruler.cut(a, b)]
    passages: list[Span] = []
    first = 0
    for index, (_, stop) in enumerate(sentences):
        if ruler.fits(sentences[first][0], stop):
            continue
        passages.append((sentences[first][0], sentences[index - 1][1]))
        first = _overlap(ruler, sentences, first, index, overlap_tokens)
    return [*passages, (sentences[first][0], sentences[-1][1])]


def _overlap(ruler: _Ruler, sentences: Sequence[Span], first: int, index: int, overlap_tokens: int) -> int:
    """The sentence that the next passage begins with, before ``index`` as far as the overlap goes and it still fits."""
    begin = index
    while begin - 1 > first:
        start = sentences[begin - 1][0]
        if ruler.count(start, sentences[index - 1][1]) > overlap_tokens or not ruler.fits(start, sentences[index][1]):
            break
        begin -= 1
    return begin


def _sentences(text: str, start: int, end: int) -> list[Span]:
    """The sentences of a paragraph; the rows of a table."""
    paragraph = text[start:end]
    if paragraph.startswith("|"):
        spans, at = [], start
        for line in paragraph.split("\n"):
            spans += _stripped(text, at, at + len(line))
            at += len(line) + 1
        return spans
    return [(start + a, start + b) for a, b in sentence_spans(paragraph)]
