"""The caller's own API keys. Only a login can make or revoke them: no key makes another one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lorestream.accounts.caller import CurrentUser, KeysService
from lorestream.accounts.keys import MAX_KEYS_PER_USER, Scope
from lorestream.description import problems
from lorestream.http import Body, client_ip, one_line

router = APIRouter(prefix="/auth/keys", tags=["accounts"])

MAX_DAYS = 3650


class NewKey(Body):
    """The body of a new key; without ``expires_in_days`` it lives until it is revoked."""

    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(one_line)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3)]
    expires_in_days: Annotated[int, Field(ge=1, le=MAX_DAYS)] | None = None


class KeyView(BaseModel):
    """An API key; ``prefix`` is how its text begins. Its last use is noted at most once a minute."""

    model_config = ConfigDict(from_attributes=True)

    key_id: str
    name: str
    prefix: str
    scopes: list[Scope]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


class KeyMade(KeyView):
    """A new key, with its text, which is shown this once."""

    key: str


class KeyList(BaseModel):
    """The caller's keys, newest first; there are never so many that there would be another page."""

    items: list[KeyView] = Field(max_length=MAX_KEYS_PER_USER)
    next_cursor: None = None


@router.get("")
async def list_keys(user: CurrentUser, keys: KeysService) -> KeyList:
    """The caller's API keys."""
    return KeyList(items=[KeyView.model_validate(key) for key in await keys.of_user(user.user_id)])


@router.post("", status_code=201, responses=problems(409))
async def create_key(
    request: Request, response: Response, user: CurrentUser, keys: KeysService, body: NewKey
) -> KeyMade:
    """Make an API key. Its text is shown this once: the server keeps only its hash."""
    made, text = await keys.create(user.user_id, body.name, body.scopes, body.expires_in_days, client_ip(request))
    response.headers["Cache-Control"] = "no-store"
    return KeyMade(**KeyView.model_validate(made).model_dump(), key=text)


@router.delete("/{key_id}", status_code=204)
async def revoke_key(
    request: Request, user: CurrentUser, keys: KeysService, key_id: Annotated[str, Path(max_length=64)]
) -> None:
    """Revoke an API key; what it holds open is closed within five seconds."""
    await keys.revoke(user.user_id, key_id, client_ip(request))
