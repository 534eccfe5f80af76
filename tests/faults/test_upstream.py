"""The model's server breaks in every way it can; the user gets one honest end and keeps what came (rows 1 to 24)."""

from __future__ import annotations

import asyncio
import email.utils
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from lorestream.streaming.events import Done, Error, Token
from tests.fakes.reading import Stream
from tests.fakes.upstream import Close, Endless, Fail, FakeUpstream, Finish, Hold, Raw, Reset, Say, Step
from tests.faults.world import KEY, World, world

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

SETTINGS = {
    "first_token_timeout_seconds": "1.5",
    "idle_timeout_seconds": "0.6",
    "total_timeout_seconds": "4",
    "heartbeat_seconds": "0.2",
    "max_answer_bytes": "200000",
    "model_concurrency": "2",  # a slot that is not given back stops all later tests
}
TEXT = 'Paris – état 🇫🇷 \u2028\x85\r\n"[1]\\.'


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def at(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("upstream") / "data", models_dir, **SETTINGS) as one:
        yield one
        assert KEY not in one.log()
        assert "Traceback" not in one.log()


def fault(number: int, name: str, code: str, *steps: Step, prefix: str = "", **answer: Any) -> Any:
    """A row, what the upstream does, the code that the user gets and the text that is kept."""
    return pytest.param(steps, answer, code, prefix, marks=pytest.mark.fault(number), id=f"{number:02}-{name}")


FAULTS = [
    fault(3, "too-long-a-wait", "model_rate_limited", status=429, headers={"Retry-After": "31"}),
    fault(3, "absurd-wait", "model_rate_limited", status=429, headers={"Retry-After": "1e9"}),
    fault(3, "no-time-given", "model_rate_limited", status=429),
    fault(4, "502-html", "model_unavailable", Raw(b"<html>secret</html>" * 999), status=502, content_type="text/html"),
    fault(4, "503", "model_unavailable", Raw(b"secret"), status=503),
    fault(5, "401", "model_auth", Raw(KEY.encode()), status=401),
    fault(5, "403", "model_auth", status=403),
    fault(6, "404", "model_not_found", status=404),
    fault(7, "silence-before-headers", "first_token_timeout", before=(Hold(),)),
    fault(8, "silence-after-headers", "first_token_timeout", Hold()),
    fault(9, "silence-in-mid-answer", "idle_timeout", Say("Par"), Hold(), prefix="Par"),
    fault(10, "reset", "upstream_truncated", Say("Par"), Reset(), prefix="Par"),
    fault(11, "end-of-file", "upstream_truncated", Say("Par"), Close(), prefix="Par"),
    fault(11, "no-finish-reason", "upstream_truncated", Say("Par"), Finish(None, end_mark=False), prefix="Par"),
    fault(11, "done-without-reason", "upstream_truncated", Say("Par"), Finish(None), prefix="Par"),
    fault(12, "no-json", "model_protocol", Say("Par"), Raw(b"data: {secret\n\n"), prefix="Par"),
    fault(13, "error-in-200", "model_error", Say("Par"), Fail("secret"), prefix="Par"),
    fault(17, "html", "model_protocol", Raw(b"<html>secret"), content_type="text/html"),
    fault(21, "drip", "idle_timeout", Say("Par"), Raw(b"data: " + b" " * 999, pause=0.1), prefix="Par"),
    fault(22, "gzip", "model_protocol", Raw(b"\x1f\x8b" + b"\0" * 100_000), headers={"Content-Encoding": "gzip"}),
]


@pytest.mark.parametrize(("steps", "answer", "code", "prefix"), FAULTS)
async def test_fault(at: World, steps: tuple[Step, ...], answer: dict[str, Any], code: str, prefix: str) -> None:
    at.skip_chats()
    at.fake.play(*steps, **answer)
    stream = await at.client.answer()
    connection = await at.next_chat()
    async with asyncio.timeout(1):
        await connection.closed
    assert connection.request
    assert connection.request.headers["accept-encoding"] == "identity"
    error = stream.terminal
    assert isinstance(error, Error)
    assert (error.code, stream.text) == (code, prefix)
    assert "secret" not in error.message
    assert sum(isinstance(event, Done | Error) for event in stream.events) == 1
    stored = await at.stored(stream.run_id)
    assert (stored["content"], stored["error"]["code"]) == (prefix, code)
    assert stored["status"] == ("interrupted" if code in {"idle_timeout", "upstream_truncated"} else "failed")
    assert len(at.chats()) == at._seen, "never asked again by itself"
    if code == "first_token_timeout":
        assert stream.raw.count(b": hb\n") > 3
    if "31" in answer.get("headers", {}).values():
        assert error.retry_after == 31


