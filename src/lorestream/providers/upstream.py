"""Our HTTP/1.1 client for language-model servers: one connection, one request, a streamed answer.

This is the hot path (docs/design.md, section 10), so it is an ``asyncio.Protocol`` over ``httptools``: a reader takes
all that is buffered in one await, no task, lock or timer is made per token, and closing is ``transport.abort()``.
Departures from a general client, all deliberate: redirects are never followed (the key would travel with them),
compressed bodies are refused, proxies of the environment are not used, nothing is pooled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import ssl
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal, Protocol, TypeVar, cast
from urllib.parse import quote, urlsplit

import httptools
import msgspec

from lorestream.errors import (
    FirstTokenTimeout,
    IdleTimeout,
    ModelNotFound,
    ModelProtocolError,
    ModelUnavailable,
    RunFailed,
    StartRefused,
)
from lorestream.providers.base import Delta, Generation
from lorestream.providers.breaker import Breaker
from lorestream.providers.refusals import failure_of

log = logging.getLogger(__name__)
T = TypeVar("T")

KIB, MIB = 1024, 1024 * 1024
BUFFER_BYTES = MIB  # unread body at which reading from the socket pauses
HEAD_BYTES = 64 * KIB  # status line and headers
ERROR_BODY_BYTES = 4 * KIB  # of an error body, for the log
ERROR_BODY_SECONDS = 2.0
COUNTERS_SECONDS = 2.0  # how long to wait for the usage after the finish marker
OFF_LOOP_BYTES = 256 * KIB  # JSON larger than this is decoded in a thread
MAX_WAIT_SECONDS = 30  # a ``Retry-After`` up to this is waited for, once, before the first token


class Endpoint:
    """Where a model's server listens, and the key it is given; ``repr`` and logs never show the key."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        key_header: str = "Authorization: Bearer ",
        key_setting: str = "LORESTREAM_OPENAI_API_KEY",
        headers: Sequence[str] = (),
    ) -> None:
        """Take ``http(s)://host[:port][/path]``. Raises StartRefused for an address or key that cannot be used.

        The key goes behind ``key_header``; ``headers`` are further whole lines. ``key_setting`` is where the key comes
        from, to name it to whoever has to mend it.
        """
        parts = urlsplit(base_url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in {"http", "https"} or not parts.hostname or port == -1:
            raise StartRefused(f"{base_url!r} is not the address of a server, such as http://127.0.0.1:8080/v1.")
        self.key = (api_key or "").strip()
        if not all("!" <= character <= "~" for character in self.key):
            raise StartRefused(f"{key_setting} holds characters that cannot be sent in a header.")
        self.key_setting = key_setting
        self.base_url = base_url.rstrip("/")
        self.host = parts.hostname
        self.port = port or (443 if parts.scheme == "https" else 80)
        self.tls = ssl.create_default_context() if parts.scheme == "https" else None
        self.breaker = Breaker()
        self._headers = [*headers, *([key_header + self.key] if self.key else [])]
        self._prefix = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
        self._authority = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r})"

    def encode(self, method: Literal["GET", "POST"], path: str, body: bytes = b"") -> bytes:
        """The whole request as bytes."""
        lines = [
            f"{method} {self._prefix}{path} HTTP/1.1",
            f"Host: {self._authority}",
            "User-Agent: lorestream",
            "Accept: */*",
            "Accept-Encoding: identity",
            "Connection: close",
            *self._headers,
        ]
        if method == "POST":
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "\r\n"]).encode("ascii") + body


