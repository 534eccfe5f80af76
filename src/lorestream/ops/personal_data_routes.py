"""What a person can do with all of their data: take it along, and delete it with their account."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from lorestream.accounts.caller import AccountsService, CurrentUser, while_valid
from lorestream.accounts.passwords import MAX_PASSWORD_BYTES
from lorestream.accounts.users import Actor
from lorestream.db import now
from lorestream.description import problems
from lorestream.http import Body, StreamedFile, client_ip, from_state
from lorestream.ops.personal_data import PersonalData

router = APIRouter(prefix="/auth", tags=["accounts"])

PersonalDataService = Annotated[PersonalData, from_state("personal_data")]


class Deletion(Body):
    """The body of the deletion of the caller's account."""

    password: str = Field(max_length=MAX_PASSWORD_BYTES)


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
    return StreamedFile(pieces, headers)


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
