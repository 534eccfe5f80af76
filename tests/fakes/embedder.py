"""An embedder of words: texts that share words are near each other. It needs no model and no server."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from lorestream.providers.base import Vectors
from lorestream.text import content_words
from tests.fakes.upstream import unit_vector


class WordEmbedder:
    """``Embedder`` with ``size`` dimensions; keeps the texts that it was given."""

    def __init__(self, size: int = 256) -> None:
        self.size = size
        self.seen: list[str] = []

    @property
    def name(self) -> str:
        return "words"

    @property
    def max_tokens(self) -> int:
        return 256

    async def dimensions(self) -> int:
        return self.size

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.seen += texts
        rows = [unit_vector(" ".join(content_words(text)), self.size) for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(texts), self.size)

    async def embed_query(self, text: str) -> Vectors:
        return (await self.embed([text])).reshape(-1)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]

    async def close(self) -> None:
        return
