"""A real Lorestream in a process of its own, as `make run` starts it, on a free port of 127.0.0.1."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

START_SECONDS = 60
EMAIL, PASSWORD = "test@example.com", "secret123"
# Tests of limits set their own.
NO_LIMITS = {
    "user_rate": "0/minute",
    **dict.fromkeys(("model_concurrency", "max_connections_per_address"), "10000"),
    **dict.fromkeys(("max_runs_per_user", "max_streams_per_user", "tokens_per_day", "uploads_per_hour"), "0"),
    **dict.fromkeys(("max_stored_bytes_per_user", "max_documents_per_user"), "0"),
}


@dataclass
class RunningServer:
    """A started server; ``output`` collects what it prints."""

    url: str
    process: subprocess.Popen[str]
    data_dir: Path
    output: list[str] = field(default_factory=list)

    def register(self, email: str = EMAIL, password: str = PASSWORD) -> dict[str, str]:
        """Make an account, if it is not there; the headers that its requests carry."""
        made = httpx.post(f"{self.url}/auth/register", json={"email": email, "password": password})
        assert made.status_code in {201, 409}, made.text
        return self.log_in(email, password)

    def log_in(self, email: str = EMAIL, password: str = PASSWORD) -> dict[str, str]:
        """The headers of a logged-in user's requests."""
        form = {"username": email, "password": password}
        answer = httpx.post(f"{self.url}/auth/token", data=form).raise_for_status().json()
        return {"Authorization": f"Bearer {answer['access_token']}"}

    def upload(self, headers: dict[str, str], name: str, content: bytes) -> dict[str, object]:
        """Upload a document and wait until it can be searched."""
        answer = httpx.post(
            f"{self.url}/documents/?wait=60", files={"file": (name, content)}, headers=headers, timeout=90
        ).raise_for_status()
        document: dict[str, object] = answer.json()
        assert document["status"] == "ready", document
        return document

    def stop(self, sig: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the exit code."""
        self.process.send_signal(sig)
        return self.process.wait(40)


@asynccontextmanager
async def started_server(data_dir: Path, models_dir: Path, **settings: str) -> AsyncIterator[RunningServer]:
    """``running_server`` for tests whose own event loop serves the model that the server asks."""
    context = running_server(data_dir, models_dir, **settings)
    server = await asyncio.to_thread(context.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


@contextmanager
def running_server(data_dir: Path, models_dir: Path, **settings: str) -> Iterator[RunningServer]:
    """Start a server with these LORESTREAM_ settings (lower-case names), and kill it at the end if it still runs."""
    data_dir.mkdir(parents=True, exist_ok=True)
    if not (data_dir / "models").exists():
        (data_dir / "models").symlink_to(models_dir, target_is_directory=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LORESTREAM_")}
    defaults = {"port": "0", "data_dir": str(data_dir), "model": "reader", "query_rate": "100000/minute", **NO_LIMITS}
    for name, value in {**defaults, **settings}.items():
        environment[f"LORESTREAM_{name.upper()}"] = value
    process = subprocess.Popen(
        [sys.executable, "-m", "lorestream", "serve"],
        env=environment,
        cwd=data_dir,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = RunningServer("", process, data_dir)
    reader = threading.Thread(target=_collect, args=(server,), daemon=True)
    reader.start()
    try:
        _wait_until_ready(server)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        reader.join(10)
        if process.stdout:
            process.stdout.close()


def _collect(server: RunningServer) -> None:
    assert server.process.stdout
    for line in server.process.stdout:
        server.output.append(line)


def _wait_until_ready(server: RunningServer) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        if found := re.search(r"is ready: (http://127\.0\.0\.1:\d+)", "".join(server.output)):
            server.url = found[1]
            if httpx.get(f"{server.url}/readyz").status_code == 200:
                return
        time.sleep(0.02)
    raise AssertionError("the server did not start:\n" + "".join(server.output))
