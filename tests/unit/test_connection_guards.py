"""What one connection may ask of the server: framing, the sizes and the pace of head and body, how many there are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from lorestream.connection import (
    LINGER_BYTES,
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    MAX_PIPELINED,
    MAX_TARGET_BYTES,
    SECURITY_HEADERS,
    ClientConnection,
    ConnectionLimits,
    Gate,
    address_key,
)
from lorestream.errors import Busy
from tests.fakes.edge import served
from tests.fakes.raw import Answered, connect, sent

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS: dict[str, Any] = {
    "head_seconds": 10,
    "body_bytes_per_second": 500,
    "body_grace_seconds": 10,
    "max_connections": 1000,
    "max_per_address": 1000,
}


class Echo:
    """An application that says what it was asked, and can be told to answer before it has read the body."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.arrived = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        asked = {"path": scope["path"], "fields": [[k.decode(), v.decode()] for k, v in scope["headers"]], "body": 0}
        self.seen.append(asked)
        self.arrived.set()
        await self.gate.wait()
        if scope["path"] != "/early":
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    asked["gone"] = True
                    return
                asked["body"] += len(message["body"])
                if not message["more_body"]:
                    break
        if scope["path"] == "/wait":
            asked["gone"] = (await receive())["type"] == "http.disconnect"
            return
        asked["fields"] = [[k.decode(), v.decode()] for k, v in scope["headers"]]
        body = json.dumps(asked).encode()
        fields = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 203, "headers": fields})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def guarded(**limits: Any) -> AsyncIterator[tuple[str, Echo, Gate]]:
    echo, gate = Echo(), Gate(ConnectionLimits(**{**LIMITS, **limits}))
    protocol = partial(ClientConnection, gate=gate)
    async with served(echo, http=protocol, lifespan="off") as url:
        yield url, echo, gate


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared() -> AsyncIterator[tuple[str, Echo]]:
    async with guarded() as (url, echo, _):
        yield url, echo


@pytest.fixture
def server(shared: tuple[str, Echo]) -> tuple[str, Echo]:
    shared[1].seen.clear()
    return shared


def head(*fields: str, line: str = "POST / HTTP/1.1", host: str = "Host: a") -> bytes:
    return "\r\n".join((line, *((host,) if host else ()), *fields, "", "")).encode("latin-1")


def assert_problem(got: Answered, status: int) -> dict[str, Any]:
    assert got.statuses == [status], got.data[:300]
    assert got.closed
    for name, value in {**SECURITY_HEADERS, "Content-Type": "application/problem+json", "Connection": "close"}.items():
        assert f"\r\n{name}: {value}\r\n".encode() in got.data
    problem: dict[str, Any] = json.loads(got.body)
    assert problem["status"] == status
    assert problem["code"]
    assert problem["message"]
    return problem


# Framing: what two readers could take differently is refused (RFC 9112, 6.3 and 11.2)

