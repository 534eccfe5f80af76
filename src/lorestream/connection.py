"""One client's connection, below HTTP's meaning: what the server asks of it, and how it is ended.

A server without a proxy before it meets clients that send a head without end, a byte a minute, two lengths, or a
thousand connections. What is refused here never becomes a request. Nothing of this is on the way of a response.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import socket
import struct
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NoReturn, cast

import httptools
from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from lorestream.errors import BadRequest, Busy, HeadTooLarge, LorestreamError, RequestTimeout, TargetTooLong, to_problem

log = logging.getLogger(__name__)

# Where the breaking off of the client's connection is kept in the scope, by ``ClientConnection``.
ABORT = "lorestream.abort"
# A client that vanished without a word is noticed in 45 s: by probes on a silent connection, else by what it does not
# acknowledge (tcp(7)).
KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", 0), 15),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPINTVL", 0), 10),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPCNT", 0), 3),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_USER_TIMEOUT", 0), 45_000),
)
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; "
        "img-src 'self' data: blob:; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
}
# The request line, the header fields and the trailer fields of one request.
MAX_HEAD_BYTES = 64 * 1024
MAX_TARGET_BYTES = 16 * 1024
MAX_FIELDS = 100
MAX_PIPELINED = 64
# The parser is fed in pieces, so that no head can grow far beyond its limit before it is looked at.
PIECE_BYTES = 16 * 1024
# What is still read, and dropped, so that a client that is sending gets to read why it is refused: a close with unread
# bytes is a reset, which overtakes the response (RFC 9112, 9.6).
LINGER_BYTES = 64 * 1024
LINGER_SECONDS = 1.0
MAX_LINGERING = 256


def address_key(host: str) -> str:
    """A client's address as limits count it: an IPv6 client is its /64 network, what is no address is itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(address), 64), strict=False))
    return str(address)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What the server asks of its clients."""

    head_seconds: float
    body_bytes_per_second: int
    body_grace_seconds: float
    max_connections: int
    max_per_address: int
    exempt: tuple[str, ...] = ()
    """Networks of proxies, behind which are many clients."""


class Gate:
    """Counts the connections: in all, by address, and those that are being refused."""

    def __init__(self, limits: ConnectionLimits) -> None:
        """Nobody is connected yet."""
        self.limits = limits
        self.refusing = 0
        self._exempt = [ipaddress.ip_network(one, strict=False) for one in limits.exempt]
        self._by_address: Counter[str] = Counter()
        self._all = 0
        self._full = False

    def enter(self, host: str | None) -> Callable[[], None]:
        """Let a connection in; what to call when it has ended. ``host`` is None on a unix socket. Raises Busy."""
        key = None if host is None or self._is_exempt(host) else address_key(host)
        if self._all >= self.limits.max_connections:
            if not self._full:
                log.warning("all %d connections are in use (MAX_CONNECTIONS); refusing more", self._all)
            self._full = True
            raise Busy("The server has no connection left; please try again in a moment.", retry_after=1)
        if key is not None and self._by_address[key] >= self.limits.max_per_address:
            raise Busy("There are too many connections from your address.", retry_after=1)
        self._all += 1
        if key is not None:
            self._by_address[key] += 1
        return partial(self._leave, key)

    def _leave(self, key: str | None) -> None:
        self._all -= 1
        self._full = self._full and self._all >= self.limits.max_connections * 0.9
        if key is not None:
            self._by_address[key] -= 1
            if not self._by_address[key]:
                del self._by_address[key]

    def _is_exempt(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._exempt)


class _LastAnswer:
    """What an answer writes to while the client may still be sending: closing it lets the client read the answer."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write, self.is_closing, self.close = transport.write, transport.is_closing, close


class _Stop(Exception):
    """Raised in a callback of the parser."""


