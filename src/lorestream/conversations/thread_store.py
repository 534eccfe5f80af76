"""Every statement about conversations and the tree of their messages. Each has the owner in its WHERE clause.

The messages of a conversation are strictly ordered by ``created_at``: every question is stored later than the
conversation's last activity, also where the clock was set back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Row, delete, func, insert, literal, select, text, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.conversations.models import (
    Begun,
    Conversation,
    ConversationRow,
    Message,
    Place,
    Question,
    Rating,
    Repeated,
    Request,
    StoredMessage,
    Turn,
)
from lorestream.db import now
from lorestream.documents import collections_store
from lorestream.documents.collections import no_collection
from lorestream.documents.models import DELETING, DocumentRow
from lorestream.documents.store import owner_word
from lorestream.errors import Conflict, NotFound

DOOR = "conversations"
MAX_MESSAGES = 4000
MAX_CONVERSATIONS = 100_000
# More questions and answers than fit into any prompt.
MAX_PATH = 64
SNIPPET_WORDS = 24
TICK = timedelta(microseconds=1)

SEEN = [getattr(ConversationRow, name) for name in Conversation.__dataclass_fields__ if name != "snippet"]
SHOWN = [getattr(Message, name) for name in StoredMessage.__dataclass_fields__]
# Each word may be in another message.
WITH_WORD = "SELECT conversation_id FROM conversation_texts WHERE conversation_texts MATCH :match_{n}"
SNIPPETS = f"""
SELECT conversation_id, snippet(conversation_texts, 2, '', '', '…', {SNIPPET_WORDS}) FROM conversation_texts
WHERE conversation_texts MATCH :match ORDER BY rank
"""  # noqa: S608 (a number of ours)


class RequestTaken(Exception):
    """Another request with the same client_request_id was stored first."""


async def insert_conversation(
    session: AsyncSession, owner_id: str, title: str, doc_ids: Sequence[str] | None, collection_id: str | None
) -> Conversation:
    """A new conversation. Raises NotFound for a scope that is not the owner's, Conflict when there are too many."""
    await check_scope(session, owner_id, doc_ids, collection_id)
    owned = select(func.count()).select_from(ConversationRow).where(ConversationRow.owner_id == owner_id)
    if (await session.scalar(owned) or 0) >= MAX_CONVERSATIONS:
        raise Conflict(f"You have {MAX_CONVERSATIONS} conversations; delete some first.")
    at = now()
    made = Conversation(uuid4().hex, title, list(doc_ids) if doc_ids is not None else None, at, at, collection_id)
    values = {column.key: getattr(made, column.key) for column in SEEN}
    await session.execute(insert(ConversationRow).values(owner_id=owner_id, **values))
    return made


async def find(session: AsyncSession, owner_id: str, conversation_id: str) -> Conversation:
    """The owner's conversation. Raises NotFound."""
    row = (await session.execute(select(*SEEN).where(*_mine(owner_id, conversation_id)))).one_or_none()
    if row is None:
        raise NotFound("There is no such conversation.")
    return _conversation(row)


async def page_of(
    session: AsyncSession, owner_id: str, words: Sequence[str], limit: int, after: tuple[datetime, str] | None
) -> list[Conversation]:
    """Up to ``limit`` of the owner's conversations that hold all ``words``, the last active first, after ``after``."""
    query = select(*SEEN).where(ConversationRow.owner_id == owner_id)
    if words:
        query = query.where(ConversationRow.conversation_id.in_(_holding(owner_id, words)))
    if after is not None:
        query = query.where(tuple_(ConversationRow.updated_at, ConversationRow.conversation_id) < tuple_(*after))
    newest = (ConversationRow.updated_at.desc(), ConversationRow.conversation_id.desc())
    found = [_conversation(row) for row in await session.execute(query.order_by(*newest).limit(limit))]
    snippets = await _snippets(session, owner_id, words, [one.conversation_id for one in found]) if words else {}
    return [replace(one, snippet=snippets.get(one.conversation_id)) for one in found]


