"""A scripted model server on raw asyncio sockets: Ollama's, OpenAI's and Anthropic's formats, and broken HTTP.

In a test::

    async with FakeUpstream("ollama") as fake:
        fake.play(Say("Paris"), Hold(), Say("."), Finish())
        model = OllamaModel("tiny", Endpoint(fake.base_url))
        ...
        connection = await fake.connection(0)     # the first request: .request, .opened, .closed (a future)
        await asyncio.wait_for(connection.closed, 1)

As a process (for benches, and for tests of the whole server)::

    python -m tests.fakes.upstream --port 11434 --format ollama --tokens-per-second 50

It prints one JSON line for each connection that opens or closes, with ``time.monotonic()`` of this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import itertools
import json
import signal
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, cast

from tests.fakes.formats import Format, kind_of, writer
from tests.fakes.script import (
    Answer,
    Close,
    Endless,
    Fail,
    Finish,
    Hold,
    Raw,
    Request,
    Reset,
    Say,
    Step,
)

__all__ = [
    "ANSWER",
    "Answer",
    "Close",
    "Connection",
    "Endless",
    "Fail",
    "FakeUpstream",
    "Finish",
    "Format",
    "Hold",
    "Raw",
    "Request",
    "Reset",
    "Say",
    "Step",
    "as_json",
    "tokens",
    "unit_vector",
]

ANSWER = "Paris is the capital of France [1]. It lies on the Seine, and it has been the capital for centuries."
MODEL = "tiny:latest"


class Connection(asyncio.Protocol):
    """One client: its request once it is complete, and when it came and went (``time.monotonic()``)."""

    def __init__(self, server: FakeUpstream) -> None:
        self.server = server
        self.opened = time.monotonic()
        self.transport: asyncio.Transport  # once it is open, and a TLS handshake done
        self.request: Request | None = None
        self.closed: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tokens = 0
        self._received = b""
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.stuck = asyncio.Event()  # the client did not read for a while: the socket took no more

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.server.connections.append(self)
        self.server.log(event="open", connection=id(self))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if self._task or not separator:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if len(body) >= int(headers.get("content-length", "0")):
            method, path, _ = first.split(" ", 2)
            self.request = Request(method, path, headers, body)
            self._task = asyncio.get_running_loop().create_task(self.server.serve(self))

    def pause_writing(self) -> None:
        self._writable.clear()
        self.stuck.set()

    def resume_writing(self) -> None:
        self._writable.set()
        self.stuck.clear()

    def eof_received(self) -> bool:
        self._gone()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone()
        self._writable.set()
        if self._task:
            self._task.cancel()

    def _gone(self) -> None:
        if not self.closed.done():
            self.closed.set_result(time.monotonic())
            self.server.log(event="close", connection=id(self), tokens=self.tokens)

    async def write(self, data: bytes) -> None:
        self.transport.write(data)
        if not self._writable.is_set():
            await self._writable.wait()

    def reset(self) -> None:
        raw: socket.socket = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class FakeUpstream:
    """The server. ``play`` sets what the next chat requests get; without it every one gets ``ANSWER``."""

    def __init__(
        self,
        format: Format | None = None,  # noqa: A002
        *,
        tokens_per_second: float = 0.0,
        respond: Callable[[Request], Answer] | None = None,
        log: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """``format`` None serves both; ``respond`` makes an answer for any request, before everything else."""
        self.format = format
        self.tokens_per_second = tokens_per_second
        self.connections: list[Connection] = []
        self.models: list[dict[str, Any]] = [{"name": MODEL, "model": MODEL, "modified_at": "2025-01-01T00:00:00Z"}]
        self.dimensions = 8
        self._respond = respond
        self._script: list[Answer] = []
        self._always: Answer | None = None
        self._log = log
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._scheme = "http"

    @property
    def url(self) -> str:
        assert self._server
        return f"{self._scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def base_url(self) -> str:
        """What the adapter of this format takes as its address."""
        return self.url + ("/v1" if self.format == "openai" else "")

    @property
    def requests(self) -> list[Request]:
        """The complete requests so far."""
        return [connection.request for connection in self.connections if connection.request]

    def play(self, *steps: Step, always: bool = False, **answer: Any) -> None:
        """Answer the next chat or embedding request (``always``: all that follow) with these steps."""
        made = Answer(steps, **answer)
        if always:
            self._always = made
        else:
            self.answer(made)

    def answer(self, answer: Answer) -> None:
        """Give this to the next chat or embedding request that has nothing else to get."""
        self._script.append(answer)

    async def start(self, port: int = 0, tls: ssl.SSLContext | None = None) -> FakeUpstream:
        loop = asyncio.get_running_loop()
        self._scheme = "https" if tls else "http"
        self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", port, backlog=1024, ssl=tls)
        return self

    async def stop(self) -> None:
        assert self._server
        self._server.close()
        for connection in self.connections:
            connection.transport.abort()
            if connection._task:
                connection._task.cancel()
        await asyncio.gather(*(c._task for c in self.connections if c._task), return_exceptions=True)
        await self._server.wait_closed()

    async def __aenter__(self) -> FakeUpstream:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def log(self, **entry: Any) -> None:
        if self._log:
            self._log({"time": time.monotonic(), **entry})

    async def connection(self, index: int, seconds: float = 5.0) -> Connection:
        """The ``index``-th connection whose request is complete; waits for it."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: len([c for c in self.connections if c.request]) > index)
        return [connection for connection in self.connections if connection.request][index]

    async def serve(self, connection: Connection) -> None:
        async with self._changed:
            self._changed.notify_all()
        request = connection.request
        assert request
        kind = kind_of(request.path)
        self.log(event="request", connection=id(connection), path=request.path)
        answer = self._respond(request) if self._respond else self._answer(request, kind)
        await _Player(self, connection, answer, kind).run()
        if not connection.answered.done():
            connection.answered.set_result(None)

    def _answer(self, request: Request, kind: Format) -> Answer:
        if self.format not in {None, kind}:
            return Answer((Raw(b"404 page not found"),), status=404, content_type="text/plain")
        if request.method == "GET":
            return self._list(request.path)
        if self._script:
            return self._script.pop(0)
        if self._always:
            return self._always
        if "embed" in request.path:
            return self._embed(request, kind)
        pause = 1 / self.tokens_per_second if self.tokens_per_second else 0.0
        return Answer((Say(tokens(ANSWER), pause=pause), Finish()))

    def _list(self, path: str) -> Answer:
        lists: dict[str, Any] = {
            "/api/tags": {"models": self.models},
            "/v1/models": {
                "object": "list",
                "data": [{"id": model["name"], "object": "model"} for model in self.models],
            },
        }
        lists["/v1/models?limit=100"] = lists["/v1/models"]
        if path not in lists:
            return Answer((Raw(b"404 page not found"),), status=404, content_type="text/plain")
        return as_json(lists[path])

    def _embed(self, request: Request, kind: Format) -> Answer:
        given = request.json["input"]
        rows = [unit_vector(text, self.dimensions) for text in ([given] if isinstance(given, str) else given)]
        if kind == "ollama":
            return as_json({"model": request.json["model"], "embeddings": rows})
        data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
        return as_json({"object": "list", "data": data, "model": request.json["model"]})


