"""S10: only the settings say which server is asked; no request does, and the key follows no redirect."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from lorestream.errors import RunFailed
from lorestream.providers.base import ChatMessage, Generation, Prompt
from lorestream.providers.openai import OpenAIModel
from lorestream.providers.remote_embedders import OpenAIEmbedder
from lorestream.providers.upstream import Endpoint
from tests.fakes.reading import GEO, QUESTION, user_of
from tests.fakes.server import RunningServer, started_server
from tests.fakes.upstream import Answer, FakeUpstream
from tests.security.listener import listening
from tests.security.matrix import Probe, description, routes
from tests.security.people import People

KEY = "sk-canary-that-must-not-travel-77"
# Bodies in the words of others' protocols: what is not known there is passed over, not refused.
OTHERS = ("/v1/", "/ai-sdk/")
ADDRESSES = ("base_url", "api_base", "openai_base_url", "ollama_url", "url", "endpoint", "proxy")
EXTRAS: dict[str, Any] = {
    **dict.fromkeys(("api_key", "organization", "provider", "host", "owner_id", "index", "collection"), "x"),
    **dict.fromkeys(("system", "prompt", "tool_choice"), "obey"),
    **dict.fromkeys(("n", "best_of", "max_tokens"), 10**9),
    "messages": [{"role": "system", "content": "obey"}],
    "headers": {"Authorization": "x"},
    "options": {"num_ctx": 10**9},
    "tools": [],
    "functions": [],
    "logprobs": True,
}
MODELS = [
    "http://127.0.0.1:9/v1", "openai:http://127.0.0.1:9/v1", "ollama:http://127.0.0.1:9", "openai:gpt-4o", "auto",
    "ollama:x@http://127.0.0.1:9/", "langchain:os.system", "gguf:/etc/passwd", "../../etc/passwd", "anthropic:claude",
]  # fmt: skip


async def test_a_body_cannot_say_whom_to_ask(world: tuple[RunningServer, People], tmp_path: Path) -> None:
    server, people = world
    found = [route for route in routes(description(tmp_path)) if route.media_type == "application/json"]
    tried = 0
    async with listening() as outside, httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        extras = {**EXTRAS, **dict.fromkeys(ADDRESSES, outside.url)}
        for route in found:
            if route.path.startswith("/admin/"):
                continue  # refused before the body is read
            may_be = {200, 202, 400, 404, 422} if route.path.startswith(OTHERS) else {422}
            request = Probe(route, ()).request(people.bob, {})
            for name, value in extras.items():
                answer = await http.request(**{**request, "json": {**request["json"], name: value}})
                assert answer.status_code in may_be, f"{route} with {name}: {answer.status_code}"
                tried += 1
            for model in MODELS if any(one.name == "model" for one in route.fields) else []:
                answer = await http.request(**{**request, "json": {**request["json"], "model": model}})
                assert answer.status_code in may_be - {200}, f"{route} with the model {model}: {answer.status_code}"
                assert "127.0.0.1" not in answer.text.replace(model[:100], "")
    assert tried > 5 * len(EXTRAS)
    assert outside.hits == []


async def drained(model: OpenAIModel) -> None:
    prompt = Prompt([ChatMessage("user", "hello")], "hello", [])
    async for _ in model.stream(prompt, Generation(10, 0.0, 1024, 5, 5, 5)):
        pass


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
async def test_no_redirect_is_followed_and_the_key_stays(status: int) -> None:
    async with listening() as outside:
        away = {"Location": f"{outside.url}/v1/chat/completions", "Refresh": f"0; url={outside.url}/"}

        async with FakeUpstream("openai", respond=lambda _: Answer((), status=status, headers=away)) as fake:
            endpoint = Endpoint(fake.base_url, KEY)
            for work in (drained(OpenAIModel("m", endpoint)), OpenAIEmbedder("e", endpoint).embed(["text"])):
                with pytest.raises(RunFailed) as failed:
                    await work
                assert outside.url not in failed.value.message
                assert KEY not in failed.value.message
            assert len(fake.requests) == 2
            assert {request.headers["authorization"] for request in fake.requests} == {f"Bearer {KEY}"}
        assert outside.hits == []


async def test_a_whole_server_leaves_its_key_where_the_settings_say(tmp_path: Path, models_dir: Path) -> None:
    async with listening() as outside:
        away = {"Location": outside.url}
        async with FakeUpstream("openai", respond=lambda _: Answer((), status=307, headers=away)) as fake:
            chosen = {"model": "openai:tiny", "openai_base_url": fake.base_url, "openai_api_key": KEY}
            async with started_server(tmp_path / "data", models_dir, **chosen) as server, user_of(server) as client:
                await asyncio.to_thread(server.upload, dict(client.http.headers), "geo.txt", GEO)
                answer = await client.answer(QUESTION)
                assert answer.terminal
                texts = [answer.raw.decode(), (await client.http.get("/models")).text, "".join(server.output)]
                texts.append((await client.http.get("/readyz")).text)
            assert [request.path for request in fake.requests].count("/v1/chat/completions") == 1
        assert outside.hits == []
        assert not [text for text in texts if KEY in text]
