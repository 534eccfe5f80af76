"""The HTTP edge kit: problem documents, request ids, guards and reading what the lifespan built.

All middleware here is pure ASGI: nothing stands between a stream and its socket.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import json
import logging
import re
import secrets
from collections.abc import Coroutine, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.params import Depends
from fastapi.routing import APIRoute, APIRouter, APIWebSocketRoute, iter_route_contexts
from pydantic import BaseModel, ConfigDict, field_validator
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lorestream.connection import ABORT
from lorestream.errors import Internal, InvalidInput, LorestreamError, PayloadTooLarge, to_problem

log = logging.getLogger(__name__)

T = TypeVar("T")

# Where the server's own ``send`` is kept in the scope, for bodies that need none of what middleware does.
SERVER_SEND = "lorestream.send"
MAX_JSON_BYTES = 1024 * 1024
# Room for the multipart framing and the form's other fields around an uploaded file.
MULTIPART_OVERHEAD_BYTES = 64 * 1024
MAX_FIELD_NAME = 200
LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
CONTENT_LENGTH = re.compile(r"\d{1,15}", re.ASCII)
ROUTING_ADVICE = {
    400: "The request could not be read; check its body and its Content-Type.",
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
}
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; "
        "img-src 'self' data: blob:; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
}


class Body(BaseModel):
    """A JSON body of our own API: unknown fields are refused, numbers are never taken for strings."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)

    @field_validator("*")
    @classmethod
    def _is_text(cls, value: T) -> T:
        # JSON can spell half a surrogate pair; no UTF-8 can, so the database would fail on it later.
        for text in value if isinstance(value, list | tuple) else (value,):
            if isinstance(text, str) and LONE_SURROGATE.search(text):
                raise ValueError("holds half of a surrogate pair, which is not text")
        return value


def from_state(name: str) -> Any:
    """A dependency that reads one member of the state that the lifespan yielded."""

    def read(connection: HTTPConnection) -> Any:
        return getattr(connection.state, name)

    return Depends(read)


def encode_cursor(moment: datetime, identifier: str) -> str:
    """Where a page of a list ends, as ``next_cursor``: the order key of its last item."""
    return base64.urlsafe_b64encode(f"{moment.isoformat()} {identifier}".encode()).decode()


def decode_cursor(cursor: str) -> tuple[datetime, str]:
    """The inverse of ``encode_cursor``. Raises InvalidInput for anything that it did not make."""
    try:
        written, identifier = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().split(" ")
        moment = datetime.fromisoformat(written)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("The cursor is not one that this list gave.") from error
    if moment.tzinfo is None:
        raise InvalidInput("The cursor is not one that this list gave.")
    return moment, identifier


def client_ip(connection: HTTPConnection) -> str:
    """The caller's address as a rate-limit key: an IPv6 caller counts as its /64 network.

    uvicorn has already replaced the peer by the right-most untrusted X-Forwarded-For hop where the peer is one
    of the trusted proxies.
    """
    host = connection.client.host if connection.client else "unknown"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(address), 64), strict=False))
    return str(address)


def problem_response(error: LorestreamError, request_id: str | None) -> Response:
    """A failure as ``application/problem+json`` (RFC 9457)."""
    headers = {"Cache-Control": "no-store"}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(
        json.dumps(to_problem(error, request_id)),  # escapes lone surrogates, which are not UTF-8
        status_code=error.status,
        headers=headers,
        media_type="application/problem+json",
    )


def _validation_problem(error: RequestValidationError) -> InvalidInput:
    # Only the place and the reason: the input itself may be a password. Names of unknown fields are input, too.
    found = [
        {"field": ".".join(str(part) for part in item["loc"])[:MAX_FIELD_NAME], "reason": item["msg"]}
        for item in error.errors()[:20]
    ]
    summary = "; ".join(f"{item['field']}: {item['reason']}" for item in found)
    return InvalidInput(f"The request is not valid: {summary}", fields={"errors": found})


