"""API keys: made by a login, shown once, known by their hash, over when they expire or are revoked."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event, select

from lorestream.accounts.keys import MAX_KEYS_PER_USER
from lorestream.accounts.models import ApiKey
from tests.fakes.edge import AccountsServer, accounts_server

DAY = 86_400


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AccountsServer]:
    async with accounts_server(tmp_path, refresh_token_seconds=100 * DAY) as server:
        yield server


async def log_in(server: AccountsServer, email: str = "ann@example.com") -> dict[str, str]:
    access, _ = await server.tokens(email)
    server.client.cookies.clear()
    return {"Authorization": f"Bearer {access}"}


async def make(server: AccountsServer, login: dict[str, str], **values: Any) -> dict[str, Any]:
    body = {"name": "a program", "scopes": ["read"], **values}
    answer = await server.client.post("/auth/keys", json=body, headers=login)
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store"), answer.text
    made: dict[str, Any] = answer.json()
    return made


async def status(server: AccountsServer, key: str) -> int:
    """403 for a key that lives: it may not come to the account; 401 for any other."""
    return (await server.client.get("/auth/me", headers={"Authorization": f"Bearer {key}"})).status_code


async def listed(server: AccountsServer, login: dict[str, str]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await server.client.get("/auth/keys/", headers=login)).json()["items"]
    return items


async def test_a_key_is_shown_once_and_stored_as_a_hash(server: AccountsServer) -> None:
    login = await log_in(server)
    made = await make(server, login, scopes=["ask", "read", "ask"])
    key = made["key"]
    assert (len(key), key[:4], made["scopes"]) == (47, "lsk_", ["ask", "read"])
    assert key.startswith(made["prefix"])
    assert len(made["prefix"]) == 10
    (shown,) = await listed(server, login)
    assert shown == {name: value for name, value in made.items() if name != "key"}
    async with server.db.read() as session:
        stored = (await session.scalars(select(ApiKey))).one()
    assert stored.hash == hashlib.sha256(key.encode()).digest()
    assert key.encode() not in (server.db.path.read_bytes() + server.db.path.with_suffix(".db-wal").read_bytes())


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"name": " \n"}, {"name": "x" * 101}, {"name": "a\u0000b"}, {"scopes": []}, {"scopes": ["admin"]},
     {"scopes": "read"}, {"expires_in_days": 0}, {"expires_in_days": 4000}, {"user_id": "x"}],
)  # fmt: skip
async def test_what_is_no_key_is_refused(server: AccountsServer, wrong: dict[str, Any]) -> None:
    login = await log_in(server)
    body = {"name": "a program", "scopes": ["read"], **wrong}
    assert (await server.client.post("/auth/keys", json=body, headers=login)).status_code == 422
    assert await listed(server, login) == []


async def test_a_key_makes_no_other_key(server: AccountsServer) -> None:
    made = await make(server, await log_in(server), scopes=["read", "ask", "documents"])
    program = {"Authorization": f"Bearer {made['key']}"}
    for method, path in (("GET", "/auth/keys"), ("POST", "/auth/keys"), ("DELETE", f"/auth/keys/{made['key_id']}")):
        assert (await server.client.request(method, path, json={}, headers=program)).status_code == 403


async def test_a_key_is_over_when_it_expires(server: AccountsServer) -> None:
    made = await make(server, await log_in(server), expires_in_days=30)
    server.clock.advance(30 * DAY - 1)
    assert await status(server, made["key"]) == 403
    server.clock.advance(1)
    assert await status(server, made["key"]) == 401


async def test_a_key_is_over_when_it_is_revoked_by_its_owner_alone(server: AccountsServer) -> None:
    ann, bob = await log_in(server), await log_in(server, "bob@example.com")
    made = await make(server, ann)
    foreign = await server.client.delete(f"/auth/keys/{made['key_id']}", headers=bob)
    unknown = await server.client.delete(f"/auth/keys/{'0' * 32}", headers=bob)
    assert foreign.status_code == unknown.status_code == 404
    assert {**foreign.json(), "instance": ""} == {**unknown.json(), "instance": ""}
    assert await status(server, made["key"]) == 403
    assert (await server.client.delete(f"/auth/keys/{made['key_id']}", headers=ann)).status_code == 204
    assert await status(server, made["key"]) == 401
    assert await listed(server, ann) == []


@pytest.mark.parametrize(
    "wrong", ["lsk_", "lsk_" + "x" * 43, "lsk_" + "x" * 44, "lsk_" + "é" * 43, "lsk_" + "\u0000" * 43]
)
async def test_what_is_no_key_of_ours_is_nobody(server: AccountsServer, wrong: str) -> None:
    headers = [(b"authorization", b"Bearer " + wrong.encode("latin-1", "replace").replace(b"\x00", b"?"))]
    assert (await server.client.get("/auth/me", headers=httpx.Headers(headers))).status_code == 401


async def test_a_user_has_fifty_keys_at_most(server: AccountsServer) -> None:
    login = await log_in(server)
    body = {"name": "a program", "scopes": ["read"]}
    requests = (server.client.post("/auth/keys", json=body, headers=login) for _ in range(MAX_KEYS_PER_USER + 5))
    answers = await asyncio.gather(*requests)
    assert sorted(answer.status_code for answer in answers) == [201] * MAX_KEYS_PER_USER + [409] * 5
    assert len(await listed(server, login)) == MAX_KEYS_PER_USER


async def test_the_last_use_is_noted_at_most_once_a_minute(server: AccountsServer) -> None:
    login = await log_in(server)
    made, writes, noted = await make(server, login), 0, asyncio.Event()

    @event.listens_for(server.db._engine.sync_engine, "commit")
    def on_commit(connection: Any) -> None:
        nonlocal writes
        if connection.get_execution_options().get("lorestream_write"):
            writes += 1
            noted.set()

    assert made["last_used_at"] is None
    for advance in (0, 59, 1):
        server.clock.advance(advance)
        for _ in range(20):
            assert await status(server, made["key"]) == 403
        if advance != 59:
            async with asyncio.timeout(10):
                await noted.wait()
            noted.clear()
    assert writes == 2
    (shown,) = await listed(server, login)
    assert shown["last_used_at"] == server.clock().isoformat().replace("+00:00", "Z")