CHUNKED = "Transfer-Encoding: chunked"
END = b"0\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
REFUSED: dict[str, bytes] = {
    "length and chunked": head("Content-Length: 5", CHUNKED) + END,
    "chunked and length": head(CHUNKED, "Content-Length: 5") + END,
    "two lengths, equal": head("Content-Length: 1", "Content-Length: 1") + b"a",
    "two lengths": head("Content-Length: 1", "Content-Length: 2") + b"ab",
    "a list of lengths": head("Content-Length: 1, 1") + b"a",
    "a length with a sign": head("Content-Length: +1") + b"a",
    "a negative length": head("Content-Length: -1") + b"a",
    "another coding": head("Transfer-Encoding: gzip, chunked") + END,
    "a coding that is nearly chunked": head("Transfer-Encoding: xchunked") + END,
    "identity": head("Transfer-Encoding: identity") + b"a",
    "chunked twice": head(CHUNKED, CHUNKED) + END,
    "chunked in HTTP/1.0": head(CHUNKED, line="POST / HTTP/1.0") + END,
    "a negative chunk": head(CHUNKED) + b"-1\r\na\r\n" + END,
    "a chunk beyond all numbers": head(CHUNKED) + b"fffffffffffffffff\r\na\r\n" + END,
    "a chunk that ends in a bare LF": head(CHUNKED) + b"1\na\n0\n\n",
    "a chunk extension with a bare LF": head(CHUNKED) + b"1;x\n\r\na\r\n" + END,
    "lines that end in a bare LF": b"GET / HTTP/1.1\nHost: a\n\n",
    "a field that ends in a bare LF": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "a field that ends in a bare CR": b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "a folded field": head("X: a", " b"),
    "a field that begins with a fold": head(" X: a", host=""),
    "NUL in a field": head("X: a\0b"),
    "a control character in a field": head("X: a\x01b"),
    "a space before the colon": head("X : a"),
    "a field without a name": head(": a"),
    "no method": b" / HTTP/1.1\r\nHost: a\r\n\r\n",
    "an unknown method": head(line="FOO / HTTP/1.1"),
    "a lower-case method": head(line="get / HTTP/1.1"),
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2.0": head(line="GET / HTTP/2.0"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a target of a proxy": head(line="CONNECT evil.example:443 HTTP/1.1"),
    "a target that is an authority": head(line="GET evil.example:443 HTTP/1.1"),
    "a target with user info": head(line="GET http://a@evil.example/ HTTP/1.1"),
    "a target of another scheme": head(line="GET ftp://a/ HTTP/1.1"),
    "a target that begins with @": head(line="GET @evil.example HTTP/1.1"),
    "a target that is not ASCII": head(line="GET /\xc3\xbc HTTP/1.1"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_ambiguous_framing_is_refused_and_nothing_behind_it_is_read(server: tuple[str, Echo], name: str) -> None:
    url, echo = server
    assert_problem(await sent(url, REFUSED[name] + SMUGGLED), 400)
    assert not [asked for asked in echo.seen if asked["path"] == "/smuggled"]


async def test_what_is_well_formed_is_taken(server: tuple[str, Echo]) -> None:
    url, echo = server
    taken = {
        head("Content-Length: 1") + b"a": 1,
        head("Content-Length: 1", line="GET / HTTP/1.1") + b"a": 1,
        head(CHUNKED) + b"1;ext=x\r\na\r\n2\r\nbc\r\n" + END: 3,
        head("transfer-encoding: Chunked") + b"A\r\n0123456789\r\n" + END: 10,
        b"\r\n" + head(line="GET / HTTP/1.1"): 0,
        head(line="GET / HTTP/1.0"): 0,
        head(line="OPTIONS * HTTP/1.1"): 0,
        head(line="GET //evil.example/x HTTP/1.1"): 0,
    }
    for request, size in taken.items():
        got = await sent(url, request)
        assert got.statuses == [203], request
        assert echo.seen[-1]["body"] == size


async def test_an_absolute_target_names_the_host_whatever_the_field_says(server: tuple[str, Echo]) -> None:
    url, echo = server
    for target, host, path in (
        ("http://b.example:81/x?y", "b.example:81", "/x"),
        ("http://[::1]:81/x", "[::1]:81", "/x"),
        ("https://b.example", "b.example", "/"),
    ):
        assert (await sent(url, head(line=f"GET {target} HTTP/1.1"))).statuses == [203]
        assert [value for name, value in echo.seen[-1]["fields"] if name == "host"] == [host]
        assert echo.seen[-1]["path"] == path


async def test_fields_after_the_body_never_become_the_requests(server: tuple[str, Echo]) -> None:
    url, echo = server
    trailers = b"0\r\nAuthorization: Bearer x\r\nHost: evil.example\r\n\r\n"
    assert (await sent(url, head(CHUNKED) + b"1\r\na\r\n" + trailers)).statuses == [203]
    assert echo.seen[-1]["fields"] == [["host", "a"], ["transfer-encoding", "chunked"]]
    many = b"0\r\n" + b"".join(b"X%d: x\r\n" % n for n in range(MAX_FIELDS)) + b"\r\n"
    assert_problem(await sent(url, head(CHUNKED) + b"1\r\na\r\n" + many), 431)


async def test_another_protocol_is_not_spoken_and_what_follows_is_not_read(server: tuple[str, Echo]) -> None:
    url, echo = server
    for protocol in ("h2c", "websocket", "evil"):
        upgrade = head("Connection: Upgrade", f"Upgrade: {protocol}", line="GET / HTTP/1.1")
        got = await sent(url, [upgrade, SMUGGLED])
        assert (got.statuses, got.closed) == ([203], True)
        assert b"\r\nconnection: close\r\n" in got.data
    assert [asked["path"] for asked in echo.seen] == ["/"] * 3


# Pipelining, 100 Continue, bodies that nobody reads


async def test_pipelined_requests_are_answered_in_order(server: tuple[str, Echo]) -> None:
    url, _ = server
    requests = b"".join(head("Content-Length: 3", line=f"POST /{n} HTTP/1.1") + b"abc" for n in range(20))
    got = await sent(url, requests, answers=20)
    assert got.statuses == [203] * 20
    assert [int(part[:2].strip(b'"')) for part in got.data.split(b'"path": "/')[1:]] == list(range(20))


async def test_a_crowd_of_pipelined_requests_is_answered_in_part() -> None:
    async with guarded() as (url, echo, _):
        got = await sent(url, head(line="GET / HTTP/1.1") * 2000, answers=2000)
        assert got.closed
        assert set(got.statuses) == {203}
        assert len(got.statuses) == len(echo.seen) <= MAX_PIPELINED + 1


async def test_nonsense_behind_a_request_never_gets_into_its_answer_which_is_the_last() -> None:
    async with guarded(head_seconds=0.3) as (url, echo, _):
        for nonsense in (b"nonsense\r\n\r\n", b"GET / HT", b"x" * 1000):
            echo.gate.clear()
            echo.arrived.clear()
            sending = asyncio.create_task(sent(url, [head("Content-Length: 5") + b"abcde" + nonsense], answers=2))
            async with asyncio.timeout(5):
                await echo.arrived.wait()
            await asyncio.sleep(0.5)
            echo.gate.set()
            got = await sending
            assert (got.statuses, got.closed) == ([203], True)
            assert b"\r\nconnection: close\r\n" in got.data


async def test_a_flood_behind_a_request_is_broken_off() -> None:
    async with guarded() as (url, echo, _):
        echo.gate.clear()
        got = await sent(url, [head(line="GET / HTTP/1.1"), *[b"nonsense" * 8192] * 20])
        assert (got.data, got.closed) == (b"", True)
        echo.gate.set()


async def test_a_client_that_leaves_is_missed_by_the_request_that_is_answered_not_by_the_last_in_line() -> None:
    async with guarded() as (url, echo, _):
        _, writer = await connect(url)
        writer.write(head(line="GET /wait HTTP/1.1") + head(line="GET /next HTTP/1.1"))
        async with asyncio.timeout(10):
            await echo.arrived.wait()
            writer.transport.abort()
            while not echo.seen[0].get("gone"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert len(echo.seen) == 1


async def test_a_client_that_waits_for_100_continue_is_told_so(server: tuple[str, Echo]) -> None:
    url, _ = server
    reader, writer = await connect(url)
    async with asyncio.timeout(5):
        writer.write(head("Content-Length: 3", "Expect: 100-continue"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert (await reader.readline()).startswith(b"HTTP/1.1 203")
    writer.close()


async def test_a_client_that_need_not_send_its_body_is_not_taken_at_another_word(server: tuple[str, Echo]) -> None:
    url, echo = server
    got = await sent(url, [head("Content-Length: 500", "Expect: 100-continue", line="POST /early HTTP/1.1"), SMUGGLED])
    assert (got.statuses, got.closed) == ([203], True)
    assert len(echo.seen) == 1


async def test_an_answer_to_what_was_not_read_says_that_it_is_the_last(server: tuple[str, Echo]) -> None:
    url, echo = server
    early = head("Content-Length: 1000", line="POST /early HTTP/1.1")
    got = await sent(url, [early, b"x" * 10])
    assert (got.statuses, got.closed) == ([203], True)
    assert b"\r\nconnection: close\r\n" in got.data
    got = await sent(url, early + b"x" * 1000 + head(line="GET /next HTTP/1.1"), answers=2)
    assert (got.statuses, got.closed) == ([203, 203], False)
    assert b"\r\nconnection: close\r\n" not in got.data
    assert len(echo.seen) == 3


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_large_body_that_nobody_reads_is_not_read_and_its_answer_arrives(
    server: tuple[str, Echo], version: str
) -> None:
    url, _ = server
    line = f"POST /early HTTP/{version}"
    got = await sent(url, [head("Content-Length: 50000000", line=line), *[b"x" * 65536] * 700])
    assert (got.statuses, got.closed) == ([203], True)
    assert b"/early" in got.data


# Sizes


def header_of(size: int) -> Iterator[bytes]:
    yield b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    for _ in range(size // 65536):
        yield b"x" * 65536
    yield b"\r\n\r\n"


async def test_a_head_beyond_its_limit_is_refused_early(server: tuple[str, Echo]) -> None:
    url, echo = server
    assert_problem(await sent(url, header_of(16 * 1024 * 1024)), 431)
    assert_problem(await sent(url, head(*(f"X{n}: x" for n in range(100_000)))), 431)
    fields = [f"X{n}: {'x' * 1000}" for n in range(66)]
    assert_problem(await sent(url, head(*fields)), 431)
    assert (await sent(url, head(*fields[:64], line="GET / HTTP/1.1"))).statuses == [203]
    assert (await sent(url, head(*(f"X{n}: x" for n in range(MAX_FIELDS - 1)), line="GET / HTTP/1.1"))).statuses == [
        203
    ]
    assert_problem(await sent(url, head(*(f"X{n}: x" for n in range(MAX_FIELDS)))), 431)
    assert len(echo.seen) == 2


@pytest.mark.parametrize("size", [MAX_TARGET_BYTES, MAX_HEAD_BYTES, 16 * 1024 * 1024])
async def test_a_target_beyond_its_limit_is_414(server: tuple[str, Echo], size: int) -> None:
    assert_problem(await sent(server[0], head(line=f"GET /{'a' * size} HTTP/1.1")), 414)


async def test_a_head_may_arrive_byte_by_byte_and_behind_a_large_body(server: tuple[str, Echo]) -> None:
    url, _ = server
    request = head("Content-Length: 300000") + b"x" * 300_000 + head(line="GET /next HTTP/1.1")
    assert (await sent(url, request, answers=2)).statuses == [203, 203]
    request = head("Content-Length: 3") + b"abc"
    assert (await sent(url, [request[n : n + 1] for n in range(len(request))])).statuses == [203]


# Pace


async def test_a_head_that_does_not_end_is_408_and_one_that_does_not_begin_is_closed() -> None:
    async with guarded(head_seconds=0.3) as (url, echo, _):
        assert_problem(await sent(url, b"GET / HTTP/1.1\r\nHost: a\r\n"), 408)
        assert_problem(await sent(url, b"G"), 408)
        for silent in (b"", b"\r\n"):
            got = await sent(url, silent)
            assert (got.data, got.closed) == (b"", True)
        # also on a connection that has served, where line ends are no sign of life
        reader, writer = await connect(url)
        async with asyncio.timeout(4):  # less than an idle connection has
            writer.write(head(line="GET / HTTP/1.1"))
            await reader.readuntil(b"}")
            writer.write(b"\r\n")
            assert not await reader.read()
        writer.close()
        assert len(echo.seen) == 1


async def test_an_idle_connection_is_closed() -> None:
    echo, gate = Echo(), Gate(ConnectionLimits(**LIMITS))
    protocol = partial(ClientConnection, gate=gate)
    async with served(echo, http=protocol, lifespan="off", timeout_keep_alive=0.3) as url:
        got = await sent(url, head(line="GET / HTTP/1.1"), answers=2)
        assert (got.statuses, got.closed) == ([203], True)


async def test_a_body_slower_than_the_least_rate_is_408_and_a_steady_one_is_not() -> None:
    async with guarded(body_grace_seconds=0.4, body_bytes_per_second=100) as (url, echo, _):
        assert_problem(await sent(url, [head("Content-Length: 100"), b"x" * 10]), 408)
        assert_problem(await sent(url, [head(CHUNKED), b"1" + b";x" * 1000]), 408)
        assert all(asked["gone"] for asked in echo.seen)
        reader, writer = await connect(url)
        async with asyncio.timeout(20):
            writer.write(head("Content-Length: 2000"))
            for _ in range(20):  # 100 bytes buy a second each
                writer.write(b"x" * 100)
                await asyncio.sleep(0.05)
            assert (await reader.readline()).startswith(b"HTTP/1.1 203")
        writer.close()
        # what came quickly does not pay for a stall
        assert_problem(await sent(url, [head("Content-Length: 100000"), b"x" * 50_000]), 408)


async def test_time_in_which_we_do_not_read_is_not_the_clients() -> None:
    async with guarded(body_grace_seconds=0.2) as (url, echo, _):
        echo.gate.clear()
        asking = asyncio.create_task(sent(url, [head("Content-Length: 1000000"), b"x" * 1_000_000]))
        waiting = asyncio.create_task(sent(url, [head("Content-Length: 1", "Expect: 100-continue")]))
        await asyncio.sleep(1)
        assert not waiting.done()
        waiting.cancel()
        echo.gate.set()
        assert (await asking).statuses == [203]


# How many


async def test_one_connection_too_many_is_503_and_there_is_room_again_when_one_ends() -> None:
    async with guarded(max_connections=3) as (url, _, gate):
        held = [await connect(url) for _ in range(3)]
        assert assert_problem(await sent(url, b""), 503)["code"] == "busy"
        held.pop()[1].close()
        async with asyncio.timeout(5):
            while (await sent(url, head(line="GET / HTTP/1.1"))).statuses != [203]:
                pass
        for _, writer in held:
            writer.close()
        async with asyncio.timeout(5):
            while gate._all:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not gate._by_address
        assert gate.refusing == 0


async def test_one_address_has_its_share_and_trusted_proxies_have_all() -> None:
    async with guarded(max_per_address=1) as (url, _, _gate):
        _, writer = await connect(url)
        got = await sent(url, head(line="GET / HTTP/1.1"))
        assert "your address" in assert_problem(got, 503)["message"]
        assert b"Retry-After: 1\r\n" in got.data
        writer.close()
    async with guarded(max_per_address=1, exempt=("127.0.0.0/8",)) as (url, _, _gate):
        _, writer = await connect(url)
        assert (await sent(url, head(line="GET / HTTP/1.1"))).statuses == [203]
        writer.close()


async def test_an_ipv6_client_is_its_network_and_a_unix_socket_is_nobody() -> None:
    gate = Gate(ConnectionLimits(**{**LIMITS, "max_per_address": 1}))
    leave = gate.enter("2001:db8::1")
    with pytest.raises(Busy):
        gate.enter("2001:db8::2")
    gate.enter("2001:db8:0:1::1")
    for _ in range(3):
        gate.enter(None)
    leave()
    gate.enter("2001:db8::2")
    assert address_key("::ffff:203.0.113.7") == "203.0.113.7"


async def test_those_that_are_refused_are_not_listened_to_for_long() -> None:
    async with guarded(max_connections=0) as (url, _, gate):
        reader, writer = await connect(url)
        async with asyncio.timeout(10):
            assert (await reader.read()).startswith(b"HTTP/1.1 503")
            writer.write(b"x" * 100 * LINGER_BYTES)
            while gate.refusing:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        writer.close()
