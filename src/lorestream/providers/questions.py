"""Questions that are asked at the same time share one call of the embedder."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from lorestream.errors import ContextTooLong, LorestreamError, ModelError, ModelProtocolError
from lorestream.providers.base import Vectors

# Texts of one call.
MOST = 32
# What a single text can be to blame for.
OF_ONE_TEXT = (ContextTooLong, ModelError, ModelProtocolError)


@dataclass
class _Batch:
    """Questions that wait for the same call; its task gives a vector, or a failure, for each of ``texts``."""

    texts: list[str] = field(default_factory=list)
    task: asyncio.Task[list[Vectors | LorestreamError]] | None = None


class Questions:
    """Gathers questions while others are answered."""

    def __init__(self, embed: Callable[[list[str]], Awaitable[Vectors]], at_once: int) -> None:
        """Call ``embed`` (texts to one row for each) ``at_once`` times at once; what waits meanwhile shares a call."""
        self._embed = embed
        self._turns = asyncio.Semaphore(at_once)
        self._gathering: _Batch | None = None

    async def embed(self, text: str) -> Vectors:
        """The row of one question. Raises what the embedder raises; never for another question's text."""
        batch = self._gathering
        if batch is None or len(batch.texts) >= MOST:
            batch = self._gathering = _Batch()
            batch.task = asyncio.create_task(self._answer(batch))
        row = len(batch.texts)
        batch.texts.append(text)
        assert batch.task
        answer = (await asyncio.shield(batch.task))[row]
        if isinstance(answer, LorestreamError):
            raise answer
        return answer

    async def _answer(self, batch: _Batch) -> list[Vectors | LorestreamError]:
        async with self._turns:
            if self._gathering is batch:
                self._gathering = None
            return await self._rows(batch.texts)

    async def _rows(self, texts: list[str]) -> list[Vectors | LorestreamError]:
        """A row for each text; where a call fails that one text may have spoilt, it is looked for by halves."""
        try:
            return list(await self._embed(texts))
        except OF_ONE_TEXT as failure:
            if len(texts) == 1:
                return [failure]
        except LorestreamError as failure:
            return [failure for _ in texts]
        half = len(texts) // 2
        return [*await self._rows(texts[:half]), *await self._rows(texts[half:])]