@pytest.mark.fault(3)
@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_fault_03_a_short_wait_is_waited_for_with_heartbeats(at: World, form: str) -> None:
    wait = "1" if form == "seconds" else email.utils.formatdate(time.time() + 1, usegmt=True)
    at.fake.play(Raw(b"slow down"), status=429, headers={"Retry-After": wait})
    at.fake.play(Say("Paris"), Finish())
    stream = await at.client.answer()
    assert isinstance(stream.terminal, Done), stream.terminal
    assert stream.text == "Paris"
    if form == "seconds":
        assert stream.raw.count(b": hb\n") > 2


@pytest.mark.fault(1)
async def test_fault_01_a_refused_connection_is_an_error_soon_and_then_at_once(
    tmp_path: Path, models_dir: Path
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        async with world(tmp_path / "data", models_dir, openai_base_url=address) as at:
            took, waits = [], []
            for _ in range(6):
                began = time.monotonic()
                stream = await at.client.answer()
                took.append(time.monotonic() - began)
                assert isinstance(stream.terminal, Error)
                assert stream.terminal.code == "model_unavailable"
                waits.append(stream.terminal.retry_after)
    assert max(took) < 2
    assert waits[:5] == [None] * 5
    assert waits[5] is not None
    assert 1 <= waits[5] <= 10
    assert took[5] < min(took[:5]), "the sixth was not tried"


@pytest.mark.fault(2)
async def test_fault_02_a_server_that_never_accepts_is_given_up_at_the_connect_timeout(
    tmp_path: Path, models_dir: Path
) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(address)
        settings = {"openai_base_url": f"http://127.0.0.1:{address[1]}/v1", "connect_timeout_seconds": "1"}
        async with world(tmp_path / "data", models_dir, **settings) as at:
            began = time.monotonic()
            stream = await at.client.answer()
            took = time.monotonic() - began
        for one in crowd:
            one.close()
    assert isinstance(stream.terminal, Error)
    assert stream.terminal.code == "model_unavailable"
    assert 1 <= took < 2.5


@pytest.mark.fault(14)
async def test_fault_14_chunks_without_content_are_passed_over(at: World) -> None:
    odd: list[dict[str, Any]] = [
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": ""}]},
        {"choices": [{"index": 0, "delta": {"content": None}, "finish_reason": None}]},
        {"object": "ping"},
    ]
    frames = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in odd]
    at.fake.play(Say("Par"), *map(Raw, frames), Say("is"), Finish())
    stream = await at.client.answer()
    assert isinstance(stream.terminal, Done)
    assert stream.text == "Paris"


@pytest.mark.fault(15)
@pytest.mark.parametrize("step", [1, 3, 7])
async def test_fault_15_the_text_is_the_same_wherever_the_network_cuts(at: World, step: int) -> None:
    at.fake.play(Say([TEXT, TEXT]), Finish(), cuts=tuple(range(0, 3000, step)))
    stream = await at.client.answer()
    assert isinstance(stream.terminal, Done)
    assert stream.text == TEXT + TEXT


@pytest.mark.fault(16)
async def test_fault_16_every_legal_spelling_of_an_event_stream_is_read(at: World) -> None:
    def data(text: str) -> bytes:
        return json.dumps({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}).encode()

    whole = data("c")
    at.fake.play(
        Raw(b"\xef\xbb\xbfdata:" + data("a") + b"\r\n\r\n: a comment\r\n"),
        Raw(b"event: x\nid: 1\nretry: 5\ndata: " + data("b") + b"\n\n"),
        Raw(b"data: " + whole[:12] + b"\ndata: " + whole[12:] + b"\n\n"),
        Finish(),
    )
    stream = await at.client.answer()
    assert isinstance(stream.terminal, Done), stream.terminal
    assert stream.text == "abc"


