"""Searching over HTTP: the passages themselves, without an answer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from lorestream.accounts.caller import Reads
from lorestream.description import problems
from lorestream.http import from_state
from lorestream.retrieval.search import Retrieval

router = APIRouter(tags=["search"])

RetrievalService = Annotated[Retrieval, from_state("retrieval")]
Id = Annotated[str | None, Query(min_length=1, max_length=64)]


class _View(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class RanksView(_View):
    """A passage's place (from 1) in each search and in the reranker's order, null where it has none."""

    dense: int | None
    lexical: int | None
    rerank: int | None


class FoundPassage(_View):
    """One passage; ``start`` and ``end`` are character offsets in its document's text, ``distance`` is 1 − cosine."""

    doc_id: str
    filename: str
    title: str
    chunk_index: int
    text: str
    heading: str
    start: int
    end: int
    page: int | None
    distance: float
    score: float
    ranks: RanksView


class TimingsView(_View):
    """Milliseconds; parts that run side by side are the longest of them."""

    embed_ms: float
    dense_ms: float
    lexical_ms: float
    rerank_ms: float | None
    total_ms: float


class SearchAnswer(_View):
    """The passages found, best first."""

    items: list[FoundPassage]
    timings: TimingsView


@router.get("/search", responses=problems(404, 500, 502, 504))
async def search(
    user: Reads,
    retrieval: RetrievalService,
    q: Annotated[str, Query(min_length=1, max_length=500, pattern=r"\S", description="What to look for.")],
    k: Annotated[int, Query(ge=1, le=50, description="How many passages at most.")] = 10,
    doc_id: Id = None,
    collection_id: Id = None,
) -> SearchAnswer:
    """The best passages for a question or some words, relevant or not; no language model is asked."""
    found = await retrieval.find(user.user_id, q, k, [doc_id] if doc_id else None, collection_id)
    return SearchAnswer.model_validate({"items": found.passages, "timings": found.timings})
