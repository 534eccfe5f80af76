"""The account endpoints over a real socket: register, log in, refresh in two tabs, log out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import func, select, update

from lorestream.accounts.emails import LOCAL_EMAIL
from lorestream.accounts.models import AuditEvent, Login, User
from lorestream.accounts.sessions import MAX_LOGINS_PER_USER
from tests.fakes.edge import EMAIL, PASSWORD, AccountsServer, accounts_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AccountsServer]:
    async with accounts_server(tmp_path) as server:
        yield server


# Registering


async def test_the_first_user_registers_and_is_the_administrator(server: AccountsServer) -> None:
    answer = await server.register()
    assert answer.status_code == 201
    body = answer.json()
    assert set(body) == {"user_id", "email", "created_at"}
    assert re.fullmatch(r"[0-9a-f]{32}", body["user_id"])
    assert body["email"] == EMAIL
    assert datetime.fromisoformat(body["created_at"]) == server.clock()
    token = (await server.log_in()).json()["access_token"]
    assert (await server.me(token)).json() == {**body, "is_admin": True}
    assert (await server.register("second@example.com")).status_code == 201
    token = (await server.log_in("second@example.com")).json()["access_token"]
    assert (await server.me(token)).json()["is_admin"] is False


async def test_an_email_is_taken_once_whatever_its_case(server: AccountsServer) -> None:
    assert (await server.register("Zoë@Example.com")).json()["email"] == "zoë@example.com"
    for same in ("zoë@example.com", "ZOË@EXAMPLE.COM", " zoe\u0308@example.com "):
        answer = await server.register(same)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert (await server.log_in("ZOE\u0308@example.COM")).status_code == 200


async def test_of_many_who_register_at_once_one_is_first_and_none_twice(server: AccountsServer) -> None:
    emails = [EMAIL, EMAIL, EMAIL, "b@example.com", "c@example.com"]
    answers = await asyncio.gather(*(server.register(email) for email in emails))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 201, 409, 409]
    async with server.db.read() as session:
        assert await session.scalar(select(func.count()).where(User.is_admin)) == 1


@pytest.mark.parametrize(
    "email",
    ["", "a", "a@", "@b", "a b@c.de", "a@b@c.de", "a@b..de", "a@.de", "a@b.de.", "a\u200b@b.de", "a\n@b.de",
     "x" * 65 + "@b.de", "a@" + "b" * 64 + ".de", "a@" + "b." * 130 + "de", LOCAL_EMAIL, "Local@LOCALHOST"],
)  # fmt: skip
async def test_what_is_no_email_is_refused_by_name(server: AccountsServer, email: str) -> None:
    answer = await server.register(email)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body.email"


@pytest.mark.parametrize("email", ["test@example.com", "a+b.c@sub.example.co.uk", "me@localhost", "用户@例え.jp"])
async def test_ordinary_emails_are_taken(server: AccountsServer, email: str) -> None:
    assert (await server.register(email)).status_code == 201
    assert (await server.log_in(email)).status_code == 200


@pytest.mark.parametrize("password", ["", "short12", "ë" * 513, "x" * 1025])
async def test_passwords_outside_the_bounds_are_refused_and_not_repeated(server: AccountsServer, password: str) -> None:
    answer = await server.register(password=password)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body.password"
    assert not password or password not in answer.text


@pytest.mark.parametrize(
    "password", ["secret123", "aaaaaaab", " spaces ", "密码密码密码密码", "xy" * 512, "\0\0\0\0\0\0\0\1"]
)
async def test_any_password_within_the_bounds_works(server: AccountsServer, password: str) -> None:
    assert (await server.register(password=password)).status_code == 201
    assert (await server.log_in(password=password)).status_code == 200
    assert (await server.log_in(password=password.strip() + "x")).status_code in (401, 422)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": EMAIL},
        {"email": EMAIL, "password": None},
        {"email": EMAIL, "password": PASSWORD, "is_admin": True},
    ],
)
async def test_other_bodies_are_refused(server: AccountsServer, body: dict[str, Any]) -> None:
    assert (await server.client.post("/auth/register", json=body)).status_code == 422


async def test_closed_registration_admits_only_the_first_user(tmp_path: Path) -> None:
    async with accounts_server(tmp_path, registration="closed") as server:
        await server.accounts.local_user()  # does not count as somebody
        assert (await server.register()).status_code == 201
        answer = await server.register("second@example.com")
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert "closed" in answer.json()["message"]


async def test_registering_is_limited_per_address(server: AccountsServer) -> None:
    answers = [await server.register(f"user{number}@example.com", "short") for number in range(21)]
    assert [answer.status_code for answer in answers] == [422] * 20 + [429]
    assert answers[-1].headers["retry-after"] == "60"


# Logging in


async def test_the_token_answer_and_its_cookie(server: AccountsServer) -> None:
    await server.register()
    answer = await server.log_in()
    assert answer.status_code == 200
    assert set(answer.json()) == {"access_token", "token_type", "expires_in"}
    assert answer.json()["token_type"] == "bearer"
    assert answer.json()["expires_in"] == 600
    assert answer.headers["cache-control"] == "no-store"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("lorestream_refresh=")
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=2592000"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert "Domain" not in cookie


async def test_the_form_may_be_multipart_with_other_oauth_fields(server: AccountsServer) -> None:
    await server.register()
    form = {"username": (None, EMAIL), "password": (None, PASSWORD)}
    assert (await server.client.post("/auth/token/", files=form)).status_code == 200
    more = {"username": EMAIL, "password": PASSWORD, "grant_type": "password", "scope": "", "client_id": ""}
    assert (await server.client.post("/auth/token", data=more)).status_code == 200
    answer = await server.client.post("/auth/token", json={"username": EMAIL, "password": PASSWORD})
    assert answer.status_code == 422


async def test_behind_https_the_cookie_is_secure_and_bound_to_the_host(tmp_path: Path) -> None:
    async with accounts_server(tmp_path, config={"forwarded_allow_ips": ["127.0.0.1"]}) as server:
        await server.register()
        server.client.headers["X-Forwarded-Proto"] = "https"
        cookie = (await server.log_in()).headers["set-cookie"]
        assert cookie.startswith("__Host-lorestream_refresh=")
        assert {"Secure", "HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
        value = cookie.split(";")[0].partition("=")[2]
        # The plain cookie, which a sibling host or a plain-http page could have planted, counts for nothing.
        assert (await server.refresh(value)).status_code == 401
        headers = {"Cookie": f"__Host-lorestream_refresh={value}"}
        assert (await server.client.post("/auth/refresh", headers=headers)).status_code == 200


async def test_a_login_with_an_outdated_hash_renews_it(server: AccountsServer) -> None:
    await server.register()
    old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    async with server.db.write() as session:
        await session.execute(update(User).values(password_hash=old))
    for _ in range(2):
        assert (await server.log_in()).status_code == 200
        async with server.db.read() as session:
            stored = await session.scalar(select(User.password_hash))
        assert stored is not None
        assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_failed_logins_make_strangers_wait_and_not_the_browser_of_the_owner(server: AccountsServer) -> None:
    await server.register()
    assert {(await server.log_in()).status_code for _ in range(12)} == {200}
    usual = server.client.cookies["lorestream_device"]
    server.client.cookies.clear()
    answers = [await server.log_in(password="wrong-one") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert answers[-1].headers["retry-after"] == "1"
    assert answers[-1].json()["code"] == "rate_limited"
    assert (await server.log_in()).status_code == 429, "the right password tells nothing, either"
    others = [await server.log_in(f"other{number}@example.com") for number in range(21)]
    assert [answer.status_code for answer in others] == [401] * 20 + [429]
    assert {**others[-1].json(), "instance": ""} == {**answers[-1].json(), "instance": ""}, "known or not"
    server.client.cookies.set("lorestream_device", usual)
    assert [(await server.log_in()).status_code for _ in range(3)] == [200] * 3
    server.client.cookies.clear()
    server.clock.advance(60)
    assert (await server.log_in()).status_code == 200
    async with server.db.read() as session:
        noted = await session.scalars(select(AuditEvent.user_id).where(AuditEvent.kind == "login_throttled"))
        assert len(noted.all()) == 1, "noted, and not by every refusal"


async def test_the_cookie_of_a_known_browser_is_worth_nothing_but_its_bucket(server: AccountsServer) -> None:
    access, _ = await server.tokens()
    cookies = {one.name: one for one in server.client.cookies.jar}
    assert cookies["lorestream_device"].has_nonstandard_attr("HttpOnly")
    assert cookies["lorestream_device"].get_nonstandard_attr("SameSite") == "strict"
    usual = server.client.cookies["lorestream_device"]
    server.client.cookies.clear()
    server.client.cookies.set("lorestream_device", usual)
    assert (await server.client.get("/auth/me")).status_code == 401
    assert (await server.client.post("/auth/refresh")).status_code == 401
    assert [(await server.log_in(password="wrong-one")).status_code for _ in range(11)] == [401] * 10 + [429]
    headers = {"Authorization": f"Bearer {access}"}
    change = {"current_password": "wrong-one", "new_password": "quite another one"}
    tries = [(await server.client.post("/auth/password", json=change, headers=headers)).status_code for _ in range(11)]
    assert tries == [422] * 10 + [429], "a stolen login does not guess the password, either"


async def test_a_user_keeps_a_bounded_number_of_logins(server: AccountsServer) -> None:
    _, oldest = await server.tokens()
    for _ in range(MAX_LOGINS_PER_USER + 3):
        server.clock.advance(1)
        assert (await server.log_in()).status_code == 200
    async with server.db.read() as session:
        assert await session.scalar(select(func.count()).select_from(Login)) == MAX_LOGINS_PER_USER
    assert (await server.refresh(oldest)).status_code == 401


async def test_expired_logins_are_forgotten_at_the_next_one(server: AccountsServer) -> None:
    await server.tokens()
    server.clock.advance(2592000)
    await server.log_in()
    async with server.db.read() as session:
        assert await session.scalar(select(func.count()).select_from(Login)) == 1


async def test_the_local_owner_is_made_once_and_cannot_log_in(server: AccountsServer) -> None:
    owner = await server.accounts.local_user()
    assert owner == await server.accounts.local_user()
    assert owner.email == LOCAL_EMAIL
    for password in ("", "secret123"):
        assert (await server.log_in(LOCAL_EMAIL, password)).status_code in (401, 422)


@pytest.mark.parametrize(
    "form",
    [b"username=%ED%A0%80&password=%ED%A0%80", b"username=%00&password=%00", b"username=%FF%FE&password=secret123",
     b"username=a&username=b&password=c", b"username=a%40b.c&password=" + b"x" * 1024],
)  # fmt: skip
async def test_odd_forms_are_just_wrong(server: AccountsServer, form: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await server.client.post("/auth/token", content=form, headers=headers)).status_code == 401


@pytest.mark.parametrize("path", ["register", "token", "refresh", "logout"])
@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b'""', b"\xff", b"{" * 10_000, b"[" * 100_000, b"&" * 100_000]
)
async def test_no_body_brings_the_server_down(server: AccountsServer, path: str, body: bytes) -> None:
    for media_type in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        answer = await server.client.post(f"/auth/{path}", content=body, headers={"Content-Type": media_type})
        assert answer.status_code in (204, 400, 401, 422), answer.text


# Who is asking


@pytest.mark.parametrize("path", ["/auth/me", "/auth/me/"])
async def test_without_a_token_the_answer_is_401(server: AccountsServer, path: str) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic dGVzdDp0ZXN0"},
        {"Authorization": "Bearer x"},
    ):
        answer = await server.client.get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"


async def test_an_access_token_expires_on_time(server: AccountsServer) -> None:
    access, _ = await server.tokens()
    server.clock.advance(599)
    assert (await server.me(access)).status_code == 200
    server.clock.advance(1)
    assert (await server.me(access)).status_code == 401


async def test_disabling_a_user_ends_every_credential_at_once(server: AccountsServer) -> None:
    access, refresh = await server.tokens()
    async with server.db.write() as session:
        await session.execute(update(User).values(disabled_at=server.clock()))
    assert (await server.me(access)).status_code == 401
    assert (await server.refresh(refresh)).status_code == 401
    assert (await server.log_in()).status_code == 401


async def test_tokens_outlive_a_restart(tmp_path: Path) -> None:
    async with accounts_server(tmp_path) as server:
        access, refresh = await server.tokens()
    async with accounts_server(tmp_path) as server:
        assert (await server.me(access)).status_code == 200
        assert (await server.refresh(refresh)).status_code == 200


# Refreshing


async def test_refreshing_rotates_the_cookie_and_prolongs_the_login(server: AccountsServer) -> None:
    _, refresh = await server.tokens()
    for _ in range(3):
        server.clock.advance(2_000_000)  # of 2 592 000 seconds
        answer = await server.refresh(refresh)
        assert answer.status_code == 200
        assert (await server.me(answer.json()["access_token"])).status_code == 200
        assert answer.cookies["lorestream_refresh"] != refresh
        assert answer.headers["cache-control"] == "no-store"
        refresh = answer.cookies["lorestream_refresh"]
    server.clock.advance(2_592_000)
    assert (await server.refresh(refresh)).status_code == 401


async def test_ten_tabs_that_refresh_at_once_all_get_the_same_successor(server: AccountsServer) -> None:
    _, refresh = await server.tokens()
    server.client.cookies.clear()
    answers = await asyncio.gather(*(server.refresh(refresh) for _ in range(10)))
    assert [answer.status_code for answer in answers] == [200] * 10
    successors = {answer.cookies["lorestream_refresh"] for answer in answers}
    assert len(successors) == 1
    assert (await server.refresh(successors.pop())).status_code == 200


async def test_a_used_refresh_token_ends_its_login_after_the_grace(server: AccountsServer) -> None:
    _, first = await server.tokens()
    other = (await server.log_in()).cookies["lorestream_refresh"]
    answer = await server.refresh(first)
    access, second = answer.json()["access_token"], answer.cookies["lorestream_refresh"]
    server.clock.advance(10)
    assert (await server.refresh(first)).cookies["lorestream_refresh"] == second
    server.clock.advance(0.1)
    answer = await server.refresh(first)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert (await server.me(access)).status_code == 401
    for token in (first, second):
        assert (await server.refresh(token)).status_code == 401
    assert await server.events("refresh_reused") == 1
    assert (await server.refresh(other)).status_code == 200


async def test_within_the_grace_only_the_token_exchanged_last_comes_again(server: AccountsServer) -> None:
    _, first = await server.tokens()
    second = (await server.refresh(first)).cookies["lorestream_refresh"]
    third = (await server.refresh(second)).cookies["lorestream_refresh"]
    assert (await server.refresh(second)).cookies["lorestream_refresh"] == third
    assert (await server.refresh(first)).status_code == 401
    assert (await server.refresh(third)).status_code == 401
    assert await server.events("refresh_reused") == 1


@pytest.mark.parametrize("value", ["", "x", "x" * 5000, '"; DROP TABLE logins; --', "%00"])
async def test_an_unknown_refresh_token_is_refused_and_cleared(server: AccountsServer, value: str) -> None:
    await server.tokens()
    answer = await server.refresh(value)
    assert answer.status_code == 401
    assert "Max-Age=0" in answer.headers["set-cookie"]


async def test_only_hashes_of_refresh_tokens_are_stored(server: AccountsServer, tmp_path: Path) -> None:
    _, first = await server.tokens()
    second = (await server.refresh(first)).cookies["lorestream_refresh"]
    stored = await asyncio.to_thread(_database_bytes, tmp_path)
    for token in (first, second):
        assert token.encode() not in stored


def _database_bytes(data_dir: Path) -> bytes:
    return b"".join(path.read_bytes() for path in data_dir.glob("lorestream.db*"))
