"""A client that sends the very bytes it is given."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass
class Answered:
    """What came back, and whether the server closed after it."""

    data: bytes
    closed: bool

    @property
    def statuses(self) -> list[int]:
        """The statuses of the responses, in order; those of bodies that look like a response, too."""
        return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3})", self.data)]

    @property
    def body(self) -> bytes:
        """What follows the first head."""
        return self.data.partition(b"\r\n\r\n")[2]


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to a server."""
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port, limit=2**24)


async def sent(url: str, pieces: bytes | Iterable[bytes], *, answers: int = 1, seconds: float = 20) -> Answered:
    """Send, and read until the server closes or has given so many answers.

    After them it gets 0.2 s to close: long enough for a server that wants to.
    """
    reader, writer = await connect(url)
    got = Answered(b"", closed=False)
    # Read while we send: what a refusing server says comes before its reset, which would make it unreadable.
    reading = asyncio.create_task(_read(reader, got, answers))
    try:
        async with asyncio.timeout(seconds):
            with suppress(OSError):
                for piece in (pieces,) if isinstance(pieces, bytes) else pieces:
                    writer.write(piece)
                    await writer.drain()
            await reading
    finally:
        reading.cancel()
        writer.transport.abort()
    return got


async def _read(reader: asyncio.StreamReader, got: Answered, answers: int) -> None:
    with suppress(TimeoutError):
        while not got.closed:
            async with asyncio.timeout(0.2 if len(got.statuses) >= answers else None):
                try:
                    data = await reader.read(65536)
                except OSError:
                    data = b""
            got.data += data
            got.closed = not data
