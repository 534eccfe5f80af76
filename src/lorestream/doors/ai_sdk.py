"""The door of the Vercel AI SDK: ``useChat`` over its UI message stream (npm ``ai``, stream protocol ``v1``).

https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol, and ``uiMessageChunkSchema`` of the package.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator

from lorestream.accounts.caller import Asks, AskStream, Reads, ReadStream
from lorestream.conversations.answer import Started
from lorestream.conversations.models import Question
from lorestream.conversations.routes import AnswersDep, SettingsDep
from lorestream.conversations.thread_routes import CollectionId, ConversationsDep, DocIds, ModelName
from lorestream.description import problems
from lorestream.doors.messages import asked
from lorestream.doors.translate import END, Translated, data_line
from lorestream.errors import InvalidInput
from lorestream.http import LONE_SURROGATE, EventStream
from lorestream.settings import Settings
from lorestream.streaming import sse
from lorestream.streaming.events import Done, Error, Event, Reasoning, Source, Sources, Status, Token
from lorestream.streaming.runs import OnDisconnect

router = APIRouter(prefix="/ai-sdk/chat", tags=["ai sdk"])

QUESTION_CHARACTERS, INSTRUCTIONS_CHARACTERS = 4000, 4000
# More turns than fit into any prompt.
MAX_TURNS = 64
# How often, and how far apart, Stop looks for an answer that is about to begin.
LOOKS, LOOK_SECONDS = 20, 0.05
FINISHED = {"stop": "stop", "length": "length", "content_filter": "content-filter", "no_context": "stop"}
EXAMPLE = [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "What is the capital of France?"}]}]

ChatId = Annotated[str, Field(min_length=1, max_length=128)]
ChatPath = Annotated[str, Path(min_length=1, max_length=128)]


class Lenient(BaseModel):
    """What a client of others' making sends: what is not known here is passed over, and never passed on."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"additionalProperties": True})

    @field_validator("*", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        # JavaScript sends halves of surrogate pairs, which no UTF-8 can spell, where it has cut an emoji in two.
        if isinstance(value, list):
            return [cls._as_text(one) for one in value]
        return LONE_SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value


class Part(Lenient):
    """A part of a message; only text is read."""

    type: Annotated[str, Field(max_length=128)]
    text: Annotated[str | None, Field(max_length=200_000)] = None


class UIMessage(Lenient):
    """A message as ``useChat`` holds it."""

    id: Annotated[str, Field(max_length=128)] = ""
    role: Literal["system", "user", "assistant"]
    parts: Annotated[list[Part], Field(max_length=1000)]

    @property
    def text(self) -> str:
        """Its text parts."""
        return "\n".join(part.text for part in self.parts if part.type == "text" and part.text)


class Chat(Lenient):
    """The body of a ``DefaultChatTransport``, and what its ``body`` option may add: the fields of a question."""

    id: ChatId
    messages: Annotated[list[UIMessage], Field(min_length=1, max_length=1000, examples=[EXAMPLE])]
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    k: Annotated[int, Field(ge=1, le=10)] = 4
    doc_ids: DocIds | None = None
    collection_id: CollectionId | None = None
    model: ModelName | None = None
    on_disconnect: OnDisconnect = "continue"


STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}


@router.post("", dependencies=[AskStream], response_class=Response, responses={**STREAM, **problems(404, 409)})
async def chat(
    user: Asks, answers: AnswersDep, conversations: ConversationsDep, settings: SettingsDep, body: Chat
) -> Response:
    """Answer the last message, a user's, as a UI message stream; the messages before it are its history.

    The same request again, while its answer is being written, follows that answer from its start.
    """
    question = _question(body)
    await conversations.check_scope(user.user_id, question.doc_ids, question.collection_id)
    started = await answers.start(
        user.user_id,
        question,
        door="ai_sdk",
        on_disconnect=body.on_disconnect,
        narrate=True,
        request_hash=_hash(body),
    )
    return _stream(started, settings)


@router.get(
    "/{chat_id}/stream",
    dependencies=[ReadStream],
    response_class=Response,
    responses={**STREAM, 204: {"description": "No answer of this chat is being written"}},
)
async def resume(user: Reads, answers: AnswersDep, settings: SettingsDep, chat_id: ChatPath) -> Response:
    """The answer of this chat that is being written, from its start."""
    running = await answers.store.running_in_chat(user.user_id, chat_id)
    started = await answers.join(*running[0]) if running else None
    return _stream(started, settings) if started else Response(status_code=204)


class Stopping(BaseModel):
    """The answer to Stop: how many answers of the chat took it."""

    stopping: int


