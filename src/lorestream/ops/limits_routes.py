"""What a user may use, and what of it is left."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel

from lorestream.accounts.caller import CurrentUser, QuotasService
from lorestream.accounts.quotas import NAMES, Name, Used
from lorestream.admission import Seats
from lorestream.documents.routes import DocumentsService
from lorestream.http import from_state

router = APIRouter(prefix="/auth", tags=["accounts"])


class LimitView(BaseModel):
    """One limit of the caller: 0 for none, with nothing ``remaining``; what time gives back says when it does."""

    name: Name
    limit: int
    used: int
    remaining: int | None
    resets_at: datetime | None


class LimitList(BaseModel):
    """Every limit of the caller."""

    items: list[LimitView]


@router.get("/limits")
async def limits(
    user: CurrentUser,
    quotas: QuotasService,
    documents: DocumentsService,
    answers: Annotated[Seats, from_state("answer_seats")],
    streams: Annotated[Seats, from_state("stream_seats")],
) -> LimitList:
    """The caller's limits, what is used of them, and what remains."""
    stored = await documents.stored(user.user_id)
    used = {
        **await quotas.used(user),
        "running_answers": Used(await answers.taken(user.user_id)),
        "open_streams": Used(await streams.taken(user.user_id)),
        "stored_bytes": Used(stored.bytes),
        "documents": Used(stored.documents),
    }
    mine = quotas.of(user.limits)
    return LimitList(items=[_view(name, mine[name], used[name]) for name in NAMES])


def _view(name: Name, limit: int, used: Used) -> LimitView:
    remaining = max(0, limit - used.used) if limit else None
    return LimitView(name=name, limit=limit, used=used.used, remaining=remaining, resets_at=used.resets_at)
