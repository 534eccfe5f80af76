"""What every HTTP chat model makes of errors, refusals and nonsense; the suite goes on from ``test_chat_model``."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import cast

import pytest

from lorestream.errors import (
    ContextTooLong,
    ModelAuthFailed,
    ModelError,
    ModelNotFound,
    ModelProtocolError,
    ModelRateLimited,
    ModelUnavailable,
    RunFailed,
)
from lorestream.providers.breaker import OPEN_AFTER
from tests.fakes import upstream as fake_module
from tests.fakes.chat import HOW, KEY, PROMPT, Upstream, collect, model_of, text_of
from tests.fakes.formats import token_with
from tests.fakes.upstream import Fail, FakeUpstream, Format, Hold, Raw, Say

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (401, {}, "bad key", ModelAuthFailed),
        (403, {}, "not allowed", ModelAuthFailed),
        (404, {}, '{"error":"model \'tiny\' not found"}', ModelNotFound),
        (400, {}, '{"error":{"message":"The model `tiny` does not exist"}}', ModelNotFound),
        (429, {"Retry-After": "31"}, "slow down", ModelRateLimited),
        (429, {"Retry-After": "1e9"}, "slow down", ModelRateLimited),
        (429, {}, "slow down", ModelRateLimited),
        (503, {"Retry-After": "31"}, "come back", ModelUnavailable),
        (400, {}, '{"error":{"type":"exceed_context_size_error"}}', ContextTooLong),
        (400, {}, '{"error":{"code":"context_length_exceeded"}}', ContextTooLong),
        (400, {}, "odd", ModelError),
        (422, {}, "odd", ModelError),
        (500, {}, "odd", ModelUnavailable),
        (502, {"Content-Type": "text/html"}, "<html>secret gateway</html>", ModelUnavailable),
        (503, {}, '{"error":{"message":"Loading model"}}', ModelUnavailable),
        (204, {}, "", ModelProtocolError),
    ],
)
async def test_statuses(
    upstream: Upstream, status: int, headers: dict[str, str], body: str, expected: type[RunFailed]
) -> None:
    upstream.fake.play(Raw(body.encode()), status=status, headers=headers, content_type="", chunked=False)
    _, failure = await collect(upstream.stream())
    assert type(failure) is expected
    assert failure.retry_after == (31 if "31" in headers.values() else None)
    if len(body) > 5:
        assert body not in str(failure)
    assert len(upstream.fake.connections) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_a_short_wait_that_the_server_asks_for_is_waited_once(upstream: Upstream, status: int) -> None:
    upstream.fake.play(Raw(b"later"), status=status, headers={"Retry-After": "1"})
    upstream.fake.play(Say(["Pa", "ris"]), fake_module.Finish())
    began = time.monotonic()
    deltas, failure = await collect(upstream.stream())
    assert failure is None
    assert text_of(deltas) == "Paris"
    assert 1 <= time.monotonic() - began < 2
    upstream.fake.play(Raw(b"later"), status=status, headers={"Retry-After": "0"}, always=True)
    _, failure = await collect(upstream.stream())
    assert failure is not None
    assert failure.retry_after == 0
    assert len(upstream.fake.connections) == 4, "once, not for ever"


async def test_a_wait_longer_than_the_first_token_may_take_is_not_begun(upstream: Upstream) -> None:
    upstream.fake.play(Raw(b"later"), status=429, headers={"Retry-After": "6"})
    _, failure = await collect(upstream.stream(), seconds=1)
    assert isinstance(failure, ModelRateLimited)
    assert failure.retry_after == 6


async def test_a_server_that_cannot_be_reached_is_left_alone_for_a_while(
    kind: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorestream.providers.upstream.random.uniform", lambda *_: 0.0)
    monkeypatch.setattr("lorestream.providers.breaker.OPEN_SECONDS", 0.6)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        model = model_of(kind, f"http://127.0.0.1:{port}" + ("/v1" if kind == "openai" else ""))
        for _ in range(OPEN_AFTER):
            _, failure = await collect(model.stream(PROMPT, HOW))
            assert isinstance(failure, ModelUnavailable)
            assert failure.retry_after is None
        opened = time.monotonic()
    fake = await FakeUpstream(kind).start(port)
    _, failure = await collect(model.stream(PROMPT, HOW))
    assert isinstance(failure, ModelUnavailable)
    assert failure.retry_after == 1
    assert not fake.connections, "refused without asking"
    async with asyncio.timeout(3):
        while (await collect(model.stream(PROMPT, HOW)))[1] is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert time.monotonic() - opened >= 0.6
    _, failure = await collect(model.stream(PROMPT, HOW))
    assert failure is None, "one connection that came about closes the breaker"
    await fake.stop()


async def test_keys_and_bodies_stay_out_of_messages_and_keys_out_of_logs(
    upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    body = f"Incorrect API key provided: {KEY}. " + "z" * 10_000
    upstream.fake.play(Raw(body.encode()), status=401)
    with caplog.at_level(logging.DEBUG):
        _, failure = await collect(upstream.stream())
    assert failure is not None
    assert KEY not in f"{failure!r} {failure.__cause__!r} {failure.__context__!r}"
    assert "Incorrect" not in failure.message
    assert "Incorrect API key provided: ***" in caplog.text
    assert KEY not in caplog.text
    assert len(caplog.text) < 6000


async def test_an_error_body_that_never_ends_is_not_waited_for(upstream: Upstream) -> None:
    upstream.fake.play(Raw(b"oh"), Hold(), status=500)
    _, failure = await collect(upstream.stream(), seconds=4)
    assert isinstance(failure, ModelUnavailable)


async def test_a_redirect_is_not_followed(upstream: Upstream, kind: Format) -> None:
    async with FakeUpstream(kind) as canary:
        location = {"Location": f"{canary.base_url}/chat/completions"}
        upstream.fake.play(status=307, headers=location, always=True)
        _, failure = await collect(upstream.stream())
        assert isinstance(failure, ModelProtocolError)
        assert not canary.connections


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("CUDA error", ModelError),
        ({"message": "engine died", "code": 500}, ModelError),
        ("model 'tiny' not found", ModelNotFound),
        ({"type": "exceed_context_size_error"}, ContextTooLong),
    ],
)
async def test_an_error_inside_the_answer(upstream: Upstream, error: object, expected: type[RunFailed]) -> None:
    upstream.fake.play(Say(["Pa", "ris"]), Fail(error), fake_module.Finish())
    deltas, failure = await collect(upstream.stream())
    assert type(failure) is expected
    assert "CUDA" not in str(failure)
    assert text_of(deltas) == "Paris"


async def test_tokens_in_the_same_read_as_a_failure_are_kept(upstream: Upstream, kind: Format) -> None:
    good = token_with(kind, "Paris")
    bad = b'{"message":\n' if kind == "ollama" else b"data: {oops\n\n"
    upstream.fake.play(Raw(good + bad), Hold())
    deltas, failure = await collect(upstream.stream())
    assert isinstance(failure, ModelProtocolError)
    assert text_of(deltas) == "Paris"


@pytest.mark.parametrize("line", ["[]", '"x"', "{", "nope", '{"message":7,"choices":7}', "[" * 100_000, "\xff"])
async def test_chunks_that_mean_nothing(upstream: Upstream, kind: Format, line: str) -> None:
    data = line.encode("latin-1") + b"\n"
    upstream.fake.play(Say("Paris"), Raw(data if kind == "ollama" else b"data: " + data + b"\n"), Hold())
    deltas, failure = await collect(upstream.stream())
    assert isinstance(failure, ModelProtocolError)
    assert text_of(deltas) == "Paris"


async def test_a_huge_line_is_refused_early(upstream: Upstream) -> None:
    upstream.fake.play(Say("Paris"), Raw(b"data: {" + b"x" * 10_000_000))
    deltas, failure = await collect(upstream.stream())
    assert isinstance(failure, ModelProtocolError)
    assert text_of(deltas) == "Paris"


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "image/png"])
async def test_another_kind_of_content_is_refused(upstream: Upstream, content_type: str) -> None:
    upstream.fake.play(Raw(b"<html>Log in</html>"), content_type=content_type)
    _, failure = await collect(upstream.stream())
    assert isinstance(failure, ModelProtocolError)


async def test_a_compressed_answer_is_refused(upstream: Upstream) -> None:
    upstream.fake.play(Raw(b"\x1f\x8b" + b"\0" * 1000), headers={"Content-Encoding": "gzip"})
    _, failure = await collect(upstream.stream())
    assert isinstance(failure, ModelProtocolError)


@pytest.mark.parametrize("garbage", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: " + b"b" * 100_000])
async def test_a_server_of_another_protocol(kind: Format, garbage: bytes) -> None:
    class Blurt(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            cast("asyncio.Transport", transport).write(garbage)

    server = await asyncio.get_running_loop().create_server(Blurt, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    _, failure = await collect(model_of(kind, url).stream(PROMPT, HOW))
    server.close()
    assert isinstance(failure, ModelProtocolError)


async def test_a_broken_chunk_length(upstream: Upstream) -> None:
    upstream.fake.play(Raw(b"zz\r\n"), headers={"Transfer-Encoding": "chunked"}, chunked=False)
    _, failure = await collect(upstream.stream())
    assert isinstance(failure, ModelProtocolError)
