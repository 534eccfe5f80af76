"""The published smoke test by ``curl``, to the letter, with each kind of language model behind it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lorestream.streaming.events import Token
from tests.fakes.llama import llama_server
from tests.fakes.reading import Client
from tests.fakes.server import RunningServer, started_server
from tests.fakes.upstream import FakeUpstream, Finish, Say

MODELS = ("reader", "ollama", "llama.cpp")
SENTENCE = "Paris is the capital of France [1]."


@asynccontextmanager
async def model_settings(kind: str, folder: Path) -> AsyncIterator[dict[str, str]]:
    """A model of this kind, and the settings that a user would make for it."""
    await asyncio.to_thread(folder.mkdir)
    if kind == "reader":
        yield {"model": "auto", "ollama_url": "http://127.0.0.1:9"}
    elif kind == "ollama":
        async with FakeUpstream("ollama") as fake:
            fake.play(Say(["Paris is ", "the capital ", "of France [1]."]), Finish(), always=True)
            yield {"model": "auto", "ollama_url": fake.url}
    else:
        async with llama_server(folder, grammar=f'root ::= "{SENTENCE}"') as server:
            yield {"model": "auto", "ollama_url": "http://127.0.0.1:9", "openai_base_url": server.base_url}


async def curl(*arguments: str) -> str:
    """What ``curl -s`` prints."""
    run = await asyncio.to_thread(
        subprocess.run, ["curl", "-s", *arguments], capture_output=True, timeout=60, check=True
    )
    return run.stdout.decode()


@pytest.mark.parametrize("kind", MODELS)
async def test_the_published_smoke_test(tmp_path: Path, models_dir: Path, kind: str) -> None:
    (tmp_path / "geo.txt").write_text("Paris is the capital of France.\n")
    async with (
        model_settings(kind, tmp_path / "model") as settings,
        started_server(tmp_path / "data", models_dir, **settings) as server,
    ):
        url = server.url
        registered = await curl(
            "-X", "POST", f"{url}/auth/register", "-H", "Content-Type: application/json",
            "-d", '{"email":"test@example.com","password":"secret123"}',
        )  # fmt: skip
        assert json.loads(registered)["email"] == "test@example.com"
        form = ("-F", "username=test@example.com", "-F", "password=secret123")
        token = json.loads(await curl("-X", "POST", f"{url}/auth/token", *form))["access_token"]
        bearer = ("-H", f"Authorization: Bearer {token}")
        document = json.loads(
            await curl("-X", "POST", f"{url}/documents/", *bearer, "-F", f"file=@{tmp_path / 'geo.txt'}")
        )
        assert (document["status"], document["chunks"]) == ("ready", 1)
        answer = await curl("-N", *bearer, f"{url}/query/stream/?question=What+is+the+capital+of+France%3F")
    events = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: ")]
    types = [event["type"] for event in events]
    assert types[0] == "sources"
    assert types[-1] == "done"
    assert set(types[1:-1]) == {"token"}
    source = events[0]["sources"][0]
    assert {"doc_id", "chunk_index", "text", "distance"} <= source.keys()
    assert source["text"] == "Paris is the capital of France."
    assert "Paris" in "".join(event["text"] for event in events[1:-1])
    assert events[-1]["model"].startswith({"llama.cpp": "openai:"}.get(kind, kind))


async def test_stop_frees_the_slot_of_a_real_llama_cpp_server(tmp_path: Path, models_dir: Path) -> None:
    async with llama_server(tmp_path, slots=1, grammar='root ::= "word " root') as llama:
        settings = {"model": "openai:tiny", "openai_base_url": llama.base_url, "max_output_tokens": "2000"}
        async with started_server(tmp_path / "data", models_dir, **settings) as server:
            client = await _client_with_a_document(server)
            async with client.ask() as stream:
                await stream.until(Token, 5)
                began = time.monotonic()
                await client.stop(stream.run_id)
                await stream.rest(5)
                await llama.wait_idle()
                assert time.monotonic() - began < 1
            await client.aclose()


async def _client_with_a_document(server: RunningServer) -> Client:
    headers = await asyncio.to_thread(server.register)
    await asyncio.to_thread(server.upload, headers, "geo.txt", b"Paris is the capital of France.")
    return Client(server, headers)
