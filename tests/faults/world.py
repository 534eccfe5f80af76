"""One whole server and one scripted upstream for all faults of a module: they differ in what the upstream does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.fakes.reading import GEO, Client, user_of
from tests.fakes.server import RunningServer, started_server
from tests.fakes.upstream import Connection, FakeUpstream

KEY = "sk-canary-4e1c"


@dataclass
class World:
    """A server, the upstream it asks, and one user with one document."""

    fake: FakeUpstream
    server: RunningServer
    client: Client
    _seen: int = 0

    def chats(self) -> list[Connection]:
        """The generations that were asked for so far."""
        return [one for one in self.fake.connections if one.request and "chat" in one.request.path]

    async def next_chat(self) -> Connection:
        """The next generation that nobody has asked this for yet."""
        for number in itertools.count():
            await self.fake.connection(number, seconds=10)
            if len(found := self.chats()) > self._seen:
                self._seen += 1
                return found[self._seen - 1]
        raise AssertionError

    def skip_chats(self) -> None:
        """Let ``next_chat`` begin with what comes from now on."""
        self._seen = len(self.chats())

    async def stored(self, run_id: str) -> dict[str, Any]:
        """What is stored of a run, once its log has ended."""
        async with self.client.stream(f"/runs/{run_id}/events") as stream:
            await stream.rest(10)
        found: dict[str, Any] = (await self.client.http.get(f"/runs/{run_id}")).json()
        return found

    def rss(self) -> int:
        """The server process's memory, in bytes."""
        size: int = psutil.Process(self.server.process.pid).memory_info().rss
        return size

    def log(self) -> str:
        """What the server has printed."""
        return "".join(self.server.output)


@asynccontextmanager
async def world(data_dir: Path, models_dir: Path, **settings: str) -> AsyncIterator[World]:
    """A server whose model is behind the fake's OpenAI-compatible address."""
    async with FakeUpstream() as fake:
        defaults = {"model": "openai:tiny", "openai_base_url": f"{fake.url}/v1", "openai_api_key": KEY}
        async with (
            started_server(data_dir, models_dir, **{**defaults, **settings}) as server,
            user_of(server) as client,
        ):
            await asyncio.to_thread(server.upload, dict(client.http.headers), "geo.txt", GEO)
            yield World(fake, server, client)
