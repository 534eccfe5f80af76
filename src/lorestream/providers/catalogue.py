"""Which language model answers: what the settings name, or, with ``auto``, what is there.

``auto`` takes a running Ollama with a chat model, else the configured OpenAI-compatible server, else ``reader``. It
uses nothing that LORESTREAM_ settings do not name, and it leaves out models that Ollama itself would send to a cloud.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from lorestream.errors import InvalidInput, RunFailed
from lorestream.providers.base import ChatModel, Embedder, ModelInfo
from lorestream.providers.ollama import OllamaModel
from lorestream.providers.openai import OPENAI_HOST, OPENAI_URL, OpenAIModel
from lorestream.providers.reader import NAME as READER
from lorestream.providers.reader import Reader
from lorestream.providers.upstream import Endpoint, request_json
from lorestream.settings import Settings

log = logging.getLogger(__name__)

LOOK_UP_SECONDS = 1.0  # a question may wait this long for a look-up
KEEP_SECONDS = 30.0  # how long the outcome of ``auto`` holds
NOT_CHAT = ("embed", "bert", "minilm", "bge-", "e5-", "gte-", "rerank", "whisper", "tts", "dall-e", "moderation")
OPENAI_CHOICES = ("gpt-4o-mini", "gpt-4.1-mini", "gpt-4o")  # small, quick, without hidden reasoning


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Which model answers, for people: its name, why it is that one, and what to do about what is missing."""

    name: str
    why: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class _LookUp:
    """What a server offers (the best first), or in ``problem`` why that is not known."""

    models: tuple[ModelInfo, ...] = ()
    problem: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class _Outcome:
    status: ModelStatus
    models: tuple[ModelInfo, ...]
    until: float


class _OllamaDetails(msgspec.Struct):
    family: str = ""
    parameter_size: str = ""


class _OllamaTag(msgspec.Struct):
    name: str
    modified_at: str = ""
    remote_host: str | None = None
    details: _OllamaDetails | None = None


class _OllamaTags(msgspec.Struct):
    models: list[_OllamaTag] | None = None


class _OpenAIEntry(msgspec.Struct):
    id: str


class _OpenAIList(msgspec.Struct):
    data: list[_OpenAIEntry]


def openai_endpoint(settings: Settings) -> Endpoint | None:
    """The OpenAI-compatible server that the settings name: OpenAI itself where they hold a key alone."""
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
    url = settings.openai_base_url or (OPENAI_URL if key else None)
    return Endpoint(url, key) if url else None


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
        self._configured = settings.model
        self._look_up_seconds, self._keep_seconds = look_up_seconds, keep_seconds
        self._reader = Reader(embedder, settings.reader_words_per_second)
        self._ollama = Endpoint(settings.ollama_url)
        self._openai = openai_endpoint(settings)
        self._outcome: _Outcome | None = None
        self._looking = asyncio.Lock()

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
        kind, _, model = self._configured.partition(":")
        found = await (self._look_at_ollama(every=True) if kind == "ollama" else self._look_at_openai())
        names = {info.name for info in found.models}
        if found.problem:
            return ModelStatus(self._configured, f"{why}, but {found.problem}", found.advice)
        if not {self._configured, f"{self._configured}:latest"} & names and kind == "ollama":
            return ModelStatus(self._configured, f"{why}, but Ollama does not have it", f"Run: ollama pull {model}")
        return ModelStatus(self._configured, why)

    def _build(self, name: str) -> ChatModel:
        kind, _, model = name.partition(":")
        if kind == "ollama":
            return OllamaModel(model, self._ollama)
        if kind == "openai" and self._openai:
            return OpenAIModel(model, self._openai)
        return self._reader

    async def _auto(self) -> _Outcome:
        """The outcome of the last look-up, or of a new one; questions that come meanwhile share it."""
        loop = asyncio.get_running_loop()
        async with self._looking:
            if self._outcome is None or self._outcome.until <= loop.time():
                before = self._outcome.status if self._outcome else None
                ollama, openai = await asyncio.gather(self._look_at_ollama(), self._look_at_openai())
                status = _choose(ollama, openai)
                self._outcome = _Outcome(status, ollama.models + openai.models, loop.time() + self._keep_seconds)
                if status != before:
                    log.info("answers come from %s: %s", status.name, status.why)
            return self._outcome

    async def _look_at_ollama(self, *, every: bool = False) -> _LookUp:
        where = self._ollama.base_url
        try:
            tags = await request_json(
                self._ollama, "GET", "/api/tags", _OllamaTags, seconds=self._look_up_seconds, probe=True
            )
        except RunFailed as failure:
            return _LookUp(
                problem=f"Ollama does not answer at {where} ({failure.code})",
                advice="Start Ollama (https://ollama.com), or set LORESTREAM_OLLAMA_URL.",
            )
        usable = [tag for tag in tags.models or () if every or _is_local_chat(tag)]
        if not usable:
            return _LookUp(problem=f"Ollama at {where} has no chat model", advice="Run: ollama pull llama3.2")
        usable.sort(key=_modified, reverse=True)
        return _LookUp(tuple(_ollama_info(tag, where) for tag in usable))

    async def _look_at_openai(self) -> _LookUp:
        if self._openai is None:
            return _LookUp(problem="no OpenAI-compatible server is set", advice="Set LORESTREAM_OPENAI_BASE_URL.")
        where = self._openai.base_url
        official = self._openai.host == OPENAI_HOST
        try:
            listed = await request_json(
                self._openai, "GET", "/models", _OpenAIList, seconds=self._look_up_seconds, probe=True
            )
            names = [entry.id for entry in listed.data if not any(part in entry.id.lower() for part in NOT_CHAT)]
        except RunFailed as failure:
            if not official:
                advice = "Start that server, or name the model: LORESTREAM_MODEL=openai:NAME."
                return _LookUp(problem=f"{where} does not list its models ({failure.code})", advice=advice)
            names = []
        if official:
            names = [next((name for name in OPENAI_CHOICES if name in names), OPENAI_CHOICES[0])]
        if not names:
            return _LookUp(problem=f"{where} has no chat model", advice="Load a chat model there.")
        return _LookUp(tuple(ModelInfo(f"openai:{name}", f"At {where}.") for name in names))


def _choose(ollama: _LookUp, openai: _LookUp) -> ModelStatus:
    if ollama.models:
        return ModelStatus(ollama.models[0].name, "Ollama is running and changed it last")
    if openai.models:
        return ModelStatus(openai.models[0].name, f"{openai.models[0].description.rstrip('.')}; {ollama.problem}")
    return ModelStatus(
        READER,
        f"{ollama.problem}, and {openai.problem}; the built-in reader quotes passages",
        f"{ollama.advice} Or: {openai.advice}",
    )


def _is_local_chat(tag: _OllamaTag) -> bool:
    family = tag.details.family if tag.details else ""
    text = f"{tag.name} {family}".lower()
    in_cloud = bool(tag.remote_host) or tag.name.endswith(("-cloud", ":cloud"))
    return not in_cloud and not any(part in text for part in NOT_CHAT)


def _modified(tag: _OllamaTag) -> datetime:
    try:
        moment = datetime.fromisoformat(tag.modified_at)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _ollama_info(tag: _OllamaTag, where: str) -> ModelInfo:
    details = tag.details or _OllamaDetails()
    shown = {"family": details.family, "parameters": details.parameter_size}
    return ModelInfo(f"ollama:{tag.name}", f"Ollama at {where}.", {key: value for key, value in shown.items() if value})
