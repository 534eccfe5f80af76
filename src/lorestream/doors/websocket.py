"""``WS /ws/chat``: a chat over one WebSocket, questions in and the events of their answers out, each a JSON text.

Questions are answered one after the other; each ends with one ``done``, or one ``error`` that names its run. An
``error`` without ``run_id`` refuses what was sent and ends no answer. A refusal that ends the connection is an
``error``, and then a close with 4000 + its HTTP status.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from json.encoder import encode_basestring_ascii
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import Field, ValidationError
from pydantic_core import from_json

from lorestream.accounts.caller import AsksByToken, QuotasService
from lorestream.accounts.models import Principal
from lorestream.accounts.quotas import Quotas
from lorestream.accounts.watch import Watch
from lorestream.admission import Seats
from lorestream.connection import ABORT
from lorestream.conversations.answer import Answers, Started
from lorestream.conversations.models import Question, Turn
from lorestream.conversations.routes import AnswersDep
from lorestream.conversations.thread_routes import CollectionId, DocIds, ModelName, QuestionText
from lorestream.errors import Busy, InvalidInput, LorestreamError, Unauthenticated
from lorestream.http import Body, BrokenOff, from_state, invalid
from lorestream.streaming.events import Done, Error, Event, Fold, Sources, Token, error_event
from lorestream.streaming.runs import Reader

router = APIRouter(tags=["websocket"])

PATH = "/ws/chat"
# Both slash forms, as they are asked for.
PATHS = frozenset({PATH.encode(), f"{PATH}/".encode()})
# A browser can send no header, but name protocols: ours, and its token as another one.
SUBPROTOCOL, BEARER = "lorestream", "bearer."
AUTH_SECONDS = 5.0
# Twice what the longest question takes where every character is escaped.
MAX_MESSAGE_BYTES = 64 * 1024
# What of the connection's earlier questions and answers the next one is asked with.
MAX_TURNS, MAX_HISTORY_CHARACTERS = 20, 32_000
# The question that is answered, and the next one.
MAX_IN_LINE = 2
# How long a client may take to read why its connection ends.
CLOSE_SECONDS = 1.0
# RFC 6455, 7.4.1: something unexpected ended it. Our own codes are the HTTP statuses from here on (7.4.2).
BROKEN, REFUSED = 1011, 4000


class Auth(Body):
    """The first message of a client that has shown no token yet."""

    type: Literal["auth"]
    token: Annotated[str, Field(min_length=1, max_length=4096)]


class Ask(Body):
    """A question; the fields are those of a question in a conversation."""

    type: Literal["question"] = "question"
    content: QuestionText
    k: Annotated[int, Field(ge=1, le=10)] = 4
    doc_ids: DocIds | None = None
    collection_id: CollectionId | None = None
    model: ModelName | None = None


class Stop(Body):
    """Stop everything that was asked so far."""

    type: Literal["stop"]


MESSAGES: Mapping[Any, type[Auth | Ask | Stop]] = {"auth": Auth, "question": Ask, "stop": Stop}


def decode(data: str | bytes) -> Auth | Ask | Stop:
    """A client's message. Raises InvalidInput."""
    try:
        given = from_json(data)
    except ValueError as error:
        raise InvalidInput("The message is not JSON.") from error
    kind = given.get("type", "question") if isinstance(given, dict) else None
    if not isinstance(kind, str) or kind not in MESSAGES:
        raise InvalidInput(
            'A message is {"content": "your question"}, {"type": "stop"} or {"type": "auth", "token": …}.'
        )
    try:
        return MESSAGES[kind].model_validate(given)
    except ValidationError as error:
        raise invalid(error.errors()) from error


def encode(event: Event, run_id: str | None) -> str:
    """An event of a run as a message; empty for what this door does not tell."""
    if type(event) is Token:  # the hot path: one of these for every token
        return f'{{"type":"token","content":{encode_basestring_ascii(event.text)}}}'
    match event:
        case Sources():
            told = msgspec.to_builtins(event)
        case Done() | Error():
            told = {**msgspec.to_builtins(event), "run_id": run_id}
            told.pop("conversation_id", None)  # there is none
        case _:
            return ""
    return json.dumps(told, separators=(",", ":"))


@router.websocket(PATH)
async def chat(
    websocket: WebSocket,
    whose: AsksByToken,
    answers: AnswersDep,
    quotas: QuotasService,
    seats: Annotated[Seats, from_state("stream_seats")],
    watch: Annotated[Watch, from_state("watch")],
) -> None:
    """Learn who it is, then answer until the client leaves, or may no longer be served."""
    ours = SUBPROTOCOL in websocket.scope["subprotocols"]
    await websocket.accept(SUBPROTOCOL if ours else None)
    try:
        user = await whose(_shown_token(websocket) or await _sent_token(websocket))
        give_back = await seats.take(user.user_id, quotas.of(user.limits)["open_streams"])
        try:
            await _Chat(websocket, user, answers, quotas, watch).run()
        finally:
            give_back()
    except WebSocketDisconnect:
        return
    except BrokenOff:
        await _end(websocket, BROKEN)
    except LorestreamError as refusal:
        await _end(websocket, REFUSED + refusal.status, refusal)


