"""A connection on its way to becoming a WebSocket, and after it: what it asks of the server stays bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from websockets.asyncio.client import connect

from lorestream.connection import ClientConnection, ConnectionLimits, Gate
from lorestream.upgraded import WebSocketConnection
from tests.fakes.edge import served
from tests.fakes.raw import sent

LIMITS: dict[str, Any] = {
    "head_seconds": 10, "body_bytes_per_second": 500, "body_grace_seconds": 10, "max_connections": 100,
    "max_per_address": 100,
}  # fmt: skip
HANDSHAKE = (
    "Host: a", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)  # fmt: skip


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Sends back what it is sent; over HTTP it answers 203 when the path's gate is open."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 203, "headers": [(b"content-length", b"0")]})
        if scope["path"] == "/wait":
            await receive()
            return
        await send({"type": "http.response.body", "body": b""})
        return
    await receive()
    await send({"type": "websocket.accept", "headers": []})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


@asynccontextmanager
async def upgrading(config: dict[str, Any] | None = None, **limits: Any) -> AsyncIterator[str]:
    gate = Gate(ConnectionLimits(**{**LIMITS, **limits}))
    http = partial(ClientConnection, gate=gate, web_sockets=frozenset({b"/ws"}))
    ws = partial(WebSocketConnection, write_seconds=1.0)
    async with served(echo, http=http, ws=ws, lifespan="off", **(config or {})) as url:
        yield url


def request(line: str = "GET /ws HTTP/1.1", *fields: str) -> bytes:
    return "\r\n".join((line, *HANDSHAKE, *fields, "", "")).encode()


async def test_a_web_socket_stays_counted_until_it_ends() -> None:
    async with upgrading(max_per_address=1) as url:
        address = url.replace("http", "ws") + "/ws"
        async with connect(address, proxy=None) as first:
            assert (await sent(url, request())).statuses == [503]
            await first.send("still here")
            assert await first.recv() == "still here"
        async with asyncio.timeout(5):  # our end is closed before the server's
            while (await sent(url, request())).statuses == [503]:
                pass


async def test_the_time_for_a_head_does_not_end_a_web_socket() -> None:
    async with upgrading(head_seconds=0.1) as url, connect(url.replace("http", "ws") + "/ws", proxy=None) as chat:
        await asyncio.sleep(0.3)
        await chat.send("later")
        assert await chat.recv() == "later"


async def test_only_a_proper_request_for_a_web_socket_becomes_one() -> None:
    async with upgrading() as url:
        for asked, status in {
            request(): 101,
            request("GET /elsewhere HTTP/1.1"): 203,
            request("GET /ws HTTP/1.0"): 400,
            request("POST /ws HTTP/1.1", "Content-Length: 3") + b"abc": 400,
            request("POST /ws HTTP/1.1", "Transfer-Encoding: chunked"): 400,
            request("POST /ws HTTP/1.1"): 405,
            request().replace(b"Version: 13", b"Version: 7"): 400,
            request() + b"\x81\x85early": 400,
            request("GET /ws HTTP/1.1", f"Cookie: {'x' * 9000}"): 431,
        }.items():
            got = await sent(url, asked)
            assert got.statuses == [status], (asked[:60], got.data[:300])
            assert got.closed == (status != 101)


async def test_an_upgrade_behind_an_unanswered_request_is_not_taken() -> None:
    async with upgrading() as url:
        got = await sent(url, b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" + request(), seconds=5)
        assert got.statuses == [203]


async def test_a_client_that_answers_no_ping_is_gone() -> None:
    async with upgrading({"ws_ping_interval": 0.1, "ws_ping_timeout": 0.1}) as url:
        got = await sent(url, request(), answers=2, seconds=10)  # never a second one: until it is closed
        assert (got.statuses, got.closed) == ([101], True)
