"""``CurrentUser``: the one way in which any route learns who is asking; and who may use our cookie."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import OAuth2PasswordBearer

from lorestream.accounts.models import Principal
from lorestream.accounts.service import Accounts
from lorestream.errors import Forbidden, Unauthenticated
from lorestream.http import from_state

DEFAULT_PORTS = {"http": 80, "https": 443}

AccountsService = Annotated[Accounts, from_state("accounts")]
# Reads the Authorization header only: a token in a URL would end up in logs and histories.
BearerToken = Annotated[str | None, Depends(OAuth2PasswordBearer(tokenUrl="/auth/token", auto_error=False))]


async def current_user(accounts: AccountsService, token: BearerToken) -> Principal:
    """Who is asking, by the bearer token. Raises Unauthenticated."""
    if not token:
        raise Unauthenticated
    return await accounts.authenticate(token)


CurrentUser = Annotated[Principal, Depends(current_user)]


def from_own_pages(request: Request) -> None:
    """Refuse requests that another site's page makes with our cookie. Raises Forbidden.

    Browsers state the relation themselves (Sec-Fetch-Site); Origin covers those that do not. Other clients send
    neither.
    """
    site = request.headers.get("sec-fetch-site", "none")
    origin = request.headers.get("origin")
    if site not in ("same-origin", "none") or (origin is not None and not _is_own_origin(request, origin)):
        raise Forbidden("This request came from another site's page.")


def _is_own_origin(request: Request, origin: str) -> bool:
    try:
        theirs, ours = urlsplit(origin), urlsplit(f"//{request.headers.get('host', '')}")
        port = theirs.port or DEFAULT_PORTS.get(theirs.scheme)
        # A proxy may drop its port from Host, and may end TLS without telling us; never the other way round.
        same_port = ours.port is None or ours.port == port
    except ValueError:
        return False
    same_scheme = theirs.scheme == "https" or (theirs.scheme == "http" and request.scope["scheme"] == "http")
    return same_scheme and same_port and bool(ours.hostname) and theirs.hostname == ours.hostname


OwnPages = Depends(from_own_pages)
