"""Who a client is: an API key or an access token, and how a login gets its next access token by itself."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import contextmanager

import httpx
import msgspec

from lorestream.client.models import AccessToken

# The cookie of a login: browsers want the prefix over HTTPS (accounts.routes).
REFRESH, SECURE_PREFIX = "lorestream_refresh", "__Host-"
# An access token is renewed so long before its end.
EARLY_SECONDS = 30.0
REFRESH_PATH = "/auth/refresh"


class Login(httpx.Auth):
    """What every request of a client carries; one login may serve several clients of one server."""

    def __init__(self, url: str, token: str = "", refresh_token: str = "") -> None:
        """``token`` is an API key or an access token; ``refresh_token`` that of a login, which renews it."""
        self.url = url
        self.token = token
        self.refresh_token = refresh_token
        self._until = float("inf") if token else 0.0

    @property
    def cookie(self) -> str:
        """The refresh token as a request carries it."""
        return f"{self._name}={self.refresh_token}"

    def take(self, issued: AccessToken, response: httpx.Response) -> None:
        """Go on with what a login or a renewal gave."""
        self.token = issued.access_token
        self.expires_in(issued.expires_in)
        self.refresh_token = response.cookies.get(self._name) or self.refresh_token

    def expires_in(self, seconds: float) -> None:
        """Renew the access token before so long."""
        self._until = time.monotonic() + seconds - EARLY_SECONDS

    def forget(self) -> None:
        """Be nobody again."""
        self.token = self.refresh_token = ""

    @contextmanager
    def renewing(self) -> Iterator[None]:
        """Around every renewal, for a login that is kept where other processes use it."""
        yield

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """As ``_flow``, reading the answers to renewals."""
        flow = self._flow(request)
        sending = next(flow)
        while True:
            response = yield sending
            if sending is not request:
                response.read()
            try:
                sending = flow.send(response)
            except StopIteration:
                return

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """As ``_flow``, reading the answers to renewals."""
        flow = self._flow(request)
        sending = next(flow)
        while True:
            response = yield sending
            if sending is not request:
                await response.aread()
            try:
                sending = flow.send(response)
            except StopIteration:
                return

    def _flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """The request with the token, renewed before where it is about to end, and once where it is refused."""
        if self.refresh_token and time.monotonic() >= self._until:
            yield from self._renew()
        used = self.token
        self._sign(request)
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED and self.refresh_token:
            if self.token == used:
                yield from self._renew()
            if self.token != used:
                self._sign(request)
                yield request

    def _renew(self) -> Generator[httpx.Request, httpx.Response, None]:
        used = self.token
        with self.renewing():
            if self.token != used:
                return  # by somebody else meanwhile
            response = yield httpx.Request("POST", self.url + REFRESH_PATH, headers={"Cookie": self.cookie})
            if response.status_code == httpx.codes.UNAUTHORIZED:
                self.refresh_token = ""  # the login is over
            elif response.is_success:
                self.take(msgspec.json.decode(response.content, type=AccessToken), response)

    def _sign(self, request: httpx.Request) -> None:
        if self.token:
            request.headers["Authorization"] = f"Bearer {self.token}"

    @property
    def _name(self) -> str:
        return (SECURE_PREFIX if self.url.startswith("https:") else "") + REFRESH
