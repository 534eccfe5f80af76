"""HTTP for what people think of their answers: a list, and the question set made of it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response, Security
from pydantic import BaseModel

from lorestream.accounts.caller import Reads, while_valid
from lorestream.conversations.feedback import Feedback
from lorestream.conversations.models import Rating
from lorestream.db import now
from lorestream.http import StreamedFile, decode_cursor, from_state, page_of

router = APIRouter(prefix="/feedback", tags=["feedback"])

FeedbackDep = Annotated[Feedback, from_state("feedback")]
Rated = Annotated[Rating | None, Query(description="Only these; else both.")]
QUESTION_SET: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/jsonl": {"schema": {"type": "string"}}}, "description": "A question a line"}
}


class RatedView(BaseModel):
    """A rated answer with its question; the sources are those of the events."""

    message_id: str
    conversation_id: str | None
    question: str
    answer: str
    rating: Rating
    comment: str | None
    sources: list[dict[str, Any]]
    created_at: datetime


class RatedList(BaseModel):
    """A page of rated answers, newest first."""

    items: list[RatedView]
    next_cursor: str | None


@router.get("/")
async def list_feedback(
    user: Reads,
    feedback: FeedbackDep,
    rating: Rated = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> RatedList:
    """The caller's rated answers, newest first."""
    found = await feedback.page(user.user_id, rating, limit + 1, decode_cursor(cursor) if cursor else None)
    shown, next_cursor = page_of(found, limit, lambda one: (one.created_at, one.message_id))
    return RatedList(items=[RatedView(**asdict(one)) for one in shown], next_cursor=next_cursor)


@router.get(
    "/export",
    dependencies=[Security(while_valid, scopes=["read"])],
    response_class=Response,
    responses=QUESTION_SET,
)
async def export(user: Reads, feedback: FeedbackDep, rating: Rated = None) -> Response:
    """The caller's rated answers as a question set for ``lorestream evaluate`` (JSON lines)."""
    headers = {
        "Content-Type": "application/jsonl; charset=utf-8",
        "Content-Disposition": f'attachment; filename="lorestream-questions-{now():%Y-%m-%d}.jsonl"',
        "Cache-Control": "no-store",
    }
    return StreamedFile(feedback.question_set(user.user_id, rating), headers)
