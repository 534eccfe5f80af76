"""The ports to language models: ``ChatModel`` writes an answer, ``Embedder`` turns texts into vectors.

Every adapter keeps the same rules (docs/design.md, section 8): batches as they came from the network; an end only
with the finish marker; failures as the ``RunFailed`` leaves of ``errors``; and when the iterator is closed or its
task cancelled, the upstream connection is closed before control returns.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

FinishReason = Literal["stop", "length", "content_filter"]
# What a model is asked to say where the passages do not hold the answer.
NO_ANSWER = "I don't know based on the provided data."
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a chat prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class PromptPassage:
    """A passage as the prompt shows it: number ``n`` (from 1), its document's title and its whole text."""

    n: int
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """All that a model may use: the messages to send, and what they were made of.

    Adapters of language models read ``messages``; ``reader`` reads ``question`` and ``passages``.
    """

    messages: Sequence[ChatMessage]
    question: str
    passages: Sequence[PromptPassage] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """How one answer is generated; times in seconds, sizes in tokens."""

    max_output_tokens: int = 512
    temperature: float = 0.0
    context_tokens: int = 8192
    connect_seconds: float = 5.0
    first_token_seconds: float = 60.0
    idle_seconds: float = 30.0


class Usage(msgspec.Struct, frozen=True):
    """Token counts as the provider reported them, never our estimate."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Finish(msgspec.Struct, frozen=True):
    """The finish marker: why the model stopped, what it counted, what it calls itself."""

    reason: FinishReason
    usage: Usage | None = None
    model: str | None = None


class Delta(msgspec.Struct):
    """One piece of an answer; the last one carries ``finish``. Empty texts are allowed and mean nothing."""

    text: str = ""
    reasoning: str = ""
    finish: Finish | None = None


class ChatModel(Protocol):
    """A language model that can be streamed."""

    @property
    def name(self) -> str:
        """The full name, such as ``ollama:llama3.2:3b``."""
        ...

    def stream(self, prompt: Prompt, how: Generation) -> AsyncGenerator[list[Delta], None]:
        """Yield what arrived in one network read, in order; end only after a Delta with ``finish``.

        Raises the ``RunFailed`` leaf that names what went wrong. ``aclose()`` or cancellation closes the upstream
        connection, also while it is being opened or waits for the first token.
        """
        ...


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model that could be used, for people: its full name and a line about it."""

    name: str
    description: str = ""
    details: dict[str, str] = field(default_factory=dict)


class Embedder(Protocol):
    """Turns texts into unit vectors. Never blocks the event loop; concurrent calls are batched."""

    @property
    def name(self) -> str:
        """The full name, such as ``minilm``; stored with every vector made by it."""
        ...

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text count at most; the rest would be dropped silently."""
        ...

    async def dimensions(self) -> int:
        """The length of its vectors."""
        ...

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed passages: float32 of shape (len(texts), dimensions), each row of length 1.

        Raises ModelUnavailable and its kin, or ModelProtocolError for NaN, zero vectors or a wrong shape or count.
        """
        ...

    async def embed_query(self, text: str) -> Vectors:
        """Embed one question: float32 of shape (dimensions,), of length 1."""
        ...

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The (start, end) character offsets of the embedder's tokens in ``text``, in order (blocking)."""
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...


class Reranker(Protocol):
    """Orders passages by reading each together with the question (a cross-encoder). Never blocks the event loop."""

    @property
    def name(self) -> str:
        """What it is called in results and reports."""
        ...

    async def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """How well each text answers the question: float32 of shape (len(texts),), higher is better, any scale.

        Raises RetrievalFailed where the model gives something else.
        """
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...
