"""S20: logging out clears the cookie with the attributes it was set with, and ends the login on the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.edge import AccountsServer, accounts_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AccountsServer]:
    async with accounts_server(tmp_path) as server:
        yield server


def attributes(answer: httpx.Response) -> set[str]:
    """The refresh cookie's name and attributes, without its value and its age."""
    [cookie] = [one for one in answer.headers.get_list("set-cookie") if "lorestream_refresh=" in one]
    pair, *rest = cookie.split("; ")
    return {pair.split("=")[0], *(part for part in rest if not part.startswith(("Max-Age", "expires")))}


@pytest.mark.parametrize("proto", ["http", "https"])
async def test_the_cookie_is_cleared_as_it_was_set_and_every_token_ends(tmp_path: Path, proto: str) -> None:
    async with accounts_server(tmp_path, config={"forwarded_allow_ips": ["127.0.0.1"]}) as server:
        server.client.headers["X-Forwarded-Proto"] = proto
        await server.register()
        login = await server.log_in()
        cookie = {"Cookie": login.headers["set-cookie"].split(";")[0]}
        server.client.cookies.clear()
        answer = await server.client.post("/auth/logout", headers=cookie)
        assert (answer.status_code, answer.content) == (204, b"")
        assert attributes(answer) == attributes(login)
        assert "Max-Age=0" in answer.headers["set-cookie"]
        assert (await server.me(login.json()["access_token"])).status_code == 401
        assert (await server.client.post("/auth/refresh", headers=cookie)).status_code == 401
        assert (await server.client.post("/auth/logout", headers=cookie)).status_code == 204


async def test_a_client_without_cookies_logs_out_by_its_bearer_token(server: AccountsServer) -> None:
    access, refresh = await server.tokens()
    server.client.cookies.clear()
    answer = await server.client.post("/auth/logout/", headers={"Authorization": f"Bearer {access}"})
    assert answer.status_code == 204
    assert (await server.me(access)).status_code == 401
    assert (await server.refresh(refresh)).status_code == 401


async def test_a_cookie_that_another_tab_replaced_a_moment_ago_ends_the_login_too(server: AccountsServer) -> None:
    _, first = await server.tokens()
    second = (await server.refresh(first)).cookies["lorestream_refresh"]
    server.client.cookies.clear()
    await server.client.post("/auth/logout", headers={"Cookie": f"lorestream_refresh={first}"})
    assert (await server.refresh(second)).status_code == 401


async def test_any_token_of_a_login_that_ended_is_refused_and_is_no_theft(server: AccountsServer) -> None:
    _, first = await server.tokens()
    second = (await server.refresh(first)).cookies["lorestream_refresh"]
    server.clock.advance(60)
    third = (await server.refresh(second)).cookies["lorestream_refresh"]
    server.client.cookies.clear()
    await server.client.post("/auth/logout", headers={"Cookie": f"lorestream_refresh={third}"})
    for token in (first, second, third):
        answer = await server.refresh(token)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert "Max-Age=0" in answer.headers["set-cookie"]
    assert await server.events("refresh_reused") == 0
    assert await server.events("logout") == 1


async def test_every_answer_that_ends_the_callers_login_clears_its_cookie(server: AccountsServer) -> None:
    assert (await server.register()).status_code == 201
    for method, path in (
        ("POST", "/auth/logout"),
        ("POST", "/auth/logout-everywhere"),
        ("DELETE", "/auth/sessions/{}"),
    ):
        login = await server.log_in()
        access = {"Authorization": f"Bearer {login.json()['access_token']}"}
        items = (await server.client.get("/auth/sessions", headers=access)).json()["items"]
        own = next(item["session_id"] for item in items if item["current"])
        answer = await server.client.request(method, path.format(own), headers=access)
        assert answer.status_code == 204
        assert attributes(answer) == attributes(login)
        assert "Max-Age=0" in answer.headers["set-cookie"]
        assert (await server.client.get("/auth/me", headers=access)).status_code == 401


async def test_other_logins_of_the_user_go_on(server: AccountsServer) -> None:
    access, _ = await server.tokens()
    other = (await server.log_in()).json()["access_token"]
    server.client.cookies.clear()
    await server.client.post("/auth/logout", headers={"Authorization": f"Bearer {access}"})
    assert (await server.me(access)).status_code == 401
    assert (await server.me(other)).status_code == 200


async def test_worthless_tokens_log_nobody_out(server: AccountsServer) -> None:
    access, _ = await server.tokens()
    server.client.cookies.clear()
    for headers in ({}, {"Authorization": "Bearer x"}, {"Cookie": "lorestream_refresh=x"}):
        assert (await server.client.post("/auth/logout", headers=headers)).status_code == 204
    assert (await server.me(access)).status_code == 200
