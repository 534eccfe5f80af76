"""LangChain chat models as language models: real integrations keep the promises of every adapter, above all Stop."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import certifi
import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

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
    StartRefused,
    UpstreamTruncated,
)
from lorestream.providers.base import Finish, Usage
from lorestream.providers.langchain_chat import LangChainModel
from tests.fakes.chat import (
    HOW,
    KEY,
    PROMPT,
    STAGES,
    STOP_SECONDS,
    WRITING,
    Upstream,
    collect,
    finish_of,
    seconds_to_cancel,
    seconds_to_close,
    take,
    text_of,
)
from tests.fakes.upstream import Close, Fail, FakeUpstream, Hold, Raw, Reset, Say, Step
from tests.fakes.upstream import Finish as Finished

pytestmark = pytest.mark.timeout(60)
Kind = Literal["ollama", "openai"]
# Without what Ollama's own client takes for the end of a line (U+2028, U+0085).
PIECES = ["Pa", "ris", " – é", "tat 🇫🇷", "\r\n", '"[1]\\', "."]


@pytest.fixture(scope="module", autouse=True)
def _few_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Their clients read all certificates of authorities whenever one is made, which is most of these tests' time."""
    first = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----")
    path = tmp_path_factory.mktemp("authorities") / "one.pem"
    path.write_text(first[0] + first[1] + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(path))
        yield


@pytest.fixture(params=["ollama", "openai"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return "ollama" if request.param == "ollama" else "openai"


async def model_of(kind: Kind, fake_url: str, **more: Any) -> LangChainModel:
    of_kind = {"reasoning": "true"} if kind == "ollama" else {"api_key": KEY, "max_retries": "0"}
    place = "langchain_ollama:ChatOllama" if kind == "ollama" else "langchain_openai:ChatOpenAI"
    model = LangChainModel(
        f"langchain:{place}?" + urlencode({"model": "tiny", "base_url": fake_url, **of_kind, **more})
    )
    await model.open()
    return model


@pytest.fixture
async def upstream(kind: Kind) -> AsyncIterator[Upstream]:
    async with FakeUpstream(kind) as fake:
        yield Upstream(fake, await model_of(kind, fake.base_url))


async def test_an_answer_arrives_whole_with_reason_and_usage(upstream: Upstream) -> None:
    upstream.fake.play(Say(PIECES), Finished("stop", usage=(12, 7)))
    deltas, failure = await collect(upstream.stream())
    assert failure is None
    assert text_of(deltas) == "".join(PIECES)
    assert finish_of(deltas) == Finish("stop", Usage(12, 7, 19), "tiny")


async def test_the_request_carries_our_limits(upstream: Upstream, kind: Kind) -> None:
    await collect(upstream.stream(replace(HOW, max_output_tokens=99, context_tokens=2048)))
    body = upstream.fake.requests[0].json
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    if kind == "ollama":
        assert body["options"]["num_ctx"] == 2048
        assert body["options"]["num_predict"] == 99
    else:
        assert body["max_completion_tokens"] == 99
        assert body["stream_options"] == {"include_usage": True}


async def test_what_its_maker_limited_is_not_raised(kind: Kind) -> None:
    async with FakeUpstream(kind) as fake:
        limit = {"num_predict" if kind == "ollama" else "max_completion_tokens": "20"}
        await collect((await model_of(kind, fake.base_url, **limit)).stream(PROMPT, HOW))
        body = fake.requests[0].json
        assert (body["options"]["num_predict"] if kind == "ollama" else body["max_completion_tokens"]) == 20


async def test_the_output_limit_ends_an_answer_with_length(upstream: Upstream) -> None:
    upstream.fake.play(Say("Paris"), Finished("length"))
    deltas, _ = await collect(upstream.stream())
    assert finish_of(deltas).reason == "length"


async def test_thinking_is_not_part_of_the_answer() -> None:
    async with FakeUpstream("ollama") as fake:
        fake.play(Say(["Hm", "m."], reasoning=True), Say("Paris"), Finished())
        deltas, _ = await collect((await model_of("ollama", fake.base_url)).stream(PROMPT, HOW))
        assert (text_of(deltas), "".join(delta.reasoning for delta in deltas)) == ("Paris", "Hmm.")


async def test_an_end_without_its_reason_is_a_cut_answer(upstream: Upstream, kind: Kind) -> None:
    upstream.fake.play(Say("Paris"), Finished(None, usage=None, end_mark=kind == "openai"))
    deltas, failure = await collect(upstream.stream())
    assert isinstance(failure, UpstreamTruncated)
    assert text_of(deltas) == "Paris"


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["fin", "rst"])
async def test_a_connection_that_breaks_is_a_cut_answer(upstream: Upstream, end: Step) -> None:
    gate = asyncio.Event()
    upstream.fake.play(Say(["Pa", "ris"]), Hold(gate), end)
    stream = upstream.stream()
    text = ""
    while text != "Paris":
        text += text_of(await asyncio.wait_for(anext(stream), 5))
    gate.set()
    with pytest.raises(UpstreamTruncated):
        await asyncio.wait_for(anext(stream), 5)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, "bad key", ModelAuthFailed),
        (404, '{"error":"model \'tiny\' not found"}', ModelNotFound),
        (429, "slow down", ModelRateLimited),
        (400, '{"error":{"message":"too much","code":"context_length_exceeded"}}', ContextTooLong),
        (400, "odd", ModelError),
        (500, "odd", ModelUnavailable),
    ],
)
async def test_statuses(
    upstream: Upstream, status: int, body: str, expected: type[RunFailed], caplog: pytest.LogCaptureFixture
) -> None:
    upstream.fake.play(Raw(body.encode()), status=status, content_type="application/json", always=True)
    with caplog.at_level(logging.INFO, "lorestream"):
        _, failure = await collect(upstream.stream())
    assert type(failure) is expected
    assert "odd" not in failure.message
    assert KEY not in caplog.text


