"""What a scripted model server does: the steps of an answer, in the order in which it takes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Say:
    """Tokens, each a chunk of its own; ``pause`` seconds before every one."""

    texts: str | Sequence[str]
    reasoning: bool = False
    pause: float = 0.0
    together: bool = False  # all chunks in one write

    def pieces(self) -> list[str]:
        return [self.texts] if isinstance(self.texts, str) else list(self.texts)


@dataclass(frozen=True)
class Raw:
    """Bytes of the body as they are; ``pause`` seconds between single bytes if not 0."""

    data: bytes
    pause: float = 0.0


@dataclass(frozen=True)
class Hold:
    """Wait for ``gate``, or for ever: until the client goes or the server is closed."""

    gate: asyncio.Event | None = None


@dataclass(frozen=True)
class Finish:
    """The finish marker, the counters and the mark of the end; ``reason`` None leaves the marker out."""

    reason: str | None = "stop"
    usage: tuple[int, int] | None = (10, 5)
    end_mark: bool = True


@dataclass(frozen=True)
class Fail:
    """An error inside the answer."""

    error: Any = "something broke"


@dataclass(frozen=True)
class Reset:
    """Break the connection with RST (SO_LINGER 0)."""


@dataclass(frozen=True)
class Close:
    """Close the connection with FIN, without the end of the chunked body."""


@dataclass(frozen=True)
class Endless:
    """The token ``text`` for ever, as fast as the socket takes it."""

    text: str = "word "


Step = Say | Raw | Hold | Finish | Fail | Reset | Close | Endless


@dataclass(frozen=True)
class Answer:
    """One HTTP answer: status and headers, after ``before``, and then the steps of the body."""

    steps: tuple[Step, ...] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str | None = None  # None: the format's own
    before: tuple[Step, ...] = ()  # taken before the status line: Hold, Reset, Close
    cuts: tuple[int, ...] = ()  # offsets in the whole answer at which a write ends
    chunked: bool = True


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)
