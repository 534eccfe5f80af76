"""Which language model answers: what the settings name, or, with ``auto``, what is there.

``auto`` takes a running Ollama with a chat model, else the configured OpenAI-compatible server, else Anthropic with a
configured key, else ``reader``. It uses nothing that LORESTREAM_ settings do not name, and it leaves out models that
Ollama itself would send to a cloud.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from lorestream.errors import InvalidInput
from lorestream.providers import anthropic, offers
from lorestream.providers.anthropic import AnthropicModel
from lorestream.providers.base import ChatModel, Embedder, ModelInfo
from lorestream.providers.embedders import openai_endpoint
from lorestream.providers.gguf import GgufModel
from lorestream.providers.langchain_chat import LangChainModel
from lorestream.providers.offers import Offer
from lorestream.providers.ollama import OllamaModel
from lorestream.providers.openai import OpenAIModel
from lorestream.providers.reader import NAME as READER
from lorestream.providers.reader import Reader
from lorestream.providers.upstream import Endpoint
from lorestream.settings import Settings

log = logging.getLogger(__name__)

LOOK_UP_SECONDS = 1.0  # a question may wait this long for a look-up
KEEP_SECONDS = 30.0  # how long the outcome of ``auto`` holds


class OwnModel(ChatModel, Protocol):
    """A model that lives with this server, and is opened and closed with it."""

    @property
    def note(self) -> tuple[str, str]:
        """What is the matter with it, and what to do about it; two empty strings if nothing."""
        ...

    async def open(self) -> None:
        """Get it ready; raises StartRefused where it cannot be."""
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Which model answers, for people: its name, why it is that one, and what to do about what is missing."""

    name: str
    why: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class _Outcome:
    status: ModelStatus
    models: tuple[ModelInfo, ...]
    until: float


def _anthropic_endpoint(settings: Settings) -> Endpoint | None:
    key = settings.anthropic_api_key.get_secret_value() if settings.anthropic_api_key else None
    return anthropic.endpoint(settings.anthropic_base_url, key) if key or settings.anthropic_base_url else None


def own_model(settings: Settings) -> OwnModel | None:
    """The model that the settings name where it lives with this server. Raises StartRefused for another form."""
    if settings.model.startswith("langchain:"):
        return LangChainModel(settings.model)
    if settings.model.startswith("gguf:"):
        models = settings.data_dir / "models"
        at_once = settings.model_concurrency
        return GgufModel(settings.model, models, context_tokens=settings.context_tokens, at_once=at_once)
    return None


