"""Our OpenAI adapter against a real llama.cpp server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from lorestream.errors import ContextTooLong, UpstreamTruncated
from lorestream.providers.base import ChatMessage, Delta, Generation, Prompt
from lorestream.providers.openai import OpenAIModel
from lorestream.providers.upstream import Endpoint
from tests.fakes.llama import CONTEXT, LlamaServer, llama_server

SENTENCE = "Paris is the capital of France [1]."
HOW = Generation(max_output_tokens=200)
PROMPT = Prompt([ChatMessage("user", "What is the capital of France?")], "What is the capital of France?")
pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("llama")


@pytest.fixture
async def chatty(folder: Path) -> AsyncIterator[LlamaServer]:
    """One slot, and words without end."""
    async with llama_server(folder, grammar='root ::= "word " root') as server:
        yield server


def model_of(server: LlamaServer) -> OpenAIModel:
    return OpenAIModel("tiny", Endpoint(server.base_url))


async def collect(server: LlamaServer, how: Generation = HOW, prompt: Prompt = PROMPT) -> list[Delta]:
    deltas: list[Delta] = []
    async with asyncio.timeout(30):
        async for batch in model_of(server).stream(prompt, how):
            deltas += batch
    return deltas


async def test_an_answer_streams_to_its_end(folder: Path) -> None:
    async with llama_server(folder, grammar=f'root ::= "{SENTENCE}"') as server:
        deltas = await collect(server)
    assert "".join(delta.text for delta in deltas) == SENTENCE
    finish = deltas[-1].finish
    assert finish is not None
    assert finish.usage is not None
    assert finish.reason == "stop"
    assert finish.usage.completion_tokens >= len(SENTENCE) / 4


async def test_the_output_limit_ends_an_answer_with_length(chatty: LlamaServer) -> None:
    deltas = await collect(chatty, replace(HOW, max_output_tokens=40))
    finish = deltas[-1].finish
    assert finish is not None
    assert finish.usage is not None
    assert (finish.reason, finish.usage.completion_tokens) == ("length", 40)


async def test_cancelling_frees_the_slot(chatty: LlamaServer) -> None:
    how = replace(HOW, max_output_tokens=32_000)
    first = asyncio.Event()

    async def read() -> None:
        async for _ in model_of(chatty).stream(PROMPT, how):
            first.set()

    task = asyncio.create_task(read())
    await asyncio.wait_for(first.wait(), 10)
    assert any(slot["is_processing"] for slot in await chatty.slots())
    stopped = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await chatty.wait_idle()
    assert time.monotonic() - stopped < 0.5
    assert (await collect(chatty, replace(HOW, max_output_tokens=5)))[-1].finish is not None


async def test_a_prompt_beyond_the_context_is_named(chatty: LlamaServer) -> None:
    long = Prompt([ChatMessage("user", "word " * CONTEXT)], "word")
    with pytest.raises(ContextTooLong):
        await collect(chatty, prompt=long)


async def test_a_killed_server_is_a_cut_answer(chatty: LlamaServer) -> None:
    stream = model_of(chatty).stream(PROMPT, replace(HOW, max_output_tokens=32_000))
    await anext(stream)
    chatty.process.kill()

    async def drain() -> None:
        async for _ in stream:
            pass

    with pytest.raises(UpstreamTruncated):
        await asyncio.wait_for(drain(), 10)
