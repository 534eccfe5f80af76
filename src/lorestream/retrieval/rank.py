"""Fusing two searches into one order, and telling what is relevant at all. Pure functions."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lorestream.text import content_words

DENSE_WEIGHT = 0.5
# Of the question by itself, where it is searched with its context, too.
LITERAL_WEIGHT = 0.5
# Words are compared by their beginning: a stemmer for many languages at no cost.
STEM_CHARACTERS = 5
# Of the nearness in the relevance; the words have the rest.
NEARNESS_WEIGHT = 0.65
# A paraphrase that shares no word is judged by its nearness alone, less this.
PARAPHRASE_MARGIN = 0.1
# So many candidates more are supposed when telling how rare a word is.
FEW = 10
# What people call documents and what they want of them.
GENERIC_WORDS = """
article content describe document documento dokument explain file give idea inhalt key list main overview page paper pdf
point please provide report resume resumen say show summarise summarize summary tell text texto topic upload uploaded
zusammenfassen überblick
"""
_ASCII = {i: chr(i).lower() if chr(i).isalnum() else " " for i in range(128)}
_MARKS = re.compile("[\u0300-\u036f]+")
_NO_WORD = re.compile(r"[\W_]+")


def fuse(
    spaces: Sequence[Mapping[int, float]], lexical: Mapping[int, float], dense_weight: float = DENSE_WEIGHT
) -> dict[int, float]:
    """The fused score, 0 to 1, of every chunk in ``spaces``, given BM25 scores (higher is better).

    ``spaces`` holds, for each embedder, how near its chunks are (``nearness``, 0 to 1). A weighted sum of the nearness
    and of the BM25 score, each divided by its maximum, the nearness by that of its own space: measured better than
    scaling to the range, z-scores and reciprocal rank fusion (docs/retrieval.md).
    """
    top = max(lexical.values(), default=0.0) or 1.0
    fused = {}
    for near in spaces:
        nearest = max(near.values(), default=0.0) or 1.0
        for chunk_id, value in near.items():
            words = max(0.0, lexical.get(chunk_id, 0.0)) / top
            fused[chunk_id] = dense_weight * value / nearest + (1 - dense_weight) * words
    return fused


def nearness(distance: float, usual: float) -> float:
    """How near a chunk is, 0 to 1, given 1 − cosine and the cosine that texts without anything in common have."""
    return max(0.0, (1 - distance - usual) / (1 - usual))


def blend(literal: Mapping[int, float], contextual: Mapping[int, float]) -> dict[int, float]:
    """The score of every chunk for a question that may or may not need its context: a weighted sum of both searches.

    Measured far better than the higher of the two (docs/retrieval.md): what both find stands above what one finds.
    """
    return {
        chunk_id: LITERAL_WEIGHT * score + (1 - LITERAL_WEIGHT) * contextual.get(chunk_id, 0.0)
        for chunk_id, score in literal.items()
    }


def highest(one: Mapping[int, float], other: Mapping[int, float]) -> dict[int, float]:
    """The higher value of every chunk."""
    return {chunk_id: max(value, other.get(chunk_id, 0.0)) for chunk_id, value in one.items()}


def agreed(judgements: Sequence[Sequence[float] | NDArray[np.float32]]) -> list[float]:
    """One score, 0 to 1, for each passage, given a reranker's scores (any scale) for each way to ask the question."""
    logits = np.asarray(judgements, dtype=np.float64).clip(-500, 500)
    scores: list[float] = np.mean(1 / (1 + np.exp(-logits)), axis=0).tolist()
    return scores


def order(scores: Mapping[int, float]) -> list[int]:
    """The ids by falling score; equal scores in the order in which they were stored."""
    return sorted(scores, key=lambda chunk_id: (-scores[chunk_id], chunk_id))


def plain(text: str) -> str:
    """The words of a text in lower case without accents, each after one blank."""
    if text.isascii():
        return " " + text.translate(_ASCII)
    return " " + _NO_WORD.sub(" ", _MARKS.sub("", unicodedata.normalize("NFKD", text.lower())))


def stems(text: str) -> frozenset[str]:
    """The beginnings of a text's content words, each after a blank, as they stand in ``plain`` texts."""
    return frozenset(plain(word)[: STEM_CHARACTERS + 1] for word in content_words(text))


GENERIC = stems(GENERIC_WORDS)


def relevance(question: str, texts: Mapping[int, str], near: Mapping[int, float]) -> dict[int, float]:
    """How much each passage has to do with the question at all, 0 to 1; unlike the fused score, an absolute measure.

    ``texts`` are the candidates with title and heading, ``near`` their ``nearness``. A weighted sum of the nearness and
    of the share of the question's words that occur, the rarer among the candidates the weightier; or the nearness less
    a margin, for a paraphrase. A question about the documents as such ("Summarise this file") has no words of a topic:
    everything is relevant to it.
    """
    asked = stems(question)
    if asked <= GENERIC:
        return dict.fromkeys(texts, 1.0)
    there = {chunk_id: _occurring(asked, plain(text)) for chunk_id, text in texts.items()}
    weights = {stem: _rarity(sum(stem in found for found in there.values()), len(texts)) for stem in asked}
    total = sum(weights.values())
    measured = {}
    for chunk_id, found in there.items():
        shared = sum(weights[stem] for stem in found) / total
        both = NEARNESS_WEIGHT * near[chunk_id] + (1 - NEARNESS_WEIGHT) * shared
        measured[chunk_id] = max(both, near[chunk_id] - PARAPHRASE_MARGIN)
    return measured


def _occurring(asked: frozenset[str], text: str) -> frozenset[str]:
    return frozenset(stem for stem in asked if stem in text)


def _rarity(occurrences: int, candidates: int) -> float:
    """Inverse document frequency among the candidates; never zero, and cautious where there are few."""
    return math.log(1 + (candidates + FEW) / (1 + occurrences))
