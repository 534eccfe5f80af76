"""What both clients know of their server: its address, their manner towards it, and how they ask for an answer."""

from __future__ import annotations

import secrets
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from lorestream import __version__
from lorestream.client.calls import question
from lorestream.client.course import Course
from lorestream.client.failures import Unreachable
from lorestream.client.models import Result
from lorestream.errors import InvalidInput, failure
from lorestream.streaming.events import Done, Error, Event, Source, Terminal

# How long leaving an answer may wait for the server to take the stop.
LEAVE_SECONDS = 5.0
# Between two looks at a document that is being indexed, the first and the longest.
LOOK_SECONDS = 0.25, 2.0


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds: to connect; the longest silence of a stream (the server breaks it every 10); how long a server that was
    there may be away in mid-answer before it is given up.
    """

    connect: float = 5.0
    silence: float = 30.0
    patience: float = 60.0

    def of(self, seconds: float) -> httpx.Timeout:
        """The limits of a request whose answer may take so long."""
        return httpx.Timeout(seconds, connect=min(self.connect, seconds))


@dataclass(frozen=True, slots=True)
class Asking:
    """A question, and where it goes (None: into a conversation of its own)."""

    text: str
    k: int
    doc_ids: Sequence[str] | None
    collection_id: str | None
    model: str | None
    conversation_id: str | None
    client_request_id: str | None

    def course(self, conversation_id: str, times: Times) -> Course:
        """Its answer's course in this conversation."""
        request_id = self.client_request_id or secrets.token_hex(16)
        call = question(
            conversation_id, self.text, request_id, self.k, self.doc_ids, self.collection_id, self.model
        )  # fmt: skip
        return Course(call, patience_seconds=times.patience)


def address(url: str) -> str:
    """A server's address without a slash at its end. Raises InvalidInput for what is none, or holds a secret."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL("")
    if parts.scheme not in ("http", "https") or not parts.host or parts.userinfo or parts.query or parts.fragment:
        raise InvalidInput("A server's address is http:// or https:// with a host, such as http://127.0.0.1:8000.")
    return str(parts).rstrip("/")


def options(url: str, auth: httpx.Auth, times: Times) -> dict[str, Any]:
    """The options of the httpx client: no redirects, no cookies of its own, as many connections as are asked for."""
    return {
        "base_url": url,
        "auth": auth,
        "headers": {"User-Agent": f"lorestream-client/{__version__}", "Accept-Encoding": "identity"},
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        "timeout": times.of(times.silence),
        "limits": httpx.Limits(max_connections=None),
        "follow_redirects": False,
        "verify": _certificates() if url.startswith("https:") else False,  # plain HTTP has none to verify
    }


@cache
def _certificates() -> ssl.SSLContext:
    """Read once: it takes tens of milliseconds."""
    return httpx.create_ssl_context()


def unreachable(url: str, error: httpx.TransportError) -> Unreachable:
    """The failure of a request that got no answer."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Unreachable(f"{url} cannot be reached. Is Lorestream running there?")
    if isinstance(error, httpx.TimeoutException):
        return Unreachable(f"{url} did not answer in time.")
    return Unreachable(f"The connection to {url} was lost.")


def never_connected(error: httpx.TransportError) -> bool:
    """Whether the server cannot have got anything of the request."""
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)


class Reading:
    """What an answer has come to so far, as far as it was read by whoever iterates over it."""

    def __init__(self, course: Course | None, *, stop_when_left: bool) -> None:
        """``course`` is None until the question is on its way."""
        self._course = course
        self._stop_when_left = stop_when_left
        self._stopping = False
        self._ready: deque[Event] = deque()

    @property
    def text(self) -> str:
        """The tokens so far."""
        return self._course.fold.answer if self._course else ""

    @property
    def reasoning(self) -> str:
        """What the model showed of its thinking so far."""
        return self._course.fold.reasoning if self._course else ""

    @property
    def sources(self) -> list[Source] | None:
        """The passages, None until they are known."""
        return self._course.fold.sources if self._course else None

    @property
    def terminal(self) -> Terminal | None:
        """``Done`` or ``Error``, None until then."""
        return self._course.fold.terminal if self._course else None

    @property
    def run_id(self) -> str | None:
        """By which ``follow`` and ``stop`` find this answer, None until the server has named it."""
        return self._course.run_id if self._course else None

    def _taken(self) -> Event:
        event = self._ready.popleft()
        assert self._course
        self._course.fold.add(event)
        return event

    def _is_left(self) -> bool:
        """Whether the server may be writing what nobody wants any more."""
        return self._stop_when_left and self._course is not None and self._course.sent and not self._course.over

    def _result(self) -> Result:
        """The whole answer. Raises what it failed with."""
        terminal, run_id = self.terminal, self.run_id or ""
        if isinstance(terminal, Error):
            raise failure(terminal.code, terminal.message, terminal.retry_after, {"run_id": run_id})
        assert isinstance(terminal, Done)
        done = terminal
        return Result(
            self.text, self.sources or [], done.citations, done.uncited, done.model, done.finish_reason, done.usage,
            done.timings, self.reasoning, run_id, done.conversation_id, done.message_id,
        )  # fmt: skip
