"""Clients that send slowly, too much, or not what they say (rows 33, 34, 36, 37)."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from lorestream.middleware import MAX_JSON_BYTES
from tests.fakes.raw import connect, sent
from tests.faults.world import World, world

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]

MIB = 1024 * 1024
MAX_UPLOAD = 4 * MIB
Measured = Callable[[str], None]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def at(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[World]:
    settings = {
        "header_timeout_seconds": "2",
        "body_grace_seconds": "2",
        "max_upload_bytes": str(MAX_UPLOAD),
        "max_stored_bytes_per_user": str(64 * MIB),
    }
    async with world(tmp_path_factory.mktemp("connections") / "data", models_dir, **settings) as one:
        yield one
        assert "Traceback" not in one.log()


def head(at: World, target: str, *fields: str) -> bytes:
    token = at.client.http.headers["authorization"]
    lines = (f"POST {target} HTTP/1.1", "Host: localhost", f"Authorization: {token}", *fields)
    return "\r\n".join((*lines, "", "")).encode()


FORM = "Content-Type: multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="cut.txt"\r\n\r\n'


def parts_of(at: World) -> list[Path]:
    """The temporary files of uploads."""
    return list(at.server.data_dir.rglob("*.part"))


@pytest.mark.fault(33)
async def test_fault_33_five_hundred_slow_clients_are_closed_and_delay_nobody(at: World, measured: Measured) -> None:
    """Half of them never end their head, half drip a body; the server's own answers go on meanwhile."""
    before = at.rss()

    async def slow(number: int) -> float:
        reader, writer = await connect(at.server.url)
        began = time.monotonic()
        writer.write(head(at, "/query/", "Content-Length: 1000")[: None if number % 2 else -2])
        drips = asyncio.create_task(_drip(writer))
        try:
            data = await reader.read(4096)
        except OSError:
            data = b""
        drips.cancel()
        writer.transport.abort()
        assert data.startswith(b"HTTP/1.1 408"), data[:100]
        assert b"application/problem+json" in data
        return time.monotonic() - began

    crowd = [asyncio.create_task(slow(number)) for number in range(500)]
    took = []
    async with asyncio.timeout(60):
        while not all(one.done() for one in crowd):
            began = time.perf_counter()
            assert (await at.client.http.get("/documents/")).status_code == 200
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.02)
        closed = await asyncio.gather(*crowd)
    assert at.rss() - before < 64 * MIB
    assert statistics.quantiles(took, n=100)[98] < 3
    measured(
        f"500 slow clients: closed after {min(closed):.1f} to {max(closed):.1f} s (limit 2 s); "
        f"another's request meanwhile: median {1000 * statistics.median(took):.0f} ms, "
        f"p99 {1000 * statistics.quantiles(took, n=100)[98]:.0f} ms; memory +{(at.rss() - before) / MIB:.1f} MiB"
    )


async def _drip(writer: asyncio.StreamWriter) -> None:
    while True:
        await asyncio.sleep(0.3)
        writer.write(b"x")


@pytest.mark.fault(34)
async def test_fault_34_enormous_heads_are_refused_with_memory_flat(at: World, measured: Measured) -> None:
    def large() -> Iterator[bytes]:
        yield b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "
        yield from (b"x" * 65536 for _ in range(256))

    def many() -> Iterator[bytes]:
        yield b"GET / HTTP/1.1\r\nHost: localhost\r\n"
        yield from (b"".join(b"X%d: x\r\n" % (n + m) for m in range(1000)) for n in range(0, 100_000, 1000))

    for warm in (large, many):
        await sent(at.server.url, warm())
    before = at.rss()
    for kind in (large, many):
        for answer in await asyncio.gather(*(sent(at.server.url, kind()) for _ in range(20))):
            assert answer.statuses == [431]
            assert answer.closed
    grown = at.rss() - before
    assert grown < 16 * MIB
    measured(f"20 heads of 16 MB and 20 of 100 000 fields: 431 each; memory {grown / MIB:+.1f} MiB")
    assert (await at.client.http.get("/documents/")).status_code == 200


