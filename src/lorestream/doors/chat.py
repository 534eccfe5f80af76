"""The plain doors: ``/chat`` and ``/chat/stream``, in the forms that small chat clients already speak.

The body says which. ``{question}`` is answered over the documents, as one JSON object or as plain text; ``{messages}``
over the documents, as ``{"token": …}`` events; a bare list of messages by the model alone, as Ollama's chat objects.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request, Response
from fastapi import Body as JsonBody
from pydantic import Field, TypeAdapter, ValidatorFunctionWrapHandler, WrapValidator, model_validator

from lorestream.accounts.caller import Asks, AskStream
from lorestream.conversations.answer import Started
from lorestream.conversations.models import Manner, Question
from lorestream.conversations.routes import AnswersDep, SettingsDep, event_stream
from lorestream.conversations.thread_routes import ModelName, QuestionText
from lorestream.db import now
from lorestream.description import problems
from lorestream.doors.messages import Asked, Role, asked
from lorestream.doors.translate import TOKEN, Encode, Translated, data_line, token_line, whole_answer
from lorestream.errors import InvalidInput, LorestreamError, failure
from lorestream.http import Body, BrokenOff, EventStream, unless_gone
from lorestream.providers.catalogue import Catalogue
from lorestream.streaming import sse
from lorestream.streaming.events import Done, Error, Event, Token

router = APIRouter(tags=["chat"])

# What is searched with is as long as any question; what a model alone is asked may hold a text to work on.
QUESTION_CHARACTERS, MESSAGE_CHARACTERS, MAX_MESSAGES = 4000, 32_000, 200
NS_PER_MS = 1_000_000
STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {}, "text/event-stream": {}}},
    **problems(404, 500, 502, 504),
}
PLAIN_TEXT = {**sse.HEADERS, "Content-Type": "text/plain; charset=utf-8"}


class Message(Body):
    """One message of a chat."""

    role: Role
    content: Annotated[str, Field(max_length=MESSAGE_CHARACTERS)]


Messages = Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
_MESSAGES: TypeAdapter[list[Message]] = TypeAdapter(Messages)


class ChatBody(Body):
    """A question, answered over the documents as one JSON object."""

    question: QuestionText


class StreamBody(Body):
    """A ``question``, answered as plain text; or the ``messages`` of a chat, the last of them the question."""

    question: QuestionText | None = None
    messages: Messages | None = None
    model: ModelName | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        if (self.question is None) == (self.messages is None):
            raise ValueError("give either a question or messages")
        return self


def _one_of_two(value: Any, _: ValidatorFunctionWrapHandler) -> ChatBody | list[Message]:
    # By what it is, so that a refusal names the field that is wrong and not the forms that it is not.
    match value:
        case list():
            return _MESSAGES.validate_python(value)
        case dict():
            return ChatBody.model_validate(value)
        case _:
            raise ValueError('give either {"question": "…"} or a list of messages')


AnyBody = Annotated[ChatBody | Messages, WrapValidator(_one_of_two), JsonBody()]


@router.post(
    "/chat",
    dependencies=[AskStream],
    response_model=None,
    responses={
        200: {"content": {"application/json": {}, "text/event-stream": {}}},
        **problems(404, 500, 502, 504),
    },
)
async def chat(
    request: Request,
    user: Asks,
    answers: AnswersDep,
    settings: SettingsDep,
    body: AnyBody,
    model: Annotated[ModelName | None, Query()] = None,
) -> dict[str, Any] | Response:
    """Ask a question, and read the whole answer at once; ``model`` may be one of Ollama's own names.

    With a list of messages in its place, chat with the model alone, without documents, and read Ollama's chat objects
    as server-sent events.
    """
    name = await _offered(answers.catalogue, model)
    if isinstance(body, ChatBody):
        question = Question(body.question, model=name)
        started = await answers.start(user.user_id, question, door="chat", on_disconnect="cancel")
        return await whole_answer(request, started)
    text, history, instructions = _read(body)
    question = Question(text, model=name, retrieve=False, history=history, instructions=instructions)
    shown = model or (await answers.catalogue.resolve(name)).name
    started = await answers.start(user.user_id, question, door="chat_ollama", on_disconnect="cancel")
    return event_stream(started.run_id, Translated(started.reader, ollama(shown)), settings)


@router.post("/api/v1/chat/stream", dependencies=[AskStream], response_class=Response, responses=STREAMED)
@router.post("/chat/stream", dependencies=[AskStream], response_class=Response, responses=STREAMED)
async def chat_stream(
    request: Request, user: Asks, answers: AnswersDep, settings: SettingsDep, body: StreamBody
) -> Response:
    """Ask a question, and read the answer's text as it is written; what fails before the first word has its status.

    With ``messages`` in its place, read ``{"token": …}`` events, then ``{"done": true, "finish_reason": …}`` or
    ``{"error": …}``.
    """
    model, manner = await _offered(answers.catalogue, body.model), Manner(body.max_tokens)
    if body.question is not None:
        question = Question(body.question, model=model, manner=manner)
        started = await answers.start(user.user_id, question, door="chat_text", on_disconnect="cancel")
        text = PlainText(started)
        await text.begin(request)
        headers = {**PLAIN_TEXT, "X-Run-Id": started.run_id}
        return EventStream(text, headers, b"", settings.heartbeat_seconds, settings.write_timeout_seconds)
    said, history, instructions = _read(body.messages or [], QUESTION_CHARACTERS)
    question = Question(said, model=model, history=history, instructions=instructions, manner=manner)
    started = await answers.start(user.user_id, question, door="chat_stream", on_disconnect="cancel")
    return event_stream(started.run_id, Translated(started.reader, answer, around_token=TOKEN), settings)


def _read(messages: list[Message], most: int = MESSAGE_CHARACTERS) -> Asked:
    """What the messages ask. Raises InvalidInput, also for a question of more than ``most`` characters."""
    read = asked((message.role, message.content) for message in messages)
    if len(read.question) > most:
        raise InvalidInput(f"The question may have {most} characters; upload longer texts as documents.")
    return read


async def _offered(catalogue: Catalogue, name: str | None) -> str | None:
    """The model of this name; where there is none, Ollama's of this name, as its own clients call it."""
    names = {model.name for model in await catalogue.models()} if name else set()
    theirs = (f"ollama:{name}", f"ollama:{name}:latest")
    return name if name in names else next((one for one in theirs if one in names), name)


