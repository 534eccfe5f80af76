"""Administration: users, invitations, the audit log. For administrators who logged in; never for an API key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lorestream.accounts.audit import Kind
from lorestream.accounts.caller import Administrator
from lorestream.accounts.emails import MAX_EMAIL_LENGTH
from lorestream.accounts.invitations import DEFAULT_DAYS, MAX_DAYS, Invitations
from lorestream.accounts.models import Principal
from lorestream.accounts.passwords import MAX_PASSWORD_BYTES
from lorestream.accounts.quotas import Name, Stored
from lorestream.accounts.users import Actor, Users
from lorestream.accounts.users_store import Account
from lorestream.description import problems
from lorestream.documents.routes import DocumentsService
from lorestream.documents.service import Documents
from lorestream.http import Body, client_ip, decode_cursor, from_state, page_of
from lorestream.ops.personal_data_routes import PersonalDataService

router = APIRouter(prefix="/admin", tags=["administration"])

UsersService = Annotated[Users, from_state("users")]
InvitationsService = Annotated[Invitations, from_state("invitations")]
# Anything that is not an id of ours is answered like one that does not exist.
Id = Annotated[str, Path(max_length=64)]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=200)]
Email = Annotated[str, Field(min_length=3, max_length=MAX_EMAIL_LENGTH)]
# The largest number that every client's JSON holds exactly.
OwnLimit = Annotated[int, Field(ge=0, le=2**53 - 1)]


class NewUser(Body):
    """The body of a new account; without a password one is made up."""

    email: Email
    password: Annotated[str, Field(max_length=MAX_PASSWORD_BYTES)] | None = None
    is_admin: bool = False


class UserChange(Body):
    """The body of a change: what is given is set. ``limits`` stand in the place of all that were set before."""

    disabled: bool | None = None
    is_admin: bool | None = None
    limits: dict[Name, OwnLimit] | None = None

    @model_validator(mode="after")
    def _flags_are_set(self) -> Self:
        for name in ("disabled", "is_admin"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        return self


class UserView(BaseModel):
    """An account as an administrator sees it."""

    user_id: str
    email: str
    created_at: datetime
    is_admin: bool
    disabled_at: datetime | None
    last_used_at: datetime | None
    documents: int
    stored_bytes: int
    limits: dict[Name, int] | None


class UserList(BaseModel):
    """A page of accounts, newest first."""

    items: list[UserView]
    next_cursor: str | None


class MadeUp(BaseModel):
    """A password that was made up, shown this once."""

    password: str


class UserMade(BaseModel):
    """A new account, and its password where it was made up, shown this once."""

    user: UserView
    password: str | None


class NewInvitation(Body):
    """The body of an invitation; with an email only that address can use it."""

    email: Email | None = None
    expires_in_days: Annotated[int, Field(ge=1, le=MAX_DAYS)] = DEFAULT_DAYS


class InvitationView(BaseModel):
    """An invitation; its code is known only to whom it was sent."""

    model_config = ConfigDict(from_attributes=True)

    invitation_id: str
    email: str | None
    created_by: str
    created_at: datetime
    expires_at: datetime
    used_by: str | None
    used_at: datetime | None


class InvitationMade(InvitationView):
    """A new invitation, with its code, which is shown this once."""

    code: str


class InvitationList(BaseModel):
    """A page of invitations, newest first."""

    items: list[InvitationView]
    next_cursor: str | None


class EventView(BaseModel):
    """One event of the audit log: whom it concerns, and who did it where that is somebody else.

    The emails are null where there is no such account any more.
    """

    model_config = ConfigDict(from_attributes=True)

    event_id: str
    at: datetime
    kind: Kind
    user_id: str | None
    email: str | None
    actor_id: str | None
    actor_email: str | None
    ip: str
    details: dict[str, Any]


class EventList(BaseModel):
    """A page of the audit log, newest first."""

    items: list[EventView]
    next_cursor: str | None


@router.get("/users")
async def list_users(
    _admin: Administrator,
    users: UsersService,
    documents: DocumentsService,
    q: Annotated[str, Query(max_length=MAX_EMAIL_LENGTH)] = "",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> UserList:
    """The accounts of this server, newest first; with ``q``, those whose email holds it."""
    found = await users.page(q, limit + 1, decode_cursor(cursor) if cursor else None)
    shown, next_cursor = page_of(found, limit, lambda one: (one.created_at, one.user_id))
    return UserList(items=await _views(shown, documents), next_cursor=next_cursor)


@router.post("/users", status_code=201, responses=problems(409))
async def add_user(
    request: Request,
    response: Response,
    admin: Administrator,
    users: UsersService,
    documents: DocumentsService,
    body: NewUser,
) -> UserMade:
    """Make an account. A password that is made up is shown this once."""
    account, password = await users.add(body.email, body.password, is_admin=body.is_admin, actor=_actor(request, admin))
    response.headers["Cache-Control"] = "no-store"
    return UserMade(user=(await _views([account], documents))[0], password=password)


@router.patch("/users/{user_id}", responses=problems(409))
async def change_user(
    request: Request,
    admin: Administrator,
    users: UsersService,
    documents: DocumentsService,
    user_id: Id,
    body: UserChange,
) -> UserView:
    """Disable an account or enable it, make it an administrator's or not, give it limits of its own.

    What a disabled user holds open is closed within five seconds. The last administrator stays one (409).
    """
    account = await users.change(user_id, body.model_dump(exclude_unset=True), _actor(request, admin))
    return (await _views([account], documents))[0]


@router.post("/users/{user_id}/reset-password")
async def reset_password(
    request: Request, response: Response, admin: Administrator, users: UsersService, user_id: Id
) -> MadeUp:
    """Make up another password, shown this once; it ends every login and every API key of the user."""
    password = await users.reset_password(user_id, _actor(request, admin))
    response.headers["Cache-Control"] = "no-store"
    return MadeUp(password=password or "")


@router.delete("/users/{user_id}", status_code=204, responses=problems(409))
async def delete_user(request: Request, admin: Administrator, personal_data: PersonalDataService, user_id: Id) -> None:
    """Delete an account with everything in it, for good; not the last administrator's (409)."""
    await personal_data.delete(user_id, _actor(request, admin))


