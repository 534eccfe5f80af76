"""Anthropic's own rules: turns, counters, reasons, errors, what is not text; and the script read by its real client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

import anthropic as official
from lorestream.errors import (
    ContextTooLong,
    ModelAuthFailed,
    ModelError,
    ModelNotFound,
    ModelRateLimited,
    ModelUnavailable,
    RunFailed,
    StartRefused,
    UpstreamTruncated,
)
from lorestream.providers import anthropic
from lorestream.providers.anthropic import AnthropicModel, turns
from lorestream.providers.base import ChatMessage, Delta, Finish, Generation, Prompt, Usage
from tests.fakes import upstream as fake_module
from tests.fakes.chat import collect, text_of
from tests.fakes.upstream import Fail, FakeUpstream, Hold, Raw, Say

HOW = Generation(first_token_seconds=5, idle_seconds=5)
PROMPT = Prompt([ChatMessage("user", "Why?")], "Why?")
pytestmark = pytest.mark.timeout(30)


@pytest.fixture
async def fake() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream("anthropic") as server:
        yield server


async def ask(fake: FakeUpstream, prompt: Prompt = PROMPT) -> tuple[list[Delta], RunFailed | None]:
    return await collect(AnthropicModel("tiny", anthropic.endpoint(fake.base_url, "key")).stream(prompt, HOW))


def event(kind: str, **fields: Any) -> Raw:
    return Raw(f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode())


async def test_the_official_client_reads_the_script_as_we_do(fake: FakeUpstream) -> None:
    steps = (Say(["Hm", "m."], reasoning=True), Say(["Pa", "ris"]), fake_module.Finish("length", usage=(12, 7)))
    fake.play(*steps)
    fake.play(*steps)
    async with (
        official.AsyncAnthropic(api_key="key", base_url=fake.base_url, max_retries=0) as client,
        client.messages.stream(
            model="tiny", max_tokens=50, messages=[{"role": "user", "content": "Why?"}], system="Be brief."
        ) as stream,
    ):
        message = await stream.get_final_message()
    texts = [block.text for block in message.content if block.type == "text"]
    thoughts = [block.thinking for block in message.content if block.type == "thinking"]
    deltas, _ = await ask(fake)
    assert ("".join(texts), "".join(thoughts)) == (text_of(deltas), "".join(delta.reasoning for delta in deltas))
    assert (message.stop_reason, message.usage.input_tokens, message.usage.output_tokens) == ("max_tokens", 12, 7)
    assert deltas[-1].finish == Finish("length", Usage(12, 7, 19), "tiny")
    theirs, ours = fake.requests
    assert theirs.path == ours.path
    assert theirs.headers["anthropic-version"] == ours.headers["anthropic-version"]
    assert set(ours.json) <= set(theirs.json), "nothing is sent that the client would not"


def test_turns_alternate_and_begin_with_the_user() -> None:
    given = [("system", "s"), ("assistant", "lost"), ("user", "a"), ("user", "b"), ("assistant", " "), ("user", "c")]
    given += [("assistant", "d"), ("assistant", "e"), ("user", "f")]
    made = turns([ChatMessage(role, content) for role, content in given])  # type: ignore[arg-type]
    assert made == [
        {"role": "user", "content": "a\n\nb\n\nc"},
        {"role": "assistant", "content": "d\n\ne"},
        {"role": "user", "content": "f"},
    ]


async def test_tokens_of_the_cache_are_counted(fake: FakeUpstream) -> None:
    counts = {"input_tokens": 3, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 200, "output_tokens": 1}
    fake.play(
        event("message_start", message={"model": "claude", "usage": counts}),
        event("content_block_start", index=0, content_block={"type": "text", "text": "P"}),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": "aris"}),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7}),
        event("message_stop"),
    )
    deltas, failure = await ask(fake)
    assert (failure, text_of(deltas)) == (None, "Paris")
    assert deltas[-1].finish is not None
    assert deltas[-1].finish.usage == Usage(213, 7, 220)


async def test_what_is_not_text_is_left_out(fake: FakeUpstream) -> None:
    def piece(index: int, **delta: Any) -> Raw:
        return event("content_block_delta", index=index, delta=delta)

    fake.play(
        event("content_block_start", index=0, content_block={"type": "redacted_thinking", "data": "Zm9v"}),
        event("something_new", text="?"),
        piece(1, type="text_delta", text="Paris"),
        piece(1, type="citations_delta", citation={"type": "char_location", "cited_text": "no"}),
        piece(1, type="signature_delta", signature="no"),
        piece(2, type="input_json_delta", partial_json="{}"),
        fake_module.Finish(),
    )
    deltas, failure = await ask(fake)
    assert (failure, text_of(deltas), [d.reasoning for d in deltas if d.reasoning]) == (None, "Paris", [])


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
    ],
)
async def test_reasons_that_end_an_answer(fake: FakeUpstream, reason: str, ours: str) -> None:
    fake.play(Say("Paris"), fake_module.Finish(reason))
    deltas, failure = await ask(fake)
    assert failure is None
    assert deltas[-1].finish is not None
    assert deltas[-1].finish.reason == ours


@pytest.mark.parametrize("reason", ["pause_turn", "tool_use", "new_reason", None])
async def test_reasons_that_leave_it_incomplete(fake: FakeUpstream, reason: str | None) -> None:
    fake.play(Say("Paris"), fake_module.Finish(reason))
    deltas, failure = await ask(fake)
    assert isinstance(failure, UpstreamTruncated)
    assert text_of(deltas) == "Paris"


async def test_only_message_stop_is_the_end(fake: FakeUpstream) -> None:
    fake.play(Say("Paris"), fake_module.Finish(end_mark=False))
    deltas, failure = await ask(fake)
    assert isinstance(failure, UpstreamTruncated)
    assert text_of(deltas) == "Paris"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, ModelUnavailable),
        ({"type": "timeout_error", "message": "late"}, ModelUnavailable),
        ({"type": "rate_limit_error", "message": "slow down"}, ModelRateLimited),
        ({"type": "authentication_error", "message": "no"}, ModelAuthFailed),
        ({"type": "permission_error", "message": "no"}, ModelAuthFailed),
        ({"type": "not_found_error", "message": "model: tiny"}, ModelNotFound),
        ({"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"}, ContextTooLong),
        ({"type": "api_error", "message": "Internal server error"}, ModelError),
        (None, ModelError),
    ],
)
async def test_errors_inside_the_answer(fake: FakeUpstream, error: object, expected: type[RunFailed]) -> None:
    fake.play(Say("Pa"), Fail(error), Hold())
    deltas, failure = await ask(fake)
    assert type(failure) is expected
    assert text_of(deltas) == "Pa"


async def test_an_overloaded_server_is_named_by_its_own_status(fake: FakeUpstream) -> None:
    fake.play(Raw(b'{"type":"error","error":{"type":"overloaded_error"}}'), status=529)
    _, failure = await ask(fake)
    assert isinstance(failure, ModelUnavailable)
    assert failure.retryable
    assert "overloaded" in failure.message


async def test_a_refused_key_names_its_setting(fake: FakeUpstream) -> None:
    fake.play(Raw(b'{"type":"error","error":{"type":"authentication_error"}}'), status=401)
    _, failure = await ask(fake)
    assert isinstance(failure, ModelAuthFailed)
    assert "LORESTREAM_ANTHROPIC_API_KEY" in failure.message
    with pytest.raises(StartRefused, match="LORESTREAM_ANTHROPIC_API_KEY"):
        anthropic.endpoint(None, "a b")
