"""Models behind any OpenAI-compatible ``/chat/completions``: OpenAI, vLLM, llama.cpp, TGI, LM Studio.

Server-sent events are parsed by the WHATWG rules, with LF or CRLF as line ends (no server sends a lone CR). The finish
marker is a ``finish_reason``. ``[DONE]`` or the end of the connection without one is a cut answer: every server named
above sends it, and a proxy that lost its upstream also writes ``[DONE]``. After the marker the counters are awaited for
a moment; their absence does not spoil the answer.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from lorestream.errors import ModelProtocolError, UpstreamTruncated
from lorestream.providers.base import Delta, Finish, FinishReason, Generation, Prompt, Usage
from lorestream.providers.chunks import EventParser, TextMender, decode_chunk
from lorestream.providers.refusals import reported_failure
from lorestream.providers.upstream import MIB, Endpoint, stream_answer

log = logging.getLogger(__name__)

OPENAI_HOST = "api.openai.com"
OPENAI_URL = f"https://{OPENAI_HOST}/v1"
# TGI before 2.3 passes its own reasons on.
REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "eos_token": "stop",
    "stop_sequence": "stop",
}
_FIXED_TEMPERATURE = re.compile(r"o\d|gpt-5")  # OpenAI's reasoning models refuse any but their own


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class _Piece(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct):
    delta: _Piece | None = None
    message: _Piece | None = None
    finish_reason: str | None = None
    index: int = 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: object = None
    model: str | None = None


_chunks = msgspec.json.Decoder(_Chunk)


class OpenAIModel:
    """One model of an OpenAI-compatible server, such as ``gpt-4o-mini``."""

    def __init__(self, model: str, endpoint: Endpoint) -> None:
        """Name the model and where its server listens; nothing is asked of it yet."""
        self._model = model
        self._endpoint = endpoint

    @property
    def name(self) -> str:
        """``openai:`` and the model's own name."""
        return f"openai:{self._model}"

    def stream(self, prompt: Prompt, how: Generation) -> AsyncGenerator[list[Delta], None]:
        """Stream one answer (see ``ChatModel``)."""
        at_openai = self._endpoint.host == OPENAI_HOST
        payload: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": message.role, "content": message.content} for message in prompt.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_completion_tokens" if at_openai else "max_tokens": how.max_output_tokens,
        }
        if not (at_openai and _FIXED_TEMPERATURE.match(self._model)):
            payload["temperature"] = how.temperature
        missing = (
            f"The language model's server does not have {self._model!r}, or LORESTREAM_OPENAI_BASE_URL is not the "
            "address of its API (mostly ending with /v1)."
        )
        return stream_answer(self._endpoint, "/chat/completions", payload, how, _OpenAIDecoder(), missing=missing)


class _OpenAIDecoder:
    """``upstream.Decoder`` for chat completions, streamed or, where a server ignores ``stream``, whole."""

    def __init__(self) -> None:
        self.closing = False
        self.finished = False
        self._events = EventParser()
        self._text = TextMender()
        self._whole: bytearray | None = None
        self._reason: FinishReason | None = None
        self._usage: Usage | None = None
        self._model: str | None = None

    def begin(self, content_type: str) -> None:
        if content_type == "application/json":
            self._whole = bytearray()
        elif content_type not in {"", "text/event-stream"}:
            raise ModelProtocolError(
                "LORESTREAM_OPENAI_BASE_URL does not lead to a model: it sent another kind of content. "
                "Such addresses mostly end with /v1."
            )

    def feed(self, data: bytes, out: list[Delta]) -> None:
        if self._whole is not None:
            self._whole += data
            if len(self._whole) > MIB:
                raise ModelProtocolError
            return
        for event in self._events.feed(data):
            if event == b"[DONE]":
                self._finish(out)
            elif event:
                self._take(decode_chunk(event, _chunks), out)
            if self.finished:
                return

    def end(self, out: list[Delta]) -> None:
        if self._whole is not None:
            self._take(decode_chunk(bytes(self._whole), _chunks), out)
        if not self.finished:
            self._finish(out)

    def _take(self, chunk: _Chunk, out: list[Delta]) -> None:
        if chunk.error is not None:
            text = str(chunk.error)
            log.warning("the language model's server reported an error in mid-answer: %.4000r", text)
            raise reported_failure(text.encode("utf-8", "replace"))
        self._model = chunk.model or self._model
        for choice in chunk.choices or ():
            if choice.index == 0:
                self._take_choice(choice, out)
        if chunk.usage is not None:
            self._usage = _usage(chunk.usage)
            if self.closing:
                self._finish(out)

    def _take_choice(self, choice: _Choice, out: list[Delta]) -> None:
        piece = choice.delta or choice.message
        if piece is not None:
            text = self._text.feed(piece.content) if piece.content else ""
            thought = piece.reasoning_content or piece.reasoning
            reasoning = TextMender().feed(thought) if thought else ""
            if text or reasoning:
                out.append(Delta(text, reasoning))
        if choice.finish_reason:
            self._reason = REASONS.get(choice.finish_reason)
            if self._reason is None:
                log.warning("a model ended an answer for an unknown reason: %.100r", choice.finish_reason)
                raise UpstreamTruncated
            self.closing = True

    def _finish(self, out: list[Delta]) -> None:
        if self._reason is None:
            raise UpstreamTruncated
        if rest := self._text.flush():
            out.append(Delta(rest))
        out.append(Delta(finish=Finish(self._reason, self._usage, self._model)))
        self.finished = True


def _usage(usage: _Usage) -> Usage | None:
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    if prompt is None or completion is None:
        return None
    return Usage(prompt, completion, prompt + completion if usage.total_tokens is None else usage.total_tokens)
