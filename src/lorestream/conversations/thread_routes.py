"""HTTP for conversations: list, search, rename, delete, export; ask in them, regenerate, rate."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Path, Query, Response
from pydantic import AfterValidator, BaseModel, Field, model_validator

from lorestream.accounts.caller import Asks, AskStream, Reads
from lorestream.conversations import citations, export
from lorestream.conversations.models import Conversation, Place, Question, Rating, Request, StoredMessage
from lorestream.conversations.routes import SettingsDep, event_stream
from lorestream.conversations.threads import Conversations
from lorestream.description import problems
from lorestream.http import Body, decode_cursor, from_state, not_blank, one_line, page_of
from lorestream.streaming.events import MessageStatus
from lorestream.streaming.runs import OnDisconnect

router = APIRouter(prefix="/conversations", tags=["conversations"])

ConversationsDep = Annotated[Conversations, from_state("conversations")]
# Anything that is not an id of ours is answered like one that does not exist.
Id = Annotated[str, Path(max_length=64)]
STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}, **problems(409)}
EXPORT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/markdown": {}, "application/json": {}}}}


QuestionText = Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(not_blank)]
Title = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(one_line)]
DocIds = Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(min_length=1, max_length=200)]
CollectionId = Annotated[str, Field(min_length=1, max_length=64)]
ModelName = Annotated[str, Field(min_length=1, max_length=256)]
ClientRequestId = Annotated[str, Field(min_length=1, max_length=128)]


class NewConversation(Body):
    """The body of ``POST /conversations/``; without a title it gets one from its first question."""

    title: Title | None = None
    doc_ids: DocIds | None = None
    collection_id: CollectionId | None = None


class ConversationChange(Body):
    """The body of ``PATCH /conversations/{id}``: what is given is set; null unbinds from documents or collection."""

    title: Title | None = None
    doc_ids: DocIds | None = None
    collection_id: CollectionId | None = None

    @model_validator(mode="after")
    def _title_is_text(self) -> Self:
        if "title" in self.model_fields_set and self.title is None:
            raise ValueError("title cannot be null")
        return self


class Regeneration(Body):
    """The body of a regeneration, which may be left out."""

    model: ModelName | None = None
    client_request_id: ClientRequestId | None = None
    on_disconnect: OnDisconnect = "continue"


class Asking(Regeneration):
    """The body of a question.

    ``parent_id`` names the answer that it follows on; null begins a new branch at the root; left out, the question
    goes below the newest answer. To edit a question, ask again with the parent of the edited one.
    ``doc_ids`` and ``collection_id`` narrow what is searched, together to what is in both; left out, it is what the
    conversation is bound to.
    """

    question: QuestionText
    k: Annotated[int, Field(ge=1, le=10)] = 4
    doc_ids: DocIds | None = None
    collection_id: CollectionId | None = None
    parent_id: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class Rated(Body):
    """The body of feedback; null takes it back."""

    rating: Rating | None
    comment: Annotated[str, Field(max_length=4000)] | None = None


class ConversationView(BaseModel):
    """A conversation; ``snippet`` is a place of it that a search found."""

    conversation_id: str
    title: str
    doc_ids: list[str] | None
    collection_id: str | None
    created_at: datetime
    updated_at: datetime
    snippet: str | None = None


class ConversationList(BaseModel):
    """A page of conversations, the last active first."""

    items: list[ConversationView]
    next_cursor: str | None


class FeedbackView(BaseModel):
    """What the owner thinks of an answer."""

    rating: Rating | None
    comment: str | None


class MessageView(BaseModel):
    """A message; the lists and objects are those of the events. A running answer can be followed by its run_id."""

    message_id: str
    parent_id: str | None
    role: Literal["user", "assistant"]
    content: str
    status: MessageStatus
    error: dict[str, Any] | None
    sources: list[dict[str, Any]]
    citations: list[dict[str, Any]]
    uncited: bool
    run_id: str | None
    model: str | None
    finish_reason: str | None
    usage: dict[str, Any] | None
    timings: dict[str, Any] | None
    feedback: FeedbackView | None
    created_at: datetime


class WholeConversation(ConversationView):
    """A conversation with the messages of all its branches, in the order in which they were stored."""

    messages: list[MessageView]


@router.post("/", status_code=201, responses=problems(404, 409))
async def create(
    user: Asks, conversations: ConversationsDep, response: Response, body: NewConversation
) -> ConversationView:
    """Begin a conversation, bound to documents or to a collection if some are named."""
    made = await conversations.create(user.user_id, body.title or "", body.doc_ids, body.collection_id)
    response.headers["Location"] = f"/conversations/{made.conversation_id}"
    return _view(made)


@router.get("/")
async def list_conversations(
    user: Reads,
    conversations: ConversationsDep,
    q: Annotated[str, Query(max_length=200)] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> ConversationList:
    """The caller's conversations, the last active first; with ``q``, those that hold all its words."""
    found = await conversations.page(user.user_id, q, limit + 1, decode_cursor(cursor) if cursor else None)
    shown, next_cursor = page_of(found, limit, lambda one: (one.updated_at, one.conversation_id))
    return ConversationList(items=[_view(one) for one in shown], next_cursor=next_cursor)


