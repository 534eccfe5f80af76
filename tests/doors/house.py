"""A server with one user, the model that answers them, and how a browser comes to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from tests.fakes.reading import QUESTION, Client, Stream
from tests.fakes.server import RunningServer
from tests.fakes.threads import ScriptedModel


class House:
    """A server with one user, their document, and the model that answers them."""

    def __init__(self, fake: ScriptedModel, server: RunningServer, client: Client) -> None:
        self.fake, self.server, self.client = fake, server, client
        # A browser's EventSource: no header of ours at all.
        self.browser = httpx.AsyncClient(base_url=server.url, timeout=30)

    async def ticket(self, **headers: str) -> str:
        given = await self.client.http.post("/auth/tickets", headers=headers)
        assert (given.status_code, given.headers["cache-control"]) == (201, "no-store"), given.text
        return str(given.json()["ticket"])

    @asynccontextmanager
    async def asked(self, ticket: str, path: str = "/query/stream/", **headers: str) -> AsyncIterator[Stream]:
        params = {"question": QUESTION, "query": QUESTION, "ticket": ticket, "on_disconnect": "continue"}
        async with self.browser.stream("GET", path, params=params, headers=headers) as response:
            yield Stream(response)

    async def status(self, ticket: str, last_event_id: str | None = None) -> int:
        headers = {"Last-Event-ID": last_event_id} if last_event_id is not None else {}
        async with self.asked(ticket, **headers) as stream:
            return stream.response.status_code
