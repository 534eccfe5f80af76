"""The client's core without a network: whatever breaks wherever, each event once, in order, and one end."""

from __future__ import annotations

import inspect
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorestream.client import Answer, AsyncAnswer, AsyncClient, Client, calls
from lorestream.client.async_client import AsyncDocuments
from lorestream.client.connection import address
from lorestream.client.course import Course
from lorestream.client.failures import NotUnderstood, Unreachable
from lorestream.client.frames import MAX_BYTES, Frames
from lorestream.client.sync_client import Documents
from lorestream.errors import (
    Conflict,
    InvalidInput,
    ModelUnavailable,
    NotFound,
    RateLimited,
    Unauthenticated,
    to_problem,
)
from lorestream.streaming import sse
from lorestream.streaming.events import Done, Error, Event, Sources, Timings, Token

RUN = "a" * 32
WORDS = ["Par", "is 🦉", " ", "é\u2028\x85", "liegt."]
TEXT = "".join(WORDS)
DONE = Done("m", "stop", None, Timings(1, 2, 3, 4), [], False, "c", "a")
EVENTS: list[Event] = [Sources([]), *map(Token, WORDS), DONE]
STREAM = sse.RETRY + b"".join(
    sse.frame(RUN, n, event) + (sse.HEARTBEAT if n == 3 else b"") for n, event in enumerate(EVENTS, 1)
)
HEADERS = {"content-type": "text/event-stream; charset=utf-8", "x-run-id": RUN}
QUESTION = calls.question("c", "Where?", "request-1", 4, None, None, None)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def course(**more: Any) -> Course:
    return Course(QUESTION, **{"chance": lambda: 0.5, **more})


def read(at: Course, data: bytes) -> list[Event]:
    found = at.feed(data)
    for event in found:
        at.fold.add(event)
    return found


def stored(**values: Any) -> bytes:
    run: dict[str, Any] = {
        "run_id": RUN, "message_id": "a", "status": "done", "content": TEXT, "sources": [], "citations": [],
        "error": None, "model": "m", "finish_reason": "stop", "usage": None, "conversation_id": "c",
        "timings": {"queue_ms": 1, "retrieval_ms": 2, "first_token_ms": 3, "total_ms": 4},
    }  # fmt: skip
    return json.dumps({**run, **values}).encode()


@given(st.lists(st.integers(0, len(STREAM)), max_size=12), st.booleans())
def test_bytes_may_come_in_any_pieces(cuts: list[int], carriage_returns: bool) -> None:
    at = course()
    assert at.opened(200, HEADERS)
    ends = [0, *sorted(cuts), len(STREAM)]
    found: list[Event] = []
    for start, end in itertools.pairwise(ends):
        piece = STREAM[start:end]
        found += read(at, piece.replace(b"\n", b"\r\n") if carriage_returns else piece)
    assert found == EVENTS
    assert at.over


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 3)), max_size=20))
def test_connections_may_break_at_any_byte_and_begin_again_too_early(breaks: list[tuple[int, int]]) -> None:
    at, found = course(), []
    frames = [sse.frame(RUN, n, event) for n, event in enumerate(EVENTS, 1)]
    for size, back in [*breaks, (len(STREAM), 0)]:
        call = at.request()
        if at.last:
            assert call.more["headers"] == {"Last-Event-ID": f"{RUN}:{at.last}"}
        assert at.opened(200, HEADERS)
        found += read(at, b"".join(frames[max(0, at.last - back) :])[:size])
        if at.over:
            break
        at.lost()
    assert found == EVENTS
    assert at.fold.answer == TEXT


def test_a_gap_ends_the_connection_before_anything_behind_it_is_believed() -> None:
    at = course()
    at.opened(200, HEADERS)
    assert read(at, sse.frame(RUN, 1, Sources([])) + sse.frame(RUN, 3, Token("x"))) == [Sources([])]
    assert at.broken
    assert at.last == 1
    other = course()
    other.opened(200, HEADERS)
    assert read(other, sse.frame("b" * 32, 1, Sources([]))) == []
    assert other.broken


def test_the_rules_of_event_streams() -> None:
    feed = (
        b"\xef\xbb\xbf: a comment\nid:1\ndata:one\ndata: two\nevent: x\nunknown\n\n\nid: 2\n\ndata:  3\n\ndata: never"
    )
    assert list(Frames().feed(feed)) == [("1", b"one\ntwo"), ("2", b" 3")]
    with pytest.raises(NotUnderstood):
        list(Frames().feed(b"data: " + b"x" * (MAX_BYTES + 1)))


def test_events_of_a_later_server_are_passed_over_and_broken_ones_are_not() -> None:
    at = course()
    at.opened(200, HEADERS)
    later = f'id: {RUN}:1\ndata: {{"type":"verdict","x":1}}\n\nid: {RUN}:2\ndata: {{"type":"token","text":"a"}}\n\n'
    assert read(at, later.encode()) == [Token("a")]
    with pytest.raises(NotUnderstood):
        at.feed(f'id: {RUN}:3\ndata: {{"type":"token"}}\n\n'.encode())


def test_a_question_whose_fate_is_unknown_is_sent_again_under_the_same_id() -> None:
    at = course()
    first = at.request()
    at.lost()
    assert at.request() is first
    assert first.more["json"]["client_request_id"] == "request-1"
    assert at.told(503, b"<html>") == []
    assert at.opened(200, HEADERS)


