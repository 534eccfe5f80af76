"""Debian's redis-server as a process of its own, on a free port of 127.0.0.1, which tests kill, stall and empty."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.fakes.ports import kept_port

START_SECONDS = 10


class RedisServer:
    """One server; its port stays the same over restarts, its data does not."""

    def __init__(self, folder: Path) -> None:
        self.port = kept_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin, empty."""
        self._folder.mkdir(parents=True, exist_ok=True)
        options = {"--port": str(self.port), "--bind": "127.0.0.1", "--save": "", "--dir": str(self._folder)}
        self._process = subprocess.Popen(
            ["redis-server", *(word for pair in options.items() for word in pair)], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                self.command("PING")
                return
            except OSError:
                time.sleep(0.01)
        raise AssertionError("redis-server did not start")

    def kill(self) -> None:
        """SIGKILL: everything in it is lost."""
        assert self._process
        self._process.kill()
        self._process.wait(10)

    def stall(self) -> None:
        """Keep every connection and answer nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End the stall."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def command(self, *words: str) -> bytes:
        """Send one command; the raw answer (its first 64 KiB)."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=5)) as connection:
            parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
            connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
            answer: bytes = connection.recv(65536)
        return answer


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """A started server, killed at the end."""
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.go_on()
        server.kill()
