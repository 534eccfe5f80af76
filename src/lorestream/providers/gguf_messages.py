"""What the server and the process that holds an embedded language model tell each other: a line of JSON each."""

from __future__ import annotations

from typing import Literal

import msgspec


class Task(msgspec.Struct):
    """What the process is to serve: the file at ``path``, fetched from ``repository`` into ``folder`` if missing."""

    parent: int
    path: str
    key: str
    context_tokens: int
    slots: int
    threads: int
    repository: str = ""
    files: list[str] = []
    folder: str = ""


class State(msgspec.Struct):
    """How far it is; with ``address`` once it is ready, and ``key`` where the state is passed on to other workers."""

    phase: Literal["starting", "fetching", "loading", "ready", "failed"]
    percent: int = 0
    address: str = ""
    key: str = ""
    message: str = ""
    final: bool = False
