"""S24: no body, however wrong, breaks a route or the process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.security.every_route import Tried

BODIES = {
    "nothing": b"",
    "null": b"null",
    "an empty object": b"{}",
    "a list": b"[]",
    "a list of lists": b"[[],[null]]",
    "a number": b"0",
    "a huge number": b"1e400",
    "a number of many digits": b"9" * 10_000,
    "a string": b'"x"',
    "true": b"true",
    "no JSON": b"{",
    "no text": b"\xff\xfe\x00",
    "nesting": b"[" * 100_000 + b"]" * 100_000,
    "nested objects": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "a key twice": b'{"question":"a","question":null}',
    "NaN": b'{"k": NaN, "limit": Infinity}',
    "NUL": json.dumps({"question": "\0", "title": "\0", "email": "\0", "password": "\0"}).encode(),
}
TYPES = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "")
ANYTHING: tuple[Any, ...] = (None, [], {}, 0, -1, 2**70, 1.5, True, "", "\0", "x" * 100_000, [None], {"a": []})
OF_ANY_TYPE = {"nothing", "a list", "no text"}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_no_request_is_refused_and_breaks_nothing(at: Tried, name: str) -> None:
    pid = at.server.process.pid
    for route in at.routes:
        for kind in TYPES if name in OF_ANY_TYPE else TYPES[:1]:
            headers = {"Content-Type": kind} if kind else {}
            others: dict[str, Any] = {
                "content": BODIES[name],
                "headers": headers,
                "json": None,
                "data": None,
                "files": None,
            }
            answer = at.request(route, **others)
            assert answer.status_code < 500, (str(route), kind, answer.text[:300])
            if route.media_type and name not in {"an empty object", "nothing", "null"}:
                assert answer.status_code >= 400, (str(route), kind)
    assert at.http.get("/healthz").status_code == 200
    assert at.server.process.poll() is None
    assert at.server.process.pid == pid


def test_every_member_of_every_body_may_be_of_any_type(at: Tried) -> None:
    for route in at.routes:
        if route.media_type != "application/json":
            continue
        for one in route.fields:
            if one.where != "body":
                continue
            for value in ANYTHING:
                answer = at.request(route, {one.name: value})
                assert answer.status_code < 500, (str(route), one.name, value, answer.text[:300])
    assert at.http.get("/healthz").status_code == 200
