"""What the servers of language models offer: looked up in a moment, for ``auto`` and for people; never fails."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from lorestream.errors import RunFailed
from lorestream.providers.base import ModelInfo
from lorestream.providers.openai import OPENAI_HOST
from lorestream.providers.upstream import Endpoint, request_json

NOT_CHAT = ("embed", "bert", "minilm", "bge-", "e5-", "gte-", "rerank", "whisper", "tts", "dall-e", "moderation")
OPENAI_CHOICES = ("gpt-4o-mini", "gpt-4.1-mini", "gpt-4o")  # small, quick, without hidden reasoning
ANTHROPIC_CHOICE = "claude-haiku-4-5"  # where the list cannot be had; else the newest of this family
ANTHROPIC_FAMILY = "haiku"  # the small and quick ones


@dataclass(frozen=True, slots=True)
class Offer:
    """What a server offers (the best first), or in ``problem`` why that is not known, and what to do about it."""

    models: tuple[ModelInfo, ...] = ()
    problem: str = ""
    advice: str = ""


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


class _Entry(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Entry]


async def of_ollama(endpoint: Endpoint, seconds: float, *, every: bool = False) -> Offer:
    """Ollama's models, the last changed first; without ``every`` no embedders, and none that it sends to a cloud."""
    where = endpoint.base_url
    try:
        tags = await request_json(endpoint, "GET", "/api/tags", _OllamaTags, seconds=seconds, probe=True)
    except RunFailed as failure:
        return Offer(
            problem=f"Ollama does not answer at {where} ({failure.code})",
            advice="Start Ollama (https://ollama.com), or set LORESTREAM_OLLAMA_URL.",
        )
    usable = [tag for tag in tags.models or () if every or _is_local_chat(tag)]
    if not usable:
        return Offer(problem=f"Ollama at {where} has no chat model", advice="Run: ollama pull llama3.2")
    usable.sort(key=_modified, reverse=True)
    return Offer(tuple(_ollama_info(tag, where) for tag in usable))


async def of_openai(endpoint: Endpoint | None, seconds: float) -> Offer:
    """The chat models of an OpenAI-compatible server; of OpenAI itself, one that is small and quick."""
    if endpoint is None:
        return Offer(problem="no OpenAI-compatible server is set", advice="Set LORESTREAM_OPENAI_BASE_URL.")
    where = endpoint.base_url
    official = endpoint.host == OPENAI_HOST
    try:
        listed = await request_json(endpoint, "GET", "/models", _List, seconds=seconds, probe=True)
        names = [entry.id for entry in listed.data if not any(part in entry.id.lower() for part in NOT_CHAT)]
    except RunFailed as failure:
        if not official:
            advice = "Start that server, or name the model: LORESTREAM_MODEL=openai:NAME."
            return Offer(problem=f"{where} does not list its models ({failure.code})", advice=advice)
        names = []
    if official:
        names = [next((name for name in OPENAI_CHOICES if name in names), OPENAI_CHOICES[0])]
    if not names:
        return Offer(problem=f"{where} has no chat model", advice="Load a chat model there.")
    return Offer(tuple(ModelInfo(f"openai:{name}", f"At {where}.") for name in names))


async def of_anthropic(endpoint: Endpoint | None, seconds: float) -> Offer:
    """One Claude model, the newest that is small and quick; the list of Anthropic is newest first."""
    if endpoint is None:
        return Offer(problem="no key of Anthropic is set", advice="Set LORESTREAM_ANTHROPIC_API_KEY.")
    names: list[str] = []
    try:
        listed = await request_json(endpoint, "GET", "/v1/models?limit=100", _List, seconds=seconds, probe=True)
        names = [entry.id for entry in listed.data]
    except RunFailed as failure:
        if failure.code == "model_auth":
            return Offer(problem=f"{endpoint.base_url} refuses the key", advice=failure.message)
    name = next((name for name in names if ANTHROPIC_FAMILY in name), ANTHROPIC_CHOICE)
    return Offer((ModelInfo(f"anthropic:{name}", f"At {endpoint.base_url}."),))


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
