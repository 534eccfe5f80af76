"""Faithfulness and answer relevancy, judged by a language model: ragas (Es et al. 2023), an optional extra.

The only file that knows ragas. It is loaded when a judge is asked for, because that takes seconds, and told not to
report its use to anybody.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from lorestream.errors import InvalidInput, ModelError
from lorestream.providers.base import Embedder
from lorestream.providers.embedders import openai_endpoint
from lorestream.settings import Settings

INSTALL = "A judge needs ragas, which is not installed. Install it with: pip install 'lorestream[ragas]'"
# What a judge may write; its answers are lists of short statements.
MAX_TOKENS = 2048
TIMEOUT_SECONDS = 120.0
# ragas asks for so many questions that an answer would answer.
QUESTIONS = 3


class RagasJudge:
    """Scores from 0 to 1 by a model of the settings' OpenAI-compatible server; cosines by our own embedder."""

    def __init__(self, model: str, settings: Settings, embedder: Embedder) -> None:
        """Load ragas. Raises InvalidInput where it is missing, or no server is named."""
        endpoint = openai_endpoint(settings)
        if endpoint is None:
            raise InvalidInput("A judge needs LORESTREAM_OPENAI_BASE_URL or LORESTREAM_OPENAI_API_KEY.")
        os.environ["RAGAS_DO_NOT_TRACK"] = "true"
        openai, llms, embeddings, metrics = (
            _loaded(name) for name in ("openai", "ragas.llms", "ragas.embeddings.base", "ragas.metrics.collections")
        )
        self._client = openai.AsyncOpenAI(
            base_url=endpoint.base_url, api_key=endpoint.key or "none", timeout=TIMEOUT_SECONDS, max_retries=1
        )
        judge = llms.llm_factory(model, client=self._client, temperature=0.0, max_tokens=MAX_TOKENS)
        ours = _embedding(embeddings.BaseRagasEmbedding, embedder)
        self._faithfulness = metrics.Faithfulness(llm=judge)
        self._relevancy = metrics.AnswerRelevancy(llm=judge, embeddings=ours, strictness=QUESTIONS)

    async def __call__(self, question: str, answer: str, passages: Sequence[str]) -> dict[str, float]:
        """``faithfulness`` and ``answer_relevancy`` of an answer. Raises ModelError where the judge cannot judge."""
        try:
            faithful = await self._faithfulness.ascore(
                user_input=question, response=answer, retrieved_contexts=list(passages)
            )
            relevant = await self._relevancy.ascore(user_input=question, response=answer)
        except Exception as error:
            what = type(error).__name__
            raise ModelError(f"The judge gave no judgement that could be read ({what}); is its model there?") from error
        scores = {"faithfulness": float(faithful.value), "answer_relevancy": float(relevant.value)}
        return {name: score for name, score in scores.items() if math.isfinite(score)}

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()


def _loaded(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise InvalidInput(INSTALL) from error


def _embedding(base: Any, embedder: Embedder) -> Any:
    """Our embedder as ragas wants one."""

    class Ours(base):  # type: ignore[misc]
        """Asynchronous only, as everything that we ask of ragas."""

        def embed_text(self, text: str, **_: Any) -> list[float]:
            raise NotImplementedError

        async def aembed_text(self, text: str, **_: Any) -> list[float]:
            vector: list[float] = (await embedder.embed_query(text)).tolist()
            return vector

    return Ours()