@pytest.mark.fault(36)
@pytest.mark.parametrize("ending", ["cut", "reset", "never"])
async def test_fault_36_an_upload_that_does_not_end_leaves_nothing(at: World, ending: str) -> None:
    http = at.client.http
    before = (await http.get("/documents/")).json()["items"]
    used = (await http.get("/auth/limits")).json()
    reader, writer = await connect(at.server.url)
    writer.write(head(at, "/documents/", FORM, "Content-Length: 2000000") + PART + b"x" * 1_000_000)
    await writer.drain()
    async with asyncio.timeout(60):
        while not parts_of(at):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if ending == "cut":
            writer.write_eof()
        elif ending == "reset":
            writer.transport.abort()
        else:
            assert (await reader.read(4096)).startswith(b"HTTP/1.1 408")
        while parts_of(at):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    writer.close()
    assert (await http.get("/documents/")).json()["items"] == before
    now = (await http.get("/auth/limits")).json()
    for item in ("stored_bytes", "documents"):
        assert _used(now, item) == _used(used, item)
    assert not parts_of(at)


def _used(limits: dict[str, list[dict[str, object]]], name: str) -> object:
    return next(one["used"] for one in limits["items"] if one["name"] == name)


@pytest.mark.fault(37)
async def test_fault_37_lengths_that_lie_are_refused_early(at: World) -> None:
    url = at.server.url
    json_type = "Content-Type: application/json"
    for field, body in (
        ("Content-Length: 5, 5", b"abcde"),
        ("Content-Length: -5", b"abcde"),
        ("Content-Length: 5\r\nContent-Length: 6", b"abcdef"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
        ("Transfer-Encoding: chunked", b"zz\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", b"-1\r\nabc\r\n0\r\n\r\n"),
    ):
        assert (await sent(url, head(at, "/query/", json_type, field) + body)).statuses == [400], field
    for target, kind, limit in (("/query/", json_type, MAX_JSON_BYTES), ("/documents/", FORM, MAX_UPLOAD)):
        declared = await sent(url, head(at, target, kind, f"Content-Length: {limit + 66 * 1024 + MIB}"))
        assert declared.statuses == [413], "before a byte of it"
    short = head(at, "/query/", json_type, "Content-Length: 5") + b'{"question": "more than five bytes"}'
    assert (await sent(url, short, answers=2)).statuses == [422], "the rest is no request"
    long = await sent(url, head(at, "/query/", json_type, "Content-Length: 500") + b'{"question": "less"}')
    assert long.statuses == [408]


@pytest.mark.fault(37)
@pytest.mark.parametrize(("target", "kind", "limit"), [
    ("/query/", "Content-Type: application/json", MAX_JSON_BYTES), ("/documents/", FORM, MAX_UPLOAD),
])  # fmt: skip
async def test_fault_37_a_chunked_body_is_read_to_its_limit_and_no_further(
    at: World, target: str, kind: str, limit: int
) -> None:
    read_before = _read_so_far(at)
    size = 0

    def endless() -> Iterator[bytes]:
        nonlocal size
        yield head(at, target, kind, "Transfer-Encoding: chunked")
        yield b"%x\r\n%b\r\n" % (len(PART), PART)
        while size < 64 * MIB:
            size += 65536
            yield b"10000\r\n" + b"x" * 65536 + b"\r\n"

    got = await sent(at.server.url, endless())
    assert (got.statuses, got.closed) == ([413], True)
    # What the multipart form may be around its file, what is dropped so that the answer can be read, and what else the
    # server read meanwhile, from its database above all; of the 64 MiB that were there to be had.
    slack = 4 * MIB
    assert _read_so_far(at) - read_before < limit + slack
    assert not parts_of(at)


def _read_so_far(at: World) -> int:
    """Bytes that the server process has read, from sockets above all (proc(5), ``rchar``)."""
    text = Path(f"/proc/{at.server.process.pid}/io").read_text()
    return int(text.partition("rchar: ")[2].split()[0])