class Catalogue:
    """The models that can be used here, and the one that is."""

    def __init__(
        self,
        settings: Settings,
        embedder: Embedder,
        *,
        look_up_seconds: float = LOOK_UP_SECONDS,
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        """Take the settings and the embedder for ``reader``. Raises StartRefused for an unusable address or key."""
        self._look_up_seconds, self._keep_seconds = look_up_seconds, keep_seconds
        self._reader = Reader(embedder, settings.reader_words_per_second)
        self._ollama = Endpoint(settings.ollama_url)
        self._openai = openai_endpoint(settings)
        self._anthropic = _anthropic_endpoint(settings)
        self._own = own_model(settings)
        self._configured = self._own.name if self._own else settings.model
        self._kinds = self._table()
        self._outcome: _Outcome | None = None
        self._looking = asyncio.Lock()
        # How many answers a model may write at once here; an embedded one is shared by all workers.
        self.at_once = settings.model_concurrency
        if isinstance(self._own, GgufModel):
            self.at_once = max(1, self._own.slots // settings.workers)

    def _table(self) -> dict[str, Callable[[str], ChatModel]]:
        """How a model of each kind that can be used here is made from its name."""
        kinds: dict[str, Callable[[str], ChatModel]] = {"ollama": lambda name: OllamaModel(name, self._ollama)}
        if openai := self._openai:
            kinds["openai"] = lambda name: OpenAIModel(name, openai)
        if claude := self._anthropic:
            kinds["anthropic"] = lambda name: AnthropicModel(name, claude)
        if own := self._own:
            kinds[own.name.partition(":")[0]] = lambda _name: own
        return kinds

    async def open(self) -> None:
        """Get a model that lives with this server ready. Raises StartRefused where it cannot be."""
        if self._own:
            await self._own.open()

    async def close(self) -> None:
        """End such a model."""
        if self._own:
            await self._own.close()

    @property
    def embedded(self) -> str | None:
        """How far an embedded model is, in one word such as ``ready`` or ``loading``; None where there is none."""
        return self._own.phase if isinstance(self._own, GgufModel) else None

    async def resolve(self, name: str | None = None) -> ChatModel:
        """The model to ask: the one that ``models`` lists under ``name``, or the default.

        With ``auto`` this waits for a look-up of at most a second, every half minute. Raises InvalidInput for a name
        that is not listed, so that nobody can reach a model that was not offered.
        """
        if name is not None and name != self._configured:
            if name not in {model.name for model in await self.models()}:
                raise InvalidInput(f"There is no model named {name[:100]!r} here; /models lists those there are.")
            return self._build(name)
        if self._configured != "auto":
            return self._build(self._configured)
        return self._build((await self._auto()).status.name)

    async def models(self) -> list[ModelInfo]:
        """The models that a question may name, the default first."""
        reader = ModelInfo(READER, "Quotes the passages that fit best; needs no language model.")
        if self._configured == READER:
            return [reader]
        if self._configured != "auto":
            return [ModelInfo(self._configured, "Set by LORESTREAM_MODEL."), reader]
        return [*(await self._auto()).models, reader]

    async def describe(self) -> ModelStatus:
        """Which model answers and why, and what is missing: for the start banner and for ``doctor``."""
        if self._configured == "auto":
            return (await self._auto()).status
        why = "LORESTREAM_MODEL names it"
        if self._configured == READER:
            return ModelStatus(READER, why)
        if self._own:
            matter, advice = self._own.note
            return ModelStatus(self._configured, f"{why}; {matter}" if matter else why, advice)
        kind, _, model = self._configured.partition(":")
        found = await self._look(kind, every=True)
        names = {info.name for info in found.models}
        if found.problem:
            return ModelStatus(self._configured, f"{why}, but {found.problem}", found.advice)
        if not {self._configured, f"{self._configured}:latest"} & names and kind == "ollama":
            return ModelStatus(self._configured, f"{why}, but Ollama does not have it", f"Run: ollama pull {model}")
        return ModelStatus(self._configured, why)

    def _build(self, name: str) -> ChatModel:
        kind, _, model = name.partition(":")
        return self._kinds[kind](model) if kind in self._kinds else self._reader

    async def _look(self, kind: str, *, every: bool = False) -> Offer:
        if kind == "ollama":
            return await offers.of_ollama(self._ollama, self._look_up_seconds, every=every)
        if kind == "openai":
            return await offers.of_openai(self._openai, self._look_up_seconds)
        return await offers.of_anthropic(self._anthropic, self._look_up_seconds)

    async def _auto(self) -> _Outcome:
        """The outcome of the last look-up, or of a new one; questions that come meanwhile share it."""
        loop = asyncio.get_running_loop()
        async with self._looking:
            if self._outcome is None or self._outcome.until <= loop.time():
                before = self._outcome.status if self._outcome else None
                found = await asyncio.gather(*(self._look(kind) for kind in ("ollama", "openai", "anthropic")))
                status = _choose(*found)
                models = tuple(model for offer in found for model in offer.models)
                self._outcome = _Outcome(status, models, loop.time() + self._keep_seconds)
                if status != before:
                    log.info("answers come from %s: %s", status.name, status.why)
            return self._outcome


def _choose(ollama: Offer, *servers: Offer) -> ModelStatus:
    if ollama.models:
        return ModelStatus(ollama.models[0].name, "Ollama is running and changed it last")
    for offer in servers:
        if offer.models:
            return ModelStatus(offer.models[0].name, f"{offer.models[0].description.rstrip('.')}; {ollama.problem}")
    problems = ", and ".join(offer.problem for offer in (ollama, *servers))
    advice = " Or: ".join(offer.advice for offer in (ollama, *servers))
    return ModelStatus(READER, f"{problems}; the built-in reader quotes passages", advice)
