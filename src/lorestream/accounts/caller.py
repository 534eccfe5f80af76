"""Who is asking: the one dependency in which any route learns it, and what each route lets an API key do.

A route names who may come by one alias: ``CurrentUser`` and ``Administrator`` for logins alone, ``Reads``, ``Asks``
and ``ManagesDocuments`` for logins and for keys with that scope (``AsksByToken`` where the token comes later).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Header, Query, Request, Security
from fastapi.security import OAuth2PasswordBearer, SecurityScopes
from starlette.requests import HTTPConnection

from lorestream.accounts.keys import PREFIX, Keys
from lorestream.accounts.models import Principal
from lorestream.accounts.quotas import Quotas
from lorestream.accounts.service import Accounts
from lorestream.accounts.tickets import Holder, Tickets
from lorestream.accounts.watch import Watch
from lorestream.admission import Seats
from lorestream.errors import Forbidden, Unauthenticated
from lorestream.http import CALLER_OVER, answer_headers, from_state

# Where it is kept in the scope who came by a ticket.
TICKET_HOLDER = "lorestream.ticket_holder"
DEFAULT_PORTS = {"http": 80, "https": 443}
SCOPES = {
    "read": "Read documents, conversations and answers.",
    "ask": "Ask questions, and change conversations.",
    "documents": "Upload, index again and delete documents.",
}

AccountsService = Annotated[Accounts, from_state("accounts")]
KeysService = Annotated[Keys, from_state("keys")]
QuotasService = Annotated[Quotas, from_state("quotas")]
TicketsService = Annotated[Tickets, from_state("tickets")]
# Reads the Authorization header only: a token in a URL would end up in logs and histories.
BearerToken = Annotated[
    str | None,
    Depends(
        OAuth2PasswordBearer(
            tokenUrl="/auth/token",
            scopes=SCOPES,
            description="The access token of a login, or an API key, which has one or more of the scopes.",
            auto_error=False,
        )
    ),
]


async def current_user(
    connection: HTTPConnection,
    allowed: SecurityScopes,
    accounts: AccountsService,
    keys: KeysService,
    quotas: QuotasService,
    token: BearerToken,
) -> Principal:
    """Who is asking, by the bearer token: an access token, or an API key with a scope that the route names.

    Or by the ticket that the route has let in. Raises Unauthenticated, RateLimited for a user's request too many, and
    Forbidden for a key where the route names no scope that it has.
    """
    holder: Holder | None = connection.scope.get(TICKET_HOLDER)
    principal = holder.principal if holder else await _owner(token, accounts, keys)
    return await _admitted(principal, connection, allowed, quotas)


async def whose_token(
    connection: HTTPConnection,
    allowed: SecurityScopes,
    accounts: AccountsService,
    keys: KeysService,
    quotas: QuotasService,
) -> Callable[[str | None], Awaitable[Principal]]:
    """For connections that show their token after their head: tells who it is, and raises, as ``current_user``."""

    async def owner(token: str | None) -> Principal:
        return await _admitted(await _owner(token, accounts, keys), connection, allowed, quotas)

    return owner


async def _owner(token: str | None, accounts: Accounts, keys: Keys) -> Principal:
    if not token:
        raise Unauthenticated
    return await (keys.authenticate(token) if token.startswith(PREFIX) else accounts.authenticate(token))


async def _admitted(
    principal: Principal, connection: HTTPConnection, allowed: SecurityScopes, quotas: Quotas
) -> Principal:
    await quotas.request(principal, answer_headers(connection))
    if not principal.key_id:
        return principal
    if not allowed.scopes:
        raise Forbidden("Accounts and administration are for people who log in; an API key cannot do this.")
    if principal.scopes is not None and not principal.scopes.issuperset(allowed.scopes):
        needed = " ".join(allowed.scopes)
        raise Forbidden(f"This API key lacks the scope “{needed}”.", fields={"scope": needed})
    return principal


CurrentUser = Annotated[Principal, Depends(current_user)]
Reads = Annotated[Principal, Security(current_user, scopes=["read"])]
Asks = Annotated[Principal, Security(current_user, scopes=["ask"])]
ManagesDocuments = Annotated[Principal, Security(current_user, scopes=["documents"])]
# For a WebSocket, whose client may not be able to send a header.
AsksByToken = Annotated[Callable[[str | None], Awaitable[Principal]], Security(whose_token, scopes=["ask"])]


async def while_valid(
    request: Request, user: CurrentUser, watch: Annotated[Watch, from_state("watch")]
) -> AsyncIterator[None]:
    """Until the response has ended, watch over what the caller came by: for every route that may take long.

    Its response ends when the credential does (``http.CALLER_OVER``). Depend on it with the route's scope.
    """
    over = asyncio.Event()
    request.scope[CALLER_OVER] = over
    with watch.holding(user.credential, over.set):
        yield


AsksWhileValid = Security(while_valid, scopes=["ask"])


async def stream_seat(
    user: CurrentUser,
    _valid: Annotated[None, Depends(while_valid)],
    quotas: QuotasService,
    seats: Annotated[Seats, from_state("stream_seats")],
) -> AsyncIterator[None]:
    """One of the caller's open streams until the response has ended. Raises RateLimited, before anything is stored."""
    give_back = await seats.take(user.user_id, quotas.of(user.limits)["open_streams"])
    try:
        yield
    finally:
        give_back()


# For every route that answers with an event stream, with the scope of its caller, who is then asked for once.
ReadStream = Security(stream_seat, scopes=["read"])
AskStream = Security(stream_seat, scopes=["ask"])


async def by_ticket(
    connection: HTTPConnection,
    tickets: TicketsService,
    token: BearerToken,
    ticket: Annotated[
        str | None,
        Query(max_length=64, description="From POST /auth/tickets, in place of an Authorization header."),
    ] = None,
    last_event_id: Annotated[str | None, Header(max_length=256)] = None,
) -> None:
    """Let in who comes by a ticket, to begin a run or, with ``Last-Event-ID``, to read on in the one it began.

    Raises Unauthenticated.
    """
    if ticket is not None and not token:
        resumed, is_cursor, _ = (last_event_id or "").partition(":")
        connection.scope[TICKET_HOLDER] = await tickets.admit(ticket, resumed if is_cursor else None)


def ticket_run(connection: HTTPConnection, _let_in: Annotated[None, Depends(by_ticket)]) -> str | None:
    """The id of the run that the caller's ticket begins; None for whoever came by a header."""
    holder: Holder | None = connection.scope.get(TICKET_HOLDER)
    return holder.run_id if holder else None


TicketRun = Annotated[str | None, Depends(ticket_run)]
# In this order: whoever is let in by a ticket is the caller of all that follows.
ASK_STREAM_BY_TICKET = [Depends(by_ticket), AskStream]


async def administrator(user: CurrentUser) -> Principal:
    """The caller, who is an administrator. Raises Forbidden."""
    if not user.is_admin:
        raise Forbidden("Only an administrator of this server may do this.")
    return user


Administrator = Annotated[Principal, Depends(administrator)]


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
