"""What every driver of a real client is: one question asked in that client's own way, and what it saw."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

WEB = Path(__file__).parents[2] / "web"


@dataclass(frozen=True)
class Target:
    """The server to ask, the caller's token, and the model where the client names one.

    ``writing`` is set once the model has begun an answer that is then held: when a client stops that sees no tokens.
    """

    url: str
    token: str
    question: str
    model: str | None = None
    writing: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Seen:
    """What a client received: the text, the number of sources (None: this client gets none), how it ended.

    ``end`` is ``done``, ``stopped``, or what the client says went wrong. ``stopped_at`` (``time.monotonic()``) is when
    it stopped, where it was asked to.
    """

    text: str = ""
    sources: int | None = None
    end: str = ""
    stopped_at: float = 0.0

    def stop(self) -> None:
        """Note that the client stops now."""
        self.stopped_at = time.monotonic()
        self.end = "stopped"


async def left(target: Target, asking: asyncio.Task[Any]) -> Seen:
    """Leave a whole answer, of which a client sees nothing before its end, once the model writes it."""
    await target.writing.wait()
    seen = Seen()
    seen.stop()
    asking.cancel()
    await asyncio.wait([asking])
    return seen


class Driver(Protocol):
    """One real client of one door."""

    name: str
    # Whether a question asked through it can name its model, and whether it gets sources.
    names_model: bool
    sourced: bool

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        """Ask once. With ``stop``, stop in this client's own way as soon as the first text has come."""
        ...


class Script:
    """A driver written in JavaScript: ``web/tests/doors/NAME.mjs``, run by Node, which prints its ``Seen`` as JSON.

    It gets the target and ``stop`` as JSON in its first argument.
    """

    def __init__(
        self, name: str, script: str, *, names_model: bool, sourced: bool = True, flags: tuple[str, ...] = ()
    ) -> None:
        """``flags`` are for Node itself."""
        self.name, self.names_model, self.sourced = name, names_model, sourced
        self._flags = flags
        self._script = WEB / "tests" / "doors" / script

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        asked = {name: value for name, value in vars(target).items() if name != "writing"}
        given = json.dumps({**asked, "stop": stop})
        process = await asyncio.create_subprocess_exec(
            *("node", *self._flags, str(self._script), given),
            cwd=WEB,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, complaints = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, complaints.decode()
        return Seen(**json.loads(out))
