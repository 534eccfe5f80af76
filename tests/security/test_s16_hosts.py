"""S16: the name that a request gives the server is one of the server's own, and nothing is ever built from it."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import lorestream
from lorestream.main import _host_names
from lorestream.middleware import Hosts
from tests.fakes.edge import settings
from tests.fakes.raw import sent
from tests.security.every_route import Tried

SOURCES = sorted(Path(lorestream.__file__).parent.rglob("*.py"))


def get(*fields: str, target: str = "/healthz") -> bytes:
    return "\r\n".join((f"GET {target} HTTP/1.1", *fields, "", "")).encode("latin-1")


@pytest.mark.parametrize(
    "target", ["@evil.example", "@evil.example/healthz", "evil.example:80", "//evil.example/..", "http:evil.example",
               "http://", "http://evil.example", "http://evil.example/healthz", "http://localhost@evil.example/",
               "https://evil.example:443/", "\\\\evil.example", "*", "?x", "#x"],
)  # fmt: skip
async def test_targets_that_name_another_host_reach_nothing(at: Tried, target: str) -> None:
    got = await sent(at.server.url, get("Host: localhost", target=target))
    assert got.statuses in ([400], [404]), got.data[:200]
    assert b"\r\nlocation:" not in got.data.lower()


@pytest.mark.parametrize(
    "fields",
    [
        (), ("Host: ",), ("Host: localhost", "Host: localhost"), ("Host: localhost", "Host: evil.example"),
        ("Host: local host",), ("Host: localhost:",), ("Host: localhost:x",), ("Host: localhost:999999",),
        ("Host: localhost/x",), ("Host: localhost?x",), ("Host: localhost#x",), ("Host: localhost@evil.example",),
        ("Host: evil.example@localhost",), ("Host: localhost, evil.example",), ("Host: [::1",), ("Host: \xe9",),
        ("Host: " + "a" * 300,), ("Host: localhost\\",), ("Host: http://localhost",),
    ],
)  # fmt: skip
async def test_a_missing_double_or_malformed_host_is_400(at: Tried, fields: tuple[str, ...]) -> None:
    got = await sent(at.server.url, get(*fields))
    assert got.statuses == [400]
    assert json.loads(got.body)["code"] == "bad_request"


async def test_on_loopback_only_loopbacks_names_are_answered_whatever_the_port(at: Tried) -> None:
    """Another site's page, whose name was made to mean 127.0.0.1 (DNS rebinding), gets nothing."""
    for own in ("localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:1", "[::1]:8000"):
        assert (await sent(at.server.url, get(f"Host: {own}"))).statuses == [200], own
    for foreign in ("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.example", "0.0.0.0"):
        got = await sent(at.server.url, get(f"Host: {foreign}"))
        assert got.statuses == [400]
        assert "LORESTREAM_ALLOWED_HOSTS" in json.loads(got.body)["message"]
    for path in ("/", "/auth/me", "/assets/x", "/nothing"):
        assert (await sent(at.server.url, get("Host: evil.example", target=path))).statuses == [400]


def test_which_names_are_allowed(tmp_path: Path) -> None:
    loopback = ("localhost", "127.0.0.1", "[::1]")
    assert _host_names(settings(tmp_path)) == (*loopback, "127.0.0.1")
    assert _host_names(settings(tmp_path, host="localhost"))[:3] == loopback
    assert _host_names(settings(tmp_path, host="::1"))[:3] == loopback
    assert _host_names(settings(tmp_path, host="127.0.0.5")) == (*loopback, "127.0.0.5")
    assert _host_names(settings(tmp_path, host="0.0.0.0")) == ()
    assert _host_names(settings(tmp_path, trusted_proxies="10.0.0.1")) == ()
    assert _host_names(settings(tmp_path, allowed_hosts="a.example, *.b.example")) == ("a.example", "*.b.example")


@pytest.mark.parametrize(
    ("host", "status"),
    [("a.example", 200), ("A.Example:443", 200), ("x.b.example", 200), ("x.y.b.example", 200), ("b.example", 400),
     ("xb.example", 400), ("a.example.evil", 400), ("localhost", 400), ("127.0.0.1", 400)],
)  # fmt: skip
async def test_named_hosts_and_no_others(host: str, status: int) -> None:
    answers: list[Any] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        answers.append(message)

    async def receive() -> Any:
        raise AssertionError

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", host.encode())]}
    await Hosts(app, ("a.example", "*.b.example"))(scope, receive, send)
    assert answers[0]["status"] == status


def test_no_address_is_ever_built_from_a_request() -> None:
    """Addresses in answers are relative; nothing reads the absolute one that the framework puts together."""
    forbidden = {"url_for", "base_url", "url_path_for"}
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                where = f"{source}:{node.lineno}"
                about_a_request = node.value.id in {"request", "connection", "websocket"}
                assert not (about_a_request and node.attr in {"url", *forbidden}), where