async def messages(session: AsyncSession, owner_id: str, conversation_id: str) -> list[StoredMessage]:
    """Every message of a conversation, of all branches, in the order in which they were stored."""
    rows = await session.execute(
        select(*SHOWN)
        .where(Message.owner_id == owner_id, Message.conversation_id == conversation_id)
        .order_by(Message.created_at, Message.message_id)
    )
    return [_message(row) for row in rows]


async def change(session: AsyncSession, owner_id: str, conversation_id: str, values: dict[str, Any]) -> Conversation:
    """Set ``title``, ``doc_ids``, ``collection_id`` of a conversation. Raises NotFound, for a foreign scope too."""
    await check_scope(session, owner_id, values.get("doc_ids"), values.get("collection_id"))
    if values:
        await session.execute(update(ConversationRow).where(*_mine(owner_id, conversation_id)).values(values))
    return await find(session, owner_id, conversation_id)


async def delete_conversation(session: AsyncSession, owner_id: str, conversation_id: str) -> list[str]:
    """Delete a conversation with its messages and their full text; the runs to stop. Raises NotFound."""
    await find(session, owner_id, conversation_id)
    of_it = (Message.owner_id == owner_id, Message.conversation_id == conversation_id)
    running = (await session.scalars(select(Message.run_id).where(*of_it, Message.status == "running"))).all()
    await session.execute(delete(Message).where(*of_it))
    await session.execute(delete(ConversationRow).where(*_mine(owner_id, conversation_id)))
    return [run_id for run_id in running if run_id]


async def running_of(session: AsyncSession, owner_id: str) -> list[str]:
    """The runs of an owner's answers that are being written."""
    found = select(Message.run_id).where(Message.owner_id == owner_id, Message.status == "running")
    return [run_id for run_id in await session.scalars(found) if run_id]


async def delete_messages(session: AsyncSession, owner_id: str, limit: int) -> int:
    """Delete up to ``limit`` messages of an owner, in conversations or not; how many there were."""
    some = select(Message.message_id).where(Message.owner_id == owner_id).limit(limit)
    gone = delete(Message).where(Message.message_id.in_(some)).returning(Message.message_id)
    return len((await session.execute(gone, execution_options={"synchronize_session": False})).all())


async def delete_conversations(session: AsyncSession, owner_id: str) -> None:
    """Delete every conversation of an owner, and what was asked meanwhile."""
    await session.execute(delete(Message).where(Message.owner_id == owner_id))
    await session.execute(delete(ConversationRow).where(ConversationRow.owner_id == owner_id))


async def owners(session: AsyncSession) -> set[str]:
    """Every owner of a conversation or of a message."""
    found = select(ConversationRow.owner_id).union(select(Message.owner_id))
    return set(await session.scalars(found))


async def page_outside(
    session: AsyncSession, owner_id: str, limit: int, after: tuple[datetime, str] | None
) -> list[StoredMessage]:
    """Up to ``limit`` messages of no conversation, oldest first, later than ``after`` (created_at, message_id)."""
    query = select(*SHOWN).where(Message.owner_id == owner_id, Message.conversation_id.is_(None))
    if after is not None:
        query = query.where(tuple_(Message.created_at, Message.message_id) > tuple_(*after))
    rows = await session.execute(query.order_by(Message.created_at, Message.message_id).limit(limit))
    return [_message(row) for row in rows]


async def rate(
    session: AsyncSession,
    owner_id: str,
    conversation_id: str,
    answer_id: str,
    rating: Rating | None,
    comment: str | None,
) -> StoredMessage:
    """Keep what the owner thinks of an answer. Raises NotFound."""
    answer = (*_in(owner_id, conversation_id), Message.message_id == answer_id, Message.role == "assistant")
    await session.execute(update(Message).where(*answer).values(rating=rating, comment=comment))
    row = (await session.execute(select(*SHOWN).where(*answer))).one_or_none()
    if row is None:
        raise NotFound("There is no such answer.")
    return _message(row)


async def find_request(session: AsyncSession, owner_id: str, client_request_id: str) -> Repeated | None:
    """The answer that a request with this id began, if there was one."""
    names = ("run_id", "message_id", "conversation_id", "request_hash", "status")
    row = (
        await session.execute(
            select(*[getattr(Message, name) for name in names]).where(
                Message.owner_id == owner_id, Message.client_request_id == client_request_id
            )
        )
    ).one_or_none()
    return None if row is None else Repeated(*row)