class _Over(Exception):
    """The script closed the connection."""


class _Player:
    """Plays one answer on one connection."""

    def __init__(self, server: FakeUpstream, connection: Connection, answer: Answer, kind: Format) -> None:
        self._server, self._connection, self._answer = server, connection, answer
        self._sent = 0
        self._cuts = sorted(answer.cuts)
        body = connection.request.json if connection.request and connection.request.body else {}
        self._writer = writer(kind, body.get("model", MODEL))

    async def run(self) -> None:
        with contextlib.suppress(_Over):
            for step in self._answer.before:
                await self._take(step)
            await self._send(self._head())
            for step in self._answer.steps:
                await self._take(step)
            if self._answer.chunked:
                await self._send(b"0\r\n\r\n")
            self._connection.transport.close()

    def _head(self) -> bytes:
        headers = {
            "Content-Type": self._writer.content_type
            if self._answer.content_type is None
            else self._answer.content_type
        }
        if self._answer.chunked:
            headers["Transfer-Encoding"] = "chunked"
        headers |= self._answer.headers
        lines = [f"HTTP/1.1 {self._answer.status} Status", *(f"{k}: {v}" for k, v in headers.items() if v), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    async def _take(self, step: Step) -> None:
        match step:
            case Say():
                await self._say(step)
            case Raw():
                await self._raw(step)
            case Hold():
                await (step.gate or asyncio.Event()).wait()
            case Finish():
                await self._body(self._writer.finish(step))
            case Fail():
                await self._body(self._writer.fail(step.error))
            case Endless():
                await self._endless(step)
            case Reset():
                self._connection.reset()
                raise _Over
            case Close():
                self._connection.transport.close()
                raise _Over

    async def _endless(self, step: Endless) -> None:
        await self._body(self._writer.token(step.text, reasoning=False))
        chunk = self._writer.token(step.text, reasoning=False) * 64
        while not self._connection.closed.done():
            await self._body(chunk)
            self._connection.tokens += 64
            await asyncio.sleep(0)

    async def _say(self, step: Say) -> None:
        frames = (self._writer.token(text, reasoning=step.reasoning) for text in step.pieces())
        if step.together:
            await self._body(b"".join(frames))
            return
        loop = asyncio.get_running_loop()
        due = loop.time()
        for frame in frames:
            due += step.pause
            if step.pause:
                await asyncio.sleep(max(0.0, due - loop.time()))
            await self._body(frame)
            self._connection.tokens += 1

    async def _raw(self, step: Raw) -> None:
        if not step.pause:
            await self._body(step.data)
            return
        for byte in step.data:
            await self._body(bytes([byte]))
            await asyncio.sleep(step.pause)

    async def _body(self, data: bytes) -> None:
        await self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._answer.chunked and data else data)

    async def _send(self, data: bytes) -> None:
        """Write, ending a write at every offset in ``cuts`` and letting the client read in between."""
        start = 0
        for cut in self._cuts:
            local = cut - self._sent
            if start < local < len(data):
                await self._connection.write(data[start:local])
                start = local
                for _ in range(4):
                    await asyncio.sleep(0)
        await self._connection.write(data[start:])
        self._sent += len(data)


