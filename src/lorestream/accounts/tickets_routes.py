"""Tickets over HTTP: what a page asks for before it opens an EventSource."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from lorestream.accounts.caller import Asks, TicketsService
from lorestream.description import problems

router = APIRouter(prefix="/auth/tickets", tags=["accounts"])


class Ticket(BaseModel):
    """A ticket, which is shown this once."""

    ticket: str = Field(description="For the parameter `ticket` of an event stream that a browser's EventSource reads.")
    expires_at: datetime = Field(description="Until then it can begin an answer; reconnects to that one go on.")


@router.post("", status_code=201, responses=problems(429))
async def give(response: Response, user: Asks, tickets: TicketsService) -> Ticket:
    """A ticket with which a browser's EventSource, which can send no header, may ask one question."""
    text, expires_at = await tickets.give(user)
    response.headers["Cache-Control"] = "no-store"
    return Ticket(ticket=text, expires_at=expires_at)
