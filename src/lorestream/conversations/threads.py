"""Conversations: what their owner can do with them, and questions in them that are asked at most once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any
from weakref import WeakValueDictionary

from lorestream.conversations import thread_store as store
from lorestream.conversations.answer import Answers, Started
from lorestream.conversations.models import (
    Begun,
    Conversation,
    Place,
    Question,
    Rating,
    Repeated,
    Request,
    StoredMessage,
)
from lorestream.db import Database
from lorestream.errors import Busy, Conflict
from lorestream.streaming.runs import OnDisconnect
from lorestream.text import words

log = logging.getLogger(__name__)

TITLE_CHARACTERS = 60
# Of a search; more narrow nothing down.
MAX_WORDS = 8
MESSAGES_PER_DELETION = 500


def title_of(question: str) -> str:
    """A conversation's title from its first question: its first words, at most TITLE_CHARACTERS."""
    line = " ".join(question.split())
    if len(line) <= TITLE_CHARACTERS:
        return line
    head = line[:TITLE_CHARACTERS]
    at_word = head.rpartition(" ")[0].rstrip(" ,;:.–-")
    return (at_word or head[:-1]) + "…"


class Conversations:
    """The conversations of all owners. Every call names the owner, and raises NotFound for what is not theirs."""

    def __init__(self, db: Database, answers: Answers) -> None:
        """Use this database, and ask through these answers; no I/O."""
        self._db = db
        self._answers = answers
        # One for each request in progress: the same request waits here, and then finds what the first one stored.
        self._asking: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def create(
        self, owner_id: str, title: str, doc_ids: Sequence[str] | None, collection_id: str | None = None
    ) -> Conversation:
        """A new conversation; without a title it gets one from its first question."""
        async with self._db.write() as session:
            return await store.insert_conversation(session, owner_id, title, doc_ids, collection_id)

    async def page(
        self, owner_id: str, search: str, limit: int, after: tuple[datetime, str] | None
    ) -> list[Conversation]:
        """Up to ``limit`` conversations (with all words of ``search``), the last active first, after ``after``."""
        wanted = list(dict.fromkeys(words(search)))[:MAX_WORDS]
        if search.strip() and not wanted:
            return []
        async with self._db.read() as session:
            return await store.page_of(session, owner_id, wanted, limit, after)

    async def get(self, owner_id: str, conversation_id: str) -> tuple[Conversation, list[StoredMessage]]:
        """A conversation and all its messages, in the order in which they were stored."""
        async with self._db.read() as session:
            conversation = await store.find(session, owner_id, conversation_id)
            return conversation, await store.messages(session, owner_id, conversation_id)

    async def change(self, owner_id: str, conversation_id: str, values: dict[str, Any]) -> Conversation:
        """Set any of ``title``, ``doc_ids`` and ``collection_id``."""
        async with self._db.write() as session:
            return await store.change(session, owner_id, conversation_id, values)

    async def check_scope(self, owner_id: str, doc_ids: Sequence[str] | None, collection_id: str | None) -> None:
        """For questions outside a conversation: raise NotFound where one of these is not the owner's."""
        async with self._db.read() as session:
            await store.check_scope(session, owner_id, doc_ids, collection_id)

    async def delete(self, owner_id: str, conversation_id: str) -> None:
        """Delete a conversation with all its messages, and stop its running answers."""
        async with self._db.write() as session:
            running = await store.delete_conversation(session, owner_id, conversation_id)
        await self._stop(running)

    async def _stop(self, running: Sequence[str]) -> None:
        for run_id in running:
            try:
                await self._answers.runs.stop(run_id)
            except Busy:
                log.warning("run %s whose question is deleted could not be stopped; it ends unread", run_id)

    async def delete_all(self, owner_id: str) -> None:
        """Stop an owner's answers and delete everything they asked, for the deletion of an account.

        Piece by piece, so that nobody waits for it; can be cut off anywhere and begun again.
        """
        async with self._db.read() as session:
            running = await store.running_of(session, owner_id)
        await self._stop(running)
        removed = MESSAGES_PER_DELETION
        while removed == MESSAGES_PER_DELETION:
            async with self._db.write() as session:
                removed = await store.delete_messages(session, owner_id, MESSAGES_PER_DELETION)
        async with self._db.write() as session:
            await store.delete_conversations(session, owner_id)

    async def owners(self) -> set[str]:
        """Everybody who has asked something or has a conversation."""
        async with self._db.read() as session:
            return await store.owners(session)

    async def asked_outside(self, owner_id: str, limit: int, after: tuple[datetime, str] | None) -> list[StoredMessage]:
        """Up to ``limit`` questions and answers of no conversation, oldest first, later than ``after``."""
        async with self._db.read() as session:
            return await store.page_outside(session, owner_id, limit, after)

    async def rate(
        self, owner_id: str, conversation_id: str, answer_id: str, rating: Rating | None, comment: str | None
    ) -> StoredMessage:
        """Keep what the owner thinks of an answer; None takes it back."""
        async with self._db.write() as session:
            return await store.rate(session, owner_id, conversation_id, answer_id, rating, comment)

    async def ask(
        self, owner_id: str, place: Place, question: Question, request: Request, on_disconnect: OnDisconnect
    ) -> Started:
        """Store a question and begin its answer; a repeated request gives the answer that the first one began.

        Raises Conflict for a request id that was used for something else, or whose answer's events are gone.
        """

        async def begin() -> Begun:
            async with self._db.write() as session:
                return await store.begin_question(session, owner_id, place, question, request, title_of(question.text))

        return await self._once(owner_id, question.model, begin, request, on_disconnect)

    async def regenerate(
        self,
        owner_id: str,
        conversation_id: str,
        answer_id: str,
        model: str | None,
        request: Request,
        on_disconnect: OnDisconnect,
    ) -> Started:
        """Begin another answer beside ``answer_id``, to the same question; raises as ``ask`` does."""

        async def begin() -> Begun:
            async with self._db.write() as session:
                return await store.begin_again(session, owner_id, conversation_id, answer_id, model, request)

        return await self._once(owner_id, model, begin, request, on_disconnect)

    async def _once(
        self,
        owner_id: str,
        model: str | None,
        begin: Callable[[], Awaitable[Begun]],
        request: Request,
        on_disconnect: OnDisconnect,
    ) -> Started:
        async def launch() -> Started:
            return await self._answers.launch(owner_id, model, begin, on_disconnect=on_disconnect, narrate=True)

        if request.client_request_id is None:
            return await launch()
        lock = self._asking.setdefault((owner_id, request.client_request_id), asyncio.Lock())
        async with lock:
            if first := await self._find(owner_id, request.client_request_id):
                return await self._again(first, request)
            try:
                return await launch()
            except store.RequestTaken:  # by another process, between the look and the insert
                first = await self._find(owner_id, request.client_request_id)
                if first is None:
                    raise Conflict("The same request was just taken back; please try again.") from None
                return await self._again(first, request)

    async def _find(self, owner_id: str, client_request_id: str) -> Repeated | None:
        async with self._db.read() as session:
            return await store.find_request(session, owner_id, client_request_id)

    async def _again(self, first: Repeated, request: Request) -> Started:
        """A reader of the first request's answer from its start."""
        if first.request_hash != request.request_hash:
            raise Conflict("This client_request_id was used for another request.")
        running = first.status == "running"
        if joined := await self._answers.join(first.run_id, first.message_id, running=running):
            return joined
        raise Conflict(
            "This request was answered already, and its events are no longer kept; its message is.",
            fields={"message_id": first.message_id, "conversation_id": first.conversation_id, "run_id": first.run_id},
        )
