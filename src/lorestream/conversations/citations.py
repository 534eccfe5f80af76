"""The citations of a finished answer, each checked against its passage. Pure."""

from __future__ import annotations

import itertools
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sized
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from lorestream.providers.base import NO_ANSWER
from lorestream.providers.reader import NOTICE
from lorestream.retrieval import rank
from lorestream.streaming.events import Citation
from lorestream.text import sentence_spans, words

_MARK = re.compile(r"\[(\d{1,3}(?:\s?[,;]\s?\d{1,3}){0,9})\]")
_MARK_AFTER_BLANKS = re.compile(r"[^\S\n]{0,8}" + _MARK.pattern)
_QUOTATION = re.compile(r"[“\"„«]([^“”\"„«»]{12,2000})[”\"“»]")
_NUMBER = re.compile(r"\d(?:[\d.,]{0,30}\d)?")
_WORD = re.compile(r"\w+")
_LIST_MARK = re.compile(r"^\s*(?:\d{1,3}[.)]|[-*•])\s+")
# Measured (docs/evaluation.md): how much more a name or a number counts, and what is left where a number is wrong.
NAMED_WEIGHT, WRONG_NUMBER = 2.0, 0.5
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
    evidence = Evidence(passages)
    found: list[Citation] = []
    for mark in islice(_MARK.finditer(answer), MAX_MARKS):
        start, end = _cited_sentence(answer, spans, mark.start(), mark.end())
        for n in map(int, re.findall(r"\d+", mark[1])):
            if n not in passages:
                continue
            found.append(Citation(n, start, end, evidence.support(answer[start : min(end, start + MAX_SENTENCE)], n)))
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


class Evidence:
    """The passages of one answer, and how well each supports a sentence. Method and numbers: docs/evaluation.md."""

    def __init__(self, passages: Mapping[int, str]) -> None:
        """Take the passages' whole texts by their numbers; nothing is done before it is asked for."""
        self._passages = passages
        self._claims: dict[str, _Claim] = {}
        self._supports: dict[tuple[str, int], float] = {}

    def support(self, sentence: str, n: int) -> float:
        """From 0 to 1, to two decimals: 1 for a quotation that passage ``n`` holds word for word.

        Else the share of the sentence's content words that it holds, half of it within two sentences on end. Words
        that few of the passages hold count more, names and numbers twice; a number that it does not hold halves it.
        """
        if (sentence, n) not in self._supports:
            self._supports[sentence, n] = round(self._measure(sentence, n), 2)
        return self._supports[sentence, n]

    def _measure(self, sentence: str, n: int) -> float:
        quoted = _QUOTATION.fullmatch(_MARK.sub("", sentence).strip())
        if quoted and quoted[1] in self._passages[n]:
            return 1.0
        claim = self._claims.setdefault(sentence, _Claim.of(sentence))
        weights = {stem: self._rarity(stem) * (NAMED_WEIGHT if stem in claim.named else 1) for stem in claim.stems}
        total = sum(weights.values())
        if not total:
            return 0.0
        ground = self._grounds[n]
        close = max((sum(weights[stem] for stem in claim.stems & two) for two in ground.windows), default=0.0)
        held = (sum(weights[stem] for stem in claim.stems & ground.stems) + close) / 2 / total
        return held if claim.numbers <= ground.numbers else held * WRONG_NUMBER

    def _rarity(self, stem: str) -> float:
        holding = sum(stem in ground.stems for ground in self._grounds.values())
        return math.log(1 + (len(self._grounds) + 1) / (1 + holding))

    @cached_property
    def _grounds(self) -> dict[int, _Ground]:
        return {n: _Ground.of(passage) for n, passage in self._passages.items()}


class _Claim(NamedTuple):
    """The words of a sentence as they are compared; ``named`` are those of names and numbers."""

    stems: frozenset[str]
    named: frozenset[str]
    numbers: frozenset[str]

    @staticmethod
    def of(sentence: str) -> _Claim:
        said = _LIST_MARK.sub("", _MARK.sub(" ", sentence))
        first, *others = _WORD.findall(said) or [""]
        names = [word for word in others if word[0].isupper()]  # every sentence begins with a capital
        counts = [word for word in (first, *others) if not word.isalpha()]
        return _Claim(rank.stems(said), rank.stems(" ".join([*names, *counts])), frozenset(_numbers(said)))


class _Ground(NamedTuple):
    """The words of a passage, and of any two of its sentences on end."""

    stems: frozenset[str]
    windows: list[frozenset[str]]
    numbers: frozenset[str]

    @staticmethod
    def of(passage: str) -> _Ground:
        sentences = [rank.stems(passage[start:end]) for start, end in sentence_spans(passage)]
        windows = [one | other for one, other in itertools.pairwise(sentences)] or sentences
        numbers = frozenset([*_numbers(passage), *re.findall(r"\d+", passage)])
        return _Ground(frozenset().union(*sentences), windows, numbers)


def _numbers(text: str) -> Iterable[str]:
    """The digits of every number, however its thousands and decimals are marked."""
    return (re.sub(r"\D", "", number) for number in _NUMBER.findall(text))


def _cited_sentence(answer: str, spans: list[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """The sentence around a mark; a mark that begins its span (after a full stop) belongs to the sentence before."""
    at = bisect_right(spans, (start, len(answer))) - 1
    first, last = spans[at]
    alone = start - first < MAX_ROW and not _MARK.sub("", answer[first:end]).strip()
    return (spans[at - 1][0], end) if alone and at else (first, max(last, end))
