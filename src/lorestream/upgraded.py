"""A client's connection after it has become a WebSocket (RFC 6455): uvicorn's, with what it leaves unbounded bounded.

A message is read only once the one before it was taken, and its size is capped by uvicorn's ``ws_max_size``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from starlette.types import Scope
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from lorestream.connection import ABORT, break_off

log = logging.getLogger(__name__)

# A client that has not answered a ping within PING_SECONDS, when the next one would be due, is gone.
PING_SECONDS = 20.0
# Pieces of one message. Empty ones do not count for its size, so that there must be a limit of their number.
MAX_FRAGMENTS = 1000
# What may wait for a client that does not read: answers to its pings are written whatever it takes.
MAX_UNREAD_BYTES = 1024 * 1024
# uvicorn would log the address of every handshake, where a mistaken client may have put its token, and a trace for
# every text that is no UTF-8. What the application fails with is logged by ``middleware.RequestContext``.
_SILENT = logging.Logger("upgraded", logging.CRITICAL)  # noqa: LOG001 (no part of the tree of loggers)


class WebSocketConnection(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, which cuts off a client that does not read, and lets the application do so."""

    def __init__(self, *args: Any, write_seconds: float, **kwargs: Any) -> None:
        """Take what uvicorn gives, and how long a client may take nothing of what waits for it."""
        super().__init__(*args, **kwargs)
        self.logger = self.conn.logger = _SILENT
        self._write_seconds = write_seconds
        self._stalled: asyncio.TimerHandle | None = None
        self._leave: Callable[[], None] | None = None

    def adopt(self, leave: Callable[[], None]) -> None:
        """Be counted as the connection that this was until now; ``leave`` is called at its end."""
        self._leave = leave

    def connection_lost(self, exc: Exception | None) -> None:
        """Be counted no more."""
        self.resume_writing()
        super().connection_lost(exc)
        if self._leave is not None:
            self._leave()
            self._leave = None

    def pause_writing(self) -> None:
        """More waits for the client than is kept at ease: it has some time to take it."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self._write_seconds, self._give_up)

    def resume_writing(self) -> None:
        """The client reads."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def handle_connect(self, event: Request) -> None:
        """Give the application the means to break off the connection."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            cast("Scope", self.scope)[ABORT] = self._break_off

    def handle_cont(self, event: Frame) -> None:
        """Bound the pieces of one message."""
        if len(self.frames) >= MAX_FRAGMENTS:
            self._break_off()
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer, unless the client does not read the answers."""
        super().handle_ping()
        if self.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self._break_off()

    def keepalive_timeout(self) -> None:
        """Wait no longer for a client that is gone: its answer ends now, not when the kernel gives up."""
        self._break_off()

    def _give_up(self) -> None:
        log.info("a WebSocket's client did not read for %g seconds; closing", self._write_seconds)
        self._break_off()

    def _break_off(self) -> None:
        break_off(self.transport)
