"""The tables of conversations, and the values that their stores take and give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from lorestream.db import Base, Utc
from lorestream.streaming.events import MessageStatus

Rating = Literal["up", "down"]


class ConversationRow(Base):
    """A conversation; its title is empty until its first question, what it is bound to null where that is nothing."""

    __tablename__ = "conversations"
    __table_args__ = (Index("ix_conversations_listed", "owner_id", "updated_at", "conversation_id"),)

    conversation_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner_id: Mapped[str] = mapped_column(String(32))
    title: Mapped[str] = mapped_column(String(200))
    doc_ids: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    collection_id: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column(Utc)
    updated_at: Mapped[datetime] = mapped_column(Utc)


class Message(Base):
    """A question (role ``user``) or its answer (role ``assistant``, which alone has a run).

    ``conversation_id`` is null for a question asked outside a conversation. A question's parent is the answer that it
    follows on (null at a root), an answer's is its question; several with one parent are branches.
    """

    __tablename__ = "messages"
    __table_args__ = (
        Index("ix_messages_running", "status", sqlite_where=text("status = 'running'")),
        Index("ix_messages_rated", "owner_id", "created_at", "message_id", sqlite_where=text("rating IS NOT NULL")),
        Index(
            "ix_messages_request",
            "owner_id",
            "client_request_id",
            unique=True,
            sqlite_where=text("client_request_id IS NOT NULL"),
        ),
        Index("ix_messages_chat", "owner_id", "chat_id", "created_at", sqlite_where=text("chat_id IS NOT NULL")),
    )

    message_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner_id: Mapped[str] = mapped_column(String(32), index=True)
    conversation_id: Mapped[str | None] = mapped_column(String(32), index=True)
    parent_id: Mapped[str | None] = mapped_column(String(32))
    role: Mapped[str] = mapped_column(String(9))
    content: Mapped[str] = mapped_column(Text)
    reasoning: Mapped[str] = mapped_column(Text, default="")
    status: Mapped[str] = mapped_column(String(11))
    run_id: Mapped[str | None] = mapped_column(String(32), unique=True)
    door: Mapped[str] = mapped_column(String(32))
    model: Mapped[str | None] = mapped_column(String(256))
    finish_reason: Mapped[str | None] = mapped_column(String(16))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    sources: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON)
    citations: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON)
    usage: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    timings: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    # A question's passages and documents, so that it can be answered again; an answer's request, so that it is not.
    asked: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    client_request_id: Mapped[str | None] = mapped_column(String(128))
    request_hash: Mapped[str | None] = mapped_column(String(64))
    # What a client calls the chat of a question asked outside a conversation, so that it finds its answer again.
    chat_id: Mapped[str | None] = mapped_column(String(128))
    rating: Mapped[str | None] = mapped_column(String(4))
    comment: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Utc)
    updated_at: Mapped[datetime] = mapped_column(Utc)


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier question of the same branch and its answer as far as it was stored; ``running`` is its live run."""

    question: str
    answer: str
    running: str | None = None


@dataclass(frozen=True, slots=True)
class Manner:
    """How a client wants its answer: at most so many tokens (within the server's own limit), how warm (None: as the
    server is set), and ended before the first of the ``stop`` texts.
    """

    max_output_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, over how many passages, of which model, from which documents and collection (None: all).

    Without ``retrieve`` the model answers alone, with no passages. ``history`` and ``instructions`` are what a client
    says came before and how it wants to be answered, ``chat_id`` what it calls the chat, ``run_id`` what its run must
    be called (None: anything new): for questions outside a conversation.
    """

    text: str
    k: int = 4
    doc_ids: Sequence[str] | None = None
    model: str | None = None
    collection_id: str | None = None
    retrieve: bool = True
    history: Sequence[Turn] = ()
    instructions: str = ""
    manner: Manner = Manner()
    chat_id: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """A question that was just stored, its running answer, and the branch before it, oldest first."""

    question: Question
    run_id: str
    question_id: str
    answer_id: str
    conversation_id: str | None = None
    history: Sequence[Turn] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What makes a request the same as an earlier one: its id, unique per owner, and a hash of all it asks for."""

    client_request_id: str | None
    request_hash: str


@dataclass(frozen=True, slots=True)
class Repeated:
    """The answer that an earlier request with the same id began."""

    run_id: str
    message_id: str
    conversation_id: str
    request_hash: str
    status: MessageStatus


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a conversation a question goes: below an answer, at a root (None), or below the newest answer."""

    conversation_id: str
    parent_id: str | None = None
    newest: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as its owner sees it; ``snippet`` only where a search found it."""

    conversation_id: str
    title: str
    doc_ids: list[str] | None
    created_at: datetime
    updated_at: datetime
    collection_id: str | None = None
    snippet: str | None = None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as its owner sees it; the lists and objects are those of the events."""

    message_id: str
    parent_id: str | None
    role: Literal["user", "assistant"]
    content: str
    status: MessageStatus
    error: dict[str, Any] | None
    sources: list[dict[str, Any]] | None
    citations: list[dict[str, Any]] | None
    run_id: str | None
    model: str | None
    finish_reason: str | None
    usage: dict[str, Any] | None
    timings: dict[str, Any] | None
    rating: Rating | None
    comment: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Rated:
    """An answer that its owner has rated, with its question; the lists are those of the events."""

    message_id: str
    conversation_id: str | None
    question: str
    answer: str
    rating: Rating
    comment: str | None
    sources: list[dict[str, Any]]
    citations: list[dict[str, Any]]
    created_at: datetime
