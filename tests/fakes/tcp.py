"""A cable between a client and a server, which can be cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Cable:
    """Passes bytes on both ways; a cut cable refuses what comes after, a deaf one loses what the server says."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._whole = True
        self._deaf = False

    def deafen(self) -> None:
        """From now on requests arrive and answers do not."""
        self._deaf = True

    def cut(self) -> None:
        """Break every connection with a reset, and every new one at once."""
        self._whole = False
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """Let everything through again."""
        self._whole, self._deaf = True, False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on one connection until either end closes it."""
        if not self._whole:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(*self._to)
        ends = {writer, back}
        self._writers |= ends
        ways = [
            asyncio.create_task(self._pass(reader, back)),
            asyncio.create_task(self._pass(there, writer, hears=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._writers -= ends
            for end in ends:
                end.close()
            for way in ways:
                way.cancel()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, hears: bool = False) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if not (hears and self._deaf):
                    writer.write(data)
                    await writer.drain()


@asynccontextmanager
async def cable_to(url: str) -> AsyncIterator[tuple[Cable, str]]:
    """A cable to a server; the address to ask instead of the server's."""
    parts = urlsplit(url)
    cable = Cable(parts.hostname or "", parts.port or 80)
    server = await asyncio.start_server(cable.serve, "127.0.0.1", 0)
    try:
        yield cable, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        cable.cut()
