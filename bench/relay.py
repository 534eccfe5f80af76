"""CPU per relayed token of the server process, as a multiple of nginx proxying the same upstream bare.

The same scripted upstream feeds both; both are read by the same client. The two take turns (A B A B …) and the report
gives the ratio of each pair and their median, since absolute times on a shared machine are noise. The window begins
when every stream has had its first token, so that asking (login, retrieval) does not count as relaying.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from tests.fakes.reading import GEO, QUESTION
from tests.fakes.server import running_server

UPSTREAM_BODY = {"model": "tiny:latest", "stream": True, "messages": [{"role": "user", "content": "?"}]}
NGINX = """
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
    uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
    server {{ listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; proxy_buffering off; }} }}
}}
"""


@dataclass(frozen=True)
class Load:
    """How many streams, how fast, and for how long the window is open."""

    streams: int = 100
    tokens_per_second: float = 50
    seconds: float = 8


class Client(asyncio.Protocol):
    """Asks once and counts what comes: one ``data:`` line is one token."""

    def __init__(self, request: bytes, started: Callable[[], None]) -> None:
        self.tokens = 0
        self._request = request
        self._started: Callable[[], None] | None = started

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.tokens += data.count(b"data: ")
        if self._started and self.tokens > 1:
            self._started()
            self._started = None


@asynccontextmanager
async def clients(port: int, request: bytes, load: Load) -> AsyncIterator[list[Client]]:
    """All streams, once each has had a token."""
    loop = asyncio.get_running_loop()
    waiting, all_started = load.streams, asyncio.Event()

    def started() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            all_started.set()

    made = []
    for _ in range(load.streams):
        _, client = await loop.create_connection(lambda: Client(request, started), "127.0.0.1", port)
        made.append(client)
    try:
        async with asyncio.timeout(60):
            await all_started.wait()
        yield made
    finally:
        for client in made:
            client.transport.abort()


async def cpu_per_token(pid: int, port: int, request: bytes, load: Load) -> tuple[float, int]:
    """Microseconds of CPU (user and system) per token of one process and its children, and the tokens counted."""
    async with clients(port, request, load) as readers:
        before_cpu, before = _cpu(pid), sum(client.tokens for client in readers)
        await asyncio.sleep(load.seconds)
        tokens = sum(client.tokens for client in readers) - before
        return (_cpu(pid) - before_cpu) / tokens * 1e6, tokens


def _cpu(pid: int) -> float:
    process = psutil.Process(pid)
    total = 0.0
    for one in (process, *process.children()):
        if "lorestream.ingest_worker" not in one.cmdline():  # the ingestion worker idles beside the server
            times = one.cpu_times()
            total += times.user + times.system
    return total


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _post(path: str) -> bytes:
    body = json.dumps(UPSTREAM_BODY).encode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def _spawn(stack: ExitStack, *command: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


def measure(rounds: int, load: Load, models_dir: Path) -> list[tuple[float, float]]:
    """``rounds`` pairs (nginx, Lorestream) of microseconds per token."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        upstream, proxy = _free_port(), _free_port()
        rate = str(load.tokens_per_second)
        _spawn(
            stack, sys.executable, "-m", "tests.fakes.upstream", "--port", str(upstream), "--format", "openai",
            "--tokens-per-second", rate, "--tokens", str(int(load.tokens_per_second * (load.seconds + 60))),
        )  # fmt: skip
        conf = Path(folder) / "nginx.conf"
        conf.write_text(NGINX.format(dir=folder, port=proxy, upstream=upstream))
        nginx = _spawn(stack, "nginx", "-c", str(conf), "-e", "stderr")
        server = stack.enter_context(
            running_server(
                Path(folder) / "data",
                models_dir,
                model="openai:tiny:latest",
                openai_base_url=f"http://127.0.0.1:{upstream}/v1",
                max_output_tokens="32768",
                context_tokens="65536",
            )
        )
        headers = server.register()
        server.upload(headers, "geo.txt", GEO)
        port = int(re.findall(r":(\d+)$", server.url)[0])
        asked = QUESTION.replace(" ", "+").replace("?", "%3F")
        ask = f"GET /query/stream/?question={asked} HTTP/1.1\r\nHost: localhost\r\n"
        ask += f"Authorization: {headers['Authorization']}\r\n\r\n"
        _wait_for(upstream)
        _wait_for(proxy)
        pairs = []
        for _ in range(rounds):
            bare, bare_tokens = asyncio.run(cpu_per_token(nginx.pid, proxy, _post("/v1/chat/completions"), load))
            ours, our_tokens = asyncio.run(cpu_per_token(server.process.pid, port, ask.encode(), load))
            pairs.append((bare, ours))
            print(
                f"nginx {bare:6.1f} µs ({bare_tokens})   lorestream {ours:6.1f} µs ({our_tokens})   {ours / bare:.2f}"
            )
        return pairs


def main() -> None:
    """Measure and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=Load.streams)
    parser.add_argument("--tokens-per-second", type=float, default=Load.tokens_per_second)
    parser.add_argument("--seconds", type=float, default=Load.seconds)
    options = parser.parse_args()
    load = Load(options.streams, options.tokens_per_second, options.seconds)
    with tempfile.TemporaryDirectory() as models:
        pairs = measure(options.rounds, load, Path(models))
    ratios = [ours / bare for bare, ours in pairs]
    print(f"CPU per token, Lorestream as a multiple of bare nginx: median {statistics.median(ratios):.2f} "
          f"(min {min(ratios):.2f}, max {max(ratios):.2f}, {len(ratios)} pairs)")  # fmt: skip
