"""The OpenAI format's own rules: server-sent events, whole answers, counters, what each server accepts."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorestream.errors import ModelError, ModelProtocolError, RunFailed, UpstreamTruncated
from lorestream.providers.base import ChatMessage, Delta, Finish, Generation, Prompt, Usage
from lorestream.providers.chunks import LINE_BYTES, EventParser
from lorestream.providers.openai import OPENAI_URL, OpenAIModel
from lorestream.providers.upstream import Endpoint
from tests.fakes import upstream as fake_module
from tests.fakes.upstream import FakeUpstream, Hold, Raw, Reset, Say, as_json

HOW = Generation(first_token_seconds=5, idle_seconds=5)
PROMPT = Prompt([ChatMessage("user", "Why?")], "Why?")
pytestmark = pytest.mark.timeout(30)


@pytest.fixture
async def fake() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream("openai") as server:
        yield server


async def collect(fake: FakeUpstream, how: Generation = HOW) -> tuple[list[Delta], RunFailed | None]:
    deltas: list[Delta] = []
    async with asyncio.timeout(10):
        try:
            async for batch in OpenAIModel("tiny", Endpoint(fake.base_url)).stream(PROMPT, how):
                deltas += batch
        except RunFailed as failure:
            return deltas, failure
    return deltas, None


def chunk(**choice: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, **choice}]}).encode() + b"\n\n"


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\ndata: b\ndata\ndata:\n\n", [b"a\nb\n\n"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b": comment\n\nevent: x\nid: 1\nretry: 5\ndata: a\n: more\n\n", [b"a"]),
        (b"database: a\n\n data: b\n\n", []),
        (b"\n\n\ndata: a\n\n\n\n", [b"a"]),
        (b"data: a\n", []),
        (b"data: a\xe2\x80\xa8b\xc2\x85c\n\n", [b"a\xe2\x80\xa8b\xc2\x85c"]),
    ],
)
@given(sizes=st.lists(st.integers(1, 8)))
def test_events_follow_the_standard_wherever_they_are_split(
    stream: bytes, events: list[bytes], sizes: list[int]
) -> None:
    parser, found, rest = EventParser(), [], stream
    for size in [*sizes, len(stream)]:
        found += list(parser.feed(rest[:size]))
        rest = rest[size:]
    assert found == events


def test_an_event_of_many_lines_is_bounded_too() -> None:
    with pytest.raises(ModelProtocolError):
        list(EventParser().feed((b"data: " + b"x" * 1000 + b"\n") * (LINE_BYTES // 1000 + 1)))


async def test_chunks_without_choices_or_reason_do_not_end_the_answer(fake: FakeUpstream) -> None:
    fake.play(
        Raw(b": OPENROUTER PROCESSING\n\n"),
        Raw(chunk(delta={"role": "assistant", "content": None}, finish_reason=None)),
        Raw(b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":0}}\n\n'),
        Raw(chunk(delta={"content": "Pa"}, finish_reason="")),
        Raw(b'data: {"prompt_filter_results":[]}\n\n'),
        Raw(chunk(delta={"content": "ris"})),
        fake_module.Finish("content_filter", usage=(3, 4)),
    )
    deltas, failure = await collect(fake)
    assert failure is None
    assert text_of(deltas) == "Paris"
    assert deltas[-1].finish == Finish("content_filter", Usage(3, 4, 7), "tiny")


async def test_both_names_of_reasoning_are_read_and_other_choices_are_not(fake: FakeUpstream) -> None:
    fake.play(
        Raw(chunk(delta={"reasoning": "Hm"})),
        Raw(chunk(delta={"reasoning_content": "m"})),
        Raw(chunk(index=1, delta={"content": "never"})),
        Raw(chunk(delta={"content": "yes"})),
        fake_module.Finish(),
    )
    deltas, _ = await collect(fake)
    assert ("".join(delta.reasoning for delta in deltas), text_of(deltas)) == ("Hmm", "yes")


async def test_done_without_a_finish_reason_is_a_cut_answer(fake: FakeUpstream) -> None:
    fake.play(Say("Paris"), fake_module.Finish(None, usage=None))
    deltas, failure = await collect(fake)
    assert isinstance(failure, UpstreamTruncated)
    assert text_of(deltas) == "Paris"


@pytest.mark.parametrize("after", [(), (Reset(),)], ids=["eof", "rst"])
async def test_a_finish_reason_is_enough(fake: FakeUpstream, after: tuple[fake_module.Step, ...]) -> None:
    fake.play(Say("Paris"), fake_module.Finish("stop", usage=None, end_mark=False), *after)
    deltas, failure = await collect(fake)
    assert failure is None
    assert deltas[-1].finish == Finish("stop", None, "tiny")


async def test_missing_counters_are_not_waited_for_long(fake: FakeUpstream) -> None:
    fake.play(Say("Paris"), fake_module.Finish(usage=None, end_mark=False), Raw(b": hb\n" * 2000, pause=0.005))
    begun = time.monotonic()
    deltas, failure = await collect(fake, Generation(first_token_seconds=5, idle_seconds=0.3))
    assert failure is None
    assert deltas[-1].finish == Finish("stop", None, "tiny")
    assert time.monotonic() - begun < 1.5


async def test_the_reason_and_the_counters_in_one_chunk_end_the_answer_at_once(fake: FakeUpstream) -> None:
    last = {"choices": [{"delta": {"content": "!"}, "finish_reason": "eos_token"}], "model": "m"}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 5}
    fake.play(Say("Paris"), Raw(b"data: " + json.dumps({**last, "usage": usage}).encode() + b"\n\n"), Hold())
    begun = time.monotonic()
    deltas, _ = await collect(fake)
    assert text_of(deltas) == "Paris!"
    assert deltas[-1].finish == Finish("stop", Usage(1, 2, 5), "m")
    assert time.monotonic() - begun < 1


async def test_a_whole_answer_is_accepted(fake: FakeUpstream) -> None:
    message = {"role": "assistant", "content": "Paris", "reasoning_content": "Hm"}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    fake.answer(as_json({"object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}))
    deltas, failure = await collect(fake)
    assert failure is None
    assert deltas == [Delta("Paris", "Hm"), Delta(finish=Finish("stop", Usage(1, 2, 3), "m"))]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": {"message": "broken"}}, ModelError),
        ({"choices": [{"message": {"content": "Paris"}}]}, UpstreamTruncated),
        ({"hello": "world"}, UpstreamTruncated),
        ([], ModelProtocolError),
    ],
)
async def test_whole_answers_that_are_none(fake: FakeUpstream, body: object, expected: type[RunFailed]) -> None:
    fake.answer(as_json(body))
    _, failure = await collect(fake)
    assert type(failure) is expected


async def test_an_error_as_an_event_of_its_own_field_is_not_success(fake: FakeUpstream) -> None:
    fake.play(Say("Paris"), Raw(b'event: error\ndata: {"error":"CUDA","error_type":"generation"}\n\n'))
    _, failure = await collect(fake)
    assert isinstance(failure, ModelError)


@pytest.mark.parametrize(
    ("model", "temperature"), [("gpt-4o-mini", True), ("o3-mini", False), ("gpt-5-nano", False), ("omni", True)]
)
def test_openai_itself_gets_the_parameters_it_takes(
    model: str, temperature: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, object]] = []
    monkeypatch.setattr(
        "lorestream.providers.openai.stream_answer", lambda _endpoint, _path, payload, *_, **__: sent.append(payload)
    )
    OpenAIModel(model, Endpoint(OPENAI_URL, "key")).stream(PROMPT, HOW)
    assert sent[0]["max_completion_tokens"] == 512
    assert "max_tokens" not in sent[0]
    assert ("temperature" in sent[0]) is temperature