@router.post("/{chat_id}/stop", status_code=202)
async def stop(user: Asks, answers: AnswersDep, chat_id: ChatPath) -> Stopping:
    """Stop what is being written in this chat; what came of it is kept. ``useChat``'s own ``stop`` only leaves.

    A question that is still on its way here is waited for: who stops at once has seen nothing of it either.
    """
    for _ in range(LOOKS):
        if running := await answers.store.running_in_chat(user.user_id, chat_id):
            return Stopping(stopping=sum([await answers.runs.stop(run_id) for run_id, _ in running]))
        await asyncio.sleep(LOOK_SECONDS)
    return Stopping(stopping=0)


def _question(body: Chat) -> Question:
    """What is asked, of untrusted history. Raises InvalidInput where the last message is no question."""
    if any(part.type == "file" for part in body.messages[-1].parts):
        raise InvalidInput("Files cannot be sent with a message; upload them as documents, then ask about them.")
    text, history, instructions = asked((message.role, message.text) for message in body.messages)
    if len(text) > QUESTION_CHARACTERS:
        raise InvalidInput(f"A question can have {QUESTION_CHARACTERS} characters; this one has {len(text)}.")
    if len(instructions) > INSTRUCTIONS_CHARACTERS:
        raise InvalidInput(f"System messages can have {INSTRUCTIONS_CHARACTERS} characters together.")
    return Question(
        text,
        body.k,
        body.doc_ids,
        body.model,
        body.collection_id,
        history=history[-MAX_TURNS:],
        instructions=instructions,
        chat_id=body.id,
    )


def _hash(body: Chat) -> str:
    """A hash of all that is asked for, which another message with the same text does not have."""
    return hashlib.sha256(body.model_dump_json().encode()).hexdigest()


def _stream(started: Started, settings: Settings) -> EventStream:
    headers = {**sse.HEADERS, "X-Run-Id": started.run_id, "X-Vercel-AI-UI-Message-Stream": "v1"}
    told = Telling(started.run_id, started.message_id)
    source = Translated(started.reader, told.event)
    return EventStream(source, headers, told.start(), settings.heartbeat_seconds, settings.write_timeout_seconds)


class Telling:
    """A run's events as parts of one UI message."""

    def __init__(self, run_id: str, message_id: str) -> None:
        """Name the run and the message, which is told first."""
        self._run_id = run_id
        self._message_id = message_id
        self._open: Literal["text", "reasoning"] | None = None
        self._parts = 0

    def start(self) -> bytes:
        """The part before all others."""
        return _part("start", messageId=self._message_id, messageMetadata={"run_id": self._run_id})

    def event(self, event: Event) -> bytes:
        """The parts of one event; those of the terminal one end the stream."""
        match event:
            case Token(text):
                return self._piece("text", text)
            case Reasoning(text):
                return self._piece("reasoning", text)
            case Status():
                return _part("data-status", data=_plain(event, "type"), transient=True)
            case Sources(sources):
                return b"".join(map(_source, sources))
            case Done() | Error():
                return self._close() + b"".join(_ending(event)) + END

    def _piece(self, kind: Literal["text", "reasoning"], text: str) -> bytes:
        opened = b"" if self._open == kind else self._begin(kind)
        delta = f'data: {{"type":"{kind}-delta","id":"{self._parts}","delta":{encode_basestring_ascii(text)}}}\n\n'
        return opened + delta.encode()

    def _begin(self, kind: Literal["text", "reasoning"]) -> bytes:
        closed = self._close()
        self._open = kind
        self._parts += 1
        return closed + _part(f"{kind}-start", id=str(self._parts))

    def _close(self) -> bytes:
        kind, self._open = self._open, None
        return _part(f"{kind}-end", id=str(self._parts)) if kind else b""


def _ending(event: Done | Error) -> Iterator[bytes]:
    if isinstance(event, Error):
        kept = {name: value for name, value in _plain(event, "type").items() if name != "message_id"}
        yield _part("message-metadata", messageMetadata={"error": kept})
        yield _part("error", errorText=event.message)
        yield _part("finish", finishReason="error")
    elif event.finish_reason == "cancelled":
        yield _part("message-metadata", messageMetadata=_plain(event, "type"))
        yield _part("abort", reason="stopped")
    else:
        reason = FINISHED[event.finish_reason]
        yield _part("finish", finishReason=reason, messageMetadata=_plain(event, "type"))


def _source(source: Source) -> bytes:
    about = {"lorestream": _plain(source)}
    title = source.title or "document"
    return _part("source-document", sourceId=str(source.n), mediaType="text/plain", title=title, providerMetadata=about)


def _plain(value: msgspec.Struct, without: str = "") -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(value)
    plain.pop(without, None)
    return plain


def _part(kind: str, **fields: Any) -> bytes:
    return data_line({"type": kind, **fields})
