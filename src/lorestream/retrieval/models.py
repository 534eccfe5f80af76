"""What a search gives back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ranks:
    """A passage's place (from 1) in each of the two searches; None where that search did not find it."""

    dense: int | None
    lexical: int | None


@dataclass(frozen=True, slots=True)
class Passage:
    """One chunk that was found; ``start`` and ``end`` are character offsets in its document's extracted text.

    ``distance`` is 1 − cosine to four decimals, whichever search found it; ``score`` the fused score, 0 to 1.
    """

    chunk_id: int
    doc_id: str
    chunk_index: int
    title: str
    filename: str
    text: str
    heading: str
    start: int
    end: int
    page: int | None
    distance: float
    score: float
    ranks: Ranks


@dataclass(frozen=True, slots=True)
class Found:
    """A hit resolved through a ready document of its owner, not yet scored."""

    chunk_id: int
    doc_id: str
    chunk_index: int
    title: str
    filename: str
    text: str
    heading: str
    start: int
    end: int
    page: int | None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a search may look through.

    ``embedders`` counts the ready documents by the embedder of their vectors; ``doc_ids`` narrows the search, or is
    None when everything of the owner that is in the index may be found; ``versions`` are theirs in the vector index.
    """

    embedders: dict[str, int]
    doc_ids: list[str] | None
    versions: list[str] | None
