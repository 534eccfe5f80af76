"""What a search gives back."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Ranks:
    """A passage's place (from 1) in each search, and in the reranker's order; None where it was not found or asked."""

    dense: int | None
    lexical: int | None
    rerank: int | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """One chunk that was found; ``start`` and ``end`` are character offsets in its document's extracted text.

    ``distance`` is 1 − cosine to four decimals, whichever search found it; ``score``, 0 to 1, is what it is ordered by:
    the fused score, or the reranker's.
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


@dataclass(slots=True)
class Timings:
    """Milliseconds of a search's parts, the longest of those that ran side by side; ``rerank_ms`` None without one."""

    embed_ms: float = 0.0
    dense_ms: float = 0.0
    lexical_ms: float = 0.0
    rerank_ms: float | None = None
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """The passages of a search, best first, and how long it took."""

    passages: list[Passage]
    timings: Timings


@dataclass(frozen=True, slots=True)
class Located:
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

    @property
    def in_context(self) -> str:
        """The text under its document's title and its headings."""
        return f"{self.title}\n{self.heading}\n{self.text}"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a search may look through.

    ``spaces`` counts the ready documents by the embedder of their vectors, ``damaged`` those that cannot be searched
    now. ``doc_ids`` and ``versions`` name what may be found, or are None for everything of the owner in the indexes.
    """

    spaces: dict[str, int] = field(default_factory=dict)
    damaged: int = 0
    doc_ids: list[str] | None = None
    versions: list[str] | None = None
