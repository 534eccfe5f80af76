"""The doors of LangChain tutorials: ``/rag/stream`` and ``/rag/stream-with-sources``, for ``EventSource`` and others.

Each event is one JSON object with one member: ``{"token": …}``, and at the end ``{"done": true}`` or ``{"error": …}``;
with sources ``{"status": …}`` and ``{"sources": […]}`` before them. Every event has the ``id:`` of the run's own, so
that a browser's EventSource that reconnects by itself goes on where it was.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import AfterValidator, Field

from lorestream.accounts.caller import ASK_STREAM_BY_TICKET, Asks, AskStream, TicketRun
from lorestream.conversations.answer import Answers
from lorestream.conversations.models import Question
from lorestream.conversations.routes import AnswersDep, SettingsDep, all_read, event_stream, reader_after
from lorestream.conversations.thread_routes import QuestionText
from lorestream.description import problems
from lorestream.doors.query import DocId, Passages
from lorestream.doors.translate import TOKEN, Encode, Translated, data_line, token_line
from lorestream.http import Body, not_blank
from lorestream.settings import Settings
from lorestream.streaming.events import Done, Error, Event, Source, Sources, Status, Token
from lorestream.streaming.runs import OnDisconnect, Reader

router = APIRouter(prefix="/rag", tags=["rag"])

CONTENT_CHARACTERS = 150
NO_PAGE = "N/A"
# Its longest, all of it in characters of four bytes, still fits into an address that this server takes.
AddressedText = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(not_blank)]
STOPPED = "The answer was stopped before its end; please ask again."
STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
RESUMED: dict[int | str, dict[str, Any]] = {
    **STREAM,
    204: {"description": "The run that Last-Event-ID names has been read to its end"},
    **problems(404, 409, 410),
}


class RagBody(Body):
    """The body of a question."""

    query: QuestionText
    k: Passages = 4
    doc_id: DocId | None = None
    on_disconnect: OnDisconnect = "cancel"


def answer(event: Event) -> bytes:
    """An event as ``/rag/stream`` tells it: the text, and how it ended."""
    match event:
        case Token(text):
            return token_line(text)
        case Done():
            return data_line({"done": True})
        case Error(message):
            return data_line({"error": message})
        case _:
            return b""


def answer_with_sources(event: Event) -> bytes:
    """An event as ``/rag/stream-with-sources`` tells it."""
    match event:
        case Status(phase):
            return data_line({"status": phase})
        case Sources(sources):
            return data_line({"sources": [_source(one) for one in sources]})
        case _:
            return answer(event)


def broken_before(encode: Encode) -> Encode:
    """The same for whoever comes back after a break: an answer that was stopped meanwhile is no whole one."""

    def told(event: Event) -> bytes:
        if isinstance(event, Done) and event.finish_reason == "cancelled":
            return data_line({"error": STOPPED})
        return encode(event)

    return told


def _source(source: Source) -> dict[str, Any]:
    page = NO_PAGE if source.page is None else source.page
    return {"content": f"{source.text[:CONTENT_CHARACTERS]}...", "source": source.title, "page": page}


def question_of(
    run_id: TicketRun,
    query: Annotated[AddressedText, Query()],
    k: Annotated[Passages, Query()] = 4,
    doc_id: Annotated[DocId | None, Query()] = None,
) -> Question:
    """What the parameters of a ``GET`` ask."""
    return Question(query, k, [doc_id] if doc_id else None, run_id=run_id)


Asked = Annotated[Question, Depends(question_of)]
LastEventId = Annotated[str | None, Header(max_length=256)]


@router.get("/stream", dependencies=ASK_STREAM_BY_TICKET, response_class=Response, responses=RESUMED)
async def stream(
    user: Asks,
    answers: AnswersDep,
    settings: SettingsDep,
    asked: Asked,
    on_disconnect: Annotated[OnDisconnect, Query()] = "cancel",
    last_event_id: LastEventId = None,
) -> Response:
    """Ask, and read the answer as ``{"token": …}`` events, then ``{"done": true}`` or ``{"error": …}``."""
    door = _Door(answers, settings, answer, "rag")
    return await door.read(user.user_id, asked, on_disconnect, last_event_id)


@router.post("/stream", dependencies=[AskStream], response_class=Response, responses=STREAM)
async def stream_of_body(user: Asks, answers: AnswersDep, settings: SettingsDep, body: RagBody) -> Response:
    """The same for a client that sends a body."""
    return await _Door(answers, settings, answer, "rag").ask(user.user_id, _question(body), body.on_disconnect)


@router.get("/stream-with-sources", dependencies=ASK_STREAM_BY_TICKET, response_class=Response, responses=RESUMED)
async def stream_with_sources(
    user: Asks,
    answers: AnswersDep,
    settings: SettingsDep,
    asked: Asked,
    on_disconnect: Annotated[OnDisconnect, Query()] = "continue",
    last_event_id: LastEventId = None,
) -> Response:
    """The same with ``{"status": …}`` and ``{"sources": […]}`` before it.

    The answer goes on where the connection breaks, so that an EventSource, which reconnects by itself, misses nothing.
    """
    door = _Door(answers, settings, answer_with_sources, "rag_sources")
    return await door.read(user.user_id, asked, on_disconnect, last_event_id)


@router.post("/stream-with-sources", dependencies=[AskStream], response_class=Response, responses=STREAM)
async def stream_with_sources_of_body(
    user: Asks, answers: AnswersDep, settings: SettingsDep, body: RagBody
) -> Response:
    """The same for a client that sends a body."""
    door = _Door(answers, settings, answer_with_sources, "rag_sources")
    return await door.ask(user.user_id, _question(body), body.on_disconnect)


def _question(body: RagBody) -> Question:
    return Question(body.query, body.k, [body.doc_id] if body.doc_id else None)


class _Door:
    """One of the two ways to tell an answer."""

    def __init__(self, answers: Answers, settings: Settings, encode: Encode, name: str) -> None:
        self._answers, self._settings, self._encode, self._name = answers, settings, encode, name

    async def ask(self, owner_id: str, question: Question, on_disconnect: OnDisconnect) -> Response:
        narrate = self._encode is answer_with_sources
        started = await self._answers.start(
            owner_id, question, door=self._name, on_disconnect=on_disconnect, narrate=narrate
        )
        return self._stream(started.run_id, started.reader, self._encode)

    async def read(
        self, owner_id: str, question: Question, on_disconnect: OnDisconnect, last_event_id: str | None
    ) -> Response:
        """Ask, or go on reading the run that ``last_event_id`` names."""
        run_id, is_cursor, _ = (last_event_id or "").partition(":")
        if not is_cursor:
            return await self.ask(owner_id, question, on_disconnect)
        reader = await reader_after(self._answers, owner_id, run_id, last_event_id)
        return self._stream(run_id, reader, broken_before(self._encode)) if reader else all_read(run_id)

    def _stream(self, run_id: str, reader: Reader, encode: Encode) -> Response:
        told = Translated(reader, encode, resumable=True, around_token=TOKEN)
        return event_stream(run_id, told, self._settings)
