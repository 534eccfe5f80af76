"""The account endpoints."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import HTTPConnection

from lorestream.accounts.caller import AccountsService, BearerToken, CurrentUser, OwnPages
from lorestream.accounts.emails import MAX_EMAIL_LENGTH
from lorestream.accounts.models import User
from lorestream.accounts.service import Issued
from lorestream.errors import Unauthenticated
from lorestream.http import Body, client_ip, problem_response

# The prefix makes browsers insist on Secure, Path=/ and no Domain, so that no sibling host can plant the cookie.
SECURE_COOKIE = "__Host-lorestream_refresh"
PLAIN_COOKIE = "lorestream_refresh"
MAX_PASSWORD_LENGTH = 1024

router = APIRouter(prefix="/auth", tags=["accounts"])


class Registration(Body):
    """A new account."""

    email: str = Field(min_length=3, max_length=MAX_EMAIL_LENGTH, examples=["test@example.com"])
    password: str = Field(max_length=MAX_PASSWORD_LENGTH)


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


@router.post("/register", status_code=201, response_model=Registered)
async def register(request: Request, accounts: AccountsService, body: Registration) -> User:
    """Make an account. The first one is the administrator's."""
    return await accounts.register(body.email, body.password, client_ip(request))


@router.post("/token", dependencies=[OwnPages])
async def token(
    request: Request,
    response: Response,
    accounts: AccountsService,
    username: Annotated[str, Form(max_length=MAX_EMAIL_LENGTH, description="The email.")],
    password: Annotated[str, Form(max_length=MAX_PASSWORD_LENGTH)],
) -> AccessToken:
    """Log in with an OAuth2 password form, urlencoded or multipart."""
    agent = request.headers.get("user-agent", "")
    issued = await accounts.login(username, password, client_ip(request), agent)
    return _answer(request, response, issued)


@router.post("/refresh", dependencies=[OwnPages], response_model=AccessToken)
async def refresh(request: Request, response: Response, accounts: AccountsService) -> AccessToken | Response:
    """Exchange the refresh cookie for a new access token and a new cookie."""
    given = request.cookies.get(_cookie_name(request), "")
    try:
        issued = await accounts.refresh(given)
    except Unauthenticated as error:
        refusal = problem_response(error, request.scope.get("request_id"))
        _clear_cookie(request, refusal)
        return refusal
    return _answer(request, response, issued)


@router.post("/logout", status_code=204, dependencies=[OwnPages])
async def logout(request: Request, response: Response, accounts: AccountsService, bearer: BearerToken) -> None:
    """End this login: its cookie, its access tokens."""
    await accounts.logout(bearer, request.cookies.get(_cookie_name(request)))
    _clear_cookie(request, response)


@router.get("/me", response_model=Profile)
async def me(accounts: AccountsService, user: CurrentUser) -> User:
    """The caller's own account."""
    return await accounts.user(user.user_id)


def _is_secure(connection: HTTPConnection) -> bool:
    return bool(connection.scope["scheme"] == "https")


def _cookie_name(connection: HTTPConnection) -> str:
    return SECURE_COOKIE if _is_secure(connection) else PLAIN_COOKIE


def _answer(request: Request, response: Response, issued: Issued) -> AccessToken:
    _set_cookie(request, response, issued.refresh_token, issued.refresh_seconds)
    response.headers["Cache-Control"] = "no-store"
    return AccessToken(access_token=issued.access_token, expires_in=issued.expires_in)


def _clear_cookie(request: Request, response: Response) -> None:
    # With the very attributes it was set with; browsers keep the cookie otherwise.
    _set_cookie(request, response, "", 0)


def _set_cookie(request: Request, response: Response, value: str, max_age: int) -> None:
    secure = _is_secure(request)
    response.set_cookie(
        _cookie_name(request), value, max_age=max_age, path="/", secure=secure, httponly=True, samesite="strict"
    )
