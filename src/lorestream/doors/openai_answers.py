"""A run as a chat completion: its events as chunks, or folded into one object.

OpenAI has no place for passages. ``sources`` stand beside the empty ``choices`` delta of the first chunk, ``citations``
and the run's names beside the last one, all of them beside ``choices`` where the answer is one object; the official
clients keep such members (``model_extra`` in Python) and everybody else passes over them.
"""

from __future__ import annotations

import time
from json.encoder import encode_basestring_ascii
from typing import Any

import msgspec

from lorestream.doors.openai_errors import broken
from lorestream.doors.translate import END, data_line
from lorestream.streaming import sse
from lorestream.streaming.events import (
    Done,
    Error,
    Event,
    FinishReason,
    Fold,
    Reasoning,
    Source,
    Sources,
    Status,
    Token,
)

REASONS: dict[FinishReason, str] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "cancelled": "stop",
    "no_context": "stop",
}


class Chunks:
    """Encodes the events of one run, each once; a frame of a token is spliced and no object is made for it."""

    def __init__(self, run_id: str, model: str, *, include_usage: bool = False, created: int | None = None) -> None:
        """``model`` is the name that the client asked for; ``created`` (Unix time) is now unless it is given."""
        self._run_id = run_id
        self._include_usage = include_usage
        self._head: dict[str, Any] = {
            "id": f"chatcmpl-{run_id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()) if created is None else created,
            "model": model,
        }
        before, after = self._chunk({"content": "?"}).split(b'"?"')
        self.around_token = before, after

    def encode(self, event: Event) -> bytes:
        """The bytes of one event."""
        if type(event) is Token:  # the hot path: one of these for every token
            return encode_basestring_ascii(event.text).encode().join(self.around_token)
        match event:
            case Reasoning(text):
                return self._chunk({"reasoning_content": text})
            case Status():
                return sse.HEARTBEAT
            case Sources(sources):
                first = self._chunk({"role": "assistant", "content": ""}, sources=msgspec.to_builtins(sources))
                return first + (self._chunk({"content": ""}, event=_shown(sources)) if sources else b"")
            case Done():
                return self._last(event) + END
            case Error():
                return broken(event)
        raise AssertionError(event)

    def _last(self, done: Done) -> bytes:
        told = _told(done, self._run_id)
        last = self._chunk({}, REASONS[done.finish_reason], **told)
        if self._include_usage and done.usage:
            last += data_line({**self._head, "choices": [], "usage": msgspec.to_builtins(done.usage)})
        return last

    def _chunk(self, delta: dict[str, str], finish_reason: str | None = None, **beside: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return data_line({**self._head, "choices": [choice], **beside})


def completion(run_id: str, model: str, fold: Fold, done: Done) -> dict[str, Any]:
    """The whole answer; ``usage`` is null where the model's server counted nothing."""
    message = {"role": "assistant", "content": fold.answer, "refusal": None}
    if fold.reasoning:
        message["reasoning_content"] = fold.reasoning
    return {
        "id": f"chatcmpl-{run_id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": REASONS[done.finish_reason]},
        ],
        "usage": msgspec.to_builtins(done.usage),
        "sources": msgspec.to_builtins(fold.sources or []),
        **_told(done, run_id),
    }


def _told(done: Done, run_id: str) -> dict[str, Any]:
    """What we know of an answer and OpenAI does not tell; ``answered_by`` is the model's own name."""
    return {
        "citations": msgspec.to_builtins(done.citations),
        "uncited": done.uncited,
        "answered_by": done.model,
        "run_id": run_id,
        "message_id": done.message_id,
    }


def _shown(sources: list[Source]) -> dict[str, Any]:
    """The sources as Open WebUI shows them: it takes an ``event`` of a chunk, and numbers them in their order."""
    names = [f"{one.title}, page {one.page}" if one.page else one.title for one in sources]
    numbered = zip(sources, names, strict=True)
    return {
        "type": "source",
        "data": {
            "source": {"name": "Lorestream"},
            "document": [one.text for one in sources],
            "metadata": [{"source": f"{one.doc_id}:{one.chunk_index}", "name": name} for one, name in numbered],
            "distances": [one.distance for one in sources],
        },
    }