@router.get("/invitations")
async def list_invitations(
    _admin: Administrator, invitations: InvitationsService, limit: Limit = 50, cursor: Cursor = None
) -> InvitationList:
    """The invitations, used ones too, newest first."""
    found = await invitations.page(limit + 1, decode_cursor(cursor) if cursor else None)
    shown, next_cursor = page_of(found, limit, lambda one: (one.created_at, one.invitation_id))
    return InvitationList(items=[InvitationView.model_validate(one) for one in shown], next_cursor=next_cursor)


@router.post("/invitations", status_code=201, responses=problems(409))
async def invite(
    request: Request, response: Response, admin: Administrator, invitations: InvitationsService, body: NewInvitation
) -> InvitationMade:
    """Make an invitation. Its code is shown this once; in a link it belongs behind the ``#``."""
    made, code = await invitations.create(admin.user_id, body.email, body.expires_in_days, client_ip(request))
    response.headers["Cache-Control"] = "no-store"
    return InvitationMade(**InvitationView.model_validate(made).model_dump(), code=code)


@router.delete("/invitations/{invitation_id}", status_code=204)
async def revoke_invitation(
    request: Request, admin: Administrator, invitations: InvitationsService, invitation_id: Id
) -> None:
    """Take an invitation back that nobody has used."""
    await invitations.revoke(admin.user_id, invitation_id, client_ip(request))


@router.get("/events")
async def list_events(
    _admin: Administrator,
    users: UsersService,
    kind: Annotated[Kind | None, Query()] = None,
    user_id: Annotated[str | None, Query(max_length=64)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> EventList:
    """The audit log, newest first; of one kind, or of what one user did or what was done to them."""
    found = await users.events(kind, user_id, limit + 1, decode_cursor(cursor) if cursor else None)
    shown, next_cursor = page_of(found, limit, lambda one: (one.at, one.event_id))
    return EventList(items=[EventView.model_validate(event) for event in shown], next_cursor=next_cursor)


def _actor(request: Request, admin: Principal) -> Actor:
    return Actor(admin.user_id, client_ip(request))


async def _views(accounts: Sequence[Account], documents: Documents) -> list[UserView]:
    stored = await documents.stored_of([account.user_id for account in accounts])
    views = []
    for account in accounts:
        theirs = stored.get(account.user_id, Stored(0, 0))
        values = {name: getattr(account, name) for name in Account.__dataclass_fields__}
        views.append(UserView(**values, documents=theirs.documents, stored_bytes=theirs.bytes))
    return views
