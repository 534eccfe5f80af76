"""The events of a run: a closed union of plain values, and their fold.

The vocabulary and its grammar are those of docs/design.md, section 4:
``status* sources (status | reasoning | token)* (done | error)``, with ``error`` possible at any point. A run's state is
the fold of its events, so an answer that is not streamed is the fold of the one that is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from lorestream.errors import LorestreamError, RunFailed

FinishReason = Literal["stop", "length", "cancelled", "content_filter", "no_context"]
MessageStatus = Literal["running", "done", "stopped", "interrupted", "failed"]


class Source(msgspec.Struct, frozen=True):
    """A numbered passage as the user sees it; ``start`` and ``end`` are offsets in the document's text."""

    n: int
    doc_id: str
    chunk_index: int
    text: str
    distance: float
    score: float
    title: str
    page: int | None
    start: int
    end: int


class Citation(msgspec.Struct, frozen=True):
    """``answer[start:end]`` cites source ``n``, which supports it from 0 (not at all) to 1 (word for word)."""

    n: int
    start: int
    end: int
    support: float


class Usage(msgspec.Struct, frozen=True):
    """Token counts as the provider reported them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Timings(msgspec.Struct, frozen=True):
    """Milliseconds since the run began, but ``queue_ms`` and ``retrieval_ms``, which are durations; null where it never
    came to it.
    """

    queue_ms: int | None
    retrieval_ms: int | None
    first_token_ms: int | None
    total_ms: int


class Status(msgspec.Struct, frozen=True, tag="status", omit_defaults=True):
    """Where the run is; ``position`` only while it is queued."""

    phase: Literal["queued", "retrieving", "generating"]
    position: int | None = None


class Sources(msgspec.Struct, frozen=True, tag="sources"):
    """The passages of the answer, exactly once, before the first token; empty if there are none."""

    sources: list[Source]


class Reasoning(msgspec.Struct, frozen=True, tag="reasoning"):
    """A piece of the model's shown thinking; never part of the answer."""

    text: str


class Token(msgspec.Struct, frozen=True, tag="token"):
    """A piece of the answer, never empty; the concatenation is the stored answer."""

    text: str


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The run ended as it should, or was stopped; ``uncited`` when the answer states something without a citation."""

    model: str
    finish_reason: FinishReason
    usage: Usage | None
    timings: Timings
    citations: list[Citation]
    uncited: bool
    conversation_id: str | None
    message_id: str


class Error(msgspec.Struct, frozen=True, tag="error"):
    """The run failed; ``message`` is for a person, ``message_id`` names what was kept."""

    message: str
    code: str
    retryable: bool
    message_id: str | None = None
    retry_after: int | None = None
    conversation_id: str | msgspec.UnsetType = msgspec.UNSET  # left out where there is none


Event = Status | Sources | Reasoning | Token | Done | Error
Terminal = Done | Error


def error_event(failure: LorestreamError, message_id: str | None, conversation_id: str | None = None) -> Error:
    """The event of a failure: the same code, message and retryable as its problem document."""
    where = conversation_id or msgspec.UNSET
    return Error(failure.message, failure.code, failure.retryable, message_id, failure.retry_after, where)


@dataclass(slots=True)
class Fold:
    """What a run's events add up to so far."""

    sources: list[Source] | None = None
    terminal: Terminal | None = None
    _text: list[str] = field(default_factory=list)
    _reasoning: list[str] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Take in the next event."""
        if type(event) is Token:  # first, and without a match: there is one for every token
            self._text.append(event.text)
            return
        match event:
            case Reasoning(text):
                self._reasoning.append(text)
            case Sources(sources):
                self.sources = sources
            case Done() | Error():
                self.terminal = event

    @property
    def answer(self) -> str:
        """The concatenated tokens."""
        if len(self._text) > 1:
            self._text = ["".join(self._text)]
        return self._text[0] if self._text else ""

    @property
    def reasoning(self) -> str:
        """The concatenated thinking."""
        return "".join(self._reasoning)

    @property
    def has_tokens(self) -> bool:
        """Whether a token was sent."""
        return bool(self._text)


def message_status(failure: RunFailed, has_tokens: bool) -> MessageStatus:
    """The status a failed answer keeps: a timeout interrupts an answer that had begun and fails one that had not."""
    if failure.code in {"first_token_timeout", "idle_timeout", "total_timeout"}:
        return "interrupted" if has_tokens else "failed"
    return failure.message_status