@pytest.mark.fault(17)
async def test_fault_17_a_server_that_ignores_stream_is_understood(at: World) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Paris"}, "finish_reason": "stop"}
    at.fake.play(Raw(json.dumps({"choices": [choice]}).encode()), content_type="application/json")
    stream = await at.client.answer()
    assert isinstance(stream.terminal, Done), stream.terminal
    assert stream.text == "Paris"


@pytest.mark.fault(18)
async def test_fault_18_an_endless_answer_is_cut_at_the_limit(at: World) -> None:
    at.skip_chats()
    at.fake.play(Endless())
    stream = await at.client.answer()
    assert isinstance(stream.terminal, Error)
    assert stream.terminal.code == "limit"
    async with asyncio.timeout(0.5):
        await (await at.next_chat()).closed
    assert len(stream.text) <= 200_000
    stored = await at.stored(stream.run_id)
    assert (stored["status"], stored["content"]) == ("interrupted", stream.text)


@pytest.mark.fault(18)
async def test_fault_18_an_answer_that_goes_on_and_on_is_cut_at_the_time(at: World) -> None:
    at.skip_chats()
    at.fake.play(Say(["word "] * 1000, pause=0.1))
    began = time.monotonic()
    stream = await at.client.answer()
    assert isinstance(stream.terminal, Error)
    assert stream.terminal.code == "total_timeout"
    assert 3.9 < time.monotonic() - began < 6
    async with asyncio.timeout(0.5):
        await (await at.next_chat()).closed
    assert (await at.stored(stream.run_id))["content"] == stream.text


@pytest.mark.fault(19)
async def test_fault_19_a_line_of_ten_megabytes_costs_no_memory(at: World) -> None:
    before = at.rss()
    at.fake.play(Say("Par"), Raw(b'data: {"choices":[{"delta":{"content":"' + b"x" * 10_000_000))
    stream = await at.client.answer()
    assert isinstance(stream.terminal, Error)
    assert (stream.terminal.code, stream.text) == ("model_protocol", "Par")
    assert at.rss() - before < 20_000_000


@pytest.mark.fault(20)
async def test_fault_20_ten_thousand_tokens_at_once_lose_nothing(at: World) -> None:
    before = at.rss()
    words = [f"w{n} " for n in range(10_000)]
    at.fake.play(Say(words, together=True), Finish())
    reads = 0
    async with at.client.ask() as stream:
        while stream.terminal is None:
            await stream.more()
            reads += 1
    assert isinstance(stream.terminal, Done)
    assert stream.text == "".join(words)
    assert reads < 1000, "many tokens in one write"
    assert at.rss() - before < 60_000_000


@pytest.mark.fault(23)
async def test_fault_23_a_redirect_is_not_followed(at: World) -> None:
    async with FakeUpstream() as canary:
        at.fake.play(status=307, headers={"Location": f"{canary.url}/v1/chat/completions"})
        stream = await at.client.answer()
        assert not canary.connections
    assert isinstance(stream.terminal, Error)
    assert stream.terminal.code == "model_protocol"


@pytest.mark.fault(24)
@pytest.mark.parametrize("busy", [False, True], ids=["silent", "always-talking"])
async def test_fault_24_an_upstream_that_ignores_our_leaving_is_left(at: World, busy: bool) -> None:
    for _ in range(3):  # more often than there are slots
        at.skip_chats()
        at.fake.play(Say("Par"), *([Say(["a"] * 500, pause=0.001)] if busy else []), Hold())
        async with at.client.ask() as stream:
            await stream.until(Token)
            began = time.monotonic()
            await at.client.stop(stream.run_id)
            await stream.rest(1)
        async with asyncio.timeout(1):
            assert await (await at.next_chat()).closed - began < 0.5
        _assert_cancelled(stream)


def _assert_cancelled(stream: Stream) -> None:
    assert isinstance(stream.terminal, Done)
    assert stream.terminal.finish_reason == "cancelled"
