"""The connections to Redis: the one file that knows its client library.

Commands go out as pipelines that give up after COMMAND_SECONDS, so that a stalled server costs a second and no more.
Waiting for news has a connection of its own. Everything that keeps a command from being carried out is ``Busy``.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from lorestream.errors import Busy, StartRefused

COMMAND_SECONDS = 1.0
# Pipelines at the same time; one more is answered with Busy.
MAX_CONNECTIONS = 64

Command = tuple[Any, ...]


class Script:
    """A Lua script, which Redis carries out as one step."""

    def __init__(self, text: str) -> None:
        """Keep the text and the digest that Redis knows it by."""
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, key: str, *arguments: Any) -> Command:
        """The command that runs it on one key."""
        return ("EVALSHA", self.sha, 1, key, *arguments)


class RedisLink:
    """One worker's way to Redis. Built without I/O; ``open`` before the first use."""

    def __init__(self, url: str, scripts: Sequence[Script] = ()) -> None:
        """``scripts`` are loaded again whenever Redis has forgotten them."""
        self.worker_id = uuid4().hex
        self.reachable = False
        self._scripts = scripts
        self._commands = _client(url, COMMAND_SECONDS, MAX_CONNECTIONS)
        self._news = _client(url, None, 2)

    async def open(self) -> None:
        """Raises StartRefused when Redis cannot be reached."""
        try:
            await self.run(("PING",))
        except Busy as failure:
            raise StartRefused(
                "Redis cannot be reached at LORESTREAM_REDIS_URL. Is it running, and are its address and password "
                "right? A single worker needs no Redis: leave the setting out."
            ) from failure

    async def close(self) -> None:
        """Close every connection."""
        for client in (self._commands, self._news):
            await client.aclose()

    async def run(self, *commands: Command) -> list[Any]:
        """Carry the commands out in one round trip; the answers in their order.

        A command that Redis refused (it is out of memory, say) has an ``Exception`` for its answer. Raises Busy when
        Redis cannot be reached: then nobody knows which of the commands were carried out.
        """
        answers = await self._run(commands)
        if any(isinstance(answer, NoScriptError) for answer in answers):
            await self._run([("SCRIPT", "LOAD", script.text) for script in self._scripts])
            answers = await self._run(commands)
        return answers

    async def ask(self, *commands: Command) -> list[Any]:
        """``run`` for commands that must all be carried out: a refusal is Busy as well."""
        answers = await self.run(*commands)
        for answer in answers:
            if isinstance(answer, Exception):
                raise _busy() from answer
        return answers

    async def news(
        self, cursors: dict[str, str], block_ms: int, count: int
    ) -> dict[str, list[tuple[str, dict[bytes, bytes]]]]:
        """New entries of these streams after these ids, as (id, fields); waits ``block_ms`` for the first.

        Raises Busy when Redis cannot be reached, or is silent for longer than it was asked to wait.
        """
        try:
            found = await self._news.execute_command(  # type: ignore[no-untyped-call]
                "XREAD", "COUNT", count, "BLOCK", block_ms, "STREAMS", *cursors, *cursors.values()
            )
        except (RedisError, OSError) as error:
            self.reachable = False
            raise _busy() from error
        return {name.decode(): [(entry.decode(), fields) for entry, fields in entries] for name, entries in found or ()}

    async def _run(self, commands: Sequence[Command]) -> list[Any]:
        pipeline = self._commands.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        try:
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            self.reachable = False
            raise _busy() from error
        lost = next(
            (one for one in answers if isinstance(one, RedisError) and not isinstance(one, ResponseError)), None
        )
        self.reachable = lost is None
        if lost is not None:
            raise _busy() from lost
        return answers


async def end_tasks(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks that use Redis, until they are done: its client loses a cancellation that meets its own timeout."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.5)


def _busy() -> Busy:
    return Busy("The event store cannot be reached right now; please try again in a moment.", retry_after=2)


def _client(url: str, command_seconds: float | None, connections: int) -> Redis:
    return Redis.from_url(
        url,
        protocol=2,
        socket_connect_timeout=COMMAND_SECONDS,
        socket_timeout=command_seconds or 3 * COMMAND_SECONDS,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        max_connections=connections,
    )
