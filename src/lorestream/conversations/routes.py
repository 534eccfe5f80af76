"""Runs over HTTP: follow one, stop one, read what is stored of one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import BaseModel, ConfigDict

from lorestream.accounts.caller import Asks, Reads, ReadStream
from lorestream.conversations.answer import Answers
from lorestream.description import problems
from lorestream.errors import Conflict, Gone, Interrupted
from lorestream.http import EventSource, EventStream, from_state
from lorestream.settings import Settings
from lorestream.streaming import sse
from lorestream.streaming.events import MessageStatus
from lorestream.streaming.runs import Reader

router = APIRouter(tags=["runs"])

AnswersDep = Annotated[Answers, from_state("answers")]
SettingsDep = Annotated[Settings, from_state("settings")]
# Anything that is not a run id of ours is answered like a run that does not exist.
RunId = Annotated[str, Path(max_length=64)]


def event_stream(run_id: str, source: EventSource, settings: Settings) -> EventStream:
    """A run's events as the response of a stream."""
    headers = {**sse.HEADERS, "X-Run-Id": run_id}
    return EventStream(source, headers, sse.RETRY, settings.heartbeat_seconds, settings.write_timeout_seconds)


@router.get(
    "/runs/{run_id}/events",
    dependencies=[ReadStream],
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {}}},
        204: {"description": "The terminal event was read"},
        **problems(409, 410),
    },
)
async def follow(
    user: Reads,
    answers: AnswersDep,
    settings: SettingsDep,
    run_id: RunId,
    last_event_id: Annotated[str | None, Header(max_length=256)] = None,
    after: Annotated[int | None, Query(ge=0, le=10**9)] = None,
) -> Response:
    """Replay what follows the cursor, then go on live; 204 once the terminal event was read."""
    reader = await reader_after(answers, user.user_id, run_id, last_event_id, after)
    return event_stream(run_id, reader, settings) if reader else all_read(run_id)


async def reader_after(
    answers: Answers, owner_id: str, run_id: str, last_event_id: str | None, after: int | None = None
) -> Reader | None:
    """A reader of what follows a cursor; None once the terminal event was read.

    Raises NotFound, InvalidInput and Conflict for the run and the cursor, Gone where its log is no longer kept.
    """
    await answers.store.snapshot(owner_id, run_id)
    cursor = sse.parse_cursor(run_id, last_event_id, after)
    position = await answers.runs.position(run_id, cursor)
    at_the_end = position.ended and cursor == position.last
    if cursor <= position.last and not at_the_end:
        return answers.runs.follow(run_id, cursor)
    stored = await answers.store.snapshot(owner_id, run_id)
    if stored.error and stored.error["code"] == Interrupted.code:
        # Its last numbers may have gone, at the process that died, to events that died with it.
        raise Gone("The last events of this answer are lost; its message is kept.")
    if cursor > position.last:
        raise Conflict("The cursor is ahead of this answer's events.")
    return None


def all_read(run_id: str) -> Response:
    """What a reader gets who has read a run to its end: a browser's EventSource comes no more after it."""
    return Response(status_code=204, headers={"X-Run-Id": run_id})


class Stopping(BaseModel):
    """The answer to Stop: whether a live run took it."""

    run_id: str
    stopping: bool


class RunView(BaseModel):
    """A stored run as its owner sees it; the lists and objects are those of the events."""

    model_config = ConfigDict(from_attributes=True)

    run_id: str
    message_id: str
    conversation_id: str | None
    question: str
    status: MessageStatus
    content: str
    sources: list[dict[str, Any]]
    citations: list[dict[str, Any]]
    error: dict[str, Any] | None
    model: str | None
    finish_reason: str | None
    usage: dict[str, Any] | None
    timings: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime


@router.post("/runs/{run_id}/stop", status_code=202)
async def stop(user: Asks, answers: AnswersDep, run_id: RunId) -> Stopping:
    """Stop an answer; what came of it is kept. Asking again changes nothing."""
    stored = await answers.store.snapshot(user.user_id, run_id)
    # A run is stored as ended a moment before the last trace of its life is gone.
    live = stored.status == "running"
    return Stopping(run_id=run_id, stopping=live and await answers.runs.stop(run_id))


@router.get("/runs/{run_id}")
async def snapshot(user: Reads, answers: AnswersDep, run_id: RunId) -> RunView:
    """What is stored of a run: at most a second behind a live one, complete once it has ended."""
    return RunView.model_validate(await answers.store.snapshot(user.user_id, run_id))
