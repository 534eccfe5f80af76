"""Settings: the only reader of the environment (variables with the prefix LORESTREAM_, or a .env file)."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, NoDecode, SettingsConfigDict

PREFIX = "LORESTREAM_"
MODEL_NAME = re.compile(r"auto|reader|(ollama|openai|anthropic):\S{1,200}|langchain:\S{1,1500}|gguf:\S.{0,1000}")
MODEL_FORMS = (
    "auto, reader, ollama:NAME, openai:NAME, anthropic:NAME, langchain:MODULE:NAME, gguf:PATH or "
    "gguf:hf:OWNER/REPO/FILE"
)
EMBEDDER_NAME = re.compile(r"minilm|(ollama|openai):\S{1,200}")
ORIGIN = re.compile(r"https?://([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
KIB, MIB = 1024, 1024 * 1024


class Settings(BaseSettings):
    """Everything that can be set, typed and bounded; frozen once read."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        extra="ignore",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,  # the input may hold a key
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    data_dir: Path = Field(Path("data"), description="Where the database, uploads, secret key and models are kept.")
    workers: int = Field(1, ge=1, le=32, description="Server processes; more than one needs REDIS_URL.")
    redis_url: SecretStr | None = Field(
        None, description="Redis, through which several servers of one data directory work together."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Host names that requests may name, comma-separated, such as chat.example or *.example; empty "
        "allows all, or only localhost's while HOST is loopback and TRUSTED_PROXIES is empty.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Addresses or networks of proxies whose X-Forwarded-For is believed."
    )

    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins of other sites' pages that may use the API with a token, comma-separated."
    )
    max_connections: int = Field(4000, ge=1, le=100_000, description="Open connections; more are refused with 503.")
    max_connections_per_address: int = Field(
        200, ge=1, le=100_000, description="Open connections of one client address; TRUSTED_PROXIES are exempt."
    )
    header_timeout_seconds: float = Field(10, gt=0, le=600, description="Longest time for the head of a request.")
    body_grace_seconds: float = Field(
        10, gt=0, le=600, description="How long a body may arrive more slowly than BODY_BYTES_PER_SECOND."
    )
    body_bytes_per_second: int = Field(500, ge=1, le=10**9, description="How fast a request's body must arrive.")
    keep_alive_seconds: int = Field(65, ge=1, le=3600, description="How long an idle connection is kept open.")

    registration: Literal["open", "invite", "closed"] = Field(
        "open", description="Who may register: open, invite (with an invitation) or closed; the first user always may."
    )
    password_min_length: int = Field(8, ge=8, le=128, description="Shortest password, in characters.")
    audit_days: int = Field(180, ge=1, le=3650, description="How long the audit log remembers, in days.")
    access_token_seconds: int = Field(600, ge=5, le=3600, description="Life of an access token.")
    refresh_token_seconds: int = Field(30 * 86400, ge=600, le=365 * 86400, description="Life of a login without use.")
    session_max_seconds: int = Field(
        180 * 86400, ge=600, le=730 * 86400, description="Longest life of a login, however much it is used."
    )

    model: str = Field(
        "auto",
        description=f"Language model: {MODEL_FORMS}. auto takes a running Ollama with a model, else OPENAI_BASE_URL or "
        "OPENAI_API_KEY, else ANTHROPIC_API_KEY, else reader.",
    )
    ollama_url: str = Field("http://127.0.0.1:11434", description="Where Ollama listens.")
    openai_base_url: str | None = Field(
        None, description="Any OpenAI-compatible server, such as http://127.0.0.1:8080/v1."
    )
    openai_api_key: SecretStr | None = Field(None, description="The key sent to OPENAI_BASE_URL.")
    anthropic_api_key: SecretStr | None = Field(
        None, description="The key sent to Anthropic, or to ANTHROPIC_BASE_URL."
    )
    anthropic_base_url: str | None = Field(
        None, description="Another server of Anthropic's API, such as http://127.0.0.1:4000 (without /v1)."
    )
    temperature: float = Field(
        0.0, ge=0, le=2, description="Sampling temperature; models of Anthropic and LangChain keep their own."
    )
    max_output_tokens: int = Field(512, ge=1, le=32768, description="Longest answer, in tokens.")
    context_tokens: int = Field(
        8192,
        ge=1024,
        le=1_048_576,
        description="Context window asked of the model and budgeted for.",
    )
    connect_timeout_seconds: float = Field(5, gt=0, le=60, description="To reach the model's server.")
    first_token_timeout_seconds: float = Field(
        60, gt=0, le=3600, description="From the request to the model's first token."
    )
    idle_timeout_seconds: float = Field(30, gt=0, le=3600, description="Longest silence in mid-answer.")
    total_timeout_seconds: float = Field(300, gt=0, le=7200, description="Longest time for an answer.")
    reader_words_per_second: int = Field(
        120,
        ge=0,
        le=100_000,
        description="Pace of the built-in reader's quotations; 0 for no pacing.",
    )

    embedder: str = Field("minilm", description="Embedding model: minilm (built in), ollama:NAME or openai:NAME.")
    chunk_tokens: int = Field(230, ge=32, le=2048, description="Longest passage, in the embedder's tokens.")
    chunk_overlap_tokens: int = Field(
        40, ge=0, le=512, description="How much of a long paragraph's passages repeats the one before."
    )
    reranker: Path | None = Field(
        None, description="Folder of a cross-encoder (ONNX, with its tokenizer.json) that orders the best passages."
    )
    rerank_candidates: int = Field(30, ge=1, le=100, description="Passages that the reranker looks at.")
    dense_weight: float = Field(
        0.5, ge=0, le=1, description="Share of the vectors in a passage's score; the rest is full text's."
    )
    relevance_floor: float = Field(
        0.28, ge=0, le=1, description="Passages less relevant than this are not used (0 uses all)."
    )

    max_upload_bytes: int = Field(64 * MIB, ge=KIB, le=4096 * MIB, description="Largest file that can be uploaded.")
    parse_timeout_seconds: float = Field(120, gt=0, le=3600, description="Longest time to read one file.")
    ocr: Literal["auto", "off"] = Field(
        "auto", description="Text recognition for scanned pages: auto where Tesseract is installed, or off."
    )
    ocr_languages: str = Field(
        "",
        description="Tesseract's languages, such as eng+deu; empty takes all that are installed.",
        pattern=r"^([A-Za-z_]{3,20}(\+[A-Za-z_]{3,20}){0,9})?$",
    )
    ocr_page_seconds: float = Field(30, gt=0, le=600, description="Longest time to recognise one page.")
    max_archive_entries: int = Field(20_000, ge=1, le=1_000_000, description="Files in one ZIP file.")
    parse_memory_bytes: int = Field(
        384 * MIB,
        ge=128 * MIB,
        le=65536 * MIB,
        description="Memory that reading one file may take.",
    )

    model_concurrency: int = Field(
        8, ge=1, le=10_000, description="Answers that a language model writes at once; more wait in a fair line."
    )
    max_queued_runs: int = Field(100, ge=0, le=10_000, description="Answers that wait for one language model.")
    max_runs_per_user: int = Field(6, ge=0, le=10_000, description="Answers of one user at once, waiting ones too.")
    max_streams_per_user: int = Field(6, ge=0, le=10_000, description="Open answer streams of one user.")
    user_rate: str = Field("600/minute", description="Requests of one user in a minute.")
    tokens_per_day: int = Field(
        2_000_000, ge=0, le=10**12, description="Tokens that one user's questions and answers may take in a day (UTC)."
    )
    uploads_per_hour: int = Field(
        20_000, ge=0, le=100_000, description="Uploads of one user in an hour; a ZIP file is one."
    )
    max_stored_bytes_per_user: int = Field(
        5 * 1024 * MIB, ge=0, le=2**49, description="Bytes of one user's documents together."
    )
    max_documents_per_user: int = Field(50_000, ge=0, le=10_000_000, description="Documents of one user.")
    query_rate: str = Field("30/minute", description="Questions per client address at /query and /query/stream, each.")
    disconnect_grace_seconds: float = Field(
        30, ge=0, le=3600, description="How long a resumable answer goes on with nobody reading."
    )
    drain_seconds: float = Field(20, ge=0, le=600, description="Time for running answers at shutdown.")
    heartbeat_seconds: float = Field(10, gt=0, le=10, description="Longest silence of an event stream.")
    write_timeout_seconds: float = Field(
        30, gt=0, le=3600, description="How long a client of an event stream may take nothing before it is cut off."
    )
    log_retention_seconds: float = Field(
        300, ge=0, le=86400, description="How long an ended answer can be resumed event by event."
    )
    log_max_bytes: int = Field(256 * MIB, ge=MIB, le=65536 * MIB, description="Memory for all event logs together.")
    max_answer_bytes: int = Field(MIB, ge=KIB, le=64 * MIB, description="Longest answer, in bytes of UTF-8.")

    @property
    def on_loopback(self) -> bool:
        """Whether the server listens for its own machine alone."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def as_environment(self) -> dict[str, str]:
        """What was set explicitly, as the variables that a child process reads the same settings from."""
        found = {}
        for name in self.model_fields_set:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                value = value.get_secret_value()
            elif isinstance(value, tuple):
                value = ",".join(value)
            if value is not None:
                found[PREFIX + name.upper()] = str(value)
        return found

    @field_validator("allowed_hosts", "trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            if part == "*" or ipaddress.ip_network(part, strict=False).prefixlen == 0:
                raise ValueError(f"{part!r} would believe a forged client address; name the proxies' addresses")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            if not ORIGIN.fullmatch(part):
                raise ValueError(f"{part!r} is not one origin such as https://app.example; * and null are refused")
        return value

    @field_validator("model")
    @classmethod
    def _model(cls, value: str) -> str:
        if not MODEL_NAME.fullmatch(value):
            raise ValueError(f"{value!r} is not {MODEL_FORMS}")
        return value

    @field_validator("embedder")
    @classmethod
    def _embedder(cls, value: str) -> str:
        if not EMBEDDER_NAME.fullmatch(value):
            raise ValueError(f"{value!r} is not minilm, ollama:NAME or openai:NAME")
        return value

    @field_validator("ollama_url", "openai_base_url", "anthropic_base_url")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^\s@/?#]+(/[^\s@?#]*)?", value):
            # Not repeated: it may hold a password.
            raise ValueError("this is not an http:// or https:// address without user or query")
        return value.rstrip("/") if value else value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"(rediss?|unix)://\S+$", value.get_secret_value()):
            raise ValueError("this is not a redis://, rediss:// or unix:// address")
        return value

    @field_validator("query_rate")
    @classmethod
    def _rate(cls, value: str) -> str:
        if not re.fullmatch(r"[1-9]\d{0,6}/(second|minute|hour|day)", value):
            raise ValueError(f"{value!r} is not a rate such as 30/minute")
        return value

    @field_validator("user_rate")
    @classmethod
    def _rate_of_user(cls, value: str) -> str:
        if not re.fullmatch(r"\d{1,7}/minute", value, re.ASCII):
            raise ValueError(f"{value!r} is not a rate such as 600/minute (0/minute for none)")
        return value

    @model_validator(mode="after")
    def _servers_need_an_address(self) -> Settings:
        named = self.model.startswith("openai:") or self.embedder.startswith("openai:")
        if named and not (self.openai_base_url or self.openai_api_key):
            raise ValueError("openai:… needs LORESTREAM_OPENAI_BASE_URL or LORESTREAM_OPENAI_API_KEY")
        if self.model.startswith("anthropic:") and not (self.anthropic_base_url or self.anthropic_api_key):
            raise ValueError("anthropic:… needs LORESTREAM_ANTHROPIC_API_KEY")
        return self


def unknown_variables() -> list[str]:
    """Names in the environment or .env that carry our prefix and mean nothing: misspelt, or of another version."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    given = {name.upper() for name in (*os.environ, *DotEnvSettingsSource(Settings).env_vars)}
    return sorted(name for name in given if name.startswith(PREFIX) and name not in known)


def cache_dir() -> Path:
    """Where ``lorestream ask`` keeps its index between questions (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lorestream" / "ask"


def config_dir() -> Path:
    """Where the command line keeps what it logs in with (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "lorestream"