async def test_an_error_inside_the_answer(upstream: Upstream) -> None:
    upstream.fake.play(Say("Pa"), Fail("CUDA error"), Hold())
    deltas, failure = await collect(upstream.stream())
    assert type(failure) is ModelError
    assert text_of(deltas) == "Pa"


async def test_a_server_that_is_not_there(kind: Kind, unused_tcp_port: int) -> None:
    model = await model_of(kind, f"http://127.0.0.1:{unused_tcp_port}")
    _, failure = await collect(model.stream(PROMPT, HOW))
    assert isinstance(failure, ModelUnavailable)


async def test_nonsense_is_named(upstream: Upstream) -> None:
    upstream.fake.play(Raw(b"data: {oops\n\n"), Hold())
    _, failure = await collect(upstream.stream())
    assert isinstance(failure, ModelProtocolError | ModelError)


@pytest.mark.parametrize("before", [(Hold(),), ()], ids=["headers", "first-token"])
async def test_silence_before_the_first_token(upstream: Upstream, before: tuple[Step, ...]) -> None:
    upstream.fake.play(Hold(), before=before)
    _, failure = await collect(upstream.stream(replace(HOW, first_token_seconds=0.3)), seconds=3)
    assert isinstance(failure, FirstTokenTimeout)
    await asyncio.wait_for((await upstream.fake.connection(0)).closed, 1)


async def test_silence_in_mid_answer(upstream: Upstream) -> None:
    upstream.fake.play(Say(["Pa", "ris"]), Hold())
    deltas, failure = await collect(upstream.stream(replace(HOW, idle_seconds=0.3)), seconds=3)
    assert isinstance(failure, IdleTimeout)
    assert text_of(deltas) == "Paris"


# Stop


@pytest.mark.parametrize("stage", STAGES)
async def test_cancellation_closes_the_connection(upstream: Upstream, stage: str) -> None:
    assert await seconds_to_cancel(upstream, stage) < STOP_SECONDS


@pytest.mark.parametrize("stage", WRITING)
async def test_closing_the_stream_closes_the_connection(upstream: Upstream, stage: str) -> None:
    assert await seconds_to_close(upstream, stage) < STOP_SECONDS


async def test_many_that_stop_at_once_leave_nothing_behind(upstream: Upstream) -> None:
    upstream.fake.play(Say("Paris", pause=0.01), Say(["x"] * 1000, pause=0.02), always=True)
    started = [asyncio.Event() for _ in range(20)]
    tasks = [asyncio.create_task(take(upstream.stream(), first)) for first in started]
    await asyncio.wait_for(asyncio.gather(*(first.wait() for first in started)), 20)
    stopped = time.monotonic()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    closed = await asyncio.wait_for(asyncio.gather(*(c.closed for c in upstream.fake.connections)), 2)
    assert max(closed) - stopped < 0.5


# What is loaded, and what it cannot promise


class Threaded(BaseChatModel):
    """A model whose maker wrote no asynchronous stream."""

    @property
    def _llm_type(self) -> str:
        return "threaded"

    def _generate(self, *_args: Any, **_more: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("Paris"))])

    def _stream(self, *_args: Any, **_more: Any) -> Iterator[ChatGenerationChunk]:
        for text in ("Pa", "ris"):
            yield ChatGenerationChunk(message=AIMessageChunk(content=[{"type": "text", "text": text}]))


threaded = Threaded()


async def load(spec: str) -> LangChainModel:
    model = LangChainModel(spec)
    await model.open()
    return model


async def test_an_object_of_ones_own_module_answers_and_its_limits_are_said() -> None:
    model = await load(f"langchain:{__name__}:threaded")
    deltas, failure = await collect(model.stream(PROMPT, HOW))
    assert (text_of(deltas), failure, finish_of(deltas).reason) == ("Paris", None, "stop")
    matter, _ = model.note
    assert "after Stop its request runs on" in matter


async def test_what_is_tested_needs_no_note(upstream: Upstream) -> None:
    assert isinstance(upstream.model, LangChainModel)
    assert upstream.model.note == ("", "")


def test_arguments_are_never_shown() -> None:
    model = LangChainModel(f"langchain:langchain_openai:ChatOpenAI?api_key={KEY}")
    assert model.name == "langchain:langchain_openai:ChatOpenAI"
    for spec in (f"langchain:no?api_key={KEY}", "langchain:a b:c", "langchain:os:system:x", "langchain:../x:y"):
        with pytest.raises(StartRefused) as refused:
            LangChainModel(spec)
        assert KEY not in refused.value.message


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("langchain:langchain_nowhere:Chat", "no Python module 'langchain_nowhere'"),
        ("langchain:langchain_openai:Chat", "has nothing of that name"),
        ("langchain:os:sep", "no chat model"),
        (f"langchain:{__name__}:threaded?model=x", "takes no arguments"),
        ("langchain:langchain_ollama:ChatOllama?model=tiny&validate_model_on_init=3&reasoning=[]", "could not be made"),
    ],
)
async def test_what_cannot_be_loaded_is_refused_at_the_start(spec: str, words: str) -> None:
    with pytest.raises(StartRefused, match=words):
        await load(spec)


async def test_a_module_that_fails_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_models.py").write_text("raise RuntimeError('no')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(StartRefused, match="importing broken_models failed"):
        await load("langchain:broken_models:chat")
    sys.modules.pop("broken_models", None)
