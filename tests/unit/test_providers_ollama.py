"""Ollama's own rules: old servers, and prompts that it cut without a word."""

from __future__ import annotations

import asyncio
import logging

import pytest

from lorestream.errors import ModelNotFound, ModelProtocolError
from lorestream.providers.base import ChatMessage, Delta, Generation, Prompt
from lorestream.providers.ollama import OllamaModel
from lorestream.providers.upstream import Endpoint
from tests.fakes.upstream import FakeUpstream, Finish, Raw, Say

pytestmark = pytest.mark.timeout(30)


async def collect(fake: FakeUpstream, prompt: str = "Why?") -> list[Delta]:
    deltas: list[Delta] = []
    async with asyncio.timeout(10):
        async for batch in OllamaModel("tiny", Endpoint(fake.url)).stream(
            Prompt([ChatMessage("user", prompt)], "Why?"), Generation()
        ):
            deltas += batch
    return deltas


async def test_an_end_without_a_reason_is_that_of_an_old_server() -> None:
    async with FakeUpstream("ollama") as fake:
        fake.play(Say("yes"), Raw(b'{"model":"tiny","done":true,"eval_count":1}\n'))
        finish = (await collect(fake))[-1].finish
    assert finish is not None
    assert (finish.reason, finish.usage) == ("stop", None)


@pytest.mark.parametrize(("count", "warned"), [(50, True), (1000, False)])
async def test_a_prompt_that_was_cut_is_logged(count: int, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    async with FakeUpstream("ollama") as fake:
        fake.play(Say("yes"), Finish(usage=(count, 1)))
        with caplog.at_level(logging.WARNING):
            deltas = await collect(fake, "word " * 800)
    assert deltas[-1].finish is not None
    assert ("may have been cut" in caplog.text) is warned


async def test_truncation_by_the_server_is_asked_to_be_an_error() -> None:
    async with FakeUpstream("ollama") as fake:
        await collect(fake)
        assert (fake.requests[0].json["truncate"], fake.requests[0].json["shift"]) == (False, False)


async def test_a_missing_model_comes_with_the_command_that_gets_it() -> None:
    async with FakeUpstream("ollama") as fake:
        fake.play(Raw(b'{"error":"model \\"tiny\\" not found, try pulling it first"}'), status=404)
        with pytest.raises(ModelNotFound, match="ollama pull tiny"):
            await collect(fake)


async def test_bytes_that_are_not_utf8_are_a_broken_protocol() -> None:
    async with FakeUpstream("ollama") as fake:
        fake.play(Raw(b'{"message":{"content":"a\xffb"},"done":false}\n'))
        with pytest.raises(ModelProtocolError):
            await collect(fake)
