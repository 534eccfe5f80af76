"""S19: pages of other origins read nothing, but for those that were named; and none of them with our cookie."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from tests.fakes.edge import settings
from tests.fakes.server import RunningServer, started_server

OURS = "https://app.example"
OTHER = "http://localhost:5173"
FOREIGN = [
    "null", "", "*", "http://app.example", "https://app.example:8443", "https://sub.app.example", "https://app.example.evil",
    "https://xapp.example", "https://evil.example", "https://app.example/", "https://app.example@evil.example",
    "HTTPS://APP.EXAMPLE", "https://app.example,https://evil.example", "http://localhost", "https://localhost:5173", "file://",
]  # fmt: skip


@pytest.fixture
async def server(tmp_path: Path, models_dir: Path) -> AsyncIterator[RunningServer]:
    async with started_server(tmp_path / "data", models_dir, cors_origins=f"{OURS}, {OTHER}") as one:
        yield one


def preflight(origin: str, method: str = "POST", headers: str = "authorization, content-type") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


async def test_only_named_origins_may_read_and_none_with_credentials(server: RunningServer) -> None:
    login = await asyncio.to_thread(server.register)
    async with httpx.AsyncClient(base_url=server.url) as http:
        for origin in FOREIGN:
            for answer in (
                await http.get("/documents/", headers={**login, "Origin": origin}),
                await http.get("/documents/", headers={"Origin": origin}),
                await http.options("/documents/", headers=preflight(origin)),
                await http.options("/documents/", headers=preflight(origin, headers="x-stainless-lang")),
            ):
                assert "access-control-allow-origin" not in answer.headers, origin
                assert "access-control-allow-credentials" not in answer.headers
        for origin in (OURS, OTHER):
            for sent in ("last-event-id,authorization", "authorization,x-stainless-lang", "mcp-session-id"):
                answer = await http.options("/documents/", headers=preflight(origin, headers=sent))
                assert answer.status_code == 200
                assert answer.headers["access-control-allow-origin"] == origin
                assert answer.headers["access-control-allow-headers"] == sent
                assert "access-control-allow-credentials" not in answer.headers
            for path, status in (("/documents/", 200), ("/nothing", 404), ("/runs/x", 404)):
                answer = await http.get(path, headers={**login, "Origin": origin})
                assert answer.status_code == status
                assert answer.headers["access-control-allow-origin"] == origin
                assert "Origin" in answer.headers["vary"]
                assert "access-control-allow-credentials" not in answer.headers
            # A cookie is never theirs to use.
            for path in ("/auth/refresh", "/auth/logout", "/auth/token"):
                form = {"username": "test@example.com", "password": "secret123"}
                assert (await http.post(path, data=form, headers={"Origin": origin})).status_code == 403


async def test_a_named_origin_can_follow_a_stream(server: RunningServer) -> None:
    login = await asyncio.to_thread(server.register)
    await asyncio.to_thread(server.upload, login, "geo.txt", b"Paris is the capital of France.")
    async with httpx.AsyncClient(base_url=server.url) as http:
        asked = {"question": "What is the capital of France?"}
        answer = await http.get("/query/stream/", params=asked, headers={**login, "Origin": OURS})
        assert answer.headers["access-control-allow-origin"] == OURS
        exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert {"x-run-id", "ratelimit", "ratelimit-policy", "retry-after"} <= exposed
        assert answer.text.count('"type":"done"') == 1


@pytest.mark.parametrize(
    "origins",
    ["*", "null", "https://*.example", "app.example", "https://app.example/", "https://app.example/x", "ftp://a",
     "https://a@b", f"{OURS},*", "HTTPS://APP.EXAMPLE", "https://"],
)  # fmt: skip
def test_what_is_not_one_exact_origin_is_refused_at_the_start(tmp_path: Path, origins: str) -> None:
    with pytest.raises(ValidationError, match="is not one origin"):
        settings(tmp_path, cors_origins=origins)
