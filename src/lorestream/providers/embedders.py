"""Embedders by name, with the servers that the settings name."""

from __future__ import annotations

from lorestream.errors import StartRefused
from lorestream.providers.base import Embedder
from lorestream.providers.minilm import MiniLM
from lorestream.providers.openai import OPENAI_URL
from lorestream.providers.remote_embedders import OllamaEmbedder, OpenAIEmbedder
from lorestream.providers.upstream import Endpoint
from lorestream.settings import Settings


def build_embedder(settings: Settings, full_name: str) -> Embedder:
    """The embedder of this name. Raises StartRefused where there can be none."""
    kind, _, name = full_name.partition(":")
    if kind == "ollama" and name:
        return OllamaEmbedder(name, Endpoint(settings.ollama_url))
    if kind == "openai" and name and (endpoint := openai_endpoint(settings)):
        return OpenAIEmbedder(name, endpoint)
    if full_name != "minilm":
        raise StartRefused(f"The embedder {full_name!r} cannot be had with these settings.")
    return MiniLM(settings.data_dir / "models")


def openai_endpoint(settings: Settings) -> Endpoint | None:
    """The OpenAI-compatible server that the settings name: OpenAI itself where they hold a key alone."""
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
    url = settings.openai_base_url or (OPENAI_URL if key else None)
    return Endpoint(url, key) if url else None
