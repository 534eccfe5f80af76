"""The HTTP edge kit: problem documents, request ids, guards and reading what the lifespan built.

All middleware here is pure ASGI: nothing stands between a stream and its socket.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.params import Depends
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lorestream.errors import Internal, InvalidInput, LorestreamError, PayloadTooLarge, to_problem

log = logging.getLogger(__name__)

MAX_JSON_BYTES = 1024 * 1024
# Room for the multipart framing and the form's other fields around an uploaded file.
MULTIPART_OVERHEAD_BYTES = 64 * 1024
REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
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
    """A JSON body of our own API: unknown fields are refused, strings are never coerced."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


def from_state(name: str) -> Any:
    """A dependency that reads one member of the state that the lifespan yielded."""

    def read(request: Request) -> Any:
        return getattr(request.state, name)

    return Depends(read)


def client_ip(request: Request) -> str:
    """The caller's address as a rate-limit key: an IPv6 caller counts as its /64 network.

    uvicorn has already replaced the peer by the right-most untrusted X-Forwarded-For hop where the peer is one
    of the trusted proxies.
    """
    host = request.client.host if request.client else "unknown"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def problem_response(error: LorestreamError, request_id: str | None) -> Response:
    """A failure as ``application/problem+json`` (RFC 9457)."""
    headers = {"Cache-Control": "no-store"}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(
        msgspec.json.encode(to_problem(error, request_id)),
        status_code=error.status,
        headers=headers,
        media_type="application/problem+json",
    )


def _validation_problem(error: RequestValidationError) -> InvalidInput:
    # Only the place and the reason: the input itself may be a password.
    found = [
        {"field": ".".join(str(part) for part in item["loc"]), "reason": item["msg"]} for item in error.errors()[:20]
    ]
    summary = "; ".join(f"{item['field']}: {item['reason']}" for item in found)
    return InvalidInput(f"The request is not valid: {summary}", fields={"errors": found})


class HttpFailure(LorestreamError):
    """A refusal by the routing itself, such as an unknown path or method."""

    def __init__(self, status: int, headers: dict[str, str] | None) -> None:
        """Take the status; code and title follow from it."""
        phrase = HTTPStatus(status).phrase
        super().__init__(f"{phrase}.")
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

    async def unexpected(request: Request, _error: Exception) -> Response:
        return problem_response(Internal(), request.scope.get("request_id"))

    app.add_exception_handler(LorestreamError, ours)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, routing)
    app.add_exception_handler(Exception, unexpected)


def add_slash_twins(app: FastAPI) -> None:
    """Let every API path answer with and without a trailing slash, without a redirect.

    Call it once, after all routes are there. The published form stays the only one in the schema.
    """
    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    known = {(route.path, method) for route in routes for method in route.methods or ()}
    for route in routes:
        twin = route.path[:-1] if route.path.endswith("/") else route.path + "/"
        if twin and not any((twin, method) in known for method in route.methods or ()):
            app.add_api_route(
                twin,
                route.endpoint,
                methods=list(route.methods or ()),
                status_code=route.status_code,
                response_model=route.response_model,
                response_class=route.response_class,
                dependencies=route.dependencies,
                include_in_schema=False,
                name=f"{route.name}:twin",
            )


class RequestContext:
    """Gives each request an id (``X-Request-Id``), and each response the security headers."""

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

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)


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
        refusal = PayloadTooLarge(f"The request is larger than the {limit} bytes this server takes here.")
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isascii() or not declared.isdigit() or int(declared) > limit:
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
            await problem_response(refusal, scope.get("request_id"))(scope, receive, send)