class HttpFailure(LorestreamError):
    """A refusal by the routing itself, such as an unknown path or method."""

    def __init__(self, status: int, headers: dict[str, str] | None) -> None:
        """Take the status; code and title follow from it."""
        phrase = HTTPStatus(status).phrase
        super().__init__(ROUTING_ADVICE.get(status, f"{phrase}."))
        self.headers = headers or {}
        vars(self).update(status=status, title=phrase, code=phrase.lower().replace(" ", "_"))


def install_error_handlers(app: FastAPI) -> None:
    """Give every failure of a request the one shape."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, LorestreamError)
        return problem_response(error, request.scope.get("request_id"))

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(_validation_problem(error), request.scope.get("request_id"))

    async def routing(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        failure = HttpFailure(error.status_code, dict(error.headers or {}))
        response = problem_response(failure, request.scope.get("request_id"))
        response.headers.update(failure.headers)
        return response

    app.add_exception_handler(LorestreamError, ours)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, routing)


def add_slash_twins(app: FastAPI) -> None:
    """Let every API path answer with and without a trailing slash, without a redirect.

    The published form stays the only one in the schema.
    """
    app.router.redirect_slashes = False
    app.add_middleware(SlashTwins, router=app.router)


class SlashTwins:
    """Hands a request for a path's other slash form on under the form that has a route."""

    def __init__(self, app: ASGIApp, router: APIRouter) -> None:
        """Wrap the application; runs at the first request, when every route is there."""
        self.app = app
        paths: dict[str, list[str]] = {"any": []}
        for route in iter_route_contexts(router.routes):
            # Catch-alls (the page, mounts) take every form themselves, and would hide the twins of the others.
            if isinstance(route.original_route, APIRoute | APIWebSocketRoute) and ":path}" not in (route.path or ""):
                pattern = _path_pattern(route.path or "")
                for method in {"any", *(route.methods or {"websocket"})}:
                    paths.setdefault(method, []).append(pattern)
        self._known = {method: re.compile("|".join(patterns)) for method, patterns in paths.items() if patterns}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Choose the form."""
        if scope["type"] in ("http", "websocket"):
            path = self._published(scope.get("method", "websocket"), scope["path"])
            if path != scope["path"]:
                scope = {**scope, "path": path, "raw_path": quote(path).encode()}
        await self.app(scope, receive, send)

    def _published(self, method: str, path: str) -> str:
        twin = path[:-1] if path.endswith("/") else path + "/"
        for known in (self._known.get(method), self._known.get("any")):
            if known and known.fullmatch(path):
                return path
            if known and known.fullmatch(twin):
                return twin
        return path


def _path_pattern(path: str) -> str:
    return "[^/]+".join(re.escape(literal) for literal in re.split(r"\{[^}]*\}", path))


class RequestContext:
    """Gives each request an id (``X-Request-Id``), each response the security headers, each failure an answer.

    Add it last, so that it is outermost. A failure that nothing else knew is logged here with the request's id: the
    framework's own handler stands outside of all middleware, so its 500 would carry neither id nor headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the application."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to the response's start; the body passes untouched."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope["request_id"] = request_id
        scope[SERVER_SEND] = send
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception:
            # A response that has begun must break off visibly; ending it here would look like its end.
            if started:
                raise
            log.exception("request %s failed: %s %s", request_id, scope["method"], scope["path"])
            await problem_response(Internal(), request_id)(scope, receive, send_with_headers)


class BodyLimit:
    """Refuses a body that is too large, by its declared length at once, else as soon as it has grown too far.

    ``upload_paths`` take files of ``max_upload_bytes``; every other path takes MAX_JSON_BYTES.
    """

    def __init__(self, app: ASGIApp, max_upload_bytes: int, upload_paths: tuple[str, ...]) -> None:
        """Wrap the application."""
        self.app = app
        self.max_upload_bytes = max_upload_bytes
        self.upload_paths = upload_paths

    def _limit(self, scope: Scope) -> int:
        is_upload = scope["method"] == "POST" and scope["path"].rstrip("/") in self.upload_paths
        return self.max_upload_bytes + MULTIPART_OVERHEAD_BYTES if is_upload else MAX_JSON_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what is received; past the limit the application sees a disconnect and the client a 413."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self._limit(scope)
        refusal = _refusal_of_length(Headers(scope=scope).get("content-length", "0"), limit)
        if refusal:
            await problem_response(refusal, scope.get("request_id"))(scope, receive, send)
            return
        received, exceeded, started = 0, False, False

        async def counted_receive() -> Message:
            nonlocal received, exceeded
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                exceeded = True
                return {"type": "http.disconnect"}
            return message

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if not exceeded or started:
                started = True
                await send(message)

        try:
            await self.app(scope, counted_receive, guarded_send)
        except ClientDisconnect:
            if not exceeded:
                log.info("a client left while its request was read")
        if exceeded and not started:
            await problem_response(_too_large(limit), scope.get("request_id"))(scope, receive, send)


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request is larger than the {limit} bytes this server takes here.")


