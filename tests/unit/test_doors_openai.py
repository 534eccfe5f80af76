"""What a chat completion asks for, read from OpenAI's request; and how its stream is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import ValidationError

from lorestream.conversations.models import Manner, Turn
from lorestream.doors.openai_answers import Chunks
from lorestream.doors.openai_requests import Completion, question
from lorestream.doors.translate import Translated
from lorestream.errors import InvalidInput
from lorestream.streaming.runs import Reader

STREAMS = Path(__file__).parents[2] / "wire" / "streams"
HI = {"role": "user", "content": "Hi?"}


def completion(*messages: dict[str, Any], **others: Any) -> Completion:
    return Completion.model_validate({"messages": list(messages) or [HI], **others})


def test_the_least_request() -> None:
    asks = question(completion())
    assert (asks.text, asks.k, asks.doc_ids, asks.model, asks.collection_id) == ("Hi?", 4, None, None, None)
    assert (asks.retrieve, asks.history, asks.instructions, asks.manner) == (True, [], "", Manner())


def test_history_and_instructions() -> None:
    asks = question(
        completion(
            {"role": "system", "content": "Be brief."},
            {"role": "assistant", "content": "Hello! Ask me anything."},
            {"role": "user", "content": "One?"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]},
            {"role": "tool", "content": "What a tool said.", "tool_call_id": "x"},
            {"role": "assistant", "content": "First."},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": [{"type": "text", "text": "Two,"}, {"type": "text", "text": "three?"}]},
            {"role": "user", "content": "Please."},
        )
    )
    assert asks.text == "Two,\nthree?\n\nPlease."
    assert asks.history == [Turn("One?", "First.")]
    assert asks.instructions == "Be brief.\n\nBe kind."


def test_the_beginning_of_an_answer_is_passed_over() -> None:
    asks = question(completion(HI, {"role": "assistant", "content": "Well,"}, {"role": "system", "content": "Short!"}))
    assert (asks.text, asks.history) == ("Hi?", [])


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "Be brief."}],
        [{"role": "assistant", "content": "Hello!"}],
        [{"role": "user", "content": " \n"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": []}],
        [{"role": "tool", "content": "What a tool said."}],
    ],
)
def test_somebody_has_to_ask_something(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidInput, match="say something"):
        question(completion(*messages))


def test_pictures_are_refused_by_name() -> None:
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
    with pytest.raises(InvalidInput, match="image_url") as refused:
        question(completion(HI, picture))
    assert refused.value.fields["errors"][0]["field"] == "body.messages.1.content"


def test_a_message_in_parts_is_as_long_as_one_in_one() -> None:
    parts = [{"type": "text", "text": "x" * 20_000}] * 2
    with pytest.raises(InvalidInput, match="32000 characters"):
        question(completion({"role": "user", "content": parts}))
    with pytest.raises(ValidationError):
        completion({"role": "user", "content": "x" * 32_001})
    assert len(question(completion({"role": "user", "content": "x" * 32_000})).text) == 32_000


def test_half_of_a_surrogate_pair_is_replaced() -> None:
    assert question(completion({"role": "user", "content": "an owl: \ud83e"})).text == "an owl: \ufffd"


def test_the_manner() -> None:
    asks = question(completion(max_tokens=7, max_completion_tokens=9, temperature=0.5, stop=["\n\n", "END", ""]))
    assert asks.manner == Manner(9, 0.5, ("\n\n", "END"))
    assert question(completion(max_tokens=7, stop="END")).manner == Manner(7, None, ("END",))
    assert question(completion(max_tokens=None, stop=None, temperature=None)).manner == Manner()


def test_the_model() -> None:
    assert question(completion(model="lorestream")).model is None
    assert question(completion(model="openai:gpt-4o")).model == "openai:gpt-4o"
    plain = question(completion(model="openai:gpt-4o/plain"))
    assert (plain.model, plain.retrieve) == ("openai:gpt-4o", False)
    assert question(completion(model="lorestream/plain", lorestream={"retrieve": True})).retrieve is False


def test_where_it_is_searched() -> None:
    asks = question(completion(lorestream={"k": 7, "doc_ids": ["d"], "collection_id": "c", "retrieve": False}))
    assert (asks.k, asks.doc_ids, asks.collection_id, asks.retrieve) == (7, ["d"], "c", False)


@pytest.mark.parametrize(
    "asked",
    [
        {"n": 2},
        {"n": 1e30},
        {"logprobs": True},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"function_call": {"name": "f"}},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"audio": {"voice": "alloy"}},
    ],
    ids=str,
)
def test_another_kind_of_answer_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        question(completion(**asked))
    assert refused.value.fields["errors"][0]["field"] == f"body.{next(iter(asked))}"


def test_what_changes_no_answer_is_passed_over() -> None:
    ignored = {"n": 1, "tools": [{"type": "function"}], "tool_choice": "auto", "logprobs": None, "user": "somebody"}
    assert question(completion(**ignored, response_format={"type": "text"}, seed=1, top_p=1, metadata={})).text == "Hi?"


@pytest.mark.parametrize(
    "asked",
    [
        {"max_tokens": 0},
        {"temperature": 2.1},
        {"stop": ["a", "b", "c", "d", "e"]},
        {"stop": "x" * 501},
        {"model": ""},
        {"messages": []},
        {"messages": [{"role": "narrator", "content": "Once"}]},
        {"lorestream": {"k": 11}},
        {"lorestream": {"documents": ["d"]}},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_everything_is_bounded(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        completion(**asked)


class WholeLog:
    """A reader that gets all of a run at once."""

    def __init__(self, frames: bytes) -> None:
        self.ended = False
        self._frames = frames

    async def next(self, _wait_seconds: float) -> bytes:
        self.ended = True
        return self._frames


@pytest.mark.parametrize("name", sorted(path.stem for path in STREAMS.glob("*.sse")))
async def test_tokens_are_passed_on_as_they_would_be_encoded(name: str) -> None:
    log = cast("Reader", WholeLog((STREAMS / f"{name}.sse").read_bytes()))
    chunks = Chunks("0123456789abcdef0123456789abcdef", "lorestream", include_usage=True, created=1_700_000_000)
    told = await Translated(log, chunks.encode, around_token=chunks.around_token).next(1)
    assert told == (STREAMS / "openai" / f"{name}.sse").read_bytes()
