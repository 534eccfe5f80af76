"""Models served by Ollama, over its native ``/api/chat`` (newline-delimited JSON).

Ollama cuts a prompt that does not fit ``num_ctx`` silently. So ``num_ctx`` is always sent, together with ``truncate``
and ``shift`` (Ollama 0.12.6 and newer; ignored before), which turn the cut into an error; and the count that comes back
is compared with the bytes that were sent.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator

import msgspec

from lorestream.errors import ModelProtocolError, UpstreamTruncated
from lorestream.providers.base import Delta, Finish, FinishReason, Generation, Prompt, Usage
from lorestream.providers.chunks import LineSplitter, TextMender, decode_chunk
from lorestream.providers.refusals import reported_failure
from lorestream.providers.upstream import Endpoint, stream_answer

log = logging.getLogger(__name__)

BYTES_PER_TOKEN = 4  # of running text, roughly; CJK and code have fewer
FAR_BELOW = 0.5
REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "": "stop"}  # "": before Ollama 0.1.38


class _Message(msgspec.Struct):
    content: str = ""
    thinking: str | None = None


class _Chunk(msgspec.Struct):
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    error: object = None
    model: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None


_chunks = msgspec.json.Decoder(_Chunk)


class OllamaModel:
    """One model of an Ollama server, such as ``llama3.2:3b``."""

    def __init__(self, model: str, endpoint: Endpoint) -> None:
        """Name the model and where its server listens; nothing is asked of it yet."""
        self._model = model
        self._endpoint = endpoint

    @property
    def name(self) -> str:
        """``ollama:`` and the model's own name."""
        return f"ollama:{self._model}"

    def stream(self, prompt: Prompt, how: Generation) -> AsyncGenerator[list[Delta], None]:
        """Stream one answer (see ``ChatModel``)."""
        payload = {
            "model": self._model,
            "messages": [{"role": message.role, "content": message.content} for message in prompt.messages],
            "stream": True,
            "truncate": False,
            "shift": False,
            "options": {
                "num_ctx": how.context_tokens,
                "num_predict": how.max_output_tokens,
                "temperature": how.temperature,
            },
        }
        prompt_bytes = sum(len(message.content.encode("utf-8", "replace")) for message in prompt.messages)
        missing = f"Ollama does not have the model {self._model!r}; run: ollama pull {self._model}"
        decoder = _OllamaDecoder(prompt_bytes)
        return stream_answer(self._endpoint, "/api/chat", payload, how, decoder, missing=missing)


class _OllamaDecoder:
    """``upstream.Decoder`` for Ollama's lines; ``done: true`` is the finish marker and carries the counters."""

    def __init__(self, prompt_bytes: int) -> None:
        self.closing = False
        self.finished = False
        self._prompt_bytes = prompt_bytes
        self._lines = LineSplitter()
        self._text = TextMender()

    def begin(self, content_type: str) -> None:
        if content_type not in {"", "application/x-ndjson", "application/json"}:
            raise ModelProtocolError("LORESTREAM_OLLAMA_URL does not lead to Ollama: it sent another kind of content.")

    def feed(self, data: bytes, out: list[Delta]) -> None:
        for line in self._lines.feed(data):
            if line:
                self._take(decode_chunk(line, _chunks), out)
                if self.finished:
                    return

    def end(self, out: list[Delta]) -> None:
        raise UpstreamTruncated

    def _take(self, chunk: _Chunk, out: list[Delta]) -> None:
        if chunk.error is not None:
            text = str(chunk.error)
            log.warning("Ollama reported an error in mid-answer: %.4000r", text)
            raise reported_failure(text.encode("utf-8", "replace"))
        if chunk.message is None and not chunk.done:
            raise ModelProtocolError
        message = chunk.message or _Message()
        text = self._text.feed(message.content)
        if chunk.done:
            text += self._text.flush()
        reasoning = TextMender().feed(message.thinking) if message.thinking else ""
        if text or reasoning:
            out.append(Delta(text, reasoning))
        if chunk.done:
            out.append(Delta(finish=self._finish(chunk)))
            self.finished = True

    def _finish(self, chunk: _Chunk) -> Finish:
        reason = REASONS.get(chunk.done_reason or "")
        if reason is None:
            log.warning("Ollama ended an answer for an unknown reason: %.100r", chunk.done_reason)
            raise UpstreamTruncated
        if chunk.prompt_eval_count is None or chunk.eval_count is None:
            return Finish(reason, None, chunk.model)
        if chunk.prompt_eval_count * BYTES_PER_TOKEN < self._prompt_bytes * FAR_BELOW:
            log.warning(
                "Ollama read %d tokens of a prompt of %d bytes: it may have been cut; is its context large enough?",
                chunk.prompt_eval_count,
                self._prompt_bytes,
            )
        counts = chunk.prompt_eval_count, chunk.eval_count
        return Finish(reason, Usage(*counts, sum(counts)), chunk.model)
