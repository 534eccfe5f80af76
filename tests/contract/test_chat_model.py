"""One suite for every ``ChatModel``: Ollama's and OpenAI's formats on a scripted server, and the built-in reader."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorestream.errors import (
    ContextTooLong,
    FirstTokenTimeout,
    IdleTimeout,
    ModelAuthFailed,
    ModelError,
    ModelNotFound,
    ModelProtocolError,
    ModelRateLimited,
    ModelUnavailable,
    RunFailed,
    UpstreamTruncated,
)
from lorestream.providers.base import ChatMessage, ChatModel, Delta, Finish, Generation, Prompt, PromptPassage, Usage
from lorestream.providers.ollama import OllamaModel
from lorestream.providers.openai import OpenAIModel
from lorestream.providers.reader import Reader
from lorestream.providers.upstream import Endpoint
from tests.fakes import upstream as fake_module
from tests.fakes.embedder import WordEmbedder
from tests.fakes.upstream import Close, Endless, Fail, FakeUpstream, Format, Hold, Raw, Reset, Say, Step

KEY = "sk-canary-5f1d"
HOW = Generation(connect_seconds=1.0, first_token_seconds=5.0, idle_seconds=5.0)
TEXT = ["Pa", "ris", " – é", "tat 🇫🇷", "\u2028\x85\r\n", '"[1]\\', "."]
PROMPT = Prompt(
    [ChatMessage("system", "Answer from the passages."), ChatMessage("user", "What is the capital of France?")],
    "What is the capital of France?",
    [PromptPassage(1, "France", "Paris is the capital of France. Lyon is a city in the east.")],
)
LOOPS = ("asyncio", "uvloop")  # they differ in how connections open, abort and pause
pytestmark = pytest.mark.timeout(60)


@dataclass
class Upstream:
    """A fake server and the model that asks it."""

    fake: FakeUpstream
    model: ChatModel

    def stream(self, how: Generation = HOW) -> Any:
        return self.model.stream(PROMPT, how)


def model_of(kind: Format, base_url: str) -> ChatModel:
    endpoint = Endpoint(base_url, KEY)
    return OllamaModel("tiny", endpoint) if kind == "ollama" else OpenAIModel("tiny", endpoint)


@pytest.fixture(params=["ollama", "openai"])
def kind(request: pytest.FixtureRequest) -> Format:
    return "ollama" if request.param == "ollama" else "openai"


@pytest.fixture
async def upstream(kind: Format) -> AsyncIterator[Upstream]:
    async with FakeUpstream(kind) as fake:
        yield Upstream(fake, model_of(kind, fake.base_url))


async def collect(stream: Any, seconds: float = 10) -> tuple[list[Delta], RunFailed | None]:
    """All deltas, and the failure at the end if there was one."""
    deltas: list[Delta] = []
    async with asyncio.timeout(seconds):
        try:
            async for batch in stream:
                deltas += batch
        except RunFailed as failure:
            return deltas, failure
    return deltas, None


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def finish_of(deltas: list[Delta]) -> Finish:
    """The finish marker, which only the last delta carries."""
    assert [delta.finish is not None for delta in deltas] == [False] * (len(deltas) - 1) + [True]
    assert deltas[-1].finish is not None
    return deltas[-1].finish


# An answer from beginning to end


async def test_an_answer_arrives_whole_with_reason_and_usage(upstream: Upstream) -> None:
    upstream.fake.play(Say(TEXT), fake_module.Finish("stop", usage=(12, 7)))
    deltas, failure = await collect(upstream.stream())
    assert failure is None
    assert text_of(deltas) == "".join(TEXT)
    assert finish_of(deltas) == Finish("stop", Usage(12, 7, 19), "tiny")


async def test_the_request_says_how_to_generate(upstream: Upstream, kind: Format) -> None:
    how = replace(HOW, temperature=0.5, max_output_tokens=99, context_tokens=2048)
    await collect(upstream.stream(how))
    (request,) = upstream.fake.requests
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["connection"] == "close"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    body = request.json
    assert (body["model"], body["stream"]) == ("tiny", True)
    assert body["messages"][1] == {"role": "user", "content": "What is the capital of France?"}
    assert "tools" not in body
    if kind == "ollama":
        assert request.path == "/api/chat"
        assert body["options"] == {"num_ctx": 2048, "num_predict": 99, "temperature": 0.5}
    else:
        assert request.path == "/v1/chat/completions"
        assert (body["max_tokens"], body["temperature"]) == (99, 0.5)
        assert body["stream_options"] == {"include_usage": True}


async def test_all_that_one_read_brings_is_one_batch(upstream: Upstream) -> None:
    upstream.fake.play(Say(["a", "b", "c"], together=True), fake_module.Finish())
    batches = [batch async for batch in upstream.stream()]
    assert any("".join(delta.text for delta in batch) == "abc" for batch in batches)


async def test_thinking_is_not_part_of_the_answer(upstream: Upstream) -> None:
    upstream.fake.play(Say(["Hm", "m."], reasoning=True), Say("Paris"), fake_module.Finish())
    deltas, _ = await collect(upstream.stream())
    assert (text_of(deltas), "".join(delta.reasoning for delta in deltas)) == ("Paris", "Hmm.")


@pytest.mark.parametrize("reason", ["stop", "length"])
async def test_finish_reasons(upstream: Upstream, reason: str) -> None:
    upstream.fake.play(Say("Paris"), fake_module.Finish(reason, usage=None))
    deltas, failure = await collect(upstream.stream())
    assert failure is None
    assert (finish_of(deltas).reason, finish_of(deltas).usage) == (reason, None)


@pytest.mark.parametrize("reason", ["load", "tool_calls"])
async def test_an_unknown_finish_reason_is_a_cut_answer(upstream: Upstream, reason: str) -> None:
    upstream.fake.play(Say("Paris"), fake_module.Finish(reason))
    deltas, failure = await collect(upstream.stream())
    assert isinstance(failure, UpstreamTruncated)
    assert text_of(deltas) == "Paris"


@pytest.mark.parametrize("kind", ["ollama", "openai"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cuts=st.sets(st.integers(1, 2400), max_size=12))
def test_the_text_is_the_same_wherever_the_network_splits_it(kind: Format, cuts: set[int]) -> None:
    async def run() -> None:
        async with FakeUpstream(kind) as fake:
            fake.play(Say(TEXT), fake_module.Finish(usage=(1, 2)), cuts=tuple(cuts))
            deltas, failure = await collect(model_of(kind, fake.base_url).stream(PROMPT, HOW))
            assert failure is None
            assert text_of(deltas) == "".join(TEXT)
            assert finish_of(deltas).usage == Usage(1, 2, 3)

    asyncio.run(run())


async def test_the_text_is_the_same_byte_by_byte(upstream: Upstream) -> None:
    upstream.fake.play(Say(TEXT), fake_module.Finish(), cuts=tuple(range(3000)))
    deltas, failure = await collect(upstream.stream())
    assert failure is None
    assert text_of(deltas) == "".join(TEXT)


async def test_halves_of_surrogate_pairs_join_or_are_replaced(upstream: Upstream, kind: Format) -> None:
    def frame(escaped: str) -> Raw:
        template = (
            '{"message":{"content":"%s"}}\n'
            if kind == "ollama"
            else 'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n'
        )
        return Raw((template % escaped).encode())

    upstream.fake.play(
        frame("a\\ud83d"), frame("\\ude00b"), frame("c\\ud83d"), frame("d"), frame("\\ud83d"), fake_module.Finish()
    )
    deltas, failure = await collect(upstream.stream())
    assert failure is None
    assert text_of(deltas) == "a😀bc\ufffdd\ufffd"


async def test_ten_thousand_tokens_a_second_lose_nothing(upstream: Upstream) -> None:
    words = [f"{number} " for number in range(20_000)]
    upstream.fake.play(Say(words), fake_module.Finish())
    begun = time.monotonic()
    deltas, failure = await collect(upstream.stream(), seconds=20)
    assert failure is None
    assert text_of(deltas) == "".join(words)
    assert time.monotonic() - begun < 10


async def test_a_reader_that_pauses_holds_the_server_back(upstream: Upstream) -> None:
    upstream.fake.play(Endless("x" * 1000))
    stream = upstream.stream(replace(HOW, idle_seconds=0.2))
    await anext(stream)
    connection = await upstream.fake.connection(0)
    await asyncio.wait_for(connection.stuck.wait(), 10)
    await asyncio.sleep(0.4)  # longer than the idle limit: our own pause is not the server's silence
    written = connection.tokens
    await asyncio.sleep(0.1)
    assert connection.tokens == written
    for _ in range(20):
        await anext(stream)
    await stream.aclose()


# Silence


async def test_silence_before_the_headers(upstream: Upstream) -> None:
    upstream.fake.play(before=(Hold(),))
    _, failure = await collect(upstream.stream(replace(HOW, first_token_seconds=0.3)), seconds=3)
    assert isinstance(failure, FirstTokenTimeout)


async def test_silence_after_the_headers(upstream: Upstream) -> None:
    upstream.fake.play(Hold())
    _, failure = await collect(upstream.stream(replace(HOW, first_token_seconds=0.3)), seconds=3)
    assert isinstance(failure, FirstTokenTimeout)


async def test_bytes_that_are_no_token_do_not_count_as_one(upstream: Upstream, kind: Format) -> None:
    drip = b"\n" * 2000 if kind == "ollama" else b": still here\n" * 200
    upstream.fake.play(Raw(drip, pause=0.01))
    begun = time.monotonic()
    _, failure = await collect(upstream.stream(replace(HOW, first_token_seconds=0.4, idle_seconds=0.4)), seconds=3)
    assert isinstance(failure, FirstTokenTimeout)
    assert time.monotonic() - begun < 2


async def test_silence_in_mid_answer(upstream: Upstream) -> None:
    upstream.fake.play(Say(["Pa", "ris"]), Hold())
    deltas, failure = await collect(upstream.stream(replace(HOW, idle_seconds=0.3)), seconds=3)
    assert isinstance(failure, IdleTimeout)
    assert text_of(deltas) == "Paris"


async def test_a_drip_in_mid_answer_is_silence(upstream: Upstream) -> None:
    upstream.fake.play(Say("Paris"), Raw(b'{"message":{"content":"' + b"x" * 500, pause=0.01))
    deltas, failure = await collect(upstream.stream(replace(HOW, idle_seconds=0.3)), seconds=3)
    assert isinstance(failure, IdleTimeout)
    assert text_of(deltas) == "Paris"


async def test_tokens_that_keep_coming_are_never_too_late(upstream: Upstream) -> None:
    upstream.fake.play(Say(["x"] * 12, pause=0.05), fake_module.Finish())
    how = replace(HOW, first_token_seconds=0.4, idle_seconds=0.4)
    deltas, failure = await collect(upstream.stream(how))
    assert failure is None
    assert text_of(deltas) == "x" * 12


# Broken connections


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["fin", "rst"])
async def test_a_connection_that_breaks_is_a_cut_answer(upstream: Upstream, end: Step) -> None:
    gate = asyncio.Event()
    upstream.fake.play(Say(["Pa", "ris"]), Hold(gate), end)
    stream = upstream.stream()
    deltas: list[Delta] = []
    while text_of(deltas) != "Paris":
        deltas += await asyncio.wait_for(anext(stream), 5)
    gate.set()
    with pytest.raises(UpstreamTruncated):
        await asyncio.wait_for(anext(stream), 5)


async def test_a_body_that_ends_without_the_finish_marker_is_a_cut_answer(upstream: Upstream) -> None:
    upstream.fake.play(Say("Paris"))
    deltas, failure = await collect(upstream.stream())
    assert isinstance(failure, UpstreamTruncated)
    assert text_of(deltas) == "Paris"


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["fin", "rst"])
async def test_a_connection_that_breaks_before_the_answer(upstream: Upstream, end: Step) -> None:
    upstream.fake.play(before=(end,))
    _, failure = await collect(upstream.stream(), seconds=3)
    assert isinstance(failure, ModelUnavailable)
    assert len(upstream.fake.connections) == 1  # it may have begun to generate: never asked twice


async def test_a_refused_connection_is_tried_again_once_and_reported_soon(kind: Format) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        model = model_of(kind, f"http://127.0.0.1:{closed.getsockname()[1]}")
        begun = time.monotonic()
        _, failure = await collect(model.stream(PROMPT, HOW))
    assert isinstance(failure, ModelUnavailable)
    assert failure.retryable
    assert time.monotonic() - begun < 2


async def test_a_server_that_comes_up_between_the_two_tries_answers(
    kind: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    fake = FakeUpstream(kind)
    monkeypatch.setattr("random.uniform", lambda _low, _high: 0.5)
    url = f"http://127.0.0.1:{port}" + ("/v1" if kind == "openai" else "")
    answer = asyncio.create_task(collect(model_of(kind, url).stream(PROMPT, HOW)))
    await asyncio.sleep(0.2)
    await fake.start(port)
    try:
        deltas, failure = await answer
    finally:
        await fake.stop()
    assert failure is None
    assert finish_of(deltas).reason == "stop"


async def test_a_black_hole_is_given_up_at_the_connect_timeout(kind: Format) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):  # fill the backlog, so that further connections get no answer
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        begun = time.monotonic()
        model = model_of(kind, f"http://127.0.0.1:{address[1]}")
        _, failure = await collect(model.stream(PROMPT, replace(HOW, connect_seconds=0.5)))
    assert isinstance(failure, ModelUnavailable)
    assert 0.4 < time.monotonic() - begun < 1.5


async def test_a_tls_handshake_that_never_ends_counts_as_connecting(kind: Format) -> None:
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    model = model_of(kind, f"https://127.0.0.1:{port}")
    begun = time.monotonic()
    _, failure = await collect(model.stream(PROMPT, replace(HOW, connect_seconds=0.3)))
    server.close()
    assert isinstance(failure, ModelUnavailable)
    assert time.monotonic() - begun < 2


async def test_an_unknown_host_is_unavailable(kind: Format) -> None:
    model = model_of(kind, "http://no-such-host.invalid:1")
    _, failure = await collect(model.stream(PROMPT, HOW))
    assert isinstance(failure, ModelUnavailable)


# What the server says


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (401, {}, "bad key", ModelAuthFailed),
        (403, {}, "not allowed", ModelAuthFailed),
        (404, {}, '{"error":"model \'tiny\' not found"}', ModelNotFound),
        (400, {}, '{"error":{"message":"The model `tiny` does not exist"}}', ModelNotFound),
        (429, {"Retry-After": "7"}, "slow down", ModelRateLimited),
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
    assert failure.retry_after == (7 if status == 429 else None)
    if len(body) > 5:
        assert body not in str(failure)
    assert len(upstream.fake.connections) == 1


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
    good = (
        '{"message":{"content":"Paris"}}\n'
        if kind == "ollama"
        else 'data: {"choices":[{"delta":{"content":"Paris"}}]}\n\n'
    )
    bad = '{"message":\n' if kind == "ollama" else "data: {oops\n\n"
    upstream.fake.play(Raw((good + bad).encode()), Hold())
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


# Stop


STAGES: dict[str, tuple[tuple[Step, ...], tuple[Step, ...]]] = {
    "headers": ((Hold(),), ()),
    "first-token": ((), (Hold(),)),
    "mid-stream": ((), (Say("Paris"), Hold())),
    "always-ready": ((), (Endless(),)),
}


async def _take(stream: Any, first: asyncio.Event) -> None:
    async for _ in stream:
        first.set()


@pytest.mark.parametrize("stage", STAGES)
async def test_cancellation_closes_the_connection(upstream: Upstream, stage: str) -> None:
    before, steps = STAGES[stage]
    upstream.fake.play(*steps, before=before)
    first = asyncio.Event()
    task = asyncio.create_task(_take(upstream.stream(), first))
    connection = await upstream.fake.connection(0)
    if stage in {"mid-stream", "always-ready"}:
        await asyncio.wait_for(first.wait(), 5)
    stopped = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    closed = await asyncio.wait_for(connection.closed, 1)
    assert closed - stopped < 0.5


@pytest.mark.parametrize("stage", ["mid-stream", "always-ready"])
async def test_closing_the_stream_closes_the_connection(upstream: Upstream, stage: str) -> None:
    upstream.fake.play(*STAGES[stage][1])
    stream = upstream.stream()
    await anext(stream)
    stopped = time.monotonic()
    await stream.aclose()
    closed = await asyncio.wait_for((await upstream.fake.connection(0)).closed, 1)
    assert closed - stopped < 0.5


async def test_cancellation_while_connecting_leaves_nothing_behind(kind: Format) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        model = model_of(kind, f"http://127.0.0.1:{listener.getsockname()[1]}")
        task = asyncio.create_task(collect(model.stream(PROMPT, HOW)))
        await asyncio.sleep(0.1)
        stopped = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - stopped < 0.2
    gc.collect()  # an unclosed socket would warn, and warnings fail


async def test_the_connection_is_closed_at_the_end_too(upstream: Upstream) -> None:
    upstream.fake.play(Say("Paris"), fake_module.Finish(), Hold())
    _, failure = await collect(upstream.stream())
    assert failure is None
    await asyncio.wait_for((await upstream.fake.connection(0)).closed, 1)


# The reader keeps the same promises, as far as it has an upstream at all


@pytest.fixture
def make_reader() -> Callable[[int], Reader]:
    return lambda words_per_second: Reader(WordEmbedder(), words_per_second)


async def test_the_reader_ends_with_the_finish_marker(make_reader: Callable[[int], Reader]) -> None:
    deltas, failure = await collect(make_reader(0).stream(PROMPT, HOW))
    assert failure is None
    assert finish_of(deltas) == Finish("stop", None, "reader")
    assert text_of(deltas).startswith("“Paris is the capital of France.” [1]")


async def test_the_reader_stops_at_once(make_reader: Callable[[int], Reader]) -> None:
    first = asyncio.Event()
    task = asyncio.create_task(_take(make_reader(1).stream(PROMPT, HOW), first))
    await asyncio.wait_for(first.wait(), 5)
    stopped = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - stopped < 0.1


async def test_the_reader_keeps_its_pace(make_reader: Callable[[int], Reader]) -> None:
    begun = time.monotonic()
    deltas, _ = await collect(make_reader(100).stream(PROMPT, HOW))
    words = len(deltas) - 1
    assert words / 100 * 0.8 < time.monotonic() - begun < words / 100 + 1
    assert json.dumps(text_of(deltas))