def answer(event: Event) -> bytes:
    """An event as ``/chat/stream`` tells it to a client that sent messages."""
    match event:
        case Token(text):
            return token_line(text)
        case Done():
            return data_line({"done": True, "finish_reason": event.finish_reason})
        case Error(message):
            return data_line({"error": message})
        case _:
            return b""


def ollama(model: str, clock: Callable[[], datetime] = now) -> Encode:
    """How an answer of this model is told as the objects of Ollama's ``/api/chat``, one an event.

    https://github.com/ollama/ollama/blob/main/docs/api.md, "Generate a chat completion"; durations in nanoseconds.
    """

    def said(text: str, **more: Any) -> bytes:
        message = {"role": "assistant", "content": text}
        return data_line({"model": model, "created_at": clock().isoformat(), "message": message, **more})

    def encode(event: Event) -> bytes:
        match event:
            case Token(text):
                return said(text, done=False)
            case Done():
                return said("", done=True, done_reason=event.finish_reason, **_counters(event))
            case Error(message):
                return data_line({"error": message})
            case _:
                return b""

    return encode


def _counters(done: Done) -> dict[str, int]:
    total, first = done.timings.total_ms, done.timings.first_token_ms
    counters = {"total_duration": total * NS_PER_MS}
    if done.usage and first is not None:
        counters |= {
            "prompt_eval_count": done.usage.prompt_tokens,
            "prompt_eval_duration": first * NS_PER_MS,
            "eval_count": done.usage.completion_tokens,
            "eval_duration": (total - first) * NS_PER_MS,
        }
    return counters


class PlainText(Translated):
    """The text of an answer and nothing else: an end that is not the answer's breaks the connection off."""

    def __init__(self, started: Started) -> None:
        """``begin`` before the first use."""
        super().__init__(started.reader, self._text, heartbeat=b"")
        self._run_id = started.run_id
        self._begun = False
        self._first: bytes | None = b""

    async def begin(self, request: Request) -> None:
        """Wait for the first text, or for the end of an answer that has none.

        Raises what the run failed with before it, as the failure of that code.
        """
        try:
            await unless_gone(request, self._until_text())
        except BrokenOff:
            self.close()
            raise LorestreamError("The answer's events are no longer kept.") from None
        except BaseException:
            self.close()
            raise

    async def next(self, wait_seconds: float) -> bytes | None:
        """The next text; nothing after ``wait_seconds`` of silence. Raises BrokenOff where the answer failed."""
        first, self._first = self._first, b""
        return first or await super().next(wait_seconds)

    async def _until_text(self) -> None:
        while self._first == b"":
            self._first = await super().next(sse.HEARTBEAT_SECONDS)

    def _text(self, event: Event) -> bytes:
        match event:
            case Token(text):
                self._begun = True
                return text.encode("utf-8", "replace")
            case Error() if self._begun:
                raise BrokenOff
            case Error():
                raise failure(event.code, event.message, event.retry_after, {"run_id": self._run_id})
            case _:
                return b""