async def begin_question(
    session: AsyncSession, owner_id: str, place: Place, question: Question, request: Request, title: str
) -> Begun:
    """Store a question and its running answer; ``title`` becomes the conversation's where it has none.

    Raises NotFound for what is not the owner's, Conflict when the conversation is full, RequestTaken.
    """
    conversation = await find(session, owner_id, place.conversation_id)
    await check_scope(session, owner_id, question.doc_ids, question.collection_id)
    parent_id = place.parent_id
    if place.newest:
        parent_id = await _newest_answer(session, owner_id, place.conversation_id)
    history = await _path(session, owner_id, place.conversation_id, parent_id) if parent_id else []
    question_id, at = uuid4().hex, await _next_moment(session, owner_id, conversation)
    await session.execute(
        insert(Message).values(
            message_id=question_id, parent_id=parent_id, role="user", content=question.text, reasoning="",
            status="done", created_at=at, updated_at=at, **_common(owner_id, conversation),
            asked={"k": question.k, "doc_ids": question.doc_ids, "collection_id": question.collection_id},
        )
    )  # fmt: skip
    titled = update(ConversationRow).where(*_mine(owner_id, conversation.conversation_id), ConversationRow.title == "")
    await session.execute(titled.values(title=title))
    return await _begin_answer(session, owner_id, conversation, question, question_id, history, request, at + TICK)


