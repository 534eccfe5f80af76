"""The HTTP edge kit: problem documents, cursors, event streams and reading what the lifespan built."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import re
import unicodedata
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.params import Depends
from pydantic import BaseModel, ConfigDict, field_validator
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lorestream.connection import ABORT, address_key
from lorestream.errors import InvalidInput, LorestreamError, Unauthenticated, to_problem

log = logging.getLogger(__name__)

T = TypeVar("T")

# Where the server's own ``send`` is kept in the scope, for bodies that need none of what middleware does.
SERVER_SEND = "lorestream.send"
# Where the headers are kept in the scope that the answer will have, whatever it is.
ANSWER_HEADERS = "lorestream.headers"
# Where a function is kept in the scope that tells a failure in the words of the door that is asked.
REFUSAL = "lorestream.refusal"
# Where an event is kept in the scope that is set when the caller may no longer be served, by ``accounts.caller``.
CALLER_OVER = "lorestream.caller_over"
MAX_FIELD_NAME = 200
LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
ROUTING_ADVICE = {
    400: "The request could not be read; check its body and its Content-Type.",
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
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


def one_line(text: str) -> str:
    """A name as one line, for a pydantic validator: blanks joined, neither empty nor with control characters."""
    line = " ".join(text.split())
    if not line or any(unicodedata.category(char) == "Cc" for char in line):
        raise ValueError("needs at least one visible character, and no control characters")
    return line


def not_blank(text: str) -> str:
    """A text with at least one character that is not white space, for a pydantic validator."""
    if not text.strip():
        raise ValueError("needs at least one character that is not white space")
    return text


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


def page_of(found: list[T], limit: int, key: Callable[[T], tuple[datetime, str]]) -> tuple[list[T], str | None]:
    """The first ``limit`` of what was found, and the cursor of the next page, None where there is none.

    One more than ``limit`` was asked for, to know that; ``key`` is the order of the list.
    """
    shown = found[:limit]
    return shown, encode_cursor(*key(shown[-1])) if len(found) > limit else None


def client_ip(connection: HTTPConnection) -> str:
    """The caller's address as a rate-limit key: an IPv6 caller counts as its /64 network.

    uvicorn has already replaced the peer by the right-most untrusted X-Forwarded-For hop where the peer is one
    of the trusted proxies.
    """
    return address_key(connection.client.host) if connection.client else "unknown"


def answer_headers(connection: HTTPConnection) -> dict[str, str]:
    """The headers that the answer will have on top of its own, also where it is a refusal or a stream."""
    headers: dict[str, str] = connection.scope.setdefault(ANSWER_HEADERS, {})
    return headers


def refusal(error: LorestreamError, scope: Scope) -> Response:
    """A failure as its caller expects it: in the words of the door that was asked, else as a problem document."""
    told: Callable[[LorestreamError], Response] | None = scope.get(REFUSAL)
    return told(error) if told else problem_response(error, scope.get("request_id"))


def problem_response(error: LorestreamError, request_id: str | None) -> Response:
    """A failure as ``application/problem+json`` (RFC 9457)."""
    return Response(
        json.dumps(to_problem(error, request_id)),  # escapes lone surrogates, which are not UTF-8
        status_code=error.status,
        headers=refusal_headers(error),
        media_type="application/problem+json",
    )


def refusal_headers(error: LorestreamError) -> dict[str, str]:
    """The headers that a failure has in whatever words."""
    headers = {"Cache-Control": "no-store"}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def invalid(errors: Sequence[Mapping[str, Any]]) -> InvalidInput:
    """What pydantic found wrong, by the place and the reason alone: the input itself may be a password."""
    # Names of unknown fields are input, too.
    found = [
        {"field": ".".join(str(part) for part in item["loc"])[:MAX_FIELD_NAME], "reason": item["msg"]}
        for item in errors[:20]
    ]
    summary = "; ".join(f"{item['field']}: {item['reason']}" for item in found)
    return InvalidInput(f"The request is not valid: {summary}", fields={"errors": found})


class HttpFailure(LorestreamError):
    """A refusal by the routing itself, such as an unknown path or method."""

    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        """Take the status; code and title follow from it."""
        phrase = HTTPStatus(status).phrase
        super().__init__(ROUTING_ADVICE.get(status, f"{phrase}."))
        self.headers = headers or {}
        vars(self).update(status=status, title=phrase, code=phrase.lower().replace(" ", "_"))


def install_error_handlers(app: FastAPI) -> None:
    """Give every failure of a request the one shape."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, LorestreamError)
        return refusal(error, request.scope)

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return refusal(invalid(error.errors()), request.scope)

    async def routing(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        failure = HttpFailure(error.status_code, dict(error.headers or {}))
        response = refusal(failure, request.scope)
        response.headers.update(failure.headers)
        return response

    app.add_exception_handler(LorestreamError, ours)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, routing)


class BrokenOff(Exception):
    """An event source cannot go on to its end: the connection is broken off, so that its end says nothing."""


class EventSource(Protocol):
    """What an event stream sends: blocks of bytes, None at the end."""

    async def next(self, wait_seconds: float) -> bytes | None:
        """The next block; a heartbeat after ``wait_seconds`` of silence; None when the stream is over.

        Raises BrokenOff where it cannot come to its end.
        """
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
        """Send until the source's end or the client's disconnect, or until the caller may no longer be served.

        In the last case the connection is broken off without an end, like one whose client stalls or whose source
        is BrokenOff.
        """
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        relay = asyncio.create_task(self._relay(scope.get(SERVER_SEND, send)))
        stalled = asyncio.create_task(self._until_stalled())
        gone = asyncio.create_task(_until_disconnect(receive))
        over = asyncio.create_task(_until_over(scope))
        try:
            await asyncio.wait([relay, gone, stalled, over], return_when=asyncio.FIRST_COMPLETED)
            broken = relay.done() and isinstance(relay.exception(), BrokenOff)
            if relay.done() and not broken:
                relay.result()
            elif not gone.done() and (abort := scope.get(ABORT)):
                # A mere close would wait for the client to take what is buffered.
                abort()
                await asyncio.wait([gone], timeout=1)
        finally:
            for task in (relay, gone, stalled, over):
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
    """Await ``work``, cancelling it when the client disconnects: for answers that are not streamed.

    Raises Unauthenticated where the caller may no longer be served.
    """
    task = asyncio.create_task(work)
    watcher = asyncio.create_task(_until_disconnect(request.receive))
    over = asyncio.create_task(_until_over(request.scope))
    try:
        await asyncio.wait([task, watcher, over], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect if watcher.done() else Unauthenticated
        return task.result()
    finally:
        for one in (task, watcher, over):
            one.cancel()


class StreamedFile(Response):
    """A file that is made while it is sent; its connection breaks off where that cannot go on."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], headers: dict[str, str]) -> None:
        """Take its bytes piece by piece, closed at the end, and its headers, of which Content-Type is one."""
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end or the client's disconnect, or until the caller may no longer be served."""

        async def body() -> None:
            async with aclosing(self._pieces) as pieces:
                async for piece in pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            await unless_gone(Request(scope, receive), body())
        except ClientDisconnect:
            log.info("a client left while a file was made for it")
        except Unauthenticated:
            if abort := scope.get(ABORT):
                abort()


async def _until_over(scope: Scope) -> None:
    event: asyncio.Event = scope.get(CALLER_OVER) or asyncio.Event()
    await event.wait()


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
