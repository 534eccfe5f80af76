"""The citations of a finished answer, each checked against its passage. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sized
from itertools import islice

from lorestream.providers.base import NO_ANSWER
from lorestream.providers.reader import NOTICE
from lorestream.streaming.events import Citation
from lorestream.text import content_words, sentence_spans, words

_MARK = re.compile(r"\[(\d{1,3}(?:\s?[,;]\s?\d{1,3}){0,9})\]")
_MARK_AFTER_BLANKS = re.compile(r"[^\S\n]{0,8}" + _MARK.pattern)
_QUOTATION = re.compile(r"[“\"„«]([^“”\"„«»]{12,2000})[”\"“»]")
# More marks than a person would check; a model that repeats itself must not cost more.
MAX_MARKS = 500
# Characters of an answer in which citations are looked for, on the event loop: more than the longest that is asked for.
MAX_ANSWER = 128 * 1024
# What is looked at for every mark: of its sentence to measure the support, of a row of marks to find its beginning.
MAX_SENTENCE, MAX_ROW = 4000, 200


def find(answer: str, passages: Mapping[int, str]) -> list[Citation]:
    """Every citation in the answer, in order; numbers that are no passage's are left out.

    ``passages`` maps the numbers given before generation to the passages' whole texts. A citation's range is the
    sentence that it stands in or follows, as character offsets in the answer.
    """
    answer = answer[:MAX_ANSWER]
    spans = sentence_spans(answer)
    found: list[Citation] = []
    supports: dict[tuple[int, int, int], float] = {}
    for mark in islice(_MARK.finditer(answer), MAX_MARKS):
        start, end = _cited_sentence(answer, spans, mark.start(), mark.end())
        for n in map(int, re.findall(r"\d+", mark[1])):
            if n not in passages:
                continue
            key = (n, start, end)
            if key not in supports:
                supports[key] = support(answer[start : min(end, start + MAX_SENTENCE)], passages[n])
            found.append(Citation(n, start, end, supports[key]))
    return found


def uncited(answer: str, cited: Sized) -> bool:
    """Whether an answer states something and none of its citations (``find``) is of a source."""
    return not cited and states_something(answer)


def states_something(answer: str) -> bool:
    """Whether there is more to an answer than that the documents do not say, and the built-in reader's notice."""
    said = answer[:MAX_ANSWER].replace("’", "'").casefold()
    for nothing in (NO_ANSWER, NOTICE):
        said = said.replace(nothing.rstrip(".").casefold(), " ")
    return bool(words(_MARK.sub(" ", said)))


def plain(answer: str) -> str:
    """What an answer says: without its citations, and without the built-in reader's notice."""
    return without_marks(answer.replace(NOTICE, "")).strip()


def without_marks(answer: str) -> str:
    """An answer without its citations and the blanks before them."""
    return _MARK_AFTER_BLANKS.sub("", answer)


def support(sentence: str, passage: str) -> float:
    """How well a passage supports a sentence: 1 for a quotation that it holds word for word, else the share of the
    sentence's content words that it holds, from 0 to 1, to two decimals.
    """
    quoted = _QUOTATION.search(sentence)
    if quoted and quoted[1] in passage:
        return 1.0
    wanted = set(content_words(_MARK.sub(" ", sentence)))
    return round(len(wanted & set(content_words(passage))) / len(wanted), 2) if wanted else 0.0


def _cited_sentence(answer: str, spans: list[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """The sentence around a mark; a mark that begins its span (after a full stop) belongs to the sentence before."""
    at = bisect_right(spans, (start, len(answer))) - 1
    first, last = spans[at]
    alone = start - first < MAX_ROW and not _MARK.sub("", answer[first:end]).strip()
    return (spans[at - 1][0], end) if alone and at else (first, max(last, end))