class ClientConnection(HttpToolsProtocol):
    """uvicorn's connection, which bounds what a client may send, and lets a response break it off.

    One timer at a time: for the head, for the body, or for the end. ``_reading`` says where in a request the client is.
    """

    def __init__(self, *args: Any, gate: Gate, web_sockets: Collection[bytes] = (), **kwargs: Any) -> None:
        """Take what uvicorn gives, the gate that all connections pass, and the paths that are WebSockets.

        On every other path the wish for another protocol is passed over (RFC 9110, 7.8).
        """
        super().__init__(*args, **kwargs)
        self._gate = gate
        self._web_sockets = web_sockets
        self._limits = gate.limits
        self._leave: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reading: Literal["nothing", "head", "body"] = "nothing"
        self._reason: LorestreamError = BadRequest()
        # Refused: our last word is said. Deaf: other answers go out before we close.
        self._refused = self._deaf = False
        self._keep_alive = True
        self._answering: RequestResponseCycle | None = None
        self._head_bytes = self._raw_bytes = self._fields = self._dropped = 0
        self._credit = 0.0

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let the kernel look after silent clients, and refuse one too many before it is read."""
        super().connection_made(transport)
        if peer := transport.get_extra_info("socket"):
            for level, option, value in KEEPALIVE:
                if option:
                    peer.setsockopt(level, option, value)
        try:
            self._leave = self._gate.enter(self.client[0] if self.client else None)
        except Busy as error:
            self._refuse(error)
        else:
            self._set_timer(self._limits.head_seconds, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the gate, and tell the request that is being answered, where others are in line behind it."""
        self._end_watch()
        super().connection_lost(exc)
        self.pipeline.clear()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def _should_upgrade(self) -> bool:
        return self.url.partition(b"?")[0] in self._web_sockets and super()._should_upgrade()

    def handle_websocket_upgrade(self) -> None:
        """From here on the connection is another protocol's, which goes on being counted (``upgraded``)."""
        leave, self._leave = self._leave, None
        self._end_watch()
        super().handle_websocket_upgrade()
        self._deaf = True  # no timer of ours any more
        upgraded: Any = self.transport.get_protocol()
        upgraded.adopt(leave)
        if not upgraded.handshake_initiated:  # it takes shorter lines than we do
            self.transport.write(_refusal(HeadTooLarge(), self.server_state.default_headers))
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and begin to wait for what is missing."""
        self._unset_keepalive_if_required()
        for start in range(0, len(data), PIECE_BYTES):
            piece = data[start : start + PIECE_BYTES]
            if self.transport.is_closing():
                return
            if self._refused or self._deaf:
                self._drop(len(piece))
            else:
                self._parse(piece, len(data) - start)
        if self._timer is None and not (self._refused or self._deaf):
            if self._reading == "body":
                self._set_timer(self._limits.body_grace_seconds / 8, self._look_at_body)
            elif self._reading == "head" or self.cycle is None or self.cycle.response_complete:
                self._set_timer(self._limits.head_seconds, self._head_is_late)

    def _parse(self, piece: bytes, all_bytes: int) -> None:
        """Parse a piece of the ``all_bytes`` that there are."""
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._upgrade(all_bytes - upgrade.args[0])
        except httptools.HttpParserError:
            self._refuse(self._reason)
        else:
            self._raw_bytes += len(piece)
            if self._reading == "head" and self._raw_bytes > MAX_HEAD_BYTES + PIECE_BYTES:
                self._refuse(HeadTooLarge())

    def _upgrade(self, more_bytes: int) -> None:
        """Become a WebSocket, if other answers are not due and the client waits for ours (RFC 6455, 4.1)."""
        if more_bytes or self.pipeline or (self.cycle is not None and not self.cycle.response_complete):
            self._refuse(BadRequest("A WebSocket begins with a request, and goes on only after its answer."))
        else:
            self.handle_websocket_upgrade()

    # What the parser found

    def on_message_begin(self) -> None:
        """Give the request the means to break off its connection."""
        super().on_message_begin()
        cast("Scope", self.scope)[ABORT] = self._break_off
        self._reading = "head"
        self._head_bytes = self._raw_bytes = self._fields = 0

    def on_url(self, url: bytes) -> None:
        """Bound the request target (RFC 9112, 3)."""
        super().on_url(url)
        if len(self.url) > MAX_TARGET_BYTES:
            self._stop(TargetTooLong())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Bound the fields. Those after the body are dropped: they must not become the request's (RFC 9110, 6.5.1)."""
        self._fields += 1
        self._head_bytes += len(name) + len(value) + len(": \r\n")
        if self._fields > MAX_FIELDS or self._head_bytes + len(self.url) > MAX_HEAD_BYTES:
            self._stop(HeadTooLarge())
        if self._reading == "head":
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Refuse what two readers could read differently, then start the request."""
        self._clear_timer()
        self._check_head()
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop(BadRequest("Too many requests at once on one connection."))
        self._reading, self._credit = "body", self._limits.body_grace_seconds
        super().on_headers_complete()
        if self.cycle is not None and not self.cycle.response_started:
            # What follows a request for another protocol may be that protocol's.
            self._keep_alive = self.cycle.keep_alive and not self.parser.should_upgrade()
            # An answer to what has not been read ends the connection: where would the next request begin?
            self._answer_last()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """Every byte buys time."""
        credit = self._credit + len(body) / self._limits.body_bytes_per_second
        self._credit = min(credit, 2 * self._limits.body_grace_seconds)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has been read."""
        self._clear_timer()
        self._reading = "nothing"
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = self._keep_alive
            self.cycle.transport = self.transport
        super().on_message_complete()

    def shutdown(self) -> None:
        """Answer what is being answered, and no more."""
        self._keep_alive = False
        super().shutdown()

    def _check_head(self) -> None:
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._stop(BadRequest("This server speaks HTTP/1.1."))
        if self.parser.get_method() == b"CONNECT":
            self._stop(BadRequest("This server is no proxy."))
        for name, value in self.headers:
            # The parser itself refuses it beside a Content-Length, and more than one of either.
            if name == b"transfer-encoding" and (version == "1.0" or value.lower() != b"chunked"):
                self._stop(BadRequest("The only Transfer-Encoding this server takes is chunked."))
        if self.parser.should_upgrade() and self._should_upgrade():
            fields = dict(self.headers)
            if version != "1.1" or b"transfer-encoding" in fields or fields.get(b"content-length", b"0") != b"0":
                self._stop(BadRequest("The request for a WebSocket is one of HTTP/1.1 without a body."))
        if not self.url.startswith((b"/", b"*")):
            self._take_absolute_form()

    def _take_absolute_form(self) -> None:
        # RFC 9112, 3.2.2: the target's authority takes the place of Host.
        target = httptools.parse_url(self.url)
        if target.schema not in (b"http", b"https") or not target.host or target.userinfo:
            self._stop(BadRequest("The request target is not one of this server's."))
        host = b"[%s]" % target.host if b":" in target.host else target.host
        authority = b"%s:%d" % (host, target.port) if target.port else host
        self.headers[:] = [field for field in self.headers if field[0] != b"host"] + [(b"host", authority)]
        if not target.path:
            self.url = b"/"

    def _stop(self, reason: LorestreamError) -> NoReturn:
        self._reason = reason
        raise _Stop

    # Time

    def _set_timer(self, seconds: float, then: Callable[[], None]) -> None:
        self._clear_timer()
        self._timer = self.loop.call_later(seconds, then)

    def _clear_timer(self) -> None:
        if self._timer is not None and not self._refused:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        self._timer = None
        if self._reading == "head":
            self._refuse(RequestTimeout())
        else:
            # Without a word: browsers connect ahead, and would show the refusal for the request they make then.
            self.transport.close()

    def _look_at_body(self) -> None:
        self._timer = None
        look_seconds = self._limits.body_grace_seconds / 8
        # Time in which we do not read, or let the client wait for 100 Continue, is not the client's.
        if not (self.flow.read_paused or self.cycle.waiting_for_100_continue):
            self._credit -= look_seconds
        if self._credit > 0:
            self._set_timer(look_seconds, self._look_at_body)
        else:
            self._refuse(RequestTimeout())

    # The end

    def _refuse(self, error: LorestreamError) -> None:
        """Answer the request that is being read, and close."""
        if self._refused:
            return
        waiting = self.cycle is not None and not self.cycle.response_complete
        if waiting and self._reading != "body":
            # Other answers are due, and within them this one would be taken for a part of them.
            self._deaf, self._reading = True, "nothing"
            self._answer_last()
            return
        if self.pipeline or (waiting and self.cycle.response_started):
            self._break_off()
            return
        self.transport.write(_refusal(error, self.server_state.default_headers))
        if waiting:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._linger()

    def _answer_last(self) -> None:
        """Let the answer to the newest request be the last, and be read."""
        self.cycle.keep_alive = False
        self.cycle.transport = cast("asyncio.Transport", _LastAnswer(self.transport, self._linger))

    def _linger(self) -> None:
        if self._refused or self.transport.is_closing():
            return
        self._set_timer(LINGER_SECONDS, self.transport.abort)
        self._refused = True
        self._gate.refusing += 1
        self._unset_keepalive_if_required()
        if self._gate.refusing > MAX_LINGERING or not self.transport.can_write_eof():
            self.transport.close()
            return
        self.flow.resume_reading()
        self.transport.write_eof()

    def _drop(self, size: int) -> None:
        self._dropped += size
        if self._dropped > LINGER_BYTES:
            (self.flow.pause_reading if self._refused else self._break_off)()

    def _end_watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._refused:
            self._gate.refusing -= 1
        if self._leave is not None:
            self._leave()
        self._timer = self._leave = None
        self._refused = False

    def _break_off(self) -> None:
        break_off(self.transport)


def break_off(transport: asyncio.Transport) -> None:
    """End a connection with a reset: a mere close would leave the kernel waiting to deliver what it holds."""
    if peer := transport.get_extra_info("socket"):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _refusal(error: LorestreamError, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    body = json.dumps(to_problem(error)).encode()
    fields = {
        **{name.decode(): value.decode() for name, value in default_headers},
        **SECURITY_HEADERS,
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Connection": "close",
    }
    if error.retry_after is not None:
        fields["Retry-After"] = str(error.retry_after)
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return STATUS_LINE[error.status] + head.encode() + b"\r\n" + body
