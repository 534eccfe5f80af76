"""One's logins over a real socket: listed, revoked, ended everywhere and by a change of password; who may register."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from lorestream.accounts import sessions
from lorestream.accounts.audit import Audit
from lorestream.accounts.invitations import Invitations
from lorestream.accounts.models import AuditEvent, Login, UsedRefreshToken, User
from tests.fakes.edge import EMAIL, PASSWORD, AccountsServer, accounts_server

OTHER, NEW = "other@example.com", "a much better one"
DAY = 86400


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AccountsServer]:
    async with accounts_server(tmp_path) as server:
        yield server


async def ask(server: AccountsServer, access: str, method: str, path: str, **more: Any) -> httpx.Response:
    server.client.cookies.clear()
    headers = {"Authorization": f"Bearer {access}", **more.pop("headers", {})}
    return await server.client.request(method, path, headers=headers, **more)


async def log_in(server: AccountsServer, agent: str = "") -> tuple[str, str]:
    form = {"username": EMAIL, "password": PASSWORD}
    answer = await server.client.post("/auth/token", data=form, headers={"User-Agent": agent})
    return answer.json()["access_token"], answer.cookies["lorestream_refresh"]


async def change(server: AccountsServer, access: str, current: str = PASSWORD, new: str = NEW) -> httpx.Response:
    body = {"current_password": current, "new_password": new}
    return await ask(server, access, "POST", "/auth/password", json=body)


async def noted(server: AccountsServer) -> list[tuple[str, str | None]]:
    async with server.db.read() as session:
        events = await session.scalars(select(AuditEvent).order_by(AuditEvent.at))
        return [(event.kind, event.user_id) for event in events]


# Options and invitations


async def test_whoever_is_not_logged_in_learns_how_to_register(tmp_path: Path) -> None:
    async with accounts_server(tmp_path, registration="invite", password_min_length=20) as server:
        expected = {
            "registration": "invite", "first": True, "password_min_length": 20, "password_advised_length": 20,
        }  # fmt: skip
        assert (await server.client.get("/auth/options")).json() == expected
        await server.register(password=NEW * 2)
        assert (await server.client.get("/auth/options")).json() == {**expected, "first": False}
    async with accounts_server(tmp_path) as server:
        answer = (await server.client.get("/auth/options")).json()
        assert (answer["registration"], answer["password_min_length"], answer["password_advised_length"]) == (
            "open", 8, 15,
        )  # fmt: skip


async def test_by_invitation_whoever_has_a_code_registers_once(tmp_path: Path) -> None:
    async with accounts_server(tmp_path, registration="invite") as server:

        async def register(email: str, code: str | None) -> httpx.Response:
            body = {"email": email, "password": PASSWORD, **({"invitation": code} if code is not None else {})}
            return await server.client.post("/auth/register", json=body)

        first = await register(EMAIL, None)
        assert first.status_code == 201, "the first one needs none, and is the administrator"
        service = Invitations(server.db, Audit(server.db, server.clock), server.clock)
        _, code = await service.create(first.json()["user_id"], None, 7)
        for wrong in (None, "", "x", code + "x", code[:-1]):
            answer = await register(OTHER, wrong)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert (await register(EMAIL, code)).status_code == 409, "and the code is not used up"
        assert (await register(OTHER, code)).status_code == 201
        assert (await register("third@example.com", code)).status_code == 403
        async with server.db.read() as session:
            assert await session.scalar(select(func.count()).where(User.is_admin)) == 1
            assert await session.scalar(select(func.count()).select_from(User)) == 2


# Logins, listed and ended


async def test_ones_logins_are_listed_and_no_one_elses(server: AccountsServer) -> None:
    await server.tokens(OTHER)
    await server.register()
    server.clock.advance(10)
    access, refresh = await log_in(server, "Old Browser/1.0")
    server.clock.advance(10)
    latest, _ = await log_in(server, "New Browser/2.0 " + "x" * 300)
    server.clock.advance(10)
    await server.refresh(refresh)
    answer = (await ask(server, latest, "GET", "/auth/sessions")).json()
    assert answer["next_cursor"] is None
    old, new = answer["items"]
    assert (old["user_agent"], old["ip"], old["current"]) == ("Old Browser/1.0", "127.0.0.1", False)
    assert (new["user_agent"][:15], len(new["user_agent"]), new["current"]) == ("New Browser/2.0", 200, True)
    assert old["created_at"] < new["created_at"] == new["last_used_at"] < old["last_used_at"] < old["expires_at"]
    assert set(old) == {"session_id", "created_at", "last_used_at", "expires_at", "user_agent", "ip", "current"}
    assert [item["current"] for item in (await ask(server, access, "GET", "/auth/sessions")).json()["items"]] == [
        True, False,
    ]  # fmt: skip


async def test_a_login_that_is_revoked_ends_at_once(server: AccountsServer) -> None:
    access, refresh = await server.tokens()
    other, _ = await log_in(server)
    [victim] = [
        item["session_id"]
        for item in (await ask(server, other, "GET", "/auth/sessions")).json()["items"]
        if not item["current"]
    ]
    answer = await ask(server, other, "DELETE", f"/auth/sessions/{victim}")
    assert (answer.status_code, "set-cookie" in answer.headers) == (204, False)
    assert (await server.me(access)).status_code == 401
    assert (await server.refresh(refresh)).status_code == 401
    assert (await server.me(other)).status_code == 200
    assert len((await ask(server, other, "GET", "/auth/sessions")).json()["items"]) == 1
    assert (await ask(server, other, "DELETE", f"/auth/sessions/{victim}")).status_code == 404
    assert await server.events("session_revoked") == 1
    assert await server.events("refresh_reused") == 0


async def test_a_foreign_login_is_an_unknown_one(server: AccountsServer) -> None:
    access, _ = await server.tokens()
    mine = (await ask(server, access, "GET", "/auth/sessions")).json()["items"][0]["session_id"]
    theirs, _ = await server.tokens(OTHER)
    answers = [await ask(server, theirs, "DELETE", f"/auth/sessions/{one}") for one in (mine, "0" * 32, "x")]
    assert [answer.status_code for answer in answers] == [404] * 3
    bodies = [{**answer.json(), "instance": ""} for answer in answers]
    assert bodies[0] == bodies[1] == bodies[2]
    assert (await server.me(access)).status_code == 200


async def test_logging_out_everywhere_ends_every_login_and_clears_the_cookie(server: AccountsServer) -> None:
    access, refresh = await server.tokens()
    other, _ = await log_in(server)
    stranger, _ = await server.tokens(OTHER)
    answer = await ask(server, other, "POST", "/auth/logout-everywhere")
    assert answer.status_code == 204
    assert "Max-Age=0" in answer.headers["set-cookie"]
    for token in (access, other):
        assert (await server.me(token)).status_code == 401
    assert (await server.refresh(refresh)).status_code == 401
    assert (await server.me(stranger)).status_code == 200
    assert (await server.log_in()).status_code == 200


# The password


async def test_changing_the_password_ends_every_other_login(server: AccountsServer) -> None:
    elsewhere, refresh = await server.tokens()
    access, cookie = await log_in(server)
    assert (await change(server, access)).status_code == 204
    assert (await server.me(elsewhere)).status_code == 401
    assert (await server.refresh(refresh)).status_code == 401
    assert (await server.me(access)).status_code == 200
    assert (await server.refresh(cookie)).status_code == 200
    assert (await server.log_in()).status_code == 401
    assert (await server.log_in(password=NEW)).status_code == 200
    assert await server.events("password_changed") == 1


@pytest.mark.parametrize("new", ["short", "password1", EMAIL, "x" * 1025])
async def test_a_new_password_keeps_the_rules(server: AccountsServer, new: str) -> None:
    access, _ = await server.tokens()
    answer = await change(server, access, new=new)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body.new_password"
    assert (await server.log_in()).status_code == 200


async def test_the_current_password_is_checked_under_the_limits_of_logins(server: AccountsServer) -> None:
    access, _ = await server.tokens()
    answers = [await change(server, access, current="wrong-one") for _ in range(40)]
    statuses = [answer.status_code for answer in answers]
    assert statuses[0] == 422
    assert answers[0].json()["errors"] == [{"field": "body.current_password", "reason": "is not your password"}]
    assert set(statuses) == {422, 429}
    assert statuses.count(422) <= 10
    assert answers[-1].headers["retry-after"]
    assert (await server.me(access)).status_code == 200


# The end of a login


async def test_a_login_ends_for_good_however_much_it_is_used(tmp_path: Path) -> None:
    async with accounts_server(tmp_path, refresh_token_seconds=30 * DAY, session_max_seconds=70 * DAY) as server:
        _, refresh = await server.tokens()
        for passed, left in ((20, 30), (20, 30), (10, 20)):  # days; 70 of them are all
            server.clock.advance(passed * DAY)
            answer = await server.refresh(refresh)
            assert f"Max-Age={left * DAY}" in answer.headers["set-cookie"]
            refresh = answer.cookies["lorestream_refresh"]
        server.clock.advance(20 * DAY - 1)
        answer = await server.refresh(refresh)
        access, refresh = answer.json()["access_token"], answer.cookies["lorestream_refresh"]
        assert (await server.me(access)).status_code == 200
        server.clock.advance(1)
        assert (await server.me(access)).status_code == 401
        assert (await server.refresh(refresh)).status_code == 401
        assert await server.events("refresh_reused") == 0


async def test_what_is_left_of_expired_logins_is_deleted(server: AccountsServer) -> None:
    _, refresh = await server.tokens()
    for _ in range(3):
        refresh = (await server.refresh(refresh)).cookies["lorestream_refresh"]
    server.clock.advance(31 * DAY)
    await server.log_in()
    async with server.db.read() as session:
        assert await session.scalar(select(func.count()).select_from(UsedRefreshToken)) == 0
        assert await session.scalar(select(func.count()).select_from(Login)) == 1


async def test_a_bounded_number_of_used_tokens_is_remembered(
    server: AccountsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_USED_TOKENS", 3)
    _, first = await server.tokens()
    given = [first]
    for _ in range(6):
        server.clock.advance(60)
        given.append((await server.refresh(given[-1])).cookies["lorestream_refresh"])
    async with server.db.read() as session:
        assert await session.scalar(select(func.count()).select_from(UsedRefreshToken)) == 3
    assert (await server.refresh(first)).status_code == 401
    assert (await server.refresh(given[-1])).status_code == 200, "one that is forgotten is just unknown"
    assert (await server.refresh(given[4])).status_code == 401
    assert await server.events("refresh_reused") == 1


async def test_the_audit_log_tells_what_happened_and_never_what_was_typed(server: AccountsServer) -> None:
    access, _ = await server.tokens()
    async with server.db.read() as session:
        user_id = await session.scalar(select(User.user_id))

    async def step(answer: httpx.Response) -> None:
        server.clock.advance(1)
        assert answer.status_code < 500

    server.clock.advance(1)
    await step(await server.log_in(password="wrong-one"))
    await step(await server.log_in("nobody-here@example.com"))
    await step(await change(server, access))
    await step(await ask(server, access, "POST", "/auth/logout"))
    assert (await noted(server))[2:] == [
        ("login_failed", user_id),
        ("login_failed", None),
        ("password_changed", user_id),
        ("logout", user_id),
    ]
    assert sorted((await noted(server))[:2]) == [("login", user_id), ("registered", user_id)]
    async with server.db.read() as session:
        told = [f"{event.details} {event.ip}" for event in await session.scalars(select(AuditEvent))]
    for secret in ("nobody-here", EMAIL, PASSWORD, NEW, "wrong-one"):
        assert not [text for text in told if secret in text]
    assert {text.split()[-1] for text in told} == {"127.0.0.1"}
