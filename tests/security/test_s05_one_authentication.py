"""S05: one way in for all routes, whatever a caller comes by; and whatever they came by ends within five seconds."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIWebSocketRoute, iter_route_contexts

from lorestream.accounts.caller import SCOPES, current_user, whose_token
from lorestream.library import Library
from lorestream.main import create_app
from lorestream.streaming.events import Token
from tests.fakes.edge import settings
from tests.fakes.fleet import pair_of_servers
from tests.fakes.reading import GEO, QUESTION, Stream
from tests.fakes.server import PASSWORD, RunningServer
from tests.fakes.threads import ScriptedModel, asking
from tests.fakes.upstream import Hold, Say
from tests.security.matrix import refusal_of

PUBLIC = {
    "/auth/options",
    "/auth/register",
    "/auth/token",
    "/auth/refresh",
    "/auth/logout",
    "/healthz",
    "/readyz",
    "/metrics",
}
# Accounts and administration: no key may do anything here, but have its ticket.
LOGINS_ONLY = ("/auth/", "/admin/")
FOR_KEYS_TOO = {"/auth/tickets"}
PROMISED_SECONDS = 5.0
# The streams must still be open when their credentials end, however long the others take to begin.
PATIENT = {"idle_timeout_seconds": "1000", "total_timeout_seconds": "1000"}


@dataclass(frozen=True)
class Route:
    """A published route, and what an API key needs for it: the scopes, none where no key will do."""

    method: str
    path: str
    asks: bool
    scopes: frozenset[str]


def asking_for_the_user(dependant: Dependant) -> Iterator[Dependant]:
    if dependant.call in (current_user, whose_token):
        yield dependant
    for below in dependant.dependencies:
        yield from asking_for_the_user(below)


def published_routes(folder: Path) -> list[Route]:
    app = create_app(Library(settings(folder, model="reader")))
    found = []
    for route in iter_route_contexts(app.routes):
        if not isinstance(route.original_route, APIRoute | APIWebSocketRoute):
            continue
        if not getattr(route, "include_in_schema", True):
            continue
        askers = list(asking_for_the_user(route.dependant))
        scopes = {frozenset((*(one.parent_oauth_scopes or []), *(one.own_oauth_scopes or []))) for one in askers}
        assert len(scopes) <= 1, f"{route.path} asks in two ways: {scopes}"
        methods = getattr(route.original_route, "methods", None) or {"WEBSOCKET"}
        found += [
            Route(method, route.path or "", bool(askers), next(iter(scopes), frozenset())) for method in sorted(methods)
        ]
    return found


def test_every_published_route_asks_for_the_current_user(tmp_path: Path) -> None:
    open_routes = {route.path.rstrip("/") for route in published_routes(tmp_path) if not route.asks}
    assert open_routes <= PUBLIC
    assert {"/auth/register", "/auth/token"} <= open_routes


def test_every_route_names_one_scope_or_is_for_logins_alone(tmp_path: Path) -> None:
    for route in published_routes(tmp_path):
        if route.asks and (route.path in FOR_KEYS_TOO or not route.path.startswith(LOGINS_ONLY)):
            assert len(route.scopes) == 1, f"{route.method} {route.path} names no scope for API keys"
            assert route.scopes <= SCOPES.keys()
        else:
            assert not route.scopes, f"{route.method} {route.path} lets API keys in"


def dump(data_dir: Path) -> list[str]:
    """The whole database, without when a key was last used."""
    with closing(sqlite3.connect(data_dir / "lorestream.db")) as database:
        return [line for line in database.iterdump() if '"api_keys"' not in line]


def make_key(server: RunningServer, headers: dict[str, str], *scopes: str) -> dict[str, Any]:
    body = {"name": "a program", "scopes": list(scopes)}
    answer = httpx.post(f"{server.url}/auth/keys", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.timeout(120)
def test_a_key_without_the_scope_is_refused_by_every_route_and_changes_nothing(
    tmp_path: Path, reader_server: RunningServer, measured: Callable[[str], None]
) -> None:
    server = reader_server
    login = server.register()
    doc_id = str(server.upload(login, "geo.txt", GEO)["doc_id"])
    keys = {scope: str(make_key(server, login, scope)["key"]) for scope in SCOPES}
    before, tried = dump(server.data_dir), 0
    with httpx.Client(base_url=server.url) as client:
        for route in published_routes(tmp_path / "app"):
            if route.method == "WEBSOCKET":  # tests/doors/test_websocket.py
                continue
            path = route.path.replace("{doc_id}", doc_id)
            while "{" in path:
                path = path[: path.index("{")] + "0" + path[path.index("}") + 1 :]
            for scope in (set(SCOPES) - route.scopes) if route.asks else ():
                answer = client.request(route.method, path, headers=bearer(keys[scope]), json={})
                tried += 1
                refused = refusal_of(answer)
                assert (answer.status_code, refused["code"]) == (403, "forbidden"), f"{route} with {scope}"
                assert all(needed in refused["message"] for needed in route.scopes)
    assert dump(server.data_dir) == before
    measured(f"API keys without the scope: {tried} requests, all 403, the database unchanged")


def test_a_key_does_what_its_scope_says(reader_server: RunningServer) -> None:
    server = reader_server
    login = server.register()
    keys = {scope: bearer(str(make_key(server, login, scope)["key"])) for scope in SCOPES}
    server.upload(keys["documents"], "geo.txt", GEO)
    with httpx.Client(base_url=server.url, timeout=30) as client:
        assert len(client.get("/documents/", headers=keys["read"]).json()["items"]) == 1
        asked = client.post("/query/", json={"question": QUESTION}, headers=keys["ask"])
        assert "Paris" in asked.json()["answer"]
        run = client.get(f"/runs/{asked.json()['run_id']}", headers=keys["read"])
        assert run.json()["question"] == QUESTION


@dataclass
class Guest:
    """A user with three requests open: a stream by their login, a stream and a question by an API key."""

    server: RunningServer
    admin: httpx.AsyncClient
    email: str
    client: httpx.AsyncClient
    key: dict[str, Any]
    streams: dict[str, Stream]
    question: asyncio.Task[httpx.Response]

    @property
    def as_program(self) -> dict[str, str]:
        return bearer(str(self.key["key"]))

    async def user_id(self) -> str:
        found = await self.admin.get("/admin/users", params={"q": self.email})
        return str(found.json()["items"][0]["user_id"])


async def open_stream(stack: AsyncExitStack, client: httpx.AsyncClient, headers: dict[str, str]) -> Stream:
    made = await client.post("/conversations/", json={}, headers=headers)
    path = f"/conversations/{made.json()['conversation_id']}/questions"
    request = client.stream("POST", path, json={"question": QUESTION}, headers=headers)
    stream = Stream(await stack.enter_async_context(request))
    assert stream.response.status_code == 200, await stream.response.aread()
    await stream.until(Token, seconds=30)
    return stream


async def guest(
    stack: AsyncExitStack, server: RunningServer, admin: httpx.AsyncClient, email: str, model: ScriptedModel
) -> Guest:
    """A guest whose answers never end by themselves."""
    client = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=60))
    login = await asyncio.to_thread(server.register, email)
    await asyncio.to_thread(server.upload, login, "geo.txt", GEO)
    answer = await client.post("/auth/token", data={"username": email, "password": PASSWORD})
    client.headers.update(bearer(answer.json()["access_token"]))
    key = await asyncio.to_thread(make_key, server, login, "ask", "read")
    program = bearer(str(key["key"]))
    streams = {"login": await open_stream(stack, client, {}), "key": await open_stream(stack, client, program)}
    asked = len(model.chats)
    question = asyncio.create_task(client.post("/query/", json={"question": QUESTION}, headers=program))
    await model.chat(asked, seconds=30)
    return Guest(server, admin, email, client, key, streams, question)


async def disabled_by_route(of: Guest) -> None:
    answer = await of.admin.patch(f"/admin/users/{await of.user_id()}", json={"disabled": True})
    assert answer.status_code == 200, answer.text


async def disable_by_command(server: RunningServer, email: str) -> None:
    command = [sys.executable, "-m", "lorestream", "users", "disable", email, "--data-dir", str(server.data_dir)]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=server.data_dir, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


async def disabled_by_command(of: Guest) -> None:
    await disable_by_command(of.server, of.email)


async def password_reset(of: Guest) -> None:
    assert (await of.admin.post(f"/admin/users/{await of.user_id()}/reset-password")).status_code == 200


async def account_deleted(of: Guest) -> None:
    assert (await of.client.post("/auth/delete-account", json={"password": PASSWORD})).status_code == 204


async def logged_out(of: Guest) -> None:
    assert (await of.client.post("/auth/logout-everywhere")).status_code == 204


async def key_revoked(of: Guest) -> None:
    assert (await of.client.delete(f"/auth/keys/{of.key['key_id']}")).status_code == 204


# What is over when it was ended in this way.
ENDINGS: dict[Callable[[Guest], Awaitable[None]], set[str]] = {
    disabled_by_route: {"login", "key"},
    disabled_by_command: {"login", "key"},
    password_reset: {"login", "key"},
    account_deleted: {"login", "key"},
    logged_out: {"login"},
    key_revoked: {"key"},
}


async def broken_off(stream: Stream) -> None:
    """Read to the end of a stream, which comes without a terminal event."""
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await stream.rest(30)
    assert stream.terminal is None


async def seconds_to_end(of: Guest, ending: Callable[[Guest], Awaitable[None]], over: set[str]) -> float:
    """How long after the ending the streams are closed; whatever else is over is refused at once."""
    clock = asyncio.get_running_loop().time
    await ending(of)
    ended = clock()
    if "login" in over:
        assert (await of.client.get("/auth/me")).status_code == 401
        assert (await of.client.post("/auth/refresh")).status_code == 401
    if "key" in over:
        assert (await of.client.get("/documents/", headers=of.as_program)).status_code == 401
    await asyncio.gather(*(broken_off(of.streams[kind]) for kind in over))
    seconds = clock() - ended
    if "key" in over:
        assert (await of.question).status_code == 401
    else:
        of.question.cancel()
    for kind in {"login", "key"} - over:
        assert of.streams[kind].terminal is None
        assert (await of.client.get("/documents/", headers=of.as_program if kind == "key" else {})).status_code == 200
    return seconds


@pytest.mark.timeout(300)
async def test_every_credential_and_what_it_holds_open_ends_within_five_seconds(
    tmp_path: Path, models_dir: Path, measured: Callable[[str], None]
) -> None:
    async with asking(tmp_path, models_dir, **PATIENT) as (model, server, admin), AsyncExitStack() as stack:
        model.play(Say("Paris"), Hold(), always=True)
        guests = [await guest(stack, server, admin.http, f"{ending.__name__}@x.de", model) for ending in ENDINGS]
        seconds = await asyncio.gather(
            *(seconds_to_end(of, ending, over) for of, (ending, over) in zip(guests, ENDINGS.items(), strict=True))
        )
        for ending, taken in zip(ENDINGS, seconds, strict=True):
            assert taken < PROMISED_SECONDS, ending.__name__
            measured(f"S05: {ending.__name__}: its streams closed after {taken:.1f} s")
        # Who is disabled or gone has no answers written either, though they were resumable.
        for number, ending in enumerate(ENDINGS):
            if ending in (disabled_by_route, disabled_by_command, account_deleted):
                async with asyncio.timeout(20):
                    for index in range(3 * number, 3 * number + 3):
                        await (await model.chat(index)).closed


@pytest.mark.timeout(300)
async def test_over_several_workers_everything_ends_that_the_command_line_ends(
    tmp_path: Path, models_dir: Path, measured: Callable[[str], None]
) -> None:
    clock = asyncio.get_running_loop().time
    async with pair_of_servers(tmp_path, models_dir, **PATIENT) as pair, AsyncExitStack() as stack:
        pair.fake.play(Say("Paris"), Hold(), always=True)
        login = await asyncio.to_thread(pair.servers[0].register, "eve@example.com")
        await asyncio.to_thread(pair.servers[0].upload, login, "geo.txt", GEO)
        streams = []
        for server in pair.servers:
            client = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, headers=login, timeout=60))
            streams.append(await open_stream(stack, client, {}))
        followed = client.stream("GET", f"/runs/{streams[0].run_id}/events")
        streams.append(Stream(await stack.enter_async_context(followed)))
        await streams[-1].until(Token, seconds=30)
        await disable_by_command(pair.servers[0], "eve@example.com")
        ended = clock()
        await asyncio.gather(*(broken_off(stream) for stream in streams))
        taken = clock() - ended
        assert taken < PROMISED_SECONDS
        measured(f"S05: streams at two workers closed {taken:.1f} s after the command line disabled their user")
