"""The command line in processes of its own: in a pipe, and at a terminal of its own (a pty)."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

CTRL_C, CTRL_D = b"\x03", b"\x04"


def environment(home: Path, **settings: str) -> dict[str, str]:
    """Of a user with this home, who has set these LORESTREAM_ settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LORESTREAM_", "XDG_"))}
    named = {f"LORESTREAM_{name.upper()}": value for name, value in settings.items()}
    return {**clean, "HOME": str(home), "TERM": "dumb", **named}


def logged_in(home: Path, url: str, token: str) -> Path:
    """The file that ``lorestream login URL --api-key`` leaves."""
    file = home / ".config" / "lorestream" / "login.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"url": url, "token": token}))
    file.chmod(0o600)
    return file


async def run(home: Path, *arguments: str, typed: bytes = b"", **settings: str) -> tuple[int, str, str]:
    """Run a command to its end in a pipe: the exit code, what it printed, what it complained of."""
    async with started(home, *arguments, **settings) as process, asyncio.timeout(60):
        out, err = await process.communicate(typed)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def started(home: Path, *arguments: str, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command that runs in a pipe; killed at the end if it still does."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lorestream", *arguments),
        cwd=home, env=environment(home, **settings),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Terminal:
    """A command at a terminal: what it shows, and what is typed."""

    def __init__(self, process: asyncio.subprocess.Process, descriptor: int) -> None:
        self.process = process
        self.shown = ""
        self._descriptor = descriptor
        self._changed = asyncio.Condition()

    def type(self, keys: bytes) -> None:
        os.write(self._descriptor, keys)

    async def until(self, text: str, seconds: float = 60) -> str:
        """What was shown up to the end of this text, which is taken off."""
        async with asyncio.timeout(seconds):
            while text not in self.shown:
                data = await asyncio.to_thread(self._read)
                if not data:
                    raise AssertionError(f"{text!r} was never shown: {self.shown!r}")
                self.shown += data.decode(errors="replace").replace("\r\n", "\n")
        before, found, self.shown = self.shown.partition(text)
        return before + found

    def _read(self) -> bytes:
        with suppress(OSError):  # the other end is closed
            return os.read(self._descriptor, 65536)
        return b""


@asynccontextmanager
async def at_terminal(home: Path, *arguments: str, **settings: str) -> AsyncIterator[Terminal]:
    """A command whose terminal is ours, so that Ctrl-C is what it is for a person."""
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lorestream", *arguments),
        cwd=home, env=environment(home, **settings),
        stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=take_terminal,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(ours)