async def begin_again(
    session: AsyncSession, owner_id: str, conversation_id: str, answer_id: str, model: str | None, request: Request
) -> Begun:
    """Store another running answer to the question of ``answer_id``. Raises as ``begin_question`` does."""
    conversation = await find(session, owner_id, conversation_id)
    mine = _in(owner_id, conversation_id)
    of = select(Message.parent_id).where(*mine, Message.message_id == answer_id, Message.role == "assistant")
    row = (
        await session.execute(
            select(Message.message_id, Message.parent_id, Message.content, Message.asked).where(
                *mine, Message.message_id == of.scalar_subquery()
            )
        )
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such answer.")
    question_id, parent_id, content, asked = row
    question = Question(content, asked["k"], asked["doc_ids"], model, asked.get("collection_id"))
    history = await _path(session, owner_id, conversation_id, parent_id) if parent_id else []
    at = await _next_moment(session, owner_id, conversation)
    return await _begin_answer(session, owner_id, conversation, question, question_id, history, request, at)


async def _begin_answer(
    session: AsyncSession,
    owner_id: str,
    conversation: Conversation,
    question: Question,
    question_id: str,
    history: Sequence[Turn],
    request: Request,
    at: datetime,
) -> Begun:
    if question.doc_ids is None and question.collection_id is None:
        question = replace(question, doc_ids=conversation.doc_ids, collection_id=conversation.collection_id)
    if question.collection_id and not await collections_store.exists(session, owner_id, question.collection_id):
        raise NotFound("The collection that is asked in no longer exists; please choose another one.")
    begun = Begun(question, uuid4().hex, question_id, uuid4().hex, conversation.conversation_id, history)
    try:
        await session.execute(
            insert(Message).values(
                message_id=begun.answer_id, parent_id=question_id, role="assistant", content="", reasoning="",
                status="running", run_id=begun.run_id, client_request_id=request.client_request_id,
                request_hash=request.request_hash, created_at=at, updated_at=at, **_common(owner_id, conversation),
            )
        )  # fmt: skip
    except IntegrityError as error:
        raise RequestTaken from error
    active = update(ConversationRow).where(*_mine(owner_id, conversation.conversation_id))
    await session.execute(active.values(updated_at=at))
    return begun


async def _next_moment(session: AsyncSession, owner_id: str, conversation: Conversation) -> datetime:
    count = select(func.count()).select_from(Message).where(*_in(owner_id, conversation.conversation_id))
    if (await session.scalar(count) or 0) >= MAX_MESSAGES:
        raise Conflict("This conversation is full; please begin a new one.")
    return max(now(), conversation.updated_at + TICK)


async def _newest_answer(session: AsyncSession, owner_id: str, conversation_id: str) -> str | None:
    newest = select(Message.message_id).where(*_in(owner_id, conversation_id), Message.role == "assistant")
    found: str | None = await session.scalar(newest.order_by(Message.created_at.desc()).limit(1))
    return found


async def _path(session: AsyncSession, owner_id: str, conversation_id: str, answer_id: str) -> list[Turn]:
    """The turns from the root to an answer, oldest first, at most the last ones. Raises NotFound for no answer."""
    columns = [getattr(Message, name) for name in ("parent_id", "role", "content", "status", "run_id")]
    mine = _in(owner_id, conversation_id)
    start = select(literal(0).label("depth"), *columns).where(
        *mine, Message.message_id == answer_id, Message.role == "assistant"
    )
    path = start.cte("path", recursive=True)
    above = select(path.c.depth + 1, *columns).where(*mine, Message.message_id == path.c.parent_id)
    path = path.union_all(above.where(path.c.depth < 2 * MAX_PATH - 1))
    rows = (await session.execute(select(path).order_by(path.c.depth))).all()
    if not rows:
        raise NotFound("There is no such answer in this conversation.")
    pairs = zip(rows[1::2], rows[::2], strict=True)
    turns = [
        Turn(asked.content, answered.content, answered.run_id if answered.status == "running" else None)
        for asked, answered in pairs
    ]
    return turns[::-1]


async def check_scope(
    session: AsyncSession, owner_id: str, doc_ids: Sequence[str] | None, collection_id: str | None
) -> None:
    """Raise NotFound where one of the documents, or the collection, is not the owner's."""
    if collection_id is not None and not await collections_store.exists(session, owner_id, collection_id):
        raise no_collection()
    if doc_ids is None:
        return
    own = select(func.count()).select_from(DocumentRow).where(
        DocumentRow.owner_id == owner_id, DocumentRow.status != DELETING, DocumentRow.doc_id.in_(doc_ids)
    )  # fmt: skip
    if await session.scalar(own) != len(set(doc_ids)):
        raise NotFound("There is no such document.")


def _holding(owner_id: str, words: Sequence[str]) -> Any:
    found = " INTERSECT ".join(WITH_WORD.format(n=n) for n in range(len(words)))
    values = {f"match_{n}": f"{_owned(owner_id)} AND text : {_quoted(word)}" for n, word in enumerate(words)}
    return text(found).bindparams(**values).columns(ConversationRow.conversation_id).scalar_subquery()


async def _snippets(
    session: AsyncSession, owner_id: str, words: Sequence[str], conversation_ids: Sequence[str]
) -> dict[str, str]:
    if not conversation_ids:
        return {}
    listed = " OR ".join(f'"c{conversation_id}0"' for conversation_id in conversation_ids)
    wanted = " OR ".join(_quoted(word) for word in words)
    match = f"{_owned(owner_id)} AND keys : ({listed}) AND text : ({wanted})"
    best: dict[str, str] = {}
    for conversation_id, snippet in await session.execute(text(SNIPPETS), {"match": match}):
        best.setdefault(conversation_id, snippet)
    return best


def _owned(owner_id: str) -> str:
    return f'keys : "{owner_word(owner_id)}"'


def _quoted(word: str) -> str:
    # The beginning of a word finds it, as people type.
    return '"' + word.replace('"', '""') + '" *'


def _mine(owner_id: str, conversation_id: str) -> tuple[Any, ...]:
    return (ConversationRow.owner_id == owner_id, ConversationRow.conversation_id == conversation_id)


def _in(owner_id: str, conversation_id: str) -> tuple[Any, ...]:
    return (Message.owner_id == owner_id, Message.conversation_id == conversation_id)


def _common(owner_id: str, conversation: Conversation) -> dict[str, Any]:
    return {"owner_id": owner_id, "conversation_id": conversation.conversation_id, "door": DOOR}


def _conversation(row: Row[Any]) -> Conversation:
    values: tuple[Any, ...] = tuple(row)
    return Conversation(*values)


def _message(row: Row[Any]) -> StoredMessage:
    values: tuple[Any, ...] = tuple(row)
    return StoredMessage(*values)
