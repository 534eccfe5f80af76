"""The built-in reader: answers by quoting the sentences of the passages that fit the question best.

It needs no language model. A sentence counts by the cosine to the question, the share of the question's rare words in
it, and the rank of its passage; the best few that do not repeat each other (maximal marginal relevance, Carbonell and
Goldstein 1998, with a fixed bar) are quoted exactly as written, each with the number of its passage.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import numpy as np

from lorestream.providers.base import NO_ANSWER, Delta, Embedder, Finish, Generation, Prompt, PromptPassage, Vectors
from lorestream.text import content_words, sentence_spans

NAME = "reader"
ADVICE = "To connect one, set LORESTREAM_MODEL=ollama:… or LORESTREAM_OPENAI_BASE_URL (see README)."
NOTICE = f"Quoted from your documents: no language model is connected. {ADVICE}"
# Where there are no passages to quote, because none were asked for.
ALONE = f"No language model is connected: without one there are only quotations from your documents. {ADVICE}"

MAX_QUOTES = 4
MAX_SENTENCES = 48  # embedded per question; the best by words and passage rank
MAX_CHARACTERS = 400  # longer sentences are quoted in part
LEXICAL_WEIGHT = 1.0
STEM_CHARACTERS = 5
RANK_PENALTY = 0.03  # per passage before this one
LEAD_CHARACTERS = 120  # a longer heading or question is none
BAR = 0.7  # of the best score, for every further quotation
SAME_MEANING, SAME_WORDS = 0.9, 0.6
TICK_SECONDS = 0.025
BATCH_WORDS = 64  # where nothing is paced

_MARKER = re.compile(r"(?:(?:[-*•>]|\d{1,3}[.)])\s+)+")
_ENDING = re.compile(r"[.!?…。！？][\"'”’»)\]」』）]{0,3}$")
_WORD_WITH_SPACE = re.compile(r"\S+\s*")


@dataclass(slots=True)
class _Sentence:
    passage: PromptPassage
    rank: int
    text: str
    meaning: str  # the text to compare: with the heading or question that it follows
    words: frozenset[str]
    prose: bool
    score: float = 0.0


class Reader:
    """The ``ChatModel`` that is always there."""

    def __init__(self, embedder: Embedder, words_per_second: int = 120) -> None:
        """Take the embedder that compares sentences, and the pace of the stream (0 for none)."""
        self._embedder = embedder
        self._words_per_second = words_per_second

    @property
    def name(self) -> str:
        """``reader``."""
        return NAME

    async def stream(self, prompt: Prompt, how: Generation) -> AsyncGenerator[list[Delta], None]:
        """Stream the quotations word by word, then the notice (see ``ChatModel``). Raises what the embedder raises."""
        quotes = await self._choose(prompt)
        answer = "\n\n".join(f"“{quote.text}” [{quote.passage.n}]" for quote in quotes) or NO_ANSWER
        pieces = _WORD_WITH_SPACE.findall(f"{answer}\n\n{NOTICE}" if prompt.passages else ALONE)
        begun = asyncio.get_running_loop().time()
        sent = 0
        while sent < len(pieces):
            due = self._due(sent, begun)
            yield [Delta(piece) for piece in pieces[sent:due]]
            sent = min(due, len(pieces))
            await asyncio.sleep(self._pause(sent, begun))
        yield [Delta(finish=Finish("stop", None, NAME))]

    def _due(self, sent: int, begun: float) -> int:
        if not self._words_per_second:
            return sent + BATCH_WORDS
        elapsed = asyncio.get_running_loop().time() - begun
        return max(sent + 1, int(elapsed * self._words_per_second))

    def _pause(self, sent: int, begun: float) -> float:
        if not self._words_per_second:
            return 0
        next_word = begun + sent / self._words_per_second
        return max(TICK_SECONDS, next_word - asyncio.get_running_loop().time())

    async def _choose(self, prompt: Prompt) -> list[_Sentence]:
        sentences = _sentences(prompt.passages)
        if not sentences:
            return []
        _score_words(sentences, prompt.question)
        sentences = sorted(sentences, key=lambda sentence: -sentence.score)[:MAX_SENTENCES]
        question = await self._embedder.embed_query(prompt.question)
        vectors = await self._embedder.embed([sentence.meaning for sentence in sentences])
        for sentence, likeness in zip(sentences, vectors @ question, strict=True):
            sentence.score += float(likeness)
        return _best(sentences, vectors)


def _sentences(passages: Sequence[PromptPassage]) -> list[_Sentence]:
    """Every sentence of the passages that reads well by itself; all pieces of text where none does."""
    found: list[_Sentence] = []
    for rank, passage in enumerate(passages):
        lead = ""
        for start, end in sentence_spans(passage.text):
            text = _trim(passage.text[start:end])
            if text:
                prose = _reads_well(text)
                meaning = f"{lead} {text}" if prose and lead else text
                found.append(_Sentence(passage, rank, text, meaning, frozenset(_stems(meaning)), prose))
                lead = "" if prose or len(text) > LEAD_CHARACTERS else text
    return [sentence for sentence in found if sentence.prose] or found


def _trim(text: str) -> str:
    """A part of ``text``, still exactly as written: without list marks and a heading above it, at a bounded length."""
    if marker := _MARKER.match(text):
        text = text[marker.end() :]
    first, newline, rest = text.partition("\n")
    heading = len(first) < 0.7 * max(map(len, rest.split("\n"))) and not first.rstrip().endswith((",", ";", "-"))
    if newline and heading and rest.lstrip()[:1].isupper():
        text = rest.lstrip()
    if len(text) > MAX_CHARACTERS:
        text = text[:MAX_CHARACTERS].rsplit(maxsplit=1)[0]
    return text.strip()


def _reads_well(text: str) -> bool:
    """Prose that states something: not a heading, a question, a table row, a list of numbers or code."""
    letters = sum(character.isalpha() or character.isspace() for character in text)
    return (
        letters > 0.6 * len(text)
        and not text.startswith("#")
        and "|" not in text
        and not text.rstrip("\"'”’»)]").endswith(("?", "？"))
        and "\t" not in text
        and (_ENDING.search(text) is not None or len(text) >= MAX_CHARACTERS * 0.8)
        and (len(text.split()) > 2 or not text.isascii())
    )


def _stems(text: str) -> set[str]:
    """The beginnings of the content words: a stemmer for many languages at no cost (measured: docs/evaluation.md)."""
    return {word[:STEM_CHARACTERS] for word in content_words(text)}


def _score_words(sentences: Sequence[_Sentence], question: str) -> None:
    """Score by the share of the question's words, weighted by their rarity among the sentences, and by rank."""
    spread = Counter(word for sentence in sentences for word in sentence.words)
    weights = {word: math.log(1 + len(sentences) / (1 + spread[word])) for word in _stems(question)}
    total = sum(weights.values()) or 1.0
    for sentence in sentences:
        shared = sum(weight for word, weight in weights.items() if word in sentence.words)
        sentence.score = LEXICAL_WEIGHT * shared / total - RANK_PENALTY * sentence.rank


def _best(sentences: Sequence[_Sentence], vectors: Vectors) -> list[_Sentence]:
    """The best sentence, and those near it in score that say something else, best first."""
    order = np.argsort([-sentence.score for sentence in sentences], kind="stable")
    bar = BAR * sentences[order[0]].score
    chosen: list[int] = []
    for index in map(int, order):
        if len(chosen) == MAX_QUOTES or (chosen and sentences[index].score < bar):
            break
        if not any(_repeats(sentences, vectors, index, other) for other in chosen):
            chosen.append(index)
    return [sentences[index] for index in chosen]


def _repeats(sentences: Sequence[_Sentence], vectors: Vectors, one: int, other: int) -> bool:
    mine, theirs = sentences[one].words, sentences[other].words
    overlap = len(mine & theirs) / (len(mine | theirs) or 1)
    return overlap > SAME_WORDS or float(vectors[one] @ vectors[other]) > SAME_MEANING
