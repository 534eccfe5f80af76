"""``/v1/embeddings``: the vectors of texts, by the embedder that the documents are searched with."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from fastapi import APIRouter, Request, Response, Security
from pydantic import Field, field_validator

from lorestream.accounts.caller import QuotasService, Reads, while_valid
from lorestream.conversations.routes import AnswersDep
from lorestream.doors.openai_errors import REFUSALS, NoSuchModel, unusable
from lorestream.doors.openai_requests import DEFAULT_MODEL, Lenient, ModelName, Text
from lorestream.http import from_state, unless_gone
from lorestream.providers.base import Embedder, Vectors

MAX_INPUTS, MAX_CHARACTERS = 256, 200_000

router = APIRouter(prefix="/v1", tags=["openai"], responses=REFUSALS)

EmbedderDep = Annotated[Embedder, from_state("embedder")]
Input = Annotated[Text, Field(min_length=1)]
JSON: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"schema": {"type": "object"}}}, "description": "A vector for each text"}
}


class Embeddings(Lenient):
    """The body of ``POST /v1/embeddings``; ``dimensions``, if given, must be those of the embedder."""

    model: ModelName = DEFAULT_MODEL
    input: Input | Annotated[list[Input], Field(min_length=1, max_length=MAX_INPUTS)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1, le=100_000)] | None = None

    @field_validator("input", mode="before")
    @classmethod
    def _texts(cls, given: Any) -> Any:
        if isinstance(given, list) and any(isinstance(one, int | list) for one in given):
            raise ValueError("send texts; tokens of another model mean nothing to the embedder here")
        return given


@router.post(
    "/embeddings",
    dependencies=[Security(while_valid, scopes=["read"])],
    response_class=Response,
    responses=JSON,
)
async def embeddings(
    request: Request,
    user: Reads,
    quotas: QuotasService,
    answers: AnswersDep,
    embedder: EmbedderDep,
    body: Embeddings,
) -> Response:
    """Embed texts. A text that is longer than the embedder reads at once gets the mean of its pieces' vectors."""
    texts = [body.input] if isinstance(body.input, str) else body.input
    if body.model not in (DEFAULT_MODEL, embedder.name):
        raise NoSuchModel(f"The embedder here is {embedder.name!r}; {body.model[:100]!r} cannot be had.")
    if sum(map(len, texts)) > MAX_CHARACTERS:
        raise unusable("input", f"All texts together may have {MAX_CHARACTERS} characters; send them in several calls.")
    if body.dimensions not in (None, length := await embedder.dimensions()):
        raise unusable("dimensions", f"The vectors of {embedder.name} have {length} dimensions; leave this out.")
    # In a line like that before a language model, so that nobody's thousand texts are before another's one.
    at_once = quotas.of(user.limits)["running_answers"]
    ticket = await answers.admission.enter(user.user_id, f"embeddings of {embedder.name}", at_once)
    try:
        async for _ in ticket.positions():
            pass
        vectors, tokens = await unless_gone(request, embedded(embedder, texts))
    finally:
        ticket.leave()
    content = await asyncio.to_thread(_content, vectors, tokens, embedder.name, body.encoding_format)
    return Response(content, headers={"Cache-Control": "no-store"}, media_type="application/json")


async def embedded(embedder: Embedder, texts: Sequence[str]) -> tuple[Vectors, int]:
    """A unit vector for each text, and how many tokens they have together; raises what the embedder raises.

    Long texts are cut into pieces that the embedder reads whole, whose vectors are averaged by their lengths in tokens
    (OpenAI Cookbook, "Embedding texts that are longer than the model's maximum context length").
    """
    cut = await asyncio.to_thread(lambda: [_pieces(embedder, text) for text in texts])
    rows = await embedder.embed([piece for pieces in cut for piece, _ in pieces])
    weights = np.array([size for pieces in cut for _, size in pieces], np.float32)
    starts = np.cumsum([0, *(len(pieces) for pieces in cut[:-1])])
    sums = np.add.reduceat(rows * weights[:, None], starts, axis=0)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    vectors: Vectors = (sums / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
    return vectors, int(weights.sum())


def _pieces(embedder: Embedder, text: str) -> list[tuple[str, int]]:
    """A text in pieces of at most ``max_tokens``, each with its number of tokens, at least 1 (blocking)."""
    spans, most = embedder.token_spans(text), embedder.max_tokens
    if len(spans) <= most:
        return [(text, max(len(spans), 1))]
    groups = [spans[start : start + most] for start in range(0, len(spans), most)]
    return [(text[group[0][0] : group[-1][1]], len(group)) for group in groups]


def _content(vectors: Vectors, tokens: int, name: str, form: Literal["float", "base64"]) -> bytes:
    """The answer's body, row by row: whole it would hold the interpreter for too long (blocking)."""
    rows = [
        msgspec.json.encode({"object": "embedding", "index": index, "embedding": _written(row, form)})
        for index, row in enumerate(vectors)
    ]
    rest = {"model": name, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    return b'{"object":"list","data":[' + b",".join(rows) + b"]," + msgspec.json.encode(rest)[1:]


def _written(row: Vectors, form: Literal["float", "base64"]) -> str | list[float]:
    """A vector as numbers, or as the base64 of little-endian float32, which OpenAI's own clients ask for."""
    return base64.b64encode(row.astype("<f4").tobytes()).decode() if form == "base64" else row.tolist()
