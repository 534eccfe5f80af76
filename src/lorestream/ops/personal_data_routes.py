"""What a person can do with all of their data: take it along, and delete it with their account."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from lorestream.accounts.caller import AccountsService, CurrentUser, while_valid
from lorestream.accounts.passwords import MAX_PASSWORD_BYTES
from lorestream.accounts.users import Actor
from lorestream.connection import ABORT
from lorestream.db import now
from lorestream.description import problems
from lorestream.errors import Unauthenticated
from lorestream.http import Body, client_ip, from_state, unless_gone
from lorestream.ops.personal_data import PersonalData

log = logging.getLogger(__name__)

router = APIRouter(prefix="/auth", tags=["accounts"])

PersonalDataService = Annotated[PersonalData, from_state("personal_data")]


class Deletion(Body):
    """The body of the deletion of the caller's account."""

    password: str = Field(max_length=MAX_PASSWORD_BYTES)


class _Streamed(Response):
    """A file that is made while it is sent; its connection breaks off where that cannot go on."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], headers: dict[str, str]) -> None:
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def body() -> None:
            async with aclosing(self._pieces) as pieces:
                async for piece in pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            await unless_gone(Request(scope, receive), body())
        except ClientDisconnect:
            log.info("a client left while its export was sent")
        except Unauthenticated:
            if abort := scope.get(ABORT):
                abort()


async def exporting(
    request: Request, user: CurrentUser, personal_data: PersonalDataService
) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    """The caller's export, until the response has ended."""
    async with personal_data.export(user, client_ip(request)) as pieces:
        yield pieces


@router.get(
    "/export",
    dependencies=[Depends(while_valid)],
    response_class=Response,
    responses={200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def export(pieces: Annotated[AsyncGenerator[bytes, None], Depends(exporting)]) -> Response:
    """Everything of the caller as a ZIP: account, conversations, documents."""
    name = f"lorestream-{now():%Y-%m-%d}.zip"
    headers = {
        "Content-Type": "application/zip",
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
    }
    return _Streamed(pieces, headers)


@router.post("/delete-account", status_code=204, responses=problems(409))
async def delete_account(
    request: Request,
    user: CurrentUser,
    accounts: AccountsService,
    personal_data: PersonalDataService,
    body: Deletion,
) -> None:
    """Delete the caller's account with everything in it, for good; the last administrator's stays (409)."""
    ip = client_ip(request)
    await accounts.confirm(user, body.password, ip)
    await personal_data.delete(user.user_id, Actor(user.user_id, ip))
