"""What a chat completion asks for: OpenAI's request as a ``Question``.

Unknown fields are ignored and never passed on. What would change the shape of the answer in a way that we do not offer
is refused, so that no client takes the one for the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from lorestream.conversations.models import Manner, Question
from lorestream.doors.messages import Role, asked
from lorestream.doors.openai_errors import unusable
from lorestream.http import LONE_SURROGATE, Body

MAX_CHARACTERS = 32_000
# The name of whatever model answers by default, and the ending of a name that asks the model alone: for the titles and
# tags that chat applications have made, and for people who want no passages.
DEFAULT_MODEL, PLAIN = "lorestream", "/plain"

EXAMPLE = [{"role": "user", "content": "What is the capital of France?"}]


def _as_text(value: Any) -> Any:
    # JavaScript sends halves of surrogate pairs, which no UTF-8 can spell, where it has cut an emoji in two.
    return LONE_SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value


Text = Annotated[str, Field(max_length=MAX_CHARACTERS), BeforeValidator(_as_text)]
ModelName = Annotated[str, Field(min_length=1, max_length=256)]
Id = Annotated[str, Field(min_length=1, max_length=64)]
Stop = Annotated[str, Field(max_length=500)]
MaxTokens = Annotated[int, Field(ge=1, le=1_000_000_000)]


class Lenient(BaseModel):
    """A body in OpenAI's words: what we do not know is ignored."""

    model_config = ConfigDict(extra="allow")


class Part(Lenient):
    """A piece of a message."""

    type: Annotated[str, Field(max_length=64)]
    text: Text | None = None


class Message(Lenient):
    """One message of the chat; what tools said is passed over."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | Annotated[list[Part], Field(max_length=1000)] | None = None


class StreamOptions(Lenient):
    """``include_usage``: a last chunk with the counted tokens, where the model's server counts them."""

    include_usage: bool | None = None


class Search(Body):
    """What is searched for the answer: so many passages, of these documents and this collection, or nothing at all."""

    k: Annotated[int, Field(ge=1, le=10)] = 4
    doc_ids: Annotated[list[Id], Field(min_length=1, max_length=200)] | None = None
    collection_id: Id | None = None
    retrieve: bool = True


class Completion(Lenient):
    """The body of ``POST /v1/chat/completions``; ``lorestream`` is ours."""

    model: ModelName = DEFAULT_MODEL
    messages: Annotated[list[Message], Field(min_length=1, max_length=2000, examples=[EXAMPLE])]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    lorestream: Search | None = None


def question(body: Completion) -> Question:
    """What the body asks. Raises InvalidInput for what cannot be done here."""
    _refuse_other_answers(body.model_extra or {})
    said = list(_said(body.messages))
    while said and said[-1][0] != "user":  # a beginning of the answer, which we do not go on from
        said.pop()
    asks = asked(said)
    where = body.lorestream or Search()
    name = body.model.removesuffix(PLAIN)
    return Question(
        asks.question,
        where.k,
        where.doc_ids,
        None if name == DEFAULT_MODEL else name,
        where.collection_id,
        retrieve=where.retrieve and name == body.model,
        history=asks.history,
        instructions=asks.instructions,
        manner=Manner(body.max_completion_tokens or body.max_tokens, body.temperature, _stops(body.stop)),
    )


def _said(messages: list[Message]) -> Iterator[tuple[Role, str]]:
    for number, message in enumerate(messages):
        match message.role:
            case "user":
                yield "user", _text(message, number)
            case "assistant":
                yield "assistant", _text(message, number)
            case "system" | "developer":
                yield "system", _text(message, number)


def _text(message: Message, number: int) -> str:
    where, content = f"messages.{number}.content", message.content
    if not isinstance(content, list):
        return content or ""
    for part in content:
        if part.type not in {"text", "refusal"}:
            raise unusable(where, f"A part of the type {part.type!r} cannot be read here; send text, upload files.")
    text = "\n".join(part.text for part in content if part.text)
    if len(text) > MAX_CHARACTERS:
        raise unusable(where, f"A message may have {MAX_CHARACTERS} characters; upload longer texts as documents.")
    return text


def _stops(given: str | list[str] | None) -> tuple[str, ...]:
    texts = [given] if isinstance(given, str) else given or []
    return tuple(text for text in texts if text)


def _named(choice: Any) -> bool:
    return choice == "required" or isinstance(choice, dict)


# What asks for another kind of answer, by the values that do.
OTHER_ANSWERS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "n": (lambda n: n not in (None, 1), "There is one answer to a question; n must be 1."),
    "tool_choice": (_named, "Tools cannot be called here; leave tool_choice out, or let it be auto or none."),
    "function_call": (_named, "Functions cannot be called here; leave function_call out."),
    "logprobs": (bool, "Logprobs are not given here."),
    "audio": (bool, "Answers are text here."),
    "response_format": (
        lambda form: form is not None and not (isinstance(form, dict) and form.get("type") == "text"),
        "Answers are text here; leave response_format out.",
    ),
}


def _refuse_other_answers(unknown: dict[str, Any]) -> None:
    for param, (asks_for_it, reason) in OTHER_ANSWERS.items():
        if param in unknown and asks_for_it(unknown[param]):
            raise unusable(param, reason)
