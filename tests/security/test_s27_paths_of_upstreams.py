"""S27: of a model's server only chats, embeddings and lists of models are asked, and nobody is let through to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.fakes.reading import GEO, QUESTION, user_of
from tests.fakes.server import started_server
from tests.fakes.threads import ScriptedModel, Thread
from tests.fakes.upstream import Format

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "ollama": {("GET", "/api/tags"), ("POST", "/api/chat"), ("POST", "/api/embed")},
    "openai": {("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("POST", "/v1/embeddings")},
}
FIELDS = {
    "ollama": {"model", "messages", "stream", "truncate", "shift", "options"},
    "openai": {"model", "messages", "stream", "stream_options", "max_tokens", "temperature"},
}
# What Ollama and its kin also answer, without asking who is there.
OTHERS = [
    "/api/create", "/api/pull", "/api/push", "/api/delete", "/api/copy", "/api/show", "/api/ps", "/api/blobs/sha256:0",
    "/api/generate", "/api/tags", "/api/version", "/api/embed", "/v1/files", "/v1/fine_tuning/jobs", "/v1/completions",
    "/ollama/api/tags", "/proxy/api/create", "/api/proxy", "/upstream", "/v1/../api/create", "/models/pull", "/slots",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["ollama", "openai"])
async def test_only_three_paths_are_ever_asked(tmp_path: Path, models_dir: Path, kind: Format) -> None:
    async with ScriptedModel(kind) as model:
        assert isinstance(model, ScriptedModel)
        chosen = {"model": f"{kind}:tiny", "embedder": f"{kind}:embed", "relevance_floor": "0"}
        chosen |= {"ollama_url": model.url} if kind == "ollama" else {"openai_base_url": model.base_url}
        async with started_server(tmp_path / "data", models_dir, **chosen) as server, user_of(server) as client:
            await asyncio.to_thread(server.upload, dict(client.http.headers), "geo.txt", GEO)
            assert (await client.answer(QUESTION)).text
            assert (await client.http.post("/query/", json={"question": QUESTION})).status_code == 200
            thread = await Thread.begin(client)
            await thread.regenerate(await thread.answer("And of Italy?"))
            for path in ("/models", "/readyz", "/healthz"):
                await client.http.get(path)
            before = len(model.requests)
            for path in OTHERS:
                for method in ("GET", "POST", "DELETE"):
                    answer = await client.http.request(method, path, json={} if method == "POST" else None)
                    assert answer.status_code in {401, 403, 404, 405, 422}, f"{method} {path}: {answer.text[:200]}"
            assert len(model.requests) == before
        for request in model.chats:
            assert set(request.json) == FIELDS[kind], "no tools, no functions, nothing of a user's"
        asked = {(request.method, request.path) for request in model.requests}
        assert asked <= ALLOWED[kind]
        assert {path for _, path in asked} >= {path for method, path in ALLOWED[kind] if method == "POST"}


def test_the_documentation_says_to_bind_it_to_this_machine() -> None:
    words = (ROOT / "README.md").read_text()
    assert "OLLAMA_HOST=127.0.0.1" in words
