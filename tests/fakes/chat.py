"""What the suites of chat models share: a question, a fake server with the model that asks it, and a collector."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import pytest

from lorestream.errors import RunFailed
from lorestream.providers import anthropic
from lorestream.providers.anthropic import AnthropicModel
from lorestream.providers.base import ChatMessage, ChatModel, Delta, Finish, Generation, Prompt, PromptPassage
from lorestream.providers.ollama import OllamaModel
from lorestream.providers.openai import OpenAIModel
from lorestream.providers.upstream import Endpoint
from tests.fakes.upstream import Endless, FakeUpstream, Format, Hold, Say, Step

KEY = "sk-canary-5f1d"
HOW = Generation(connect_seconds=1.0, first_token_seconds=5.0, idle_seconds=5.0)
TEXT = ["Pa", "ris", " – é", "tat 🇫🇷", "\u2028\x85\r\n", '"[1]\\', "."]
PROMPT = Prompt(
    [ChatMessage("system", "Answer from the passages."), ChatMessage("user", "What is the capital of France?")],
    "What is the capital of France?",
    [PromptPassage(1, "France", "Paris is the capital of France. Lyon is a city in the east.")],
)
STOP_SECONDS = 0.5
# Where an answer can be stopped: what the server does before its headers, and after them.
STAGES: dict[str, tuple[tuple[Step, ...], tuple[Step, ...]]] = {
    "headers": ((Hold(),), ()),
    "first-token": ((), (Hold(),)),
    "mid-stream": ((), (Say("Paris"), Hold())),
    "always-ready": ((), (Endless(),)),
}
WRITING = ("mid-stream", "always-ready")


@dataclass
class Upstream:
    """A fake server and the model that asks it."""

    fake: FakeUpstream
    model: ChatModel

    def stream(self, how: Generation = HOW) -> Any:
        return self.model.stream(PROMPT, how)


def model_of(kind: Format, base_url: str) -> ChatModel:
    if kind == "anthropic":
        return AnthropicModel("tiny", anthropic.endpoint(base_url, KEY))
    endpoint = Endpoint(base_url, KEY)
    return OllamaModel("tiny", endpoint) if kind == "ollama" else OpenAIModel("tiny", endpoint)


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


async def take(stream: Any, first: asyncio.Event) -> None:
    """Read to the end; ``first`` is set once something came."""
    async for _ in stream:
        first.set()


async def seconds_to_cancel(upstream: Upstream, stage: str) -> float:
    """From the cancellation of the task that reads until the server sees its connection closed."""
    before, steps = STAGES[stage]
    upstream.fake.play(*steps, before=before)
    first = asyncio.Event()
    task = asyncio.create_task(take(upstream.stream(), first))
    connection = await upstream.fake.connection(0)
    if stage in WRITING:
        await asyncio.wait_for(first.wait(), 5)
    stopped = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return await asyncio.wait_for(connection.closed, 1) - stopped


async def seconds_to_close(upstream: Upstream, stage: str) -> float:
    """The same from closing the stream in the middle."""
    upstream.fake.play(*STAGES[stage][1])
    stream = upstream.stream()
    await anext(stream)
    stopped = time.monotonic()
    await stream.aclose()
    return await asyncio.wait_for((await upstream.fake.connection(0)).closed, 1) - stopped