def _refusal_of_length(declared: str, limit: int) -> LorestreamError | None:
    if not CONTENT_LENGTH.fullmatch(declared):
        return InvalidInput("The Content-Length of the request is not a plausible number of bytes.")
    return _too_large(limit) if int(declared) > limit else None


class EventSource(Protocol):
    """What an event stream sends: blocks of bytes, None at the end."""

    async def next(self, wait_seconds: float) -> bytes | None:
        """The next block; a heartbeat after ``wait_seconds`` of silence; None when the stream is over."""
        ...

    def close(self) -> None:
        """The stream's connection is gone; called at least once, whatever happened."""
        ...


class EventStream(Response):
    """An event stream over plain ASGI: one send per wake-up, and a watcher that notices at once when the client left.

    A watcher is needed because uvicorn's ``send`` returns silently after a disconnect; without it a run whose model is
    silent would not be stopped until its next token. The blocks go out from a task of their own by the server's own
    ``send``: below the framework's two dozen nested calls, each wake-up would cost more than all our work on it.
    """

    def __init__(
        self,
        source: EventSource,
        headers: Mapping[str, str],
        first: bytes,
        heartbeat_seconds: float,
        write_timeout_seconds: float,
    ) -> None:
        """``first`` goes out before the first block, in the same write.

        A client that takes nothing for ``write_timeout_seconds`` is given up, and its connection broken off.
        """
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self._source = source
        self._first = first
        self._heartbeat_seconds = heartbeat_seconds
        self._write_timeout_seconds = write_timeout_seconds
        self._sending_since: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the source's end or the client's disconnect."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        relay = asyncio.create_task(self._relay(scope.get(SERVER_SEND, send)))
        stalled = asyncio.create_task(self._until_stalled())
        gone = asyncio.create_task(_until_disconnect(receive))
        try:
            await asyncio.wait([relay, gone, stalled], return_when=asyncio.FIRST_COMPLETED)
            if relay.done():
                relay.result()
            elif stalled.done() and (abort := scope.get(ABORT)):
                # A mere close would wait for the client to take what is buffered.
                abort()
                await asyncio.wait([gone], timeout=1)
        finally:
            for task in (relay, gone, stalled):
                task.cancel()
            self._source.close()

    async def _relay(self, send: Send) -> None:
        clock, prefix = asyncio.get_running_loop().time, self._first
        while (block := await self._source.next(self._heartbeat_seconds)) is not None:
            self._sending_since = clock()
            await send({"type": "http.response.body", "body": prefix + block, "more_body": True})
            self._sending_since = None
            prefix = b""
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _until_stalled(self) -> None:
        # Looked at now and then: a timer or an event for every write would cost as much as the write.
        seconds = self._write_timeout_seconds
        while self._sending_since is None or _age(self._sending_since) < seconds:  # noqa: ASYNC110
            await asyncio.sleep(seconds / 4)
        log.info("an event stream's client did not read for %g seconds; closing", seconds)


def _age(since: float) -> float:
    return asyncio.get_running_loop().time() - since


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await ``work``, cancelling it when the client disconnects: for answers that are not streamed."""
    task = asyncio.create_task(work)
    watcher = asyncio.create_task(_until_disconnect(request.receive))
    try:
        await asyncio.wait([task, watcher], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for one in (task, watcher):
            one.cancel()


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