def _shown_token(websocket: WebSocket) -> str | None:
    scheme, _, token = websocket.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    offered = (one.removeprefix(BEARER) for one in websocket.scope["subprotocols"] if one.startswith(BEARER))
    return next(offered, None)


async def _sent_token(websocket: WebSocket) -> str:
    try:
        async with asyncio.timeout(AUTH_SECONDS):
            first = decode(await _received(websocket))
    except TimeoutError as late:
        raise Unauthenticated(f"No token came within {AUTH_SECONDS:g} seconds.") from late
    if not isinstance(first, Auth):
        raise Unauthenticated('The first message must be {"type": "auth", "token": …}.')
    return first.token


async def _received(websocket: WebSocket) -> str | bytes:
    """The next message. Raises WebSocketDisconnect."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"])
    data: str | bytes | None = message.get("text")
    return message["bytes"] if data is None else data


async def _end(websocket: WebSocket, code: int, refusal: LorestreamError | None = None) -> None:
    """Close, and say why; a client that does not read it is broken off."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            if refusal:
                await websocket.send_text(encode(error_event(refusal, None), None))
            await websocket.close(code, refusal.code if refusal else None)
    except (TimeoutError, WebSocketDisconnect):
        abort: Callable[[], None] = websocket.scope[ABORT]
        abort()


@dataclass(slots=True)
class _Asked:
    """A question in the line, and whether it was stopped."""

    question: Question
    stopped: bool = False


class _Chat:
    """The questions of one connection. Three tasks: one listens, one answers, one waits for the login's end."""

    def __init__(self, websocket: WebSocket, user: Principal, answers: Answers, quotas: Quotas, watch: Watch) -> None:
        self._websocket = websocket
        self._user = user
        self._answers = answers
        self._quotas = quotas
        self._watch = watch
        self._line: deque[_Asked] = deque()  # the first is being answered
        self._more = asyncio.Event()
        self._history: deque[Turn] = deque()
        self._starting = self._left = False
        self._reader: Reader | None = None

    async def run(self) -> None:
        """Until the client leaves. Raises WebSocketDisconnect then, Unauthenticated at its login's end, BrokenOff."""
        over = asyncio.Event()
        with self._watch.holding(self._user.credential, over.set):
            answering = asyncio.create_task(self._answer_all())
            tasks = [answering, asyncio.create_task(self._listen()), asyncio.create_task(over.wait())]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks[:2]:
                    if task.done():
                        task.result()
                raise Unauthenticated
            finally:
                self._left = True
                if self._reader:
                    self._reader.close()
                for task in tasks:
                    # A question that is just being stored would be left behind, running for ever.
                    if not (task is answering and self._starting):
                        task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            data = await _received(self._websocket)
            try:
                await self._take(decode(data))
            except LorestreamError as refusal:
                await self._say(error_event(refusal, None), None)

    async def _take(self, message: Auth | Ask | Stop) -> None:
        match message:
            case Stop():
                for asked in self._line:
                    asked.stopped = True
                if self._reader:
                    self._answers.runs.stop_here(self._reader.run_id)
            case Ask():
                await self._quotas.request(self._user, {})
                if len(self._line) >= MAX_IN_LINE:
                    raise Busy("An answer is being written and another question waits; wait for one, or send a stop.")
                self._line.append(
                    _Asked(Question(message.content, message.k, message.doc_ids, message.model, message.collection_id))
                )
                self._more.set()
            case Auth():
                raise InvalidInput("You are logged in already.")

    async def _answer_all(self) -> None:
        while await self._more.wait():
            while self._line:
                await self._answer(self._line[0])
                self._line.popleft()
            self._more.clear()

    async def _answer(self, asked: _Asked) -> None:
        await self._watch.check(self._user.credential)
        try:
            started = await self._start(asked)
        except LorestreamError as refusal:
            await self._say(error_event(refusal, None), None)
            return
        fold = Fold()
        self._reader = started.reader
        try:
            if self._left:
                raise WebSocketDisconnect
            if asked.stopped:
                self._answers.runs.stop_here(started.run_id)
            async for event in started.reader.events():
                fold.add(event)
                await self._say(event, started.run_id)
        finally:
            self._reader = None
            started.reader.close()
        if fold.terminal is None:
            raise BrokenOff
        self._remember(asked.question.text, fold.answer)

    async def _start(self, asked: _Asked) -> Started:
        question = replace(asked.question, history=tuple(self._history))
        self._starting = True
        try:
            return await self._answers.start(self._user.user_id, question, door="websocket", on_disconnect="cancel")
        finally:
            self._starting = False

    async def _say(self, event: Event, run_id: str | None) -> None:
        if told := encode(event, run_id):
            await self._websocket.send_text(told)

    def _remember(self, question: str, answer: str) -> None:
        """The latest questions and answers, within both limits."""
        if not answer:
            return
        self._history.append(Turn(question, answer[: MAX_HISTORY_CHARACTERS - len(question)]))
        while len(self._history) > MAX_TURNS or _size(self._history) > MAX_HISTORY_CHARACTERS:
            self._history.popleft()


def _size(history: deque[Turn]) -> int:
    return sum(len(turn.question) + len(turn.answer) for turn in history)
