"""The messages in the database: every query names its owner, every end of a run is a compare-and-set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import Select, bindparam, select, update

from lorestream.accounts import quotas_store
from lorestream.conversations.models import Begun, Message, Question
from lorestream.conversations.prompt import estimated_tokens
from lorestream.db import Database, now
from lorestream.errors import Interrupted, NotFound
from lorestream.streaming.events import Done, Error, Fold, MessageStatus, Terminal, error_event


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run as it is stored: its question and the answer as far as it is saved."""

    question: str
    run_id: str
    message_id: str
    conversation_id: str | None
    status: MessageStatus
    content: str
    sources: list[dict[str, Any]]
    citations: list[dict[str, Any]]
    error: dict[str, Any] | None
    model: str | None
    finish_reason: str | None
    usage: dict[str, Any] | None
    timings: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime


_CHECKPOINT = (
    update(Message)
    .where(Message.run_id == bindparam("of_run"), Message.status == "running")
    .values({name: bindparam(name) for name in ("content", "reasoning", "sources", "updated_at")})
)


class StillWritten(Exception):
    """The same request's answer is being written already."""

    def __init__(self, run_id: str, message_id: str) -> None:
        """Name that answer."""
        super().__init__(run_id)
        self.run_id = run_id
        self.message_id = message_id


class MessageStore:
    """Questions and answers."""

    def __init__(self, db: Database) -> None:
        """Use this database."""
        self._db = db

    async def begin(self, owner_id: str, question: Question, door: str, request_hash: str | None = None) -> Begun:
        """Store a question asked outside a conversation and its running answer, in one transaction.

        Raises StillWritten where an answer to a request with the same hash is running in the same chat.
        """
        run_id = question.run_id or uuid4().hex
        begun = Begun(question, run_id, uuid4().hex, uuid4().hex, history=question.history)
        at = now()
        common: dict[str, Any] = {
            "owner_id": owner_id,
            "door": door,
            "chat_id": question.chat_id,
            "created_at": at,
            "updated_at": at,
        }
        async with self._db.write() as session:
            if request_hash:
                same = _running_in(owner_id, question.chat_id).where(Message.request_hash == request_hash)
                if first := (await session.execute(same)).first():
                    raise StillWritten(first.run_id or "", first.message_id)
            session.add(
                Message(message_id=begun.question_id, role="user", content=question.text, status="done", **common)
            )
            session.add(
                Message(
                    message_id=begun.answer_id,
                    parent_id=begun.question_id,
                    role="assistant",
                    content="",
                    status="running",
                    run_id=begun.run_id,
                    request_hash=request_hash,
                    **common,
                )
            )
        return begun

    async def finish(
        self, owner_id: str, run_id: str, fold: Fold, status: MessageStatus, terminal: Terminal, *, tokens: int
    ) -> bool:
        """Save an ended answer and count its ``tokens``; False when the run had been ended already, which stands.

        An answer that was deleted meanwhile has nothing to save, and has not been ended by anyone else.
        """
        values = {**_content(fold), "status": status, **_ending(terminal)}
        async with self._db.write() as session:
            result = await session.execute(
                update(Message).where(Message.run_id == run_id, Message.status == "running").values(values)
            )
            saved = bool(result.rowcount)  # type: ignore[attr-defined]
            if not saved and await session.scalar(select(Message.run_id).where(Message.run_id == run_id)):
                return False
            await quotas_store.add_tokens(session, owner_id, now().date(), tokens)
        return True

    async def checkpoint(self, folds: Iterable[tuple[str, Fold]]) -> None:
        """Save what running answers hold so far, all in one transaction and one statement."""
        saved = [{"of_run": run_id, **_content(fold)} for run_id, fold in folds]
        async with self._db.write() as session:
            await (await session.connection()).execute(_CHECKPOINT, saved)

    async def snapshot(self, owner_id: str, run_id: str) -> Snapshot:
        """A run of this owner; NotFound for an unknown run and for another owner's alike."""
        async with self._db.read() as session:
            answer = await session.scalar(select(Message).where(Message.run_id == run_id, Message.owner_id == owner_id))
            if answer is None:
                raise NotFound("There is no such answer.")
            question = await session.scalar(
                select(Message.content).where(Message.message_id == answer.parent_id, Message.owner_id == owner_id)
            )
        names = [field.name for field in fields(Snapshot) if field.name != "question"]
        stored = {name: getattr(answer, name) for name in names}
        for name in ("sources", "citations"):
            stored[name] = stored[name] or []
        return Snapshot(question=question or "", **stored)

    async def running_in_chat(self, owner_id: str, chat_id: str) -> list[tuple[str, str]]:
        """The answers of a client's chat that are being written, the newest first: run_id and message_id of each."""
        async with self._db.read() as session:
            found = await session.execute(_running_in(owner_id, chat_id))
            return [(run_id, message_id) for run_id, message_id in found if run_id]

    async def running(self) -> list[str]:
        """The runs whose answers are being written, by whichever process."""
        async with self._db.read() as session:
            found = await session.scalars(select(Message.run_id).where(Message.status == "running"))
            return [run_id for run_id in found if run_id]

    async def interrupt(self, run_id: str) -> Terminal | None:
        """End one running answer as interrupted, its prefix kept; its terminal event, or None where it had ended."""
        failure = Interrupted()
        error = {"code": failure.code, "message": failure.message, "retryable": failure.retryable}
        async with self._db.write() as session:
            ended = (
                await session.execute(
                    update(Message)
                    .where(Message.run_id == run_id, Message.status == "running")
                    .values(status=failure.message_status, error=error, updated_at=now())
                    .returning(
                        Message.message_id,
                        Message.conversation_id,
                        Message.owner_id,
                        Message.content,
                        Message.reasoning,
                    )
                )
            ).one_or_none()
            if ended:
                tokens = estimated_tokens(ended.content, ended.reasoning)
                await quotas_store.add_tokens(session, ended.owner_id, now().date(), tokens)
        return error_event(failure, ended.message_id, ended.conversation_id) if ended else None

    async def interrupt_running(self) -> int:
        """End every running answer as interrupted, its prefix kept; how many there were.

        Call it only where no other process can be writing answers (the data directory is locked).
        """
        return sum([await self.interrupt(run_id) is not None for run_id in await self.running()])


def _running_in(owner_id: str, chat_id: str | None) -> Select[str | None, str]:
    of_it = (Message.owner_id == owner_id, Message.chat_id == chat_id, Message.status == "running")
    return select(Message.run_id, Message.message_id).where(*of_it).order_by(Message.created_at.desc())


def _content(fold: Fold) -> dict[str, Any]:
    return {
        "content": fold.answer,
        "reasoning": fold.reasoning,
        "sources": msgspec.to_builtins(fold.sources),
        "updated_at": now(),
    }


def _ending(terminal: Terminal) -> dict[str, Any]:
    match terminal:
        case Done():
            kept = ("model", "finish_reason", "usage", "timings", "citations")
            return {name: msgspec.to_builtins(getattr(terminal, name)) for name in kept}
        case Error():
            error = {"code": terminal.code, "message": terminal.message, "retryable": terminal.retryable}
            return {"error": error}
