"""What a server's answers are made of, as plain values; events and their parts are those of ``streaming.events``."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from lorestream.streaming.events import (
    Citation,
    Done,
    Error,
    FinishReason,
    MessageStatus,
    Source,
    Terminal,
    Timings,
    Usage,
)


class Result(msgspec.Struct, frozen=True):
    """A whole answer. ``text`` is its tokens, ``reasoning`` what the model showed of its thinking."""

    text: str
    sources: list[Source]
    citations: list[Citation]
    uncited: bool
    model: str
    finish_reason: FinishReason
    usage: Usage | None
    timings: Timings
    reasoning: str
    run_id: str
    conversation_id: str | None
    message_id: str


class Failure(msgspec.Struct, frozen=True):
    """Why a document failed."""

    code: str
    message: str


class Document(msgspec.Struct, frozen=True):
    """A document; ``progress`` from 0 to 1, ``chunks`` its passages (so far), ``error`` only where it failed."""

    doc_id: str
    filename: str
    title: str
    media_type: str
    bytes: int
    pages: int | None
    chunks: int
    status: Literal["queued", "processing", "ready", "failed", "cancelled"]
    progress: float
    error: Failure | None
    created_at: datetime
    stage: str | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.status not in ("queued", "processing")


class Ranks(msgspec.Struct, frozen=True):
    """A passage's place (from 1) in each search, None where it has none."""

    dense: int | None
    lexical: int | None
    rerank: int | None = None


class Passage(msgspec.Struct, frozen=True):
    """One passage found, whole; ``start`` and ``end`` are offsets in its document's text, ``distance`` 1 − cosine."""

    doc_id: str
    chunk_index: int
    title: str
    filename: str
    text: str
    heading: str
    page: int | None
    start: int
    end: int
    distance: float
    score: float
    ranks: Ranks


class Collection(msgspec.Struct, frozen=True):
    """A named set of documents, and how many are in it."""

    collection_id: str
    name: str
    documents: int


class Stored(msgspec.Struct, frozen=True):
    """A run as the server keeps it, at most a second behind a live one."""

    run_id: str
    message_id: str
    status: MessageStatus
    content: str
    sources: list[Source]
    citations: list[Citation]
    error: dict[str, Any] | None
    model: str | None
    finish_reason: FinishReason | None
    usage: Usage | None
    timings: Timings | None
    conversation_id: str | None = None

    @property
    def terminal(self) -> Terminal | None:
        """How it ended, as the event that told of it; None while it is written."""
        if self.status == "running":
            return None
        if self.error or self.finish_reason is None or self.timings is None:
            told = self.error or {}
            return Error(
                told.get("message", "The answer could not be completed."),
                told.get("code", "internal"),
                told.get("retryable") is True,
                self.message_id,
                conversation_id=self.conversation_id or msgspec.UNSET,
            )
        cited_nothing = bool(self.sources) and not self.citations
        return Done(
            self.model or "none", self.finish_reason, self.usage, self.timings, self.citations, cited_nothing,
            self.conversation_id, self.message_id,
        )  # fmt: skip


class Page(msgspec.Struct, frozen=True):
    """A page of documents."""

    items: list[Document]
    next_cursor: str | None


class Found(msgspec.Struct, frozen=True):
    """What a search found, best first."""

    items: list[Passage]


class Collections(msgspec.Struct, frozen=True):
    """All collections of an account."""

    items: list[Collection]


class Made(msgspec.Struct, frozen=True):
    """A conversation that was made."""

    conversation_id: str


class Stopping(msgspec.Struct, frozen=True):
    """Whether a live run took the wish to stop."""

    run_id: str
    stopping: bool


class Profile(msgspec.Struct, frozen=True):
    """The caller's own account."""

    user_id: str
    email: str


class AccessToken(msgspec.Struct, frozen=True):
    """What a login gives; ``expires_in`` in seconds."""

    access_token: str
    expires_in: int
