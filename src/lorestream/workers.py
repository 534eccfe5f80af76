"""Several server processes on one socket, and the small parent that keeps them: ``lorestream serve --workers N``.

The parent listens and accepts nothing. Each child gets the socket and a line to the parent, on which it says that it
is ready, and whose end tells it that the parent is gone. A child that dies is started again. SIGTERM and SIGINT go on
to every child, which drains; SIGHUP replaces one child after another, each new one ready before the old one drains.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

from lorestream.errors import StartRefused
from lorestream.settings import Settings

log = logging.getLogger(__name__)

READY = b"ready"
BACKLOG = 2048
RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 15.0


class _Child:
    def __init__(self, process: asyncio.subprocess.Process, line: socket.socket) -> None:
        self.process = process
        self.line = line

    async def ready(self) -> bool:
        """Whether it came so far; False when it ended before."""
        with suppress(OSError):
            return await asyncio.get_running_loop().sock_recv(self.line, len(READY)) == READY
        return False

    def send(self, sig: int) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(sig)

    async def ended(self) -> int:
        code = await self.process.wait()
        self.line.close()
        return code


class _Place:
    """One of the servers to be kept running; ``changing`` is held while another child takes it."""

    def __init__(self, child: _Child) -> None:
        self.child = child
        self.changing = asyncio.Lock()


class Workers:
    """The parent of ``settings.workers`` servers."""

    def __init__(self, settings: Settings) -> None:
        """Raises StartRefused for several workers without Redis."""
        if settings.redis_url is None:
            raise StartRefused(
                f"{settings.workers} workers need Redis, through which they pass on answers and Stop: set "
                "LORESTREAM_REDIS_URL, or start a single worker."
            )
        self._settings = settings
        self._children: set[_Child] = set()
        self._places: list[_Place] = []
        self._keepers: set[asyncio.Task[None]] = set()
        self._ending = False
        self._rolling: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until a signal ends it. Raises StartRefused when the address is taken or a worker does not start."""
        with self._listen() as listening:
            loop = asyncio.get_running_loop()
            for sig in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(sig, self._end, sig, listening)
            loop.add_signal_handler(signal.SIGHUP, self._replace_all, listening)
            try:
                for number in range(self._settings.workers):
                    if self._ending:
                        break
                    place = _Place(await self._start(listening, greet=number == 0))
                    self._places.append(place)
                    self._keep(place, listening)
                await self._all_ended()
            finally:
                self._ending = True
                for child in self._children:
                    child.send(signal.SIGTERM)
                await self._all_ended()

    def _listen(self) -> socket.socket:
        host, port = self._settings.host, self._settings.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            listening.listen(BACKLOG)
        except OSError as error:
            listening.close()
            raise StartRefused(
                f"Lorestream cannot listen on {host}:{port} ({error.strerror}). Set LORESTREAM_PORT to a free one."
            ) from error
        return listening

    async def _start(self, listening: socket.socket, *, greet: bool = False) -> _Child:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        environment = {**os.environ, **self._settings.as_environment()}
        with theirs:
            fds = (listening.fileno(), theirs.fileno())
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "lorestream", "serve-worker"),
                *("--listening", str(fds[0]), "--parent", str(fds[1])),
                *(("--greet",) if greet else ()),
                env=environment,
                pass_fds=fds,
                start_new_session=True,  # a Ctrl-C reaches the parent alone, which passes it on
            )
        child = _Child(process, ours)
        self._children.add(child)
        if self._ending:
            child.send(signal.SIGTERM)
        if not await child.ready() and not self._ending:
            self._children.discard(child)
            await child.ended()
            raise StartRefused("A worker did not start; it said why above.")
        return child

    def _keep(self, place: _Place, listening: socket.socket) -> None:
        task = asyncio.create_task(self._restart_when_dead(place, place.child, listening))
        self._keepers.add(task)
        task.add_done_callback(self._keepers.discard)

    async def _restart_when_dead(self, place: _Place, child: _Child, listening: socket.socket) -> None:
        code = await child.ended()
        self._children.discard(child)
        delay = RESTART_SECONDS
        async with place.changing:
            while place.child is child and not self._ending:
                log.warning("a worker ended with code %d; another one starts in %.1f s", code, delay)
                await asyncio.sleep(delay)
                delay = min(2 * delay, LONGEST_RESTART_SECONDS)
                with suppress(StartRefused, OSError):
                    await self._fill(place, listening)

    async def _fill(self, place: _Place, listening: socket.socket) -> None:
        """Start a child in the place of another one. Raises StartRefused; the place is then as it was."""
        if not self._ending:
            place.child = await self._start(listening)
            self._keep(place, listening)

    def _end(self, sig: int, listening: socket.socket) -> None:
        self._ending = True
        listening.close()
        for child in self._children:
            child.send(sig)

    def _replace_all(self, listening: socket.socket) -> None:
        if not self._ending and (self._rolling is None or self._rolling.done()):
            self._rolling = asyncio.create_task(self._replace_one_by_one(listening))

    async def _replace_one_by_one(self, listening: socket.socket) -> None:
        for place in self._places:
            async with place.changing:  # one that is just being started is replaced once it is ready
                old = place.child
                try:
                    await self._fill(place, listening)
                except (StartRefused, OSError):
                    log.exception("the new worker did not start; the old ones go on")
                    return
            old.send(signal.SIGTERM)
            await old.process.wait()

    async def _all_ended(self) -> None:
        while self._keepers:
            await asyncio.wait(self._keepers)


async def until_orphaned(line: socket.socket, leave: Callable[[], None]) -> None:
    """Tell the parent that this worker is ready, then leave when the parent is gone."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        await loop.sock_sendall(line, READY)
        await loop.sock_recv(line, 1)
    leave()
