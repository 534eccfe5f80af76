"""One running server for every door, with a real llama.cpp model behind a line that tells, holds and breaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from tests.fakes.llama import llama_server
from tests.fakes.server import RunningServer, started_server

GEO = b"Paris is the capital of France.\n\nBerlin is the capital of Germany.\n"
QUESTION = "What is the capital of France?"
ANSWER = "Paris is the capital of France [1]." + " It lies on the Seine." * 12
MODEL = "openai:tiny"
MISSING = "openai:missing"
Mode = Literal["pass", "hold", "cut", "missing"]
# So much of an answer comes through before it is held or cut: some tokens, and never all.
PIECE_BYTES = 6000


@dataclass
class Call:
    """One connection of the server to its language model; times are ``time.monotonic()``."""

    opened: float = field(default_factory=time.monotonic)
    closed: asyncio.Future[float] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Line:
    """What lies between the server and llama.cpp. ``mode`` holds for the connections that come next.

    ``hold`` lets the beginning of an answer through and then nothing more, ``cut`` breaks there, ``missing`` answers
    itself that there is no such model.
    """

    def __init__(self, url: str) -> None:
        self.mode: Mode = "pass"
        self.calls: list[Call] = []
        self.held = asyncio.Event()  # an answer is being held
        self._to = urlsplit(url)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call, mode = Call(), self.mode
        self.calls.append(call)
        if mode == "missing":
            await self._refuse(reader, writer)
            call.closed.set_result(time.monotonic())
            return
        there, back = await asyncio.open_connection(self._to.hostname, self._to.port)
        asking = asyncio.create_task(_pass(reader, back))
        answering = asyncio.create_task(_pass(there, writer, None if mode == "pass" else PIECE_BYTES))
        if mode == "hold":
            answering.add_done_callback(lambda _: self.held.set())
        try:
            # The server's end of the connection tells that it has let go; the model's end alone does not.
            await asyncio.wait([asking] if mode == "hold" else [asking, answering], return_when="FIRST_COMPLETED")
            call.closed.set_result(time.monotonic())
            if mode == "cut" and answering.done():
                writer.transport.abort()
        finally:
            for task in (asking, answering):
                task.cancel()
            back.transport.abort()
            writer.close()

    @staticmethod
    async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"error": {"message": "The model does not exist.", "code": "model_not_found"}}'
        head = f"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        with suppress(OSError):
            await writer.drain()
        writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None = None) -> None:
    """Pass bytes on to the end, or at most so many."""
    with suppress(OSError):
        while data := await reader.read(65536 if most is None else most):
            writer.write(data)
            await writer.drain()
            if most is not None and (most := most - len(data)) <= 0:
                return


@dataclass
class World:
    """What a driver is sent to."""

    server: RunningServer
    headers: dict[str, str]
    line: Line

    @property
    def token(self) -> str:
        return self.headers["Authorization"].removeprefix("Bearer ")


@asynccontextmanager
async def world(folder: Path, models_dir: Path, **settings: str) -> AsyncIterator[World]:
    """A server with one user and one document, whose model is llama.cpp at the end of a ``Line``."""
    grammar = f'root ::= "{ANSWER}"'
    async with llama_server(folder, slots=4, grammar=grammar) as llama:
        line = Line(llama.url)
        async with await asyncio.start_server(line.serve, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            asked = {"model": MODEL, "openai_base_url": f"http://127.0.0.1:{port}/v1", "access_token_seconds": "3600"}
            async with started_server(folder / "data", models_dir, **{**asked, **settings}) as server:
                headers = await asyncio.to_thread(server.register)
                await asyncio.to_thread(server.upload, headers, "geo.txt", GEO)
                yield World(server, headers, line)
