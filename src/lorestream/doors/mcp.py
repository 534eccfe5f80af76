"""The Model Context Protocol's door: ``POST /mcp``, streamable HTTP without sessions kept anywhere.

The official SDK speaks the protocol; it sees a request only when we know who asks. Any worker serves any request: a
session's id is a name that the client gives its answers, by which ``notifications/cancelled`` finds them again.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, cast

from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from lorestream.accounts.caller import Reads, ReadStream
from lorestream.accounts.models import Principal
from lorestream.conversations.answer import Answers
from lorestream.conversations.routes import AnswersDep, SettingsDep
from lorestream.documents.service import Documents
from lorestream.errors import Internal
from lorestream.http import BrokenOff, EventStream, from_state, unless_gone
from lorestream.retrieval.search import Retrieval
from lorestream.settings import Settings
from lorestream.streaming import sse

log = logging.getLogger(__name__)

router = APIRouter(tags=["mcp"])

SESSION_HEADER = "mcp-session-id"
SESSION = re.compile(r"[0-9a-f]{32}", re.ASCII)
CALLER = "lorestream.caller"
# Of the SDK's messages that the client has not taken yet.
MAX_WAITING = 16

App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Mcp:
    """The SDK's application, begun at the first request: loading it takes a second that no start should wait for."""

    def __init__(self, answers: Answers, documents: Documents, retrieval: Retrieval) -> None:
        """Use these services."""
        self._services = (answers, documents, retrieval)
        self._begun: asyncio.Future[App] | None = None
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Inside the block there may be requests; at its end those that are left are ended."""
        try:
            yield
        finally:
            self._over.set()
            if self._task:
                await asyncio.wait([self._task])

    async def app(self) -> App:
        """The application."""
        if self._begun is None:
            self._begun = asyncio.get_running_loop().create_future()
            # Its task group wants one task from its beginning to its end.
            self._task = asyncio.create_task(self._serve(self._begun), name="mcp")
        return await asyncio.shield(self._begun)

    async def _serve(self, begun: asyncio.Future[App]) -> None:
        try:
            manager = await asyncio.to_thread(self._load)
        except Exception as error:
            log.exception("the MCP server cannot be loaded")
            self._begun = None
            begun.set_exception(error)
            return
        async with manager.run():
            begun.set_result(manager.handle_request)
            await self._over.wait()

    def _load(self) -> Any:
        tools = importlib.import_module("lorestream.doors.mcp_tools")
        managers = importlib.import_module("mcp.server.streamable_http_manager")
        server = tools.build(tools.Services(*self._services), _caller, _chat_of)
        return managers.StreamableHTTPSessionManager(server, stateless=True)


McpDep = Annotated[Mcp, from_state("mcp")]


def _caller(context: Any) -> Principal:
    return cast("Principal", context.request.scope[CALLER])


def _chat_of(context: Any) -> str | None:
    return chat_of(context.request.headers.get(SESSION_HEADER, ""), context.request_id)


def chat_of(session: str, request_id: Any) -> str | None:
    """What the answer to a session's request is found by; None where the client keeps no session."""
    return f"mcp:{session}:{request_id}"[:128] if SESSION.fullmatch(session) else None


@router.post("/mcp", dependencies=[ReadStream], response_class=Response, include_in_schema=False)
async def mcp(request: Request, user: Reads, door: McpDep, answers: AnswersDep, settings: SettingsDep) -> Response:
    """One message of a client, and the answer to it: JSON, or an event stream."""
    body = await request.body()
    method, cancelled = _read(body)
    if method == "notifications/cancelled":
        chat = chat_of(request.headers.get(SESSION_HEADER, ""), cancelled)
        for run_id, _ in await answers.store.running_in_chat(user.user_id, chat) if chat else ():
            await answers.runs.stop(run_id)
    request.scope[CALLER] = user
    exchange = _Exchange(await door.app(), request.scope, body)
    try:
        response = await unless_gone(request, exchange.response(settings))
    except BaseException:
        exchange.close()
        raise
    if method == "initialize":
        response.headers[SESSION_HEADER] = secrets.token_hex(16)
    return response


@router.delete("/mcp", status_code=204, include_in_schema=False)
async def end(_user: Reads) -> None:
    """End a session: nothing is kept of it."""


def _read(body: bytes) -> tuple[str, Any]:
    """A message's method, and the id of the request that it cancels; nothing of what is no such message."""
    try:
        message = json.loads(body)
        params = message.get("params") or {}
        return str(message.get("method")), params.get("requestId")
    except (ValueError, AttributeError, RecursionError):
        return "", None


class _Exchange:
    """A request in the hands of the SDK's application, whose answer is read from here (``http.EventSource``)."""

    def __init__(self, app: App, scope: Scope, body: bytes) -> None:
        self._body: bytes | None = body
        self._sent: asyncio.Queue[Message] = asyncio.Queue(MAX_WAITING)
        self._left = asyncio.Event()
        self._ended = False
        self._task = asyncio.create_task(self._run(app, scope), name="mcp request")

    async def _run(self, app: App, scope: Scope) -> None:
        try:
            await app(scope, self._receive, self._sent.put)
        except Exception:
            log.exception("an MCP request failed")

    async def _receive(self) -> Message:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _message(self) -> Message | None:
        """What the application sends next; None where it has ended."""
        getting = asyncio.create_task(self._sent.get())
        try:
            await asyncio.wait([getting, self._task], return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                return getting.result()
        finally:
            getting.cancel()
        return None if self._sent.empty() else self._sent.get_nowait()

    async def response(self, settings: Settings) -> Response:
        """The answer: whole, or as a stream of which only the head is known. Raises Internal where there is none."""
        start = await self._message()
        if start is None:
            raise Internal
        kind = Headers(raw=start["headers"]).get("content-type", "")
        if kind.startswith("text/event-stream"):
            return EventStream(self, sse.HEADERS, b"", settings.heartbeat_seconds, settings.write_timeout_seconds)
        body = b""
        while (piece := await self.next(settings.total_timeout_seconds)) is not None:
            body += piece
        self._left.set()
        return Response(body, start["status"], media_type=kind or None)

    async def next(self, wait_seconds: float) -> bytes | None:
        """The next bytes; a heartbeat after ``wait_seconds`` of silence; None at the end."""
        while not self._ended:
            try:
                async with asyncio.timeout(wait_seconds):
                    message = await self._message()
            except TimeoutError:
                return sse.HEARTBEAT
            if message is None:
                raise BrokenOff
            self._ended = not message.get("more_body", False)
            if body := message.get("body", b""):
                return bytes(body)
        return None

    def close(self) -> None:
        """The client has left, or has its answer."""
        self._left.set()
        self._task.cancel()