class Response(asyncio.Protocol):
    """One answer as it arrives: ``status``, ``headers`` (names in lower case), and the body by ``read``."""

    def __init__(self, request: bytes) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = False  # the body came to the end that its framing promised
        self._request = request
        self._parser: Any = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._buffered = self._head_bytes = 0
        self._has_head = self._paused = self._ended = self._closed = False
        self._failure: RunFailed | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = math.inf
        self._overdue: type[RunFailed] = FirstTokenTimeout
        self._timer: asyncio.TimerHandle | None = None
        self.loop = asyncio.get_running_loop()

    async def head(self) -> None:
        """Wait for status and headers. Raises ModelUnavailable if the connection ends before them."""
        while not self._has_head:
            if self._failure:
                raise self._failure
            await self._more()

    async def read(self) -> bytes:
        """All of the body that is buffered, once there is some; b"" at its end, whole or broken."""
        chunks = self._chunks
        while not chunks:
            if self._failure:
                raise self._failure
            if self._ended:
                return b""
            await self._more()
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered = 0
        if self._paused and self._transport and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        return data

    def expect(self, when: float, overdue: type[RunFailed]) -> None:
        """Fail a reader that still waits at ``when`` (in the loop's time) with ``overdue``; replaces the last call.

        The timer is set again only when it fires, so that moving the deadline costs two assignments.
        """
        self._deadline, self._overdue = when, overdue
        if self._timer is not None and when < self._timer.when():
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Abort the connection at once, also one that is only being opened."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _more(self) -> asyncio.Future[None]:
        # A future and not a coroutine: every level of awaiting is paid for at each wake-up.
        if self._timer is None and self._deadline < math.inf:
            self._timer = self.loop.call_at(self._deadline, self._on_timer)
        self._waiter = self.loop.create_future()
        return self._waiter

    def _on_timer(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self.loop.time() < self._deadline:
            self._timer = self.loop.call_at(self._deadline, self._on_timer)
        else:
            self._end(self._overdue())

    def _end(self, failure: RunFailed | None = None) -> None:
        if not self._ended:
            self._ended, self._failure = True, failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are not of that class
        if self._closed:
            self._transport.abort()
        else:
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Parse what came and wake the reader once."""
        if self._closed:
            return
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end(ModelProtocolError())
        if self._head_bytes > HEAD_BYTES and not self._has_head:
            self._end(ModelProtocolError())
        if self._buffered > BUFFER_BYTES and not self._paused and self._transport:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the reader; without a length or chunks, the end of the connection is the end of the body."""
        if not self._has_head:
            self._end(ModelUnavailable("The language model's server closed the connection without an answer."))
        elif exc is None and not {"content-length", "transfer-encoding"} & self.headers.keys():
            self.complete = True
        self._end()

    # httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Interim answers (1xx) are skipped; compressed bodies were not asked for and are refused."""
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers.clear()
            return
        if self.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
            raise ValueError
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        """Buffer a piece of the body."""
        self._chunks.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        """The framing says that all has come."""
        if self._has_head:
            self.complete = True
            self._end()


class Decoder(Protocol):
    """Turns the body of one answer into deltas. ``feed`` and ``end`` append what they can before they raise."""

    closing: bool  # the finish marker came, only the counters are awaited
    finished: bool  # the delta with ``finish`` was appended

    def begin(self, content_type: str) -> None:
        """Look at the media type (lower case, without parameters). Raises ModelProtocolError."""
        ...

    def feed(self, data: bytes, out: list[Delta]) -> None:
        """Take the next bytes. Raises ModelProtocolError, ModelError and their kin."""
        ...

    def end(self, out: list[Delta]) -> None:
        """The body ended. Raises UpstreamTruncated unless the finish marker came."""
        ...


async def stream_answer(
    endpoint: Endpoint, path: str, payload: Any, how: Generation, decoder: Decoder, *, missing: str
) -> AsyncGenerator[list[Delta], None]:
    """POST ``payload`` as JSON and yield the deltas of each network read; ``ChatModel.stream`` for every HTTP adapter.

    FirstTokenTimeout counts from now until the first delta, IdleTimeout between deltas: only what was decoded moves
    them, bytes do not, and neither does the time the consumer takes. ``missing`` tells a person what to do when the
    server does not have the model.
    """
    loop = asyncio.get_running_loop()
    first_token_at = loop.time() + how.first_token_seconds
    request = endpoint.encode("POST", path, msgspec.json.encode(payload))
    response: Response | None = None
    try:
        response = await _begin(endpoint, path, request, how.connect_seconds, first_token_at)
        decoder.begin(media_type(response))
        closing = False
        while not decoder.finished:
            out: list[Delta] = []
            failure = await _advance(response, decoder, out)
            if out:
                yield out
                response.expect(loop.time() + how.idle_seconds, IdleTimeout)
            if failure is not None:
                raise failure
            if decoder.closing and not closing:
                closing = True
                response.expect(loop.time() + min(how.idle_seconds, COUNTERS_SECONDS), IdleTimeout)
    except ModelNotFound:
        raise ModelNotFound(missing) from None
    finally:
        if response is not None:
            response.close()


async def _begin(
    endpoint: Endpoint, path: str, request: bytes, connect_seconds: float, first_token_at: float
) -> Response:
    """An answer whose head came with 200. A refusal that names a short wait is tried once more after it."""
    answer = await _ask_once(endpoint, path, request, connect_seconds, first_token_at)
    wait = answer.retry_after if isinstance(answer, RunFailed) else None
    if wait is not None and wait <= min(MAX_WAIT_SECONDS, first_token_at - asyncio.get_running_loop().time()):
        await asyncio.sleep(wait)
        answer = await _ask_once(endpoint, path, request, connect_seconds, first_token_at)
    if isinstance(answer, RunFailed):
        raise answer
    return answer


async def _ask_once(
    endpoint: Endpoint, path: str, request: bytes, connect_seconds: float, first_token_at: float
) -> Response | RunFailed:
    """The answer once its head has come, or what the server refused it with. Raises where there was no answer."""
    with endpoint.breaker.attempt():
        response = await _open(endpoint, request, connect_seconds)
    try:
        response.expect(first_token_at, FirstTokenTimeout)
        await response.head()
        if response.status == 200:
            return response
        failure = await _refusal(response, endpoint, path)
    except BaseException:
        response.close()
        raise
    response.close()
    return failure


async def _advance(response: Response, decoder: Decoder, out: list[Delta]) -> RunFailed | None:
    """Decode one read into ``out``. The failure is returned, so that what came before it is yielded first."""
    try:
        data = await response.read()
    except RunFailed as failure:
        if not decoder.closing:
            return failure
        data = b""  # the answer is whole; only its counters are lost
    try:
        if data:
            decoder.feed(data, out)
        else:
            decoder.end(out)
    except RunFailed as failure:
        return failure
    return None


async def request_json(
    endpoint: Endpoint,
    method: Literal["GET", "POST"],
    path: str,
    type_: type[T],
    payload: Any = None,
    *,
    seconds: float,
    connect_seconds: float = 5.0,
    limit_bytes: int = MIB,
    probe: bool = False,
) -> T:
    """One request whose whole answer, at most ``limit_bytes`` long, is JSON of the shape ``type_``.

    A ``probe`` only looks whether the server is there: tried once, and no warning in the log if it is not.

    Raises ModelUnavailable (also after ``seconds`` in all), ModelProtocolError for a body that is too large or has
    another shape, and what the status means.
    """
    request = endpoint.encode(method, path, b"" if payload is None else msgspec.json.encode(payload))
    try:
        async with asyncio.timeout(seconds):
            body = await _fetch(endpoint, path, request, min(seconds, connect_seconds), limit_bytes, probe)
            if len(body) > OFF_LOOP_BYTES:
                return await asyncio.to_thread(msgspec.json.decode, body, type=type_)
            return msgspec.json.decode(body, type=type_)
    except TimeoutError:
        raise ModelUnavailable(f"The model's server did not answer within {seconds:g} seconds.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        log.warning("%s%s: the answer is not the JSON that was expected", endpoint.base_url, path)
        raise ModelProtocolError from None


async def _fetch(
    endpoint: Endpoint, path: str, request: bytes, connect_seconds: float, limit: int, probe: bool
) -> bytes:
    response = await _open(endpoint, request, connect_seconds, probe=probe)
    try:
        await response.head()
        if response.status != 200:
            raise await _refusal(response, endpoint, path)
        body = await _read_all(response, limit)
        if not response.complete:
            raise ModelUnavailable("The connection to the model's server broke in mid-answer.")
        return body
    finally:
        response.close()


async def _read_all(response: Response, limit: int) -> bytes:
    body = bytearray()
    while data := await response.read():
        body += data
        if len(body) > limit:
            raise ModelProtocolError(f"The model's server sent more than {limit} bytes.")
    return bytes(body)


async def _open(endpoint: Endpoint, request: bytes, seconds: float, *, probe: bool = False) -> Response:
    """Connect and send; one retry with jitter, only when the connection was refused, so that nothing was asked twice.

    ``seconds`` covers name resolution, TCP and TLS. Raises ModelUnavailable.
    """
    level = logging.DEBUG if probe else logging.WARNING
    try:
        try:
            return await _connect(endpoint, request, seconds)
        except OSError as error:
            if probe or isinstance(error, (TimeoutError, ssl.SSLError)):
                raise
        await asyncio.sleep(random.uniform(0.1, 0.4))  # noqa: S311 (jitter, not a secret)
        return await _connect(endpoint, request, seconds)
    except TimeoutError:
        log.log(level, "%s: no connection within %g seconds", endpoint.base_url, seconds)
        raise ModelUnavailable from None
    except ssl.SSLError as error:
        log.log(level, "%s: TLS failed: %s", endpoint.base_url, error)
        raise ModelUnavailable("No secure connection to the language model's server; see the log.") from error
    except (OSError, UnicodeError) as error:
        log.log(level, "%s: no connection: %s", endpoint.base_url, error)
        raise ModelUnavailable from error


async def _connect(endpoint: Endpoint, request: bytes, seconds: float) -> Response:
    response = Response(request)
    try:
        async with asyncio.timeout(seconds):
            await response.loop.create_connection(lambda: response, endpoint.host, endpoint.port, ssl=endpoint.tls)
    except BaseException:
        response.close()
        raise
    return response


async def _refusal(response: Response, endpoint: Endpoint, path: str) -> RunFailed:
    """What a status other than 200 means; the start of its body goes to the log, without the key."""
    body = bytearray()
    response.expect(asyncio.get_running_loop().time() + ERROR_BODY_SECONDS, IdleTimeout)
    with contextlib.suppress(RunFailed):
        while len(body) < ERROR_BODY_BYTES and (data := await response.read()):
            body += data
    excerpt = bytes(body[:ERROR_BODY_BYTES])
    shown = excerpt.decode("utf-8", "replace")
    if endpoint.key:
        shown = shown.replace(endpoint.key, "***")
    log.warning("%s%s answered HTTP %d: %r", endpoint.base_url, path, response.status, shown)
    return failure_of(response.status, excerpt, response.headers.get("retry-after"), endpoint.key_setting)


def media_type(response: Response) -> str:
    """The content type in lower case, without parameters; "" if there is none."""
    return response.headers.get("content-type", "").split(";")[0].strip().lower()
