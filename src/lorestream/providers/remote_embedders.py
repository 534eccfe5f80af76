"""Embedders behind HTTP: Ollama's ``/api/embed`` and the OpenAI-compatible ``/embeddings``."""

from __future__ import annotations

import abc
import asyncio
import re
from collections.abc import Sequence

import msgspec
import numpy as np

from lorestream.errors import ModelProtocolError
from lorestream.providers.base import Vectors
from lorestream.providers.questions import Questions
from lorestream.providers.upstream import MIB, Endpoint, request_json

BATCH = 32  # texts per request
AT_ONCE = 4  # requests with questions; those that wait meanwhile share the next
RESPONSE_BYTES = 64 * MIB
SECONDS = 60.0  # per request; a server may be loading the model
MAX_TOKENS = 256  # safe for every embedding model in use; longer chunks also retrieve worse
SHORTEST = 1e-6  # a vector below this length has no direction

# What the model cards ask to be put before (a passage, a question).
PREFIXES = {
    "nomic-embed-text": ("search_document: ", "search_query: "),
    "mxbai-embed-large": ("", "Represent this sentence for searching relevant passages: "),
    "e5-": ("passage: ", "query: "),
    "embeddinggemma": ("title: none | text: ", "task: search result | query: "),
}
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]{{1,4}}|[^\w\s]")


class RemoteEmbedder(abc.ABC):
    """What both kinds share: bounded batches, checks, unit length, and one dimension for ever."""

    def __init__(self, model: str, endpoint: Endpoint) -> None:
        """Name the model and where its server listens; nothing is asked of it yet."""
        self._model = model
        self._endpoint = endpoint
        self._dimensions: int | None = None
        self._probe = asyncio.Lock()
        self._asked = Questions(self._embed_batch, AT_ONCE)
        self._prefixes = next((pair for part, pair in PREFIXES.items() if part in model.lower()), ("", ""))

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The full name, such as ``ollama:nomic-embed-text``."""

    @abc.abstractmethod
    async def _request(self, texts: list[str]) -> list[list[float]]:
        """The vectors of at most BATCH texts, in their order."""

    @property
    def max_tokens(self) -> int:
        """How many of ``token_spans`` count at most: a cautious number for all models."""
        return MAX_TOKENS

    async def dimensions(self) -> int:
        """The length of its vectors; asked of the server once. Raises what ``embed`` raises."""
        async with self._probe:
            if self._dimensions is None:
                await self._embed_batch(["dimensions"])
        assert self._dimensions is not None
        return self._dimensions

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed passages: float32 of shape (len(texts), dimensions), each row of length 1.

        Raises ModelUnavailable and its kin, or ModelProtocolError for NaN, zero vectors or a wrong shape or count.
        """
        if not texts:
            return np.empty((0, await self.dimensions()), dtype=np.float32)
        whole = [self._prefixes[0] + text for text in texts]
        return np.concatenate(
            [await self._embed_batch(whole[start : start + BATCH]) for start in range(0, len(whole), BATCH)]
        )

    async def embed_query(self, text: str) -> Vectors:
        """Embed one question: float32 of shape (dimensions,), of length 1. Concurrent ones share requests."""
        return await self._asked.embed(self._prefixes[1] + text)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """About the tokens of ``text``: a token for every four letters of a word, every ideograph, every sign."""
        return [match.span() for match in _TOKEN.finditer(text)]

    async def close(self) -> None:
        """Do nothing: connections do not outlive their request."""
        return

    async def _embed_batch(self, texts: list[str]) -> Vectors:
        rows = await self._request(texts)
        if len(rows) != len(texts) or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
            raise ModelProtocolError("The embedding model's server sent a wrong number of vectors or values.")
        if self._dimensions not in {None, len(rows[0])}:
            raise ModelProtocolError("The embedding model's server changed the length of its vectors.")
        vectors = np.asarray(rows, dtype=np.float64)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or lengths.min() < SHORTEST:
            raise ModelProtocolError("The embedding model's server sent a vector without a direction.")
        self._dimensions = len(rows[0])
        unit: Vectors = (vectors / lengths).astype(np.float32)
        return unit


class _OllamaVectors(msgspec.Struct):
    embeddings: list[list[float]]


class OllamaEmbedder(RemoteEmbedder):
    """An embedding model of an Ollama server, such as ``nomic-embed-text``."""

    @property
    def name(self) -> str:
        """``ollama:`` and the model's own name."""
        return f"ollama:{self._model}"

    async def _request(self, texts: list[str]) -> list[list[float]]:
        answer = await request_json(
            self._endpoint,
            "POST",
            "/api/embed",
            _OllamaVectors,
            {"model": self._model, "input": texts, "truncate": True},
            seconds=SECONDS,
            limit_bytes=RESPONSE_BYTES,
        )
        return answer.embeddings


class _OpenAIVector(msgspec.Struct):
    index: int
    embedding: list[float]


class _OpenAIVectors(msgspec.Struct):
    data: list[_OpenAIVector]


class OpenAIEmbedder(RemoteEmbedder):
    """An embedding model of an OpenAI-compatible server, such as ``text-embedding-3-small``."""

    @property
    def name(self) -> str:
        """``openai:`` and the model's own name."""
        return f"openai:{self._model}"

    async def _request(self, texts: list[str]) -> list[list[float]]:
        answer = await request_json(
            self._endpoint,
            "POST",
            "/embeddings",
            _OpenAIVectors,
            {"model": self._model, "input": texts, "encoding_format": "float"},
            seconds=SECONDS,
            limit_bytes=RESPONSE_BYTES,
        )
        by_index = {item.index: item.embedding for item in answer.data}
        if sorted(by_index) != list(range(len(texts))) or len(answer.data) != len(texts):
            raise ModelProtocolError("The embedding model's server sent a wrong number of vectors.")
        return [by_index[index] for index in range(len(texts))]
