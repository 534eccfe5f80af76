"""Tickets, by which a browser's EventSource comes, which can send no header: good for one run and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from lorestream.accounts.models import Principal, User
from lorestream.accounts.tickets import MAX_OPEN_PER_USER, SECONDS, Tickets
from lorestream.db import Database
from lorestream.errors import RateLimited, Unauthenticated
from lorestream.streaming.events import Done, Token
from tests.doors.house import House
from tests.fakes.edge import Clock
from tests.fakes.reading import QUESTION, user_of
from tests.fakes.upstream import Finish, Hold, Say
from tests.security.matrix import description, routes

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]
BY_TICKET = {"/query/stream/", "/rag/stream", "/rag/stream-with-sources"}
CLOSED_SECONDS = 5.0


async def test_a_ticket_begins_one_run_and_resumes_it_alone(house: House) -> None:
    gate = asyncio.Event()
    house.fake.play(Say("Par"), Hold(gate), Say("is."), Finish())
    ticket = await house.ticket()
    async with house.asked(ticket) as stream:
        await stream.until(Token)
        last = stream.ids[-1]
        assert stream.run_id == last.partition(":")[0]
    assert await house.status(ticket) == 401, "used"
    other = await house.client.answer()
    assert await house.status(ticket, other.ids[0]) == 401, "another run of the same user's"
    for nonsense in ("", ":1", f"{stream.run_id}", f"{stream.run_id}x:1"):
        assert await house.status(ticket, nonsense) == 401, nonsense
    async with house.asked(ticket, **{"Last-Event-ID": last}) as again:
        gate.set()
        await again.rest()
    assert stream.text + again.text == "Paris."
    assert isinstance(again.terminal, Done)
    assert await house.status(ticket, again.ids[-1]) == 204, "read to its end: an EventSource comes no more"


async def test_of_two_with_one_ticket_one_is_let_in(house: House) -> None:
    for _ in range(5):
        ticket = await house.ticket()
        statuses = await asyncio.gather(*(house.status(ticket) for _ in range(3)))
        assert sorted(statuses) == [200, 401, 401]


async def test_a_ticket_opens_nothing_else(house: House, tmp_path: Path) -> None:
    ticket = await house.ticket()
    for route in routes(description(tmp_path)):
        if route.path in BY_TICKET and route.method == "GET":
            assert "ticket" in {one.name for one in route.fields}
            continue
        assert "ticket" not in {one.name for one in route.fields}, str(route)
        if route.path.startswith(("/auth/register", "/auth/token", "/auth/refresh", "/auth/logout", "/auth/options")):
            continue
        path = route.path.replace("{", "").replace("}", "")
        for headers in ({}, {"Authorization": f"Bearer {ticket}"}):
            params = {"ticket": ticket, "token": ticket, "question": QUESTION}
            answer = await house.browser.request(route.method, path, params=params, headers=headers, json={})
            assert answer.status_code in ({200} if path in {"/healthz", "/readyz"} else {401}), str(route)
    async with house.asked(ticket) as stream:
        assert stream.response.status_code == 200, "and it was not used up by all that"
        await stream.rest()


async def test_no_other_parameter_lets_anybody_in(house: House) -> None:
    token = house.client.http.headers["authorization"].removeprefix("Bearer ")
    key = await make_key(house, "ask")
    for path in BY_TICKET:
        for name in ("ticket", "token", "access_token", "authorization", "key", "api_key"):
            for secret in (token, key["key"], "", "x" * 43):
                params = {"question": QUESTION, "query": QUESTION, name: secret}
                answer = await house.browser.get(path, params=params)
                assert answer.status_code in {401, 422}, (path, name)
                assert answer.status_code == 401 or len(secret) > 64


async def test_a_ticket_is_only_known_by_its_hash_and_never_logged(house: House) -> None:
    ticket = await house.ticket()
    async with house.asked(ticket) as stream:
        await stream.rest()
    files = [house.server.data_dir / f"lorestream.db{ending}" for ending in ("", "-wal")]
    stored = b"".join(file.read_bytes() for file in files if file.exists())
    assert ticket.encode() not in stored
    assert hashlib.sha256(ticket.encode()).digest() in stored
    assert ticket not in "".join(house.server.output)


async def make_key(house: House, *scopes: str) -> dict[str, Any]:
    made = await house.client.http.post("/auth/keys", json={"name": "a page", "scopes": list(scopes)})
    key: dict[str, Any] = made.raise_for_status().json()
    return key


async def test_a_ticket_is_over_with_the_key_it_was_given_to(house: House) -> None:
    reads = await make_key(house, "read")
    refused = await house.client.http.post("/auth/tickets", headers={"Authorization": f"Bearer {reads['key']}"})
    assert (refused.status_code, refused.json()["scope"]) == (403, "ask")
    key = await make_key(house, "ask")
    as_page = {"Authorization": f"Bearer {key['key']}"}
    open_one, unused = await house.ticket(**as_page), await house.ticket(**as_page)
    house.fake.play(Say("Par"), Hold(), always=True)
    try:
        async with house.asked(open_one) as stream:
            await stream.until(Token)
            assert (await house.client.http.delete(f"/auth/keys/{key['key_id']}")).status_code == 204
            revoked = asyncio.get_running_loop().time()
            with pytest.raises(httpx.TransportError):
                await stream.rest()
            assert asyncio.get_running_loop().time() - revoked < CLOSED_SECONDS
        assert stream.terminal is None
        assert await house.status(open_one, stream.ids[-1]) == 401
        assert await house.status(unused) == 401
    finally:
        house.fake.play(Say("Paris."), Finish(), always=True)
        await house.client.stop(stream.run_id)


async def test_a_ticket_is_over_with_its_login_and_of_no_use_to_others(house: House) -> None:
    async with user_of(house.server, "bob@example.com") as bob:
        (theirs,) = [(await bob.http.post("/auth/tickets")).json()["ticket"]]
        own = await house.client.answer()
        assert await house.status(theirs, own.ids[0]) == 401, "a run of another user's"
        async with house.asked(theirs) as stream:
            await stream.rest()
        unused = (await bob.http.post("/auth/tickets")).json()["ticket"]
        assert (await bob.http.post("/auth/logout")).status_code == 204
        assert await house.status(unused) == 401
        assert await house.status(theirs, stream.ids[-1]) == 401


async def test_tickets_expire_are_few_and_are_swept(tmp_path: Path) -> None:
    clock, database = Clock(), Database(tmp_path / "lorestream.db")
    await asyncio.to_thread(database.migrate)
    tickets, ann = Tickets(database, 600, clock), Principal("ann", "ann@example.com", "", key_id="k")
    async with database.write() as session:
        session.add(User(user_id="ann", email="ann@example.com", created_at=clock()))
    given = [(await tickets.give(ann))[0] for _ in range(MAX_OPEN_PER_USER)]
    with pytest.raises(RateLimited) as refused:
        await tickets.give(ann)
    assert refused.value.retry_after == SECONDS
    clock.advance(SECONDS)
    with pytest.raises(Unauthenticated):
        await tickets.admit(given[0], None)
    text, until = await tickets.give(ann)
    assert (until - clock()).total_seconds() == SECONDS
    async with database.read() as session:
        kept = (await session.connection()).exec_driver_sql("SELECT hash FROM stream_tickets")
        assert [row.hash for row in await kept] == [hashlib.sha256(text.encode()).digest()]
    await database.close()
