"""The base contract: ``GET /query/stream/``, published and depended on, and its fold ``POST /query/``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import AfterValidator, Field

from lorestream.accounts.caller import ASK_STREAM_BY_TICKET, Asks, AsksWhileValid, TicketRun
from lorestream.conversations.models import Question
from lorestream.conversations.routes import AnswersDep, SettingsDep, event_stream, follow
from lorestream.description import problems
from lorestream.doors.translate import whole_answer
from lorestream.http import Body, client_ip, from_state, not_blank
from lorestream.limits import RateLimiter
from lorestream.streaming.runs import OnDisconnect

router = APIRouter(tags=["query"])

LimiterDep = Annotated[RateLimiter, from_state("limiter")]


QuestionText = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(not_blank)]
Passages = Annotated[int, Field(ge=1, le=10)]
DocId = Annotated[str, Field(min_length=1, max_length=64)]


class QueryBody(Body):
    """The body of ``POST /query/``."""

    question: QuestionText
    k: Passages = 4
    doc_id: DocId | None = None


@router.get(
    "/query/stream/",
    dependencies=ASK_STREAM_BY_TICKET,
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "sources, token…, done or error"},
        204: {"description": "The run that Last-Event-ID names has been read to its end"},
        **problems(404, 409, 410),
    },
)
async def query_stream(
    request: Request,
    user: Asks,
    answers: AnswersDep,
    settings: SettingsDep,
    limiter: LimiterDep,
    run_id: TicketRun,
    question: Annotated[QuestionText, Query()],
    k: Annotated[Passages, Query()] = 4,
    doc_id: Annotated[DocId | None, Query()] = None,
    on_disconnect: Annotated[OnDisconnect, Query()] = "cancel",
    last_event_id: Annotated[str | None, Header(max_length=256)] = None,
) -> Response:
    """Ask, and read the answer as server-sent events: ``sources``, then ``token``…, then ``done`` or ``error``.

    A browser's EventSource that reconnects by itself sends ``Last-Event-ID``: it goes on with its run.
    """
    if last_event_id and ":" in last_event_id:
        return await follow(user, answers, settings, last_event_id.partition(":")[0], last_event_id)
    await limiter.check("query_stream", settings.query_rate, client_ip(request))
    asked = Question(question, k, [doc_id] if doc_id else None, run_id=run_id)
    started = await answers.start(user.user_id, asked, door="query_stream", on_disconnect=on_disconnect)
    return event_stream(started.run_id, started.reader, settings)


@router.post("/query/", dependencies=[AsksWhileValid], responses=problems(404, 500, 502, 504))
async def query(
    request: Request,
    user: Asks,
    answers: AnswersDep,
    settings: SettingsDep,
    limiter: LimiterDep,
    body: QueryBody,
) -> dict[str, Any]:
    """Ask, and read the whole answer at once: the fold of the same events."""
    await limiter.check("query", settings.query_rate, client_ip(request))
    asked = Question(body.question, body.k, [body.doc_id] if body.doc_id else None)
    started = await answers.start(user.user_id, asked, door="query", on_disconnect="cancel")
    return await whole_answer(request, started)
