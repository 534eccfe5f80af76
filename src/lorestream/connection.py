"""One client's connection, below HTTP's meaning: what the server asks of it, and how a response breaks it off."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Where the breaking off of the client's connection is kept in the scope, by ``ClientConnection``.
ABORT = "lorestream.abort"
# A client that vanished without a word is noticed in 45 s: by probes on a silent connection, else by what it does not
# acknowledge (tcp(7)).
KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", 0), 15),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPINTVL", 0), 10),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPCNT", 0), 3),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_USER_TIMEOUT", 0), 45_000),
)


class ClientConnection(HttpToolsProtocol):
    """uvicorn's connection, which also notices a client that vanished, and lets a response break it off."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let the kernel look after silent clients."""
        super().connection_made(transport)
        if peer := transport.get_extra_info("socket"):
            for level, option, value in KEEPALIVE:
                if option:
                    peer.setsockopt(level, option, value)

    def on_message_begin(self) -> None:
        """Give the request the means to break off its connection."""
        super().on_message_begin()
        cast("Scope", self.scope)[ABORT] = self._break_off

    def _break_off(self) -> None:
        # With a reset: a mere close would leave the kernel waiting to deliver what it holds.
        if peer := self.transport.get_extra_info("socket"):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
