"""One server with a scripted model for every client that is tested here, and a wire to it that breaks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.fakes.reading import GEO
from tests.fakes.server import RunningServer, started_server
from tests.fakes.upstream import Connection, FakeUpstream


@dataclass
class At:
    """A server, its model, and one user with one document."""

    server: RunningServer
    fake: FakeUpstream
    token: str

    @property
    def url(self) -> str:
        return self.server.url

    def chats(self) -> list[Connection]:
        """The generations that were asked of the model so far."""
        return [one for one in self.fake.connections if one.request and "chat" in one.request.path]

    async def chat(self, index: int, seconds: float = 10) -> Connection:
        """The ``index``-th of them, once it is there."""
        async with asyncio.timeout(seconds):
            while len(self.chats()) <= index:
                await self.fake.connection(len(self.fake.connections), seconds=seconds)
        return self.chats()[index]


@asynccontextmanager
async def serving(folder: Path, models_dir: Path, **settings: str) -> AsyncIterator[At]:
    """The server, whose model is the scripted one."""
    async with FakeUpstream() as fake:
        asked = {"model": "openai:tiny:latest", "openai_base_url": f"{fake.url}/v1", **settings}
        async with started_server(folder, models_dir, **asked) as server:
            headers = await asyncio.to_thread(server.register)
            await asyncio.to_thread(server.upload, headers, "geo.txt", GEO)
            yield At(server, fake, headers["Authorization"].removeprefix("Bearer "))


class BadWire:
    """Passes bytes on, and breaks each of the next ``cuts`` answers after a random number of bytes."""

    def __init__(self, url: str, cuts: int, chance: random.Random, most: int = 2000) -> None:
        self.left, self._chance, self._most = cuts, chance, most
        self._to = urlsplit(url)
        self.url = ""
        self.open: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self.open.add(task)
        task.add_done_callback(self.open.discard)
        there, back = await asyncio.open_connection(self._to.hostname, self._to.port)
        asking = asyncio.create_task(_pass(reader, back, lambda: None))
        try:
            await _pass(there, writer, self._bytes_left)
        finally:
            asking.cancel()
            back.transport.abort()
            writer.transport.abort()

    def _bytes_left(self) -> int | None:
        if self.left <= 0:
            return None
        self.left -= 1
        return self._chance.randrange(0, self._most)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: Callable[[], int | None]) -> None:
    """Pass on what comes; from the first byte of an event stream on, at most so many."""
    left: int | None = None
    with suppress(OSError):
        while data := await reader.read(65536):
            if left is None and b"text/event-stream" in data[:1000]:
                left = most()
            if left is not None:
                data, left = data[:left], left - len(data)
            writer.write(data)
            await writer.drain()
            if left is not None and left <= 0:
                return


@asynccontextmanager
async def bad_wire(url: str, cuts: int, chance: random.Random) -> AsyncIterator[BadWire]:
    """A wire to a server that breaks so often; ``url`` is where to ask."""
    wire = BadWire(url, cuts, chance)
    async with await asyncio.start_server(wire.serve, "127.0.0.1", 0) as listening:
        wire.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield wire
        for task in wire.open:
            task.cancel()
        await asyncio.gather(*wire.open, return_exceptions=True)
