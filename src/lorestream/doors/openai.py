"""The OpenAI-compatible door: ``/v1/models`` and ``/v1/chat/completions``, for every client that speaks to OpenAI."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from lorestream.accounts.caller import Asks, AskStream, Reads
from lorestream.conversations.routes import AnswersDep, SettingsDep
from lorestream.conversations.thread_routes import ConversationsDep
from lorestream.doors.openai_answers import Chunks, completion
from lorestream.doors.openai_errors import REFUSALS, NoSuchModel
from lorestream.doors.openai_requests import DEFAULT_MODEL, PLAIN, Completion, question
from lorestream.doors.translate import Translated, answer_of
from lorestream.http import EventStream
from lorestream.providers.catalogue import Catalogue
from lorestream.streaming import sse

router = APIRouter(prefix="/v1", tags=["openai"], responses=REFUSALS)

JSON_OR_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {}},
        "description": "The answer, or its chunks until `[DONE]`",
    }
}


@router.get("/models")
async def models(_user: Reads, answers: AnswersDep) -> dict[str, Any]:
    """The models that can be asked: ``lorestream``, which is the default, and each by its own name."""
    return {"object": "list", "data": [_described(name) for name in await _names(answers.catalogue)]}


@router.get("/models/{model:path}")
async def model(_user: Reads, answers: AnswersDep, model: Annotated[str, Path(max_length=256)]) -> dict[str, Any]:
    """One of them."""
    await _check(answers.catalogue, model.removesuffix("/"))
    return _described(model.removesuffix("/"))


@router.post("/chat/completions", dependencies=[AskStream], response_class=Response, responses=JSON_OR_STREAM)
async def chat_completions(
    request: Request,
    user: Asks,
    answers: AnswersDep,
    conversations: ConversationsDep,
    settings: SettingsDep,
    body: Completion,
) -> Response:
    """Ask, with what came before; the answer rests on the caller's documents, and ends with its connection."""
    asks = question(body)
    await _check(answers.catalogue, body.model)
    await conversations.check_scope(user.user_id, asks.doc_ids, asks.collection_id)
    started = await answers.start(user.user_id, asks, door="openai", on_disconnect="cancel", narrate=True)
    headers = {"X-Run-Id": started.run_id}
    if not body.stream:
        whole = completion(started.run_id, body.model, *await answer_of(request, started))
        return Response(
            json.dumps(whole), headers={**headers, "Cache-Control": "no-store"}, media_type="application/json"
        )
    options = body.stream_options
    chunks = Chunks(started.run_id, body.model, include_usage=bool(options and options.include_usage))
    source = Translated(started.reader, chunks.encode, around_token=chunks.around_token)
    return EventStream(
        source, {**sse.HEADERS, **headers}, b"", settings.heartbeat_seconds, settings.write_timeout_seconds
    )


async def _names(catalogue: Catalogue) -> list[str]:
    return [DEFAULT_MODEL, DEFAULT_MODEL + PLAIN, *(info.name for info in await catalogue.models())]


async def _check(catalogue: Catalogue, name: str) -> None:
    """Raise NoSuchModel for a name that is not listed; each may end with PLAIN."""
    names = await _names(catalogue)
    if name not in names and name.removesuffix(PLAIN) not in names:
        raise NoSuchModel(f"There is no model named {name[:100]!r} here; /v1/models lists those there are.")


def _described(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "lorestream"}
