"""How scripted model servers say things: one writer for an answer in each provider's format."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal, Protocol

from tests.fakes.script import Finish

Format = Literal["ollama", "openai", "anthropic"]


class Writer(Protocol):
    """Writes one streamed answer."""

    content_type: str

    def token(self, text: str, *, reasoning: bool) -> bytes:
        """One piece of text."""
        ...

    def finish(self, step: Finish) -> bytes:
        """The finish marker, the counters and the mark of the end."""
        ...

    def fail(self, error: Any) -> bytes:
        """An error inside the answer."""
        ...


def writer(kind: Format, model: str) -> Writer:
    """A writer for one answer of ``model``."""
    writers: dict[Format, Callable[[str], Writer]] = {
        "ollama": OllamaWriter,
        "openai": OpenAIWriter,
        "anthropic": AnthropicWriter,
    }
    return writers[kind](model)


def token_with(kind: Format, escaped: str) -> bytes:
    """One piece of text as it may come, with escapes of JSON in it."""
    return (
        {
            "ollama": '{"message":{"content":"%s"}}\n',
            "openai": 'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n',
            "anthropic": 'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"%s"}}\n\n',
        }[kind]
        .replace("%s", escaped)
        .encode()
    )


def kind_of(path: str) -> Format:
    """Whose format a request's path belongs to."""
    if path.startswith(("/v1/messages", "/v1/models?limit=")):
        return "anthropic"
    return "ollama" if path.startswith("/api/") else "openai"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


class OllamaWriter:
    """Lines of JSON."""

    content_type = "application/x-ndjson"

    def __init__(self, model: str) -> None:
        self._model = model

    def token(self, text: str, *, reasoning: bool) -> bytes:
        said = {"content": "", "thinking": text} if reasoning else {"content": text}
        return _json({"model": self._model, "message": {"role": "assistant", **said}, "done": False}) + b"\n"

    def finish(self, step: Finish) -> bytes:
        counts = dict(zip(("prompt_eval_count", "eval_count"), step.usage or (), strict=False))
        last = {
            "model": self._model,
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": step.reason,
            **counts,
        }
        return _json(last) + b"\n" if step.end_mark else b""

    def fail(self, error: Any) -> bytes:
        return _json({"error": error}) + b"\n"


class OpenAIWriter:
    """Chunks of a chat completion as server-sent events without names."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, model: str) -> None:
        self._model = model

    def token(self, text: str, *, reasoning: bool) -> bytes:
        return self._chunk({"reasoning_content" if reasoning else "content": text})

    def finish(self, step: Finish) -> bytes:
        frames = b""
        if step.reason is not None:
            frames += self._chunk({}, step.reason)
        if step.usage:
            prompt, completion = step.usage
            usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
            frames += self._frame({"model": self._model, "choices": [], "usage": usage})
        return frames + (b"data: [DONE]\n\n" if step.end_mark else b"")

    def fail(self, error: Any) -> bytes:
        return self._frame({"error": error})

    def _chunk(self, delta: dict[str, str], reason: str | None = None) -> bytes:
        return self._frame(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion.chunk",
                "created": 1_700_000_000,
                "model": self._model,
                "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}],
            }
        )

    @staticmethod
    def _frame(value: Any) -> bytes:
        return b"data: " + _json(value) + b"\n\n"


class AnthropicWriter:
    """Messages streaming: named events, content in blocks; a kind of content that changes begins a new block."""

    content_type = "text/event-stream; charset=utf-8"
    # The reasons that other formats name.
    REASONS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}  # noqa: RUF012

    def __init__(self, model: str) -> None:
        self._model = model
        self._block = -1
        self._kind = ""

    def token(self, text: str, *, reasoning: bool) -> bytes:
        kind = "thinking" if reasoning else "text"
        delta = {"type": f"{kind}_delta", kind: text}
        return self._begin(kind) + self._event("content_block_delta", index=self._block, delta=delta)

    def finish(self, step: Finish) -> bytes:
        frames = self._begin("") if self._block < 0 else self._close()
        if step.reason is not None:
            read, written = step.usage or (None, None)
            counts = {"usage": {"input_tokens": read, "output_tokens": written}} if step.usage else {"usage": {}}
            reason = self.REASONS.get(step.reason, step.reason)
            frames += self._event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, **counts)
        return frames + (self._event("message_stop") if step.end_mark else b"")

    def fail(self, error: Any) -> bytes:
        return self._event("error", error=error)

    def _begin(self, kind: str) -> bytes:
        """Everything that stands before the next piece of this kind."""
        frames = b""
        if self._block < 0 and not self._kind:
            message: dict[str, Any] = {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": self._model,
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 1},
            }
            frames += self._event("message_start", message=message)
        if kind and kind != self._kind:
            frames += self._close()
            self._block += 1
            self._kind = kind
            more = {"signature": ""} if kind == "thinking" else {}
            frames += self._event(
                "content_block_start", index=self._block, content_block={"type": kind, kind: "", **more}
            )
            frames += self._event("ping")
        return frames

    def _close(self) -> bytes:
        if self._block < 0 or not self._kind:
            return b""
        signed = b""
        if self._kind == "thinking":
            delta = {"type": "signature_delta", "signature": "EqQBCgIYAhIM"}
            signed = self._event("content_block_delta", index=self._block, delta=delta)
        return signed + self._event("content_block_stop", index=self._block)

    @staticmethod
    def _event(kind: str, **fields: Any) -> bytes:
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), _json({"type": kind, **fields}))
