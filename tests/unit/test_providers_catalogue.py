"""Which model answers: what is set, or what is there, and never anything that was not configured."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lorestream.errors import InvalidInput
from lorestream.providers.catalogue import Catalogue
from lorestream.settings import Settings
from tests.fakes.embedder import WordEmbedder
from tests.fakes.upstream import Answer, FakeUpstream, Hold, Raw, Request, as_json

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def nowhere() -> str:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{reserved.getsockname()[1]}"


@pytest.fixture
async def ollama() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream("ollama") as server:
        yield server


@pytest.fixture
async def openai() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream("openai") as server:
        yield server


def catalogue_of(ollama_url: str, keep_seconds: float = 30.0, **settings: Any) -> Catalogue:
    made = Settings(_env_file=None, ollama_url=ollama_url, **settings)
    return Catalogue(made, WordEmbedder(), look_up_seconds=1.0, keep_seconds=keep_seconds)


def tag(name: str, modified_at: str = "2025-01-01T00:00:00Z", **more: Any) -> dict[str, Any]:
    return {"name": name, "modified_at": modified_at, **more}


async def test_a_named_model_is_taken_without_asking(ollama: FakeUpstream) -> None:
    assert (await catalogue_of(ollama.url, model="ollama:llama3.2:3b").resolve()).name == "ollama:llama3.2:3b"
    assert (await catalogue_of(ollama.url, model="reader").resolve()).name == "reader"
    with_key = catalogue_of(ollama.url, model="openai:gpt-4o", openai_api_key="k")
    assert (await with_key.resolve()).name == "openai:gpt-4o"
    assert not ollama.connections


async def test_auto_takes_the_chat_model_that_ollama_changed_last(ollama: FakeUpstream) -> None:
    ollama.models = [
        tag("old:1b", "2025-05-01T10:00:00Z"),
        tag("new:1b", "2025-05-01T09:30:00.123456789-02:00"),
        tag("nomic-embed-text:latest", "2026-01-01T00:00:00Z"),
        tag("vectors", "2026-01-01T00:00:00Z", details={"family": "bert"}),
        tag("gpt-oss:120b-cloud", "2026-01-01T00:00:00Z"),
        tag("far", "2026-01-01T00:00:00Z", remote_host="https://ollama.com:443"),
        tag("odd", "yesterday"),
    ]
    catalogue = catalogue_of(ollama.url)
    assert (await catalogue.resolve()).name == "ollama:new:1b"
    names = [model.name for model in await catalogue.models()]
    assert names == ["ollama:new:1b", "ollama:old:1b", "ollama:odd", "reader"]


async def test_auto_takes_the_configured_server_when_there_is_no_ollama(nowhere: str, openai: FakeUpstream) -> None:
    openai.models = [tag("bge-small"), tag("qwen"), tag("other")]
    catalogue = catalogue_of(nowhere, openai_base_url=openai.base_url, openai_api_key="secret")
    assert (await catalogue.resolve()).name == "openai:qwen"
    assert openai.requests[0].headers["authorization"] == "Bearer secret"
    status = await catalogue.describe()
    assert (status.name, "secret" in repr(status)) == ("openai:qwen", False)


async def test_auto_takes_claude_where_only_its_key_is_set(nowhere: str, openai: FakeUpstream) -> None:
    async with FakeUpstream("anthropic") as claude:
        claude.models = [tag("claude-opus-9"), tag("claude-haiku-9"), tag("claude-haiku-8")]
        keyed: dict[str, Any] = {"anthropic_base_url": claude.base_url, "anthropic_api_key": "secret"}
        catalogue = catalogue_of(nowhere, **keyed)
        assert (await catalogue.resolve()).name == "anthropic:claude-haiku-9"
        assert claude.requests[0].headers["x-api-key"] == "secret"
        assert "secret" not in repr(await catalogue.describe())
        both = catalogue_of(nowhere, openai_base_url=openai.base_url, **keyed)
        assert (await both.resolve()).name.startswith("openai:"), "an OpenAI-compatible server goes first"
        assert [model.name for model in await both.models()][-2:] == ["anthropic:claude-haiku-9", "reader"]
        named = catalogue_of(nowhere, model="anthropic:claude-haiku-9", **keyed)
        assert (await named.describe()).why == "LORESTREAM_MODEL names it"
    offline = catalogue_of(nowhere, **keyed)
    assert (await offline.resolve()).name == "anthropic:claude-haiku-4-5", "its list is not needed"


async def test_a_refused_key_of_anthropic_is_said(nowhere: str) -> None:
    refusing = FakeUpstream(respond=lambda _request: Answer((Raw(b"{}"),), status=401))
    async with refusing as claude:
        status = await catalogue_of(nowhere, anthropic_base_url=claude.url, anthropic_api_key="k").describe()
    assert status.name == "reader"
    assert "LORESTREAM_ANTHROPIC_API_KEY" in status.advice


async def test_auto_falls_back_to_the_reader_and_says_why(nowhere: str) -> None:
    catalogue = catalogue_of(nowhere)
    assert (await catalogue.resolve()).name == "reader"
    status = await catalogue.describe()
    assert status.name == "reader"
    assert nowhere in status.why
    assert "LORESTREAM_OPENAI_BASE_URL" in status.advice


async def test_an_ollama_without_a_model_names_the_command(ollama: FakeUpstream) -> None:
    ollama.models = [tag("nomic-embed-text")]
    status = await catalogue_of(ollama.url).describe()
    assert (status.name, "ollama pull" in status.advice) == ("reader", True)


async def test_keys_without_our_prefix_mean_nothing(nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    assert (await catalogue_of(nowhere).resolve()).name == "reader"


async def test_a_server_that_hangs_delays_a_question_by_a_second_once() -> None:
    async with FakeUpstream(respond=lambda _request: Answer(before=(Hold(),))) as stuck:
        catalogue = catalogue_of(stuck.url, openai_base_url=stuck.url)
        begun = time.monotonic()
        models = await asyncio.gather(*(catalogue.resolve() for _ in range(5)))
        assert {model.name for model in models} == {"reader"}
        assert time.monotonic() - begun < 1.5
        await catalogue.resolve()
        assert time.monotonic() - begun < 1.5
        assert len(stuck.connections) == 2


async def test_an_ollama_that_starts_later_is_noticed(ollama: FakeUpstream) -> None:
    ollama.models = []
    catalogue = catalogue_of(ollama.url, keep_seconds=0.05)
    assert (await catalogue.resolve()).name == "reader"
    ollama.models = [tag("tiny")]
    await asyncio.sleep(0.1)  # twice the time that an outcome holds
    assert (await catalogue.resolve()).name == "ollama:tiny"


async def test_a_cancelled_question_leaves_the_catalogue_usable(ollama: FakeUpstream) -> None:
    gate = asyncio.Event()

    def respond(request: Request) -> Answer:
        return Answer(as_json({"models": [tag("tiny")]}).steps, before=(Hold(gate),), content_type="application/json")

    async with FakeUpstream(respond=respond) as slow:
        catalogue = catalogue_of(slow.url)
        task = asyncio.create_task(catalogue.resolve())
        await slow.connection(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        assert (await catalogue.resolve()).name == "ollama:tiny"


async def test_only_listed_models_can_be_named(ollama: FakeUpstream) -> None:
    ollama.models = [tag("a", "2025-02-01T00:00:00Z"), tag("b")]
    catalogue = catalogue_of(ollama.url)
    assert (await catalogue.resolve("ollama:b")).name == "ollama:b"
    assert (await catalogue.resolve("reader")).name == "reader"
    assert (await catalogue.resolve("auto")).name == "ollama:a"
    for name in ("ollama:c", "openai:gpt-4o", "http://evil/", "", "x" * 10_000):
        with pytest.raises(InvalidInput) as refused:
            await catalogue.resolve(name)
        assert len(refused.value.message) < 300
    fixed = catalogue_of(ollama.url, model="ollama:b")
    with pytest.raises(InvalidInput):
        await fixed.resolve("ollama:a")


@pytest.mark.parametrize(
    ("model", "why", "advice"), [("ollama:tiny", "names it", ""), ("ollama:gone", "does not have it", "pull gone")]
)
async def test_a_named_ollama_model_is_looked_for_when_described(
    ollama: FakeUpstream, model: str, why: str, advice: str
) -> None:
    status = await catalogue_of(ollama.url, model=model).describe()
    assert status.name == model
    assert why in status.why
    assert advice in status.advice
