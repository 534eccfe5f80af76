"""HTTP for a search without an answer. A foreign document or collection is searched like one that there is not."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Security
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lorestream.accounts.caller import Reads, while_valid
from lorestream.description import problems
from lorestream.http import from_state, not_blank, unless_gone
from lorestream.retrieval.search import Retrieval

router = APIRouter(tags=["search"])

RetrievalDep = Annotated[Retrieval, from_state("retrieval")]
Id = Annotated[str | None, Query(min_length=1, max_length=64)]
MAX_PASSAGES = 50


class RanksView(BaseModel):
    """A passage's place, from 1, in each search and in the reranker's order; null where it was not found or asked."""

    model_config = ConfigDict(from_attributes=True)

    dense: int | None
    lexical: int | None
    rerank: int | None


class PassageView(BaseModel):
    """A passage: ``text`` is its document's extracted text from ``start`` to ``end``, whole.

    ``distance`` is 1 − cosine; ``score``, 0 to 1, is what the passages are ordered by.
    """

    model_config = ConfigDict(from_attributes=True)

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


class TimingsView(BaseModel):
    """Milliseconds of the parts, the longest of those side by side; ``rerank_ms`` null without a reranker."""

    model_config = ConfigDict(from_attributes=True)

    embed_ms: float
    dense_ms: float
    lexical_ms: float
    rerank_ms: float | None
    total_ms: float


class SearchView(BaseModel):
    """What was found, best first."""

    items: list[PassageView] = Field(max_length=MAX_PASSAGES)
    timings: TimingsView


@router.get(
    "/search",
    dependencies=[Security(while_valid, scopes=["read"])],
    responses=problems(404, 500, 502, 504),
)
async def search(
    request: Request,
    user: Reads,
    retrieval: RetrievalDep,
    q: Annotated[str, Query(min_length=1, max_length=500), AfterValidator(not_blank)],
    k: Annotated[int, Query(ge=1, le=MAX_PASSAGES)] = 10,
    doc_id: Id = None,
    collection_id: Id = None,
) -> SearchView:
    """The passages that fit best to ``q``, relevant or not, without asking a model for an answer."""
    doc_ids = [doc_id] if doc_id else None
    found = await unless_gone(request, retrieval.find(user.user_id, q, k, doc_ids, collection_id))
    return SearchView(
        items=[PassageView.model_validate(one) for one in found.passages],
        timings=TimingsView.model_validate(found.timings),
    )