@router.get("/{conversation_id}")
async def get(user: Reads, conversations: ConversationsDep, conversation_id: Id) -> WholeConversation:
    """A conversation with all its messages; what a running answer holds is at most a second old."""
    return whole(*await conversations.get(user.user_id, conversation_id))


@router.patch("/{conversation_id}")
async def change(
    user: Asks, conversations: ConversationsDep, conversation_id: Id, body: ConversationChange
) -> ConversationView:
    """Rename a conversation, or bind it to other documents or another collection."""
    values = body.model_dump(exclude_unset=True)
    return _view(await conversations.change(user.user_id, conversation_id, values))


@router.delete("/{conversation_id}", status_code=204)
async def delete(user: Asks, conversations: ConversationsDep, conversation_id: Id) -> None:
    """Delete a conversation with everything in it; its running answers are stopped."""
    await conversations.delete(user.user_id, conversation_id)


@router.get("/{conversation_id}/export", response_class=Response, responses=EXPORT)
async def export_conversation(
    user: Reads,
    conversations: ConversationsDep,
    conversation_id: Id,
    form: Annotated[Literal["markdown", "json"], Query(alias="format")] = "markdown",
) -> Response:
    """A file of the conversation with its sources: the newest branch as Markdown, or everything as JSON."""
    conversation, messages = await conversations.get(user.user_id, conversation_id)
    if form == "json":
        content, media_type = whole(conversation, messages).model_dump_json(indent=2), "application/json"
    else:
        content, media_type = export.markdown(conversation, messages), "text/markdown; charset=utf-8"
    name = export.file_name(conversation, "json" if form == "json" else "md")
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(content, media_type=media_type, headers=headers)


@router.post("/{conversation_id}/questions", dependencies=[AskStream], response_class=Response, responses=STREAM)
async def ask(
    user: Asks, conversations: ConversationsDep, settings: SettingsDep, conversation_id: Id, body: Asking
) -> Response:
    """Ask in a conversation, and read the answer as server-sent events, ``status`` and ``reasoning`` included."""
    newest = "parent_id" not in body.model_fields_set
    place = Place(conversation_id, body.parent_id, newest)
    question = Question(body.question, body.k, body.doc_ids, body.model, body.collection_id)
    request = _request(body, "ask", conversation_id, newest)
    started = await conversations.ask(user.user_id, place, question, request, body.on_disconnect)
    return event_stream(started.run_id, started.reader, settings)


@router.post(
    "/{conversation_id}/messages/{message_id}/regenerate",
    dependencies=[AskStream],
    response_class=Response,
    responses=STREAM,
)
async def regenerate(
    user: Asks,
    conversations: ConversationsDep,
    settings: SettingsDep,
    conversation_id: Id,
    message_id: Id,
    body: Regeneration | None = None,
) -> Response:
    """Answer the question of an answer again, as another branch beside it."""
    body = body or Regeneration()
    request = _request(body, "regenerate", conversation_id, message_id)
    started = await conversations.regenerate(
        user.user_id, conversation_id, message_id, body.model, request, body.on_disconnect
    )
    return event_stream(started.run_id, started.reader, settings)


@router.put("/{conversation_id}/messages/{message_id}/feedback")
async def rate(
    user: Asks, conversations: ConversationsDep, conversation_id: Id, message_id: Id, body: Rated
) -> MessageView:
    """Say whether an answer was good; the last word counts."""
    return message_view(await conversations.rate(user.user_id, conversation_id, message_id, body.rating, body.comment))


def _request(body: Regeneration, *where: str | bool) -> Request:
    asked = json.dumps([where, body.model_dump(exclude={"client_request_id"})], sort_keys=True)
    return Request(body.client_request_id, hashlib.sha256(asked.encode()).hexdigest())


def _view(conversation: Conversation) -> ConversationView:
    return ConversationView(**asdict(conversation))


def whole(conversation: Conversation, messages: list[StoredMessage]) -> WholeConversation:
    """A conversation as it is shown and exported."""
    return WholeConversation(**asdict(conversation), messages=[message_view(message) for message in messages])


def message_view(message: StoredMessage) -> MessageView:
    """A message as it is shown and exported."""
    values = asdict(message)
    rating, comment = values.pop("rating"), values.pop("comment")
    feedback = FeedbackView(rating=rating, comment=comment) if rating or comment else None
    lists = {name: values.pop(name) or [] for name in ("sources", "citations")}
    # Citations are looked for where an answer came to its end or was stopped.
    uncited = message.citations is not None and citations.uncited(message.content, message.citations)
    return MessageView(**values, **lists, uncited=uncited, feedback=feedback)
