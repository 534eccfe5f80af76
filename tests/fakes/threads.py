"""Asking in conversations of a real server, as a client does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.fakes.reading import GEO, QUESTION, Client, Stream, user_of
from tests.fakes.server import RunningServer, started_server
from tests.fakes.upstream import Connection, FakeUpstream, Request


class ScriptedModel(FakeUpstream):
    """A model server whose generations can be told from its other requests."""

    @property
    def chats(self) -> list[Request]:
        """The generations that were asked for so far."""
        return [request for request in self.requests if "chat" in request.path]

    def prompts(self) -> list[list[dict[str, Any]]]:
        """The messages of every generation so far."""
        return [request.json["messages"] for request in self.chats]

    async def chat(self, index: int, seconds: float = 10) -> Connection:
        """The ``index``-th generation; waits for it."""
        for number in itertools.count():
            connection = await self.connection(number, seconds)
            assert connection.request
            index -= "chat" in connection.request.path
            if index < 0:
                return connection
        raise AssertionError


@asynccontextmanager
async def asking(
    tmp_path: Path, models_dir: Path, **settings: str
) -> AsyncIterator[tuple[ScriptedModel, RunningServer, Client]]:
    """A scripted model, a server that asks it, and a user with one document."""
    fake = ScriptedModel("ollama")
    async with fake:
        chosen = {"model": "ollama:tiny:latest", "ollama_url": fake.url, **settings}
        async with started_server(tmp_path / "data", models_dir, **chosen) as server, user_of(server) as client:
            await asyncio.to_thread(server.upload, dict(client.http.headers), "geo.txt", GEO)
            yield fake, server, client


@dataclass
class House:
    """One such server for all tests of a file, each of which asks as a user of its own."""

    model: ScriptedModel
    server: RunningServer

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[tuple[ScriptedModel, RunningServer, Client]]:
        """The model, which has heard nothing yet, the server, and a new user with one document."""
        self.model.connections.clear()
        async with user_of(self.server, f"{uuid4().hex}@example.com") as client:
            await asyncio.to_thread(self.server.upload, dict(client.http.headers), "geo.txt", GEO)
            yield self.model, self.server, client


@asynccontextmanager
async def house_of(folder: Path, models_dir: Path) -> AsyncIterator[House]:
    """Start it."""
    async with asking(folder, models_dir) as (model, server, _):
        yield House(model, server)


@dataclass
class Thread:
    """One conversation of a user."""

    client: Client
    id: str

    @classmethod
    async def begin(cls, client: Client, **body: Any) -> Thread:
        answer = await client.http.post("/conversations/", json=body)
        assert answer.status_code == 201, answer.text
        return cls(client, answer.json()["conversation_id"])

    @property
    def path(self) -> str:
        return f"/conversations/{self.id}"

    async def read(self) -> dict[str, Any]:
        answer = await self.client.http.get(self.path)
        assert answer.status_code == 200, answer.text
        whole: dict[str, Any] = answer.json()
        return whole

    @asynccontextmanager
    async def post(self, path: str, body: dict[str, Any] | None) -> AsyncIterator[Stream]:
        async with self.client.http.stream("POST", f"{self.path}{path}", json=body) as response:
            yield Stream(response)

    @asynccontextmanager
    async def ask(self, question: str = QUESTION, **body: Any) -> AsyncIterator[Stream]:
        async with self.post("/questions", {"question": question, **body}) as stream:
            assert stream.response.status_code == 200, await stream.response.aread()
            yield stream

    async def answer(self, question: str = QUESTION, **body: Any) -> Stream:
        """Ask and read to the end."""
        async with self.ask(question, **body) as stream:
            await stream.rest()
        return stream

    async def regenerate(self, answered: Stream, **body: Any) -> Stream:
        """Another answer beside one that was read to its end."""
        assert answered.terminal
        path = f"/messages/{answered.terminal.message_id}/regenerate"
        async with self.post(path, body or None) as stream:
            assert stream.response.status_code == 200, await stream.response.aread()
            await stream.rest()
        return stream
