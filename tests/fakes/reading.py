"""Reading our event streams as a client does: typed events, the time each block came, one terminal event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from lorestream.streaming import sse
from lorestream.streaming.events import Done, Error, Event, Sources, Token
from tests.fakes.server import RunningServer

QUESTION = "What is the capital of France?"
GEO = b"Paris is the capital of France."


@dataclass
class Stream:
    """What was read so far of one event stream."""

    response: httpx.Response
    raw: bytes = b""
    events: list[Event] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    _rest: bytes = b""

    @property
    def run_id(self) -> str:
        return self.response.headers["x-run-id"]

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Token))

    @property
    def terminal(self) -> Done | Error | None:
        last = self.events[-1] if self.events else None
        return last if isinstance(last, Done | Error) else None

    @property
    def sources(self) -> Sources:
        return next(event for event in self.events if isinstance(event, Sources))

    def feed(self, data: bytes) -> None:
        self.raw += data
        *blocks, self._rest = (self._rest + data.replace(sse.HEARTBEAT, b"")).split(b"\n\n")
        for block in blocks:
            self.times.append(time.monotonic())
            self.ids.append(next(line[4:].decode() for line in block.split(b"\n") if line.startswith(b"id: ")))
            self.events.append(sse.decode(block))

    async def more(self, seconds: float = 10) -> None:
        """Read once."""
        async with asyncio.timeout(seconds):
            self.feed(await anext(self._bytes))

    async def until(self, wanted: type[Event], count: int = 1, seconds: float = 10) -> None:
        """Read on until ``count`` events of this kind have come."""
        async with asyncio.timeout(seconds):
            while sum(isinstance(event, wanted) for event in self.events) < count:
                self.feed(await anext(self._bytes))

    async def rest(self, seconds: float = 20) -> None:
        """Read to the end."""
        async with asyncio.timeout(seconds):
            async for data in self._bytes:
                self.feed(data)

    def __post_init__(self) -> None:
        self._bytes = self.response.aiter_bytes()


class Client:
    """One logged-in user of a server."""

    def __init__(self, server: RunningServer, headers: dict[str, str]) -> None:
        self.http = httpx.AsyncClient(
            base_url=server.url, headers=headers, timeout=30, limits=httpx.Limits(max_connections=None)
        )

    async def aclose(self) -> None:
        await self.http.aclose()

    @asynccontextmanager
    async def stream(self, path: str, **kwargs: Any) -> AsyncIterator[Stream]:
        async with self.http.stream("GET", path, **kwargs) as response:
            yield Stream(response)

    @asynccontextmanager
    async def ask(self, question: str = QUESTION, **params: Any) -> AsyncIterator[Stream]:
        async with self.stream("/query/stream/", params={"question": question, **params}) as stream:
            assert stream.response.status_code == 200, await stream.response.aread()
            yield stream

    async def answer(self, question: str = QUESTION, **params: Any) -> Stream:
        """Ask and read to the end."""
        async with self.ask(question, **params) as stream:
            await stream.rest()
        return stream

    async def stop(self, run_id: str) -> httpx.Response:
        return await self.http.post(f"/runs/{run_id}/stop")


@asynccontextmanager
async def user_of(server: RunningServer, email: str = "test@example.com") -> AsyncIterator[Client]:
    """A fresh account's client."""
    client = Client(server, await asyncio.to_thread(server.register, email))
    try:
        yield client
    finally:
        await client.aclose()
