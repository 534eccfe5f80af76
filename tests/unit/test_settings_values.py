"""Settings: typed, bounded, frozen; unsafe values are refused and secrets never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lorestream.settings import Settings, unknown_variables


def read(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("proxies", ["*", "0.0.0.0/0", "::/0", "10.0.0.1,*"])
def test_trusting_everybody_as_a_proxy_is_refused(proxies: str) -> None:
    with pytest.raises(ValidationError, match="forged client address"):
        read(trusted_proxies=proxies)


def test_proxies_are_addresses_or_networks() -> None:
    assert read(trusted_proxies="127.0.0.1, 10.0.0.0/8,, ::1 ").trusted_proxies == ("127.0.0.1", "10.0.0.0/8", "::1")
    with pytest.raises(ValidationError, match="nginx"):
        read(trusted_proxies="nginx")


@pytest.mark.parametrize(
    "model", ["auto", "reader", "ollama:llama3.2:3b", "langchain:models:chat", "gguf:/my models/tiny.gguf"]
)
def test_models_that_can_be_named(model: str) -> None:
    assert read(model=model).model == model


@pytest.mark.parametrize(
    "model", ["", "gpt-4o", "ollama:", "ollama:a b", "http://x", "anthropic:", "langchain:", "gguf:", "AUTO"]
)
def test_models_that_cannot(model: str) -> None:
    with pytest.raises(ValidationError, match=r"is not auto, reader, ollama:NAME, openai:NAME"):
        read(model=model)


def test_embedders() -> None:
    assert read(embedder="ollama:nomic-embed-text").embedder == "ollama:nomic-embed-text"
    with pytest.raises(ValidationError, match="is not minilm"):
        read(embedder="word2vec")


def test_anthropic_needs_a_key() -> None:
    with pytest.raises(ValidationError, match="needs LORESTREAM_ANTHROPIC_API_KEY"):
        read(model="anthropic:claude-haiku-4-5")
    assert read(model="anthropic:claude-haiku-4-5", anthropic_api_key="sk-canary").anthropic_api_key is not None


@pytest.mark.parametrize("values", [{"model": "openai:gpt-4o"}, {"embedder": "openai:text-embedding-3-small"}])
def test_openai_needs_an_address_or_a_key(values: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="needs LORESTREAM_OPENAI_BASE_URL or LORESTREAM_OPENAI_API_KEY"):
        read(**values)
    assert read(**values, openai_base_url="http://127.0.0.1:8080/v1/").openai_base_url == "http://127.0.0.1:8080/v1"
    assert read(**values, openai_api_key="sk-canary").openai_api_key is not None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:11434",
        "ftp://host",
        "file:///etc/passwd",
        "http://user:canary@host",
        "http://h/?canary=1",
        "http://a b",
    ],
)
def test_addresses_must_be_plain_http_and_are_not_repeated(url: str) -> None:
    with pytest.raises(ValidationError, match="not an http:// or https:// address") as refused:
        read(ollama_url=url)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    "rate", ["30", "0/minute", "30/minutes", "30 / minute", "-1/minute", "1e9/day", "12345678/day"]
)
def test_malformed_rates(rate: str) -> None:
    with pytest.raises(ValidationError, match="is not a rate such as 30/minute"):
        read(query_rate=rate)


def test_every_number_is_bounded_on_both_sides() -> None:
    for name, field in Settings.model_fields.items():
        if field.annotation in (int, float):
            for value in (-1, 10**15, float("nan"), float("inf")):
                with pytest.raises(ValidationError):
                    read(**{name: value})


def test_defaults_are_those_of_the_published_contract() -> None:
    defaults = read()
    assert (defaults.host, defaults.port, defaults.query_rate) == ("127.0.0.1", 8000, "30/minute")
    assert defaults.registration == "open"
    assert defaults.password_min_length <= len("secret123")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        read().port = 1  # type: ignore[misc]


def test_a_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORESTREAM_OPENAI_API_KEY", "sk-canary")
    shown = read()
    assert "canary" not in repr(shown) + str(shown) + str(shown.model_dump())
    monkeypatch.setenv("LORESTREAM_PORT", "a lot")
    with pytest.raises(ValidationError) as refused:
        read()
    assert "canary" not in str(refused.value)
    assert "port" in str(refused.value)


def test_keys_without_our_prefix_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-somebody-elses")
    assert read().openai_api_key is None


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("LORESTREAM_PORT=8001\nLORESTREAM_ALLOWED_HOSTS=a.example, b.example\nPORT=1\n")
    assert (Settings().port, Settings().allowed_hosts) == (8001, ("a.example", "b.example"))
    monkeypatch.setenv("LORESTREAM_PORT", "8002")
    assert Settings().port == 8002


def test_misspelt_names_are_found_in_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("LORESTREAM_PROT=8001\nLORESTREAM_HOST=::1\nOTHER=1\n")
    monkeypatch.setenv("LORESTREAM_TRUSTED_PROXY", "127.0.0.1")
    monkeypatch.setenv("LORESTREAM_PORT", "8002")
    assert unknown_variables() == ["LORESTREAM_PROT", "LORESTREAM_TRUSTED_PROXY"]


def test_the_rate_of_a_user_is_a_number_a_minute() -> None:
    for value in ("600/minute", "0/minute"):
        assert read(user_rate=value).user_rate == value
    for value in ("600", "600/hour", "-1/minute", "\u0663/minute", "1/minute ", "0"):
        with pytest.raises(ValidationError, match="600/minute"):
            read(user_rate=value)
