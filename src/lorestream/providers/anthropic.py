"""Claude models, over Anthropic's Messages API (``/v1/messages``, streamed as server-sent events).

The finish marker is ``message_stop``, after a ``message_delta`` that says why. Thinking is shown as reasoning; what
else an answer may hold (signatures, citations of its own, calls of tools) is not part of its text. The sampling
temperature is left to the model: the API has no say in it any more.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from lorestream.errors import (
    ModelAuthFailed,
    ModelNotFound,
    ModelProtocolError,
    ModelRateLimited,
    ModelUnavailable,
    RunFailed,
    UpstreamTruncated,
)
from lorestream.providers.base import ChatMessage, Delta, Finish, FinishReason, Generation, Prompt, Usage
from lorestream.providers.chunks import EventParser, TextMender, decode_chunk
from lorestream.providers.refusals import BUSY, reported_failure
from lorestream.providers.upstream import Endpoint, stream_answer

log = logging.getLogger(__name__)

ANTHROPIC_URL = "https://api.anthropic.com"
VERSION = "2026-10-21"  # the first that has no sampling temperature
KEY_SETTING = "LORESTREAM_ANTHROPIC_API_KEY"
# pause_turn and tool_use wait for us to go on, which we never offered: the answer is not complete.
REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


class _Counts(msgspec.Struct):
    """Counters of tokens; those of a ``message_delta`` are sums so far, and only of what it knows."""

    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None


class _Message(msgspec.Struct):
    model: str | None = None
    usage: _Counts | None = None


class _Piece(msgspec.Struct):
    """The content of a block that begins, what is added to it, or why the message ended."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str
    message: _Message | None = None
    content_block: _Piece | None = None
    delta: _Piece | None = None
    usage: _Counts | None = None
    error: object = None


_events = msgspec.json.Decoder(_Event)


def endpoint(base_url: str | None, api_key: str | None) -> Endpoint:
    """Anthropic itself, or another server of its API. Raises StartRefused for an unusable address or key."""
    headers = [f"anthropic-version: {VERSION}"]
    return Endpoint(
        base_url or ANTHROPIC_URL, api_key, key_header="x-api-key: ", key_setting=KEY_SETTING, headers=headers
    )


class AnthropicModel:
    """One Claude model, such as ``claude-haiku-4-5``."""

    def __init__(self, model: str, endpoint: Endpoint) -> None:
        """Name the model and where its server listens; nothing is asked of it yet."""
        self._model = model
        self._endpoint = endpoint

    @property
    def name(self) -> str:
        """``anthropic:`` and the model's own name."""
        return f"anthropic:{self._model}"

    def stream(self, prompt: Prompt, how: Generation) -> AsyncGenerator[list[Delta], None]:
        """Stream one answer (see ``ChatModel``)."""
        payload: dict[str, Any] = {
            "model": self._model,
            "max_tokens": how.max_output_tokens,
            "messages": turns(prompt.messages),
            "stream": True,
        }
        if system := "\n\n".join(message.content for message in prompt.messages if message.role == "system"):
            payload["system"] = system
        missing = f"Anthropic does not have the model {self._model!r}; name another one by LORESTREAM_MODEL."
        return stream_answer(self._endpoint, "/v1/messages", payload, how, _AnthropicDecoder(), missing=missing)


def turns(messages: Sequence[ChatMessage]) -> list[dict[str, str]]:
    """The messages of users and assistants as the API wants them: alternating, none empty, a user's first."""
    made: list[dict[str, str]] = []
    for message in messages:
        if message.role == "system" or not message.content.strip() or (not made and message.role == "assistant"):
            continue
        if made and made[-1]["role"] == message.role:
            made[-1]["content"] += "\n\n" + message.content
        else:
            made.append({"role": message.role, "content": message.content})
    return made


class _AnthropicDecoder:
    """``upstream.Decoder`` for the events of one message."""

    closing = False  # the counters come before the finish marker

    def __init__(self) -> None:
        self.finished = False
        self._parser = EventParser()
        self._text = TextMender()
        self._thought = TextMender()
        self._counts = _Counts()
        self._reason: str | None = None
        self._model: str | None = None

    def begin(self, content_type: str) -> None:
        if content_type not in {"", "text/event-stream"}:
            raise ModelProtocolError(
                "LORESTREAM_ANTHROPIC_BASE_URL does not lead to a model: it sent another kind of content."
            )

    def feed(self, data: bytes, out: list[Delta]) -> None:
        for event in self._parser.feed(data):
            if event:
                self._take(decode_chunk(event, _events), out)
            if self.finished:
                return

    def end(self, out: list[Delta]) -> None:
        raise UpstreamTruncated

    def _take(self, event: _Event, out: list[Delta]) -> None:
        match event.type:
            case "content_block_delta" | "content_block_start":
                self._take_piece(event.delta or event.content_block or _Piece(), out)
            case "message_start" if event.message is not None:
                self._model = event.message.model
                self._count(event.message.usage)
            case "message_delta":
                self._reason = (event.delta.stop_reason if event.delta else None) or self._reason
                self._count(event.usage)
            case "message_stop":
                self._finish(out)
            case "error":
                raise _failure(event.error)

    def _take_piece(self, piece: _Piece, out: list[Delta]) -> None:
        text = self._text.feed(piece.text) if piece.type in {"text_delta", "text"} else ""
        reasoning = self._thought.feed(piece.thinking) if piece.type in {"thinking_delta", "thinking"} else ""
        if text or reasoning:
            out.append(Delta(text, reasoning))

    def _count(self, counts: _Counts | None) -> None:
        for name in _Counts.__struct_fields__:
            if (value := getattr(counts, name, None)) is not None:
                setattr(self._counts, name, value)

    def _finish(self, out: list[Delta]) -> None:
        reason = REASONS.get(self._reason or "")
        if reason is None:
            log.warning("Anthropic ended an answer for a reason that leaves it incomplete: %.100r", self._reason)
            raise UpstreamTruncated
        if rest := self._text.flush():
            out.append(Delta(rest))
        out.append(Delta(finish=Finish(reason, _usage(self._counts), self._model)))
        self.finished = True


def _usage(counts: _Counts) -> Usage | None:
    """What was read (from the cache, too) and written."""
    if counts.input_tokens is None or counts.output_tokens is None:
        return None
    read = counts.input_tokens + (counts.cache_creation_input_tokens or 0) + (counts.cache_read_input_tokens or 0)
    return Usage(read, counts.output_tokens, read + counts.output_tokens)


def _failure(error: object) -> RunFailed:
    """What an ``error`` event inside an answer means."""
    log.warning("Anthropic reported an error in mid-answer: %.4000r", error)
    match error.get("type") if isinstance(error, dict) else None:
        case "overloaded_error" | "timeout_error":
            return ModelUnavailable(BUSY)
        case "rate_limit_error":
            return ModelRateLimited()
        case "authentication_error" | "permission_error":
            return ModelAuthFailed(f"Anthropic refused our credentials; check {KEY_SETTING}.")
        case "not_found_error":
            return ModelNotFound()
        case _:
            return reported_failure(str(error).encode("utf-8", "replace"))
