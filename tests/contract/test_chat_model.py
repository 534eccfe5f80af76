"""One suite for every ``ChatModel``: the formats of Ollama, OpenAI and Anthropic as a script, and the reader."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorestream.errors import (
    FirstTokenTimeout,
    IdleTimeout,
    ModelUnavailable,
    UpstreamTruncated,
)
from lorestream.providers.base import Delta, Finish, Usage
from lorestream.providers.reader import Reader
from tests.fakes.chat import (
    HOW,
    KEY,
    PROMPT,
    STAGES,
    STOP_SECONDS,
    TEXT,
    WRITING,
    Upstream,
    collect,
    finish_of,
    model_of,
    seconds_to_cancel,
    seconds_to_close,
    take,
    text_of,
)
from tests.fakes.embedder import WordEmbedder
from tests.fakes.formats import token_with
from tests.fakes.upstream import Close, Endless, FakeUpstream, Format, Hold, Raw, Reset, Say, Step
from tests.fakes.upstream import Finish as Finished

LOOPS = ("asyncio", "uvloop")  # they differ in how connections open, abort and pause
pytestmark = pytest.mark.timeout(60)


# An answer from beginning to end


async def test_an_answer_arrives_whole_with_reason_and_usage(upstream: Upstream) -> None:
    upstream.fake.play(Say(TEXT), Finished("stop", usage=(12, 7)))
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
    body = request.json
    assert (body["model"], body["stream"]) == ("tiny", True)
    assert body["messages"][-1] == {"role": "user", "content": "What is the capital of France?"}
    key = {"x-api-key": KEY} if kind == "anthropic" else {"authorization": f"Bearer {KEY}"}
    assert {name: request.headers.get(name) for name in ("authorization", "x-api-key")} | key == key | {
        name: None for name in ("authorization", "x-api-key") if name not in key
    }
    assert "tools" not in body
    if kind == "ollama":
        assert request.path == "/api/chat"
        assert body["options"] == {"num_ctx": 2048, "num_predict": 99, "temperature": 0.5}
    elif kind == "anthropic":
        assert (request.path, request.headers["anthropic-version"]) == ("/v1/messages", "2026-10-21")
        assert (body["max_tokens"], body["system"]) == (99, "Answer from the passages.")
        assert [message["role"] for message in body["messages"]] == ["user"]
    else:
        assert request.path == "/v1/chat/completions"
        assert (body["max_tokens"], body["temperature"]) == (99, 0.5)
        assert body["stream_options"] == {"include_usage": True}


async def test_all_that_one_read_brings_is_one_batch(upstream: Upstream) -> None:
    upstream.fake.play(Say(["a", "b", "c"], together=True), Finished())
    batches = [batch async for batch in upstream.stream()]
    assert any("".join(delta.text for delta in batch) == "abc" for batch in batches)


async def test_thinking_is_not_part_of_the_answer(upstream: Upstream) -> None:
    upstream.fake.play(Say(["Hm", "m."], reasoning=True), Say("Paris"), Finished())
    deltas, _ = await collect(upstream.stream())
    assert (text_of(deltas), "".join(delta.reasoning for delta in deltas)) == ("Paris", "Hmm.")


@pytest.mark.parametrize("reason", ["stop", "length"])
async def test_finish_reasons(upstream: Upstream, reason: str) -> None:
    upstream.fake.play(Say("Paris"), Finished(reason, usage=None))
    deltas, failure = await collect(upstream.stream())
    assert failure is None
    assert (finish_of(deltas).reason, finish_of(deltas).usage) == (reason, None)


@pytest.mark.parametrize("reason", ["load", "tool_calls"])
async def test_an_unknown_finish_reason_is_a_cut_answer(upstream: Upstream, reason: str) -> None:
    upstream.fake.play(Say("Paris"), Finished(reason))
    deltas, failure = await collect(upstream.stream())
    assert isinstance(failure, UpstreamTruncated)
    assert text_of(deltas) == "Paris"


@pytest.mark.parametrize("kind", ["ollama", "openai", "anthropic"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cuts=st.sets(st.integers(1, 2400), max_size=12))
def test_the_text_is_the_same_wherever_the_network_splits_it(kind: Format, cuts: set[int]) -> None:
    async def run() -> None:
        async with FakeUpstream(kind) as fake:
            fake.play(Say(TEXT), Finished(usage=(1, 2)), cuts=tuple(cuts))
            deltas, failure = await collect(model_of(kind, fake.base_url).stream(PROMPT, HOW))
            assert failure is None
            assert text_of(deltas) == "".join(TEXT)
            assert finish_of(deltas).usage == Usage(1, 2, 3)

    asyncio.run(run())


async def test_the_text_is_the_same_byte_by_byte(upstream: Upstream) -> None:
    upstream.fake.play(Say(TEXT), Finished(), cuts=tuple(range(3000)))
    deltas, failure = await collect(upstream.stream())
    assert failure is None
    assert text_of(deltas) == "".join(TEXT)


async def test_halves_of_surrogate_pairs_join_or_are_replaced(upstream: Upstream, kind: Format) -> None:
    def frame(escaped: str) -> Raw:
        return Raw(token_with(kind, escaped))

    upstream.fake.play(
        frame("a\\ud83d"), frame("\\ude00b"), frame("c\\ud83d"), frame("d"), frame("\\ud83d"), Finished()
    )
    deltas, failure = await collect(upstream.stream())
    assert failure is None
    assert text_of(deltas) == "a😀bc\ufffdd\ufffd"


async def test_ten_thousand_tokens_a_second_lose_nothing(upstream: Upstream) -> None:
    words = [f"{number} " for number in range(20_000)]
    upstream.fake.play(Say(words), Finished())
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
    upstream.fake.play(Say(["x"] * 12, pause=0.05), Finished())
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


# Stop


@pytest.mark.parametrize("stage", STAGES)
async def test_cancellation_closes_the_connection(upstream: Upstream, stage: str) -> None:
    assert await seconds_to_cancel(upstream, stage) < STOP_SECONDS


@pytest.mark.parametrize("stage", WRITING)
async def test_closing_the_stream_closes_the_connection(upstream: Upstream, stage: str) -> None:
    assert await seconds_to_close(upstream, stage) < STOP_SECONDS


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
    upstream.fake.play(Say("Paris"), Finished(), Hold())
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
    task = asyncio.create_task(take(make_reader(1).stream(PROMPT, HOW), first))
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