def tokens(text: str) -> list[str]:
    """A text in pieces as a model would send them: words with the space before them."""
    pieces = text.split(" ")
    return [pieces[0], *(" " + piece for piece in pieces[1:])]


def as_json(value: Any, status: int = 200, **headers: str) -> Answer:
    """A whole JSON answer."""
    return Answer((Raw(json.dumps(value).encode()),), status=status, headers=headers, content_type="application/json")


def unit_vector(text: str, dimensions: int) -> list[float]:
    """A vector of length 1 made of the text's words, so that texts that share words are near each other."""
    row = [1e-3] * dimensions
    for word in text.lower().split():
        row[hashlib.sha256(word.encode()).digest()[0] % dimensions] += 1.0
    length = sum(value * value for value in row) ** 0.5
    return [value / length for value in row]


async def _main(options: argparse.Namespace) -> None:
    def log(entry: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(entry) + "\n")
        sys.stdout.flush()

    def respond(request: Request) -> Answer:
        if request.method == "GET" or "embed" in request.path:
            return server._answer(request, kind_of(request.path))
        text = request.json["messages"][-1]["content"] if options.echo else options.answer
        pieces = tokens(text)
        if options.tokens:
            pieces = list(itertools.islice(itertools.cycle([" " + piece.strip() for piece in pieces]), options.tokens))
        pause = 1 / options.tokens_per_second if options.tokens_per_second else 0.0
        wait = (Say("", pause=options.first_token_seconds),) if options.first_token_seconds else ()
        return Answer((*wait, Say(pieces, pause=pause), Finish(usage=(len(request.body) // 4, len(pieces)))))

    server = FakeUpstream(None if options.format == "both" else options.format, respond=respond, log=log)
    await server.start(options.port)
    log({"event": "ready", "url": server.url, "time": time.monotonic()})
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    await server.stop()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A scripted language-model server for tests and benches.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--format", choices=("ollama", "openai", "anthropic", "both"), default="both")
    parser.add_argument("--tokens-per-second", type=float, default=0.0, help="0: as fast as possible")
    parser.add_argument("--tokens", type=int, default=0, help="repeat the answer to this many tokens")
    parser.add_argument("--first-token-seconds", type=float, default=0.0, help="silence before the first token")
    parser.add_argument("--answer", default=ANSWER)
    parser.add_argument("--echo", action="store_true", help="answer with the last message")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(_main(_options()))
