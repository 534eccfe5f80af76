"""Every kind of answer carries the headers that tell a browser what it may do with it."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from lorestream.connection import SECURITY_HEADERS
from tests.fakes.edge import accounts_server
from tests.fakes.raw import Answered, sent
from tests.security.every_route import Tried


def assert_headers(headers: httpx.Headers, where: str) -> None:
    for name, value in SECURITY_HEADERS.items():
        assert headers.get_list(name), (where, name)
        if name != "Content-Security-Policy":
            assert headers[name] == value, where
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy, where
    for unsafe in ("unsafe-inline", "unsafe-eval", "*", "http:", "https:"):
        assert unsafe not in policy, where
    assert "server" not in headers
    assert "x-powered-by" not in headers
    assert "strict-transport-security" not in headers, "on plain HTTP it means nothing"


def test_every_kind_of_answer_has_them(at: Tried) -> None:
    at.settle()
    page = at.http.get("/")
    assets = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert any(path.startswith("/assets/") for path in assets)
    answers = {path: at.http.get(path) for path in ("/", "/library", "/c/x", *assets)}
    for path, answer in answers.items():
        assert answer.status_code == 200, path
    answers |= {
        "JSON": at.http.get("/documents/"),
        "a file": at.http.get(f"/documents/{at.ids['document']}/file"),
        "a text": at.http.get(f"/documents/{at.ids['document']}/text"),
        "an export": at.http.get(f"/conversations/{at.ids['conversation']}/export"),
        "a stream": at.http.get("/query/stream/", params={"question": "What is the capital of France?"}),
        "a resumed stream": at.http.get(f"/runs/{at.ids['run']}/events"),
        "no content": at.http.get(f"/runs/{at.ids['run']}/events", headers={"Last-Event-ID": "x"}),
        "not modified": at.http.get(assets[0], headers={"If-None-Match": answers[assets[0]].headers.get("etag", "")}),
        "a part": at.http.get(f"/documents/{at.ids['document']}/file", headers={"Range": "bytes=0-1"}),
        "not logged in": httpx.get(f"{at.server.url}/documents/"),
        "no such thing": at.http.get("/documents/x"),
        "no such path": at.http.get("/nothing"),
        "no such asset": at.http.get("/assets/nothing.js"),
        "no such method": at.http.put("/documents/"),
        "a bad request": at.http.post("/query/", json={}),
        "too large": at.http.post("/query/", content=b" " * 1_100_000),
        "a strange host": at.http.get("/", headers={"Host": "evil.example"}),
        "a range of nothing": at.http.get(assets[0], headers={"Range": "bytes=99999999-"}),
        "head": at.http.head("/"),
        "options": at.http.options("/documents/"),
    }
    for where, answer in answers.items():
        assert_headers(answer.headers, where)
    assert {answer.status_code for answer in answers.values()} >= {200, 206, 304, 400, 401, 404, 405, 413, 422}
    for where in ("not logged in", "no such thing", "a bad request", "too large", "a strange host"):
        assert answers[where].headers["content-type"] == "application/problem+json", where


def test_the_page_has_no_script_of_its_own(at: Tried) -> None:
    """The policy forbids it; this is so that nobody weakens the policy for it."""
    page = at.http.get("/").text
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    assert not re.search(r"\son\w+=|<style|\sstyle=|javascript:", page)


@pytest.mark.parametrize(
    "request_bytes",
    [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000, b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n"],
    ids=["400", "431", "414"],
)
async def test_what_the_connection_itself_answers_has_them(at: Tried, request_bytes: bytes) -> None:
    got: Answered = await sent(at.server.url, request_bytes)
    lines = (line.partition(": ") for line in got.data.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:])
    assert_headers(httpx.Headers([(name, value) for name, _, value in lines]), str(got.statuses))


async def test_over_https_browsers_are_told_to_stay_there(tmp_path: Path) -> None:
    async with accounts_server(tmp_path, config={"forwarded_allow_ips": ["127.0.0.1"]}) as server:
        for path in ("/auth/me", "/nothing"):
            answer = await server.client.get(path, headers={"X-Forwarded-Proto": "https"})
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
            assert "strict-transport-security" not in (await server.client.get(path)).headers
