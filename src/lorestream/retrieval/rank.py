"""Fusing two searches into one order, and telling what is relevant at all. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping

from lorestream.text import content_words

DENSE_WEIGHT = 0.5
# Words are compared by their beginning: a stemmer for many languages at no cost.
STEM_CHARACTERS = 6
PARAPHRASE_MARGIN = 0.1
# What people call documents and what they want of them, in stems.
GENERIC = frozenset(
    word[:STEM_CHARACTERS]
    for word in """
    article articles content contents describe document documents documento documentos dokument dokumente explain
    file files give idea ideas inhalt key list main overview page pages paper papers pdf point points please provide
    report resume resumen say says show summarise summarize summary tell text texto topic topics upload uploaded
    zusammenfassen zusammenfassung überblick
    """.split()
)


def fuse(distances: Mapping[int, float], lexical: Mapping[int, float]) -> dict[int, float]:
    """The fused score, 0 to 1, of every chunk in ``distances`` (1 − cosine), given BM25 scores (higher is better).

    A weighted sum of the cosine scaled to its range here and of the BM25 score divided by its maximum: measured better
    than reciprocal rank fusion (docs/retrieval.md).
    """
    if not distances:
        return {}
    near, far = min(distances.values()), max(distances.values())
    span = (far - near) or 1.0
    top = max(lexical.values(), default=0.0) or 1.0
    return {
        chunk_id: DENSE_WEIGHT * (far - distance) / span
        + (1 - DENSE_WEIGHT) * max(0.0, lexical.get(chunk_id, 0.0)) / top
        for chunk_id, distance in distances.items()
    }


def order(scores: Mapping[int, float]) -> list[int]:
    """The ids by falling score; equal scores in the order in which they were stored."""
    return sorted(scores, key=lambda chunk_id: (-scores[chunk_id], chunk_id))


def stems(text: str) -> set[str]:
    """The beginnings of a text's content words."""
    return {word[:STEM_CHARACTERS] for word in content_words(text)}


def relevance(asked: set[str], text: str, distance: float) -> float:
    """How much a passage (its text with title and heading) has to do with a question at all, 0 to 1.

    ``asked`` are the question's ``stems``, ``distance`` is 1 − cosine. The mean of the cosine and of the share of the
    question's words that occur; or the cosine alone, less a margin, for a paraphrase that shares no word. Unlike the
    fused score it does not depend on the other hits. A question about the documents as such ("Summarise this file")
    has no words of a topic: everything is relevant to it.
    """
    if asked <= GENERIC:
        return 1.0
    cosine = max(0.0, 1 - distance)
    shared = len(asked & stems(text)) / len(asked)
    return max((cosine + shared) / 2, cosine - PARAPHRASE_MARGIN)
