"""S19: another site's page can neither refresh, log in nor log out with a visitor's cookie."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.edge import EMAIL, PASSWORD, AccountsServer, accounts_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AccountsServer]:
    async with accounts_server(tmp_path) as server:
        yield server


def foreign(url: str) -> list[dict[str, str]]:
    host = url.removeprefix("http://")
    origins = [
        "null", "", "http://evil.example", "https://evil.example", f"http://sub.{host}", f"http://{host}.evil.example",
        f"http://evil.example@{host}:1", "http://127.0.0.1:1", "http://127.0.0.1", f"ftp://{host}", host, "http://[",
        f"http://{host}0", "file://",
    ]  # fmt: skip
    sites = ["cross-site", "same-site", "CROSS-SITE", "", "anything"]
    return (
        [{"Origin": origin} for origin in origins]
        + [{"Sec-Fetch-Site": site} for site in sites]
        + [
            {"Origin": url, "Sec-Fetch-Site": "cross-site"},
            {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
        ]
    )


def assert_refused(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "set-cookie" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers


async def test_no_foreign_page_gets_anything_and_nothing_is_rotated(server: AccountsServer) -> None:
    access, refresh = await server.tokens()
    for headers in foreign(server.url):
        assert_refused(await server.refresh(refresh, **headers))
        cookie = {"Cookie": f"lorestream_refresh={refresh}", **headers}
        assert_refused(await server.client.post("/auth/logout", headers=cookie))
        form = {"username": EMAIL, "password": PASSWORD}
        assert_refused(await server.client.post("/auth/token", data=form, headers=headers))
    assert (await server.me(access)).status_code == 200
    server.clock.advance(60)
    assert (await server.refresh(refresh)).status_code == 200


async def test_our_own_pages_and_clients_without_pages_are_served(server: AccountsServer) -> None:
    _, refresh = await server.tokens()
    port = server.url.rpartition(":")[2]
    own = [
        {},
        {"Origin": server.url},
        {"Origin": server.url, "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": f"https://127.0.0.1:{port}"},  # TLS ended by a proxy that did not say so
        {"Origin": "https://chat.example", "Host": "chat.example"},
        {"Origin": "https://CHAT.example:8443", "Host": "chat.example"},  # a proxy that drops its port from Host
        {"Origin": "http://[::1]:8000", "Host": "[::1]:8000"},
    ]
    for headers in own:
        answer = await server.refresh(refresh, **headers)
        assert answer.status_code == 200, headers
        refresh = answer.cookies["lorestream_refresh"] if "Host" not in headers else _cookie(answer)


def _cookie(answer: httpx.Response) -> str:
    return answer.headers["set-cookie"].split(";")[0].partition("=")[2]


async def test_a_plain_http_page_cannot_use_the_https_login_of_its_host(tmp_path: Path) -> None:
    async with accounts_server(tmp_path, config={"forwarded_allow_ips": ["127.0.0.1"]}) as server:
        await server.tokens()
        headers = {"X-Forwarded-Proto": "https", "Host": "chat.example", "Origin": "http://chat.example"}
        assert_refused(await server.client.post("/auth/refresh", headers=headers))


async def test_no_origin_is_ever_allowed_to_read(server: AccountsServer) -> None:
    for origin in ("null", "http://evil.example", server.url):
        answer = await server.client.options(
            "/auth/refresh", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}
        )
        assert answer.status_code == 405
        assert not [name for name in answer.headers if name.startswith("access-control-")]
