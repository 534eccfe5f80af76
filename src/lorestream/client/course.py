"""The course of one answer as its client sees it, without any I/O: what to send next, and what came.

The question is sent under a ``client_request_id``, so that it may be sent again and is asked once. From the first
answer on the run has a name, and a connection that ends without a terminal event is followed by another one from the
last event read (``Last-Event-ID``); where the events are no longer kept, by what is stored of the answer. Events are
numbered without a gap: one that was read before is passed over, and one that is missing ends the connection.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from lorestream.client import calls
from lorestream.client.calls import Call
from lorestream.client.failures import NotUnderstood, Unreachable
from lorestream.client.frames import Frames
from lorestream.client.models import Stored
from lorestream.streaming.events import Done, Error, Event, Fold, Sources, Token
from lorestream.streaming.sse import CURSOR

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 5.0
LOOK_SECONDS = 1.0
# A connection that lasts so long serves, also where only heartbeats come: the model is slow, not the server away.
SERVED_SECONDS = 5.0
# The server, or what stands before it, may answer otherwise in a moment.
PASSING = frozenset((429, 500, 502, 503, 504))
_EVENT: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class Course:
    """One answer: the requests to send, in ``request``, and what became of each."""

    def __init__(
        self,
        question: Call[None] | None,
        run_id: str | None = None,
        *,
        patience_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Ask a question, or follow a run from its first event.

        ``patience_seconds`` is how long a server that was there may be away before it is given up.
        """
        self.run_id = run_id
        self.last = 0
        self.fold = Fold()
        self.over = False  # the terminal event was read
        self.broken = False  # nothing more of this connection is to be read
        self.pause = 0.0  # seconds before the next request
        self.met = False  # the server was there once
        self.sent = False  # it has the question, or may have it
        self._question = question
        self._state: Literal["ask", "events", "stored"] = "events" if run_id else "ask"
        self._frames = Frames()
        self._patience_seconds, self._clock, self._chance = patience_seconds, clock, chance
        self._since: float | None = None  # when the connection was first lost, since it last served
        self._opened = 0.0
        self._attempts = 0

    def request(self) -> Call[Any]:
        """What to send now."""
        self.sent = True
        return self._call()

    def _call(self) -> Call[Any]:
        if self._state == "ask":
            assert self._question
            return self._question
        assert self.run_id
        return calls.stored(self.run_id) if self._state == "stored" else calls.events(self.run_id, self.last)

    def opened(self, status: int, headers: Mapping[str, str]) -> bool:
        """An answer has begun: whether its body is events, for ``feed``; else it is read whole, for ``told``."""
        self.met = True
        if status != 200 or self._state == "stored":
            return False
        run_id = headers.get("x-run-id")
        if not headers.get("content-type", "").startswith("text/event-stream") or not run_id:
            raise NotUnderstood
        self.run_id, self._state = run_id, "events"
        self.broken, self._frames, self._opened = False, Frames(), self._clock()
        return True

    def feed(self, read: bytes) -> list[Event]:
        """The next events in what was read, each once and in order."""
        found: list[Event] = []
        if self._clock() - self._opened > SERVED_SECONDS:
            self._since = None
        for cursor, data in self._frames.feed(read):
            match = CURSOR.fullmatch(cursor)
            seq = int(match[2]) if match and match[1] == self.run_id else -1
            if 0 < seq <= self.last:
                continue
            if seq != self.last + 1:
                self.broken = True
                break
            self.last = seq
            self._since = None
            if event := _decode(data):
                found.append(event)
                if isinstance(event, Done | Error):
                    self.over = True
                    break
        return found

    def told(self, status: int, body: bytes) -> list[Event]:
        """The events in an answer that is no stream. Raises the failure that it is."""
        self.sent = self._state != "ask" or self._since is not None  # a question that was refused is nowhere
        if status in PASSING and (self._since is not None or self._state != "ask"):
            failure = calls.refusal(status, body)
            self.lost(failure.retry_after or 0)
            return []
        if status == 409 and self._state == "ask":
            failure = calls.refusal(status, body)
            if not isinstance(run_id := failure.fields.get("run_id"), str):
                raise failure
            self.run_id = run_id
        elif status not in (204, 409, 410) or self._state != "events":
            return self._look(calls.result_of(self._call(), status, body))
        self._state = "stored"
        return []

    def lost(self, least_seconds: float = 0) -> None:
        """A connection ended before the answer did: sets ``pause``.

        Raises Unreachable where the server is away for longer than patience allows.
        """
        now = self._clock()
        if self._since is None:
            self._since, self._attempts = now, 0
        if now - self._since > self._patience_seconds:
            raise Unreachable(fields={"run_id": self.run_id, "last": self.last} if self.run_id else None)
        self.met = True
        most = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**self._attempts)
        self.pause = max(least_seconds, most * (0.5 + self._chance() / 2))
        self._attempts += 1

    def _look(self, stored: Stored | None) -> list[Event]:
        """What is stored beyond what was read: nothing is repeated, and nothing that was read is taken back."""
        if stored is None:
            raise NotUnderstood
        self._since, self.pause = None, LOOK_SECONDS
        found: list[Event] = []
        terminal = stored.terminal
        if self.fold.sources is None and (stored.sources or stored.content or isinstance(terminal, Done)):
            found.append(Sources(stored.sources))
        text = self.fold.answer
        if len(stored.content) > len(text) and stored.content.startswith(text):
            found.append(Token(stored.content[len(text) :]))
        if terminal:
            found.append(terminal)
            self.over = True
        return found


def _decode(data: bytes) -> Event | None:
    """One event; None for a kind that a later server has and this client does not know."""
    try:
        return _EVENT.decode(data)
    except msgspec.ValidationError:
        kind = msgspec.json.decode(data).get("type")
        if kind in {"status", "sources", "reasoning", "token", "done", "error"}:
            raise NotUnderstood from None
        return None
    except msgspec.DecodeError:
        raise NotUnderstood from None
