"""What stands around every request: its id and headers, its host, its size, both slash forms of its path.

All middleware here is pure ASGI: nothing stands between a stream and its socket.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.routing import APIRoute, APIRouter, APIWebSocketRoute, iter_route_contexts
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lorestream.connection import SECURITY_HEADERS
from lorestream.errors import BadRequest, Internal, InvalidInput, LorestreamError, PayloadTooLarge
from lorestream.http import ANSWER_HEADERS, REFUSAL, SERVER_SEND, HttpFailure, refusal

log = logging.getLogger(__name__)

MAX_JSON_BYTES = 1024 * 1024
# Room for the multipart framing and the form's other fields around an uploaded file.
MULTIPART_OVERHEAD_BYTES = 64 * 1024
REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
CONTENT_LENGTH = re.compile(r"\d{1,15}", re.ASCII)
HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_.-]{1,253})(:\d{1,5})?", re.ASCII | re.IGNORECASE)
# The first message of an answer.
STARTS = {"http.response.start", "websocket.accept", "websocket.http.response.start"}
# How a WebSocket is closed whose application failed (RFC 6455, 7.4.1).
INTERNAL_ERROR = 1011
# Only over TLS, where browsers heed it (RFC 6797); a year.
HSTS = "max-age=31536000"


class RequestContext:
    """Gives each request an id (``X-Request-Id``), each response the security headers, each failure an answer.

    Add it last, so that it is outermost. A failure that nothing else knew is logged here with the request's id: the
    framework's own handler stands outside of all middleware, so its 500 would carry neither id nor headers.
    """

    def __init__(
        self, app: ASGIApp, refusals: Mapping[str, Callable[[LorestreamError], Response]] | None = None
    ) -> None:
        """Wrap the application; ``refusals`` tell failures below a prefix of the path, such as ``/v1/``."""
        self.app = app
        self._refusals = tuple((refusals or {}).items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to the response's start; the body passes untouched."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope["request_id"] = request_id
        scope[REFUSAL] = next((told for prefix, told in self._refusals if scope["path"].startswith(prefix)), None)
        scope[SERVER_SEND] = send
        answer_headers: dict[str, str] = {}
        scope[ANSWER_HEADERS] = answer_headers
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] in STARTS:
                started = True
                headers = MutableHeaders(scope=message)
                headers.update({"X-Request-Id": request_id, **answer_headers})
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if scope.get("scheme") in ("https", "wss"):
                    headers["Strict-Transport-Security"] = HSTS
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception:
            # A response that has begun must break off visibly; ending it here would look like its end.
            if started and scope["type"] == "http":
                raise
            log.exception("request %s failed: %s %s", request_id, scope.get("method", "WebSocket"), scope["path"])
            if started:
                await send({"type": "websocket.close", "code": INTERNAL_ERROR})
            else:
                await refusal(Internal(), scope)(scope, receive, send_with_headers)


class Hosts:
    """Answers requests that name one host, and one of ``allowed`` if there are any, ``*.example.com`` being a pattern.

    A page of another site whose name was made to mean our address (DNS rebinding) is the same origin to its browser;
    the name that it asks for still gives it away.
    """

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        """Wrap the application."""
        self.app = app
        self._names = {name.lower() for name in allowed}
        self._endings = tuple(name[1:] for name in self._names if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse with 400 what names no host, several, a malformed one or a stranger's."""
        refused = self._refusal(Headers(scope=scope).getlist("host")) if scope["type"] != "lifespan" else None
        if refused is None:
            await self.app(scope, receive, send)
        else:
            await refusal(refused, scope)(scope, receive, send)

    def _refusal(self, named: list[str]) -> BadRequest | None:
        found = HOST.fullmatch(named[0]) if len(named) == 1 else None
        if found is None:
            return BadRequest("The request must name one host, in one well-formed Host header.")
        name = found[1].lower()
        if not self._names or name in self._names or "*" in self._names or name.endswith(self._endings):
            return None
        return BadRequest(
            f"This server does not answer for the host {name}. Whoever runs it can add the name to "
            "LORESTREAM_ALLOWED_HOSTS."
        )


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
        refused = _refusal_of_length(Headers(scope=scope).get("content-length", "0"), limit)
        if refused:
            await refusal(refused, scope)(scope, receive, send)
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
            await refusal(_too_large(limit), scope)(scope, receive, send)


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request is larger than the {limit} bytes this server takes here.")


def _refusal_of_length(declared: str, limit: int) -> LorestreamError | None:
    if not CONTENT_LENGTH.fullmatch(declared):
        return InvalidInput("The Content-Length of the request is not a plausible number of bytes.")
    return _too_large(limit) if int(declared) > limit else None


def add_slash_twins(app: FastAPI) -> None:
    """Let every API path answer with and without a trailing slash, without a redirect.

    The published form stays the only one in the schema.
    """
    app.router.redirect_slashes = False
    app.add_middleware(SlashTwins, router=app.router)


class SlashTwins:
    """Hands a request for a path's other slash form on under the form that has a route.

    A method that no route of a path takes is refused here, where all of them are known: the router names only those
    of one (RFC 9110, 10.2.1).
    """

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
            method = scope.get("method", "websocket")
            path = self._published(method, scope["path"])
            if allowed := self._other_methods(method, path):
                refused = refusal(HttpFailure(405), scope)
                refused.headers["Allow"] = ", ".join(allowed)
                await refused(scope, receive, send)
                return
            if path != scope["path"]:
                scope = {**scope, "path": path, "raw_path": quote(path).encode()}
        await self.app(scope, receive, send)

    def _other_methods(self, method: str, path: str) -> list[str]:
        known = self._known.get(method)
        if known and known.fullmatch(path):
            return []
        return sorted(name for name, other in self._known.items() if name.isupper() and other.fullmatch(path))

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