@pytest.mark.parametrize(
    "refusal", [Unauthenticated(), NotFound(), Conflict(), RateLimited(retry_after=7)], ids=lambda one: one.code
)
def test_a_refused_question_is_raised_as_the_failure_that_it_is(refusal: Any) -> None:
    at = course()
    at.request()
    assert not at.opened(refusal.status, {})
    with pytest.raises(type(refusal)) as raised:
        at.told(refusal.status, json.dumps(to_problem(refusal)).encode())
    assert raised.value.retry_after == refusal.retry_after
    assert not at.sent, "nothing is to be stopped"


def test_what_is_no_lorestream_is_not_understood() -> None:
    with pytest.raises(NotUnderstood):
        course().opened(200, {"content-type": "text/html"})
    with pytest.raises(NotUnderstood):
        course().told(302, b"")


def test_pauses_grow_and_patience_ends_unless_something_came() -> None:
    clock = Clock()
    at = course(clock=clock, patience_seconds=10)
    at.opened(200, HEADERS)
    pauses = []
    for _ in range(8):
        at.lost()
        pauses.append(at.pause)
    assert pauses == sorted(pauses)
    assert pauses[-1] <= 5
    at.told(503, json.dumps(to_problem(RateLimited(retry_after=9))).encode())
    assert at.pause == 9
    clock.now += 9
    at.opened(200, HEADERS)
    read(at, sse.frame(RUN, 1, Sources([])))
    clock.now += 9
    at.lost()
    assert at.pause < 0.2
    clock.now += 11
    with pytest.raises(Unreachable) as given_up:
        at.lost()
    assert given_up.value.fields == {"run_id": RUN, "last": 1}


def test_a_connection_that_only_beats_is_no_lost_server() -> None:
    clock = Clock()
    at = course(clock=clock, patience_seconds=10)
    for _ in range(3):
        at.opened(200, HEADERS)
        clock.now += 60
        assert at.feed(sse.HEARTBEAT) == []
        at.lost()


@pytest.mark.parametrize("status", [410, 409, 204])
def test_events_that_are_no_longer_kept_come_from_what_is_stored(status: int) -> None:
    at = course()
    at.opened(200, HEADERS)
    found = read(at, sse.frame(RUN, 1, Sources([])) + sse.frame(RUN, 2, Token("Par")))
    at.lost()
    assert not at.opened(status, {})
    assert at.told(status, b"{}") == []
    assert at.request().path == f"/runs/{RUN}"
    for content, state in (("Pa", "running"), ("Paris", "running"), (TEXT, "done")):
        assert not at.opened(200, {"content-type": "application/json"})
        events = at.told(200, stored(content=content, status=state))
        for event in events:
            at.fold.add(event)
        found += events
    assert at.over
    assert at.fold.answer == TEXT
    assert found[-1] == DONE


def test_a_stored_failure_keeps_what_was_read_beyond_it() -> None:
    at = course()
    at.opened(200, HEADERS)
    read(at, sse.frame(RUN, 1, Sources([])) + sse.frame(RUN, 2, Token("Paris")))
    at.told(410, b"{}")
    error = {"code": "interrupted", "message": "It stopped.", "retryable": True}
    found = at.told(200, stored(content="Pa", status="interrupted", error=error, finish_reason=None))
    assert found == [Error("It stopped.", "interrupted", True, "a", conversation_id="c")]
    assert at.fold.answer == "Paris"


def test_a_request_that_was_answered_long_ago_is_read_from_what_is_stored() -> None:
    at = course()
    problem = to_problem(Conflict(fields={"run_id": RUN, "message_id": "a"}))
    at.opened(409, {})
    assert at.told(409, json.dumps(problem).encode()) == []
    assert at.request().path == f"/runs/{RUN}"
    assert at.told(200, stored())[-1] == DONE


def test_ids_are_one_part_of_a_path_whatever_is_in_them() -> None:
    assert calls.document("../x?y").path == "/documents/..%2Fx%3Fy"


def test_a_problem_of_any_server_becomes_a_failure() -> None:
    known = calls.refusal(502, json.dumps(to_problem(ModelUnavailable())).encode())
    assert type(known) is ModelUnavailable
    proxy = calls.refusal(504, b"<html>")
    assert (proxy.code, proxy.status, "504" in proxy.message) == ("http_504", 504, True)
    later = calls.refusal(418, b'{"code": "teapot", "message": "Short.", "retryable": true}')
    assert (later.code, later.message, later.retryable, later.status) == ("teapot", "Short.", True, 418)


@pytest.mark.parametrize(
    "url", ["", "ftp://x", "http://", "http://user:secret@host", "http://host/?token=x", "host:80"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        address(url)
    assert "secret" not in str(refused.value)


def signatures(kind: type) -> dict[str, list[str]]:
    """What can be called, and with what."""
    public = (name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name)))
    return {name: list(inspect.signature(getattr(kind, name)).parameters) for name in public}


@pytest.mark.parametrize(("one", "other"), [(Client, AsyncClient), (Documents, AsyncDocuments), (Answer, AsyncAnswer)])
def test_the_two_clients_can_do_the_same(one: type, other: type) -> None:
    there = {name.removeprefix("a") if name == "aclose" else name: given for name, given in signatures(other).items()}
    assert signatures(one) == there
