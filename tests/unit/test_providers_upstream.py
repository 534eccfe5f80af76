"""The HTTP client's parts that need no model: addresses, lines, waiting times, small JSON requests."""

from __future__ import annotations

import asyncio
import email.utils
import itertools
import time
from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorestream.errors import ModelProtocolError, ModelUnavailable, StartRefused
from lorestream.providers.chunks import LINE_BYTES, LineSplitter, TextMender
from lorestream.providers.refusals import seconds_to_wait
from lorestream.providers.upstream import Endpoint, request_json
from tests.fakes.upstream import FakeUpstream, Hold, Raw

pytestmark = pytest.mark.timeout(30)


class Listing(msgspec.Struct):
    data: list[dict[str, str]]


@pytest.mark.parametrize("url", ["ftp://host", "http://", "host:80", "http://host:99999", "http://host:x"])
def test_addresses_that_cannot_be_used_are_refused(url: str) -> None:
    with pytest.raises(StartRefused):
        Endpoint(url)


@pytest.mark.parametrize("key", ["a\r\nX-Evil: 1", "a b", "schlüssel"])
def test_a_key_cannot_break_out_of_its_header(key: str) -> None:
    with pytest.raises(StartRefused) as refused:
        Endpoint("http://host", key)
    assert key not in str(refused.value)


def test_white_space_around_a_key_is_dropped_and_the_key_is_never_shown() -> None:
    endpoint = Endpoint("http://host/v1/", " secret\n")
    assert b"\r\nAuthorization: Bearer secret\r\n" in endpoint.encode("GET", "/models")
    assert "secret" not in repr(endpoint)


@pytest.mark.parametrize(
    ("url", "line", "host", "address"),
    [
        ("http://host/v1", b"GET /v1/models HTTP/1.1", b"Host: host\r\n", ("host", 80)),
        ("https://host:8443", b"GET /models HTTP/1.1", b"Host: host:8443\r\n", ("host", 8443)),
        ("http://[::1]:11434/", b"GET /models HTTP/1.1", b"Host: [::1]:11434\r\n", ("::1", 11434)),
        ("https://host/a b/é", b"GET /a%20b/%C3%A9/models HTTP/1.1", b"Host: host\r\n", ("host", 443)),
    ],
)
def test_request_lines(url: str, line: bytes, host: bytes, address: tuple[str, int]) -> None:
    endpoint = Endpoint(url)
    request = endpoint.encode("GET", "/models")
    assert request.startswith(line + b"\r\n")
    assert host in request
    assert request.endswith(b"\r\n\r\n")
    assert (endpoint.host, endpoint.port) == address


@given(st.lists(st.binary(max_size=20)), st.lists(st.integers(1, 30)))
def test_lines_are_the_same_wherever_they_are_split(lines: list[bytes], sizes: list[int]) -> None:
    data = b"".join(line.replace(b"\n", b"").rstrip(b"\r") + b"\r\n" for line in lines)
    splitter, found = LineSplitter(), []
    for size in [*sizes, len(data)]:
        found += list(splitter.feed(data[:size]))
        data = data[size:]
    assert found == [line.replace(b"\n", b"").rstrip(b"\r") for line in lines]


def test_only_lf_ends_a_line() -> None:
    text = "a\u2028b\u0085c\x0bd\x0ce\rf"
    assert list(LineSplitter().feed(text.encode() + b"\n")) == [text.encode()]


def test_a_line_over_the_limit_is_refused_after_those_before_it() -> None:
    lines = LineSplitter().feed(b"ok\n" + b"x" * (LINE_BYTES + 1))
    assert next(lines) == b"ok"
    with pytest.raises(ModelProtocolError):
        next(lines)


@given(st.text(alphabet=st.sampled_from("aé😀\ud83d\ude00\udbff\udc00"), max_size=12), st.lists(st.integers(0, 12)))
def test_mended_text_is_what_the_whole_text_would_be(text: str, cuts: list[int]) -> None:
    mender, bounds = TextMender(), [0, *sorted(cut for cut in cuts if cut <= len(text)), len(text)]
    mended = "".join(mender.feed(text[a:b]) for a, b in itertools.pairwise(bounds)) + mender.flush()
    assert mended == text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    mended.encode()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("7", 7),
        (" 30 ", 30),
        ("99999", 3600),
        ("9" * 9000, 3600),
        ("1e9", None),
        ("-5", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 9999 07:28:00 GMT", 3600),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: int | None) -> None:
    assert seconds_to_wait(value) == seconds


def test_retry_after_as_a_date_counts_from_now() -> None:
    waiting = seconds_to_wait(email.utils.formatdate(time.time() + 60, usegmt=True))
    assert waiting is not None
    assert 58 <= waiting <= 61


@pytest.fixture
async def fake() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream("openai") as server:
        yield server


async def test_a_small_request(fake: FakeUpstream) -> None:
    found = await request_json(Endpoint(fake.base_url), "GET", "/models", Listing, seconds=2)
    assert found.data[0]["id"] == "tiny:latest"
    await asyncio.wait_for((await fake.connection(0)).closed, 1)


async def test_an_answer_over_the_limit_is_refused(fake: FakeUpstream) -> None:
    fake.play(Raw(b"[" + b" " * 100_000), Hold())
    with pytest.raises(ModelProtocolError):
        await request_json(Endpoint(fake.base_url), "POST", "/x", Listing, {}, seconds=2, limit_bytes=50_000)


async def test_the_time_for_all_of_it_is_bounded(fake: FakeUpstream) -> None:
    fake.play(Raw(b" " * 1000, pause=0.01))
    with pytest.raises(ModelUnavailable):
        await request_json(Endpoint(fake.base_url), "POST", "/x", Listing, {}, seconds=0.2)
    await asyncio.wait_for((await fake.connection(0)).closed, 1)


async def test_a_large_answer_arrives_whole(fake: FakeUpstream) -> None:
    rows = [{"id": "x" * 1000} for _ in range(3000)]
    fake.play(Raw(msgspec.json.encode({"data": rows})))
    found = await request_json(Endpoint(fake.base_url), "POST", "/x", Listing, {}, seconds=5, limit_bytes=10_000_000)
    assert found.data == rows
