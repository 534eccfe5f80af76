"""The account endpoints."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import HTTPConnection

from lorestream.accounts.caller import AccountsService, BearerToken, CurrentUser, OwnPages
from lorestream.accounts.emails import MAX_EMAIL_LENGTH
from lorestream.accounts.invitations import MAX_CODE_LENGTH
from lorestream.accounts.models import User
from lorestream.accounts.passwords import MAX_PASSWORD_BYTES
from lorestream.accounts.service import Options
from lorestream.accounts.sessions import Issued
from lorestream.accounts.throttle import DEVICE_SECONDS
from lorestream.description import problems
from lorestream.errors import Unauthenticated
from lorestream.http import Body, client_ip, problem_response

# The prefix makes browsers insist on Secure, Path=/ and no Domain, so that no sibling host can plant the cookie.
SECURE_PREFIX = "__Host-"
REFRESH, DEVICE = "lorestream_refresh", "lorestream_device"

SessionId = Annotated[str, Path(max_length=64)]

router = APIRouter(prefix="/auth", tags=["accounts"])


class Registration(Body):
    """A new account."""

    email: str = Field(min_length=3, max_length=MAX_EMAIL_LENGTH, examples=["test@example.com"])
    password: str = Field(max_length=MAX_PASSWORD_BYTES)
    invitation: str | None = Field(None, max_length=MAX_CODE_LENGTH, description="Where one is needed.")


class PasswordChange(Body):
    """The password that is, and the one that shall be."""

    current_password: str = Field(max_length=MAX_PASSWORD_BYTES)
    new_password: str = Field(max_length=MAX_PASSWORD_BYTES)


class RegistrationOptions(BaseModel):
    """How to register here."""

    model_config = ConfigDict(from_attributes=True)

    registration: Literal["open", "invite", "closed"]
    first: bool = Field(description="Nobody is registered yet: whoever is first becomes the administrator.")
    password_min_length: int
    password_advised_length: int


class Registered(BaseModel):
    """An account that was just made."""

    model_config = ConfigDict(from_attributes=True)

    user_id: str
    email: str
    created_at: datetime


class Profile(Registered):
    """The caller's own account."""

    is_admin: bool


class AccessToken(BaseModel):
    """The token answer of OAuth2; the refresh token travels in a cookie."""

    access_token: str
    token_type: str = "bearer"  # noqa: S105 - the name of a type, not a secret
    expires_in: int = Field(description="Seconds until the access token expires.")


class Session(BaseModel):
    """One login of the caller."""

    session_id: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    user_agent: str
    ip: str
    current: bool = Field(description="Whether this request came by it.")


class SessionList(BaseModel):
    """The caller's logins, the one used last first."""

    items: list[Session]
    next_cursor: None = None


@router.get("/options", response_model=RegistrationOptions)
async def options(accounts: AccountsService) -> Options:
    """How to register here; for whoever is not logged in."""
    return await accounts.options()


@router.post("/register", status_code=201, response_model=Registered, responses=problems(403, 409, 429))
async def register(request: Request, accounts: AccountsService, body: Registration) -> User:
    """Make an account. The first one is the administrator's."""
    return await accounts.register(body.email, body.password, client_ip(request), body.invitation)


@router.post("/token", dependencies=[OwnPages], responses=problems(401, 403, 429))
async def token(
    request: Request,
    response: Response,
    accounts: AccountsService,
    username: Annotated[str, Form(max_length=MAX_EMAIL_LENGTH, description="The email.")],
    password: Annotated[str, Form(max_length=MAX_PASSWORD_BYTES)],
) -> AccessToken:
    """Log in with an OAuth2 password form, urlencoded or multipart."""
    agent, device = request.headers.get("user-agent", ""), request.cookies.get(_cookie_name(request, DEVICE), "")
    issued = await accounts.login(username, password, client_ip(request), agent, device)
    answer = _answer(request, response, issued)
    _set_cookie(request, response, accounts.throttle.device_cookie(username, device), DEVICE_SECONDS, DEVICE)
    return answer


@router.post("/refresh", dependencies=[OwnPages], response_model=AccessToken, responses=problems(401, 403))
async def refresh(request: Request, response: Response, accounts: AccountsService) -> AccessToken | Response:
    """Exchange the refresh cookie for a new access token and a new cookie."""
    given = request.cookies.get(_cookie_name(request), "")
    try:
        issued = await accounts.sessions.refresh(given, client_ip(request))
    except Unauthenticated as error:
        refusal = problem_response(error, request.scope.get("request_id"))
        _clear_cookie(request, refusal)
        return refusal
    return _answer(request, response, issued)


@router.post("/logout", status_code=204, dependencies=[OwnPages])
async def logout(request: Request, response: Response, accounts: AccountsService, bearer: BearerToken) -> None:
    """End this login: its cookie, its access tokens."""
    await accounts.sessions.logout(bearer, request.cookies.get(_cookie_name(request)), client_ip(request))
    _clear_cookie(request, response)


@router.post("/logout-everywhere", status_code=204)
async def logout_everywhere(request: Request, response: Response, accounts: AccountsService, user: CurrentUser) -> None:
    """End every login of the caller, this one too."""
    await accounts.sessions.logout_everywhere(user, client_ip(request))
    _clear_cookie(request, response)


@router.post("/password", status_code=204, responses=problems(409))
async def change_password(request: Request, accounts: AccountsService, user: CurrentUser, body: PasswordChange) -> None:
    """Change the password; every other login of the caller ends."""
    await accounts.change_password(user, body.current_password, body.new_password, client_ip(request))


@router.get("/sessions")
async def sessions(accounts: AccountsService, user: CurrentUser) -> SessionList:
    """The caller's logins, the one used last first."""
    return SessionList(
        items=[
            Session(
                session_id=login.session_id,
                created_at=login.created_at,
                last_used_at=login.last_used_at,
                expires_at=login.expires_at,
                user_agent=login.user_agent,
                ip=login.ip,
                current=login.session_id == user.session_id,
            )
            for login in await accounts.sessions.living(user)
        ]
    )


@router.delete("/sessions/{session_id}", status_code=204)
async def revoke_session(
    request: Request, response: Response, accounts: AccountsService, user: CurrentUser, session_id: SessionId
) -> None:
    """End one of the caller's logins."""
    await accounts.sessions.revoke(user, session_id, client_ip(request))
    if session_id == user.session_id:
        _clear_cookie(request, response)


@router.get("/me", response_model=Profile)
async def me(accounts: AccountsService, user: CurrentUser) -> User:
    """The caller's own account."""
    return await accounts.user(user.user_id)


def _is_secure(connection: HTTPConnection) -> bool:
    return bool(connection.scope["scheme"] == "https")


def _cookie_name(connection: HTTPConnection, name: str = REFRESH) -> str:
    return SECURE_PREFIX + name if _is_secure(connection) else name


def _answer(request: Request, response: Response, issued: Issued) -> AccessToken:
    _set_cookie(request, response, issued.refresh_token, issued.refresh_seconds)
    response.headers["Cache-Control"] = "no-store"
    return AccessToken(access_token=issued.access_token, expires_in=issued.expires_in)


def _clear_cookie(request: Request, response: Response) -> None:
    # With the very attributes it was set with; browsers keep the cookie otherwise.
    _set_cookie(request, response, "", 0)


def _set_cookie(request: Request, response: Response, value: str, max_age: int, name: str = REFRESH) -> None:
    secure = _is_secure(request)
    response.set_cookie(
        _cookie_name(request, name), value, max_age=max_age, path="/", secure=secure, httponly=True, samesite="strict"
    )
