"""OWASP LLM10, unbounded consumption: each limit of a user, with what its refusal says, and that it cost nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest
import pytest_asyncio

from lorestream.streaming.events import Done, Token
from tests.fakes.reading import GEO, QUESTION, Client, Stream
from tests.fakes.upstream import Finish, Hold, Reset, Say
from tests.faults.world import World, world

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]

NUMBERS = iter(range(1000))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def at(tmp_path_factory: pytest.TempPathFactory, models_dir: Any) -> AsyncIterator[World]:
    """One server for all; its first user is its administrator."""
    async with world(tmp_path_factory.mktemp("llm10") / "data", models_dir) as made:
        yield made


@asynccontextmanager
async def limited(at: World, **limits: int) -> AsyncIterator[Client]:
    """Another user, with a document, for whom the administrator has set these limits."""
    email = f"limited{next(NUMBERS)}@example.com"
    client = Client(at.server, await asyncio.to_thread(at.server.register, email))
    try:
        await asyncio.to_thread(at.server.upload, dict(client.http.headers), "geo.txt", GEO)
        found = (await at.client.http.get("/admin/users", params={"q": email})).raise_for_status().json()["items"][0]
        await _set(at, found["user_id"], limits)
        yield client
    finally:
        await client.aclose()


async def _set(at: World, user_id: str, limits: dict[str, int]) -> None:
    (await at.client.http.patch(f"/admin/users/{user_id}", json={"limits": limits})).raise_for_status()


async def limits_of(client: Client) -> dict[str, dict[str, Any]]:
    items = (await client.http.get("/auth/limits")).raise_for_status().json()["items"]
    return {item.pop("name"): item for item in items}


async def conversation(client: Client) -> str:
    made: str = (await client.http.post("/conversations/", json={})).raise_for_status().json()["conversation_id"]
    return made


async def question(client: Client, where: str) -> httpx.Response:
    return await client.http.post(f"/conversations/{where}/questions", json={"question": QUESTION})


async def messages(client: Client, where: str) -> list[Any]:
    found: list[Any] = (await client.http.get(f"/conversations/{where}")).raise_for_status().json()["messages"]
    return found


async def upload(client: Client, content: bytes, name: str = "more.txt") -> httpx.Response:
    return await client.http.post("/documents/?wait=0", files={"file": (name, content)})


def refused(answer: httpx.Response, status: int, code: str, says: str, wait: range = range(1, 61)) -> None:
    """A problem document that says what is wrong, and for how long."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem["status"]) == (code, status)
    assert re.search(says, problem["message"]), problem["message"]
    if status == 429:
        assert int(answer.headers["retry-after"]) == problem["retry_after"]
        assert problem["retry_after"] in wait
        assert problem["retryable"] is True
    else:
        assert "retry-after" not in answer.headers


def files(at: World) -> int:
    assert not list((at.server.data_dir / "uploads").iterdir()), "nothing half received is left"
    return len(list((at.server.data_dir / "files").iterdir()))


async def test_requests_a_minute_with_what_remains_on_every_answer(at: World) -> None:
    async with limited(at, requests_per_minute=6) as client:
        answers = [await client.http.get(path) for path in ("/documents/", "/runs/unknown", "/auth/me")]
        at.fake.play(Say("Paris"), Finish())
        stream = await client.answer()
        assert isinstance(stream.terminal, Done)
        answers += [stream.response, await client.http.post("/query/", json={}), await client.http.get("/auth/limits")]
        assert [answer.status_code for answer in answers] == [200, 404, 200, 200, 422, 200]
        assert [re.findall(r"r=(\d)", answer.headers["ratelimit"]) for answer in answers] == [[n] for n in "543210"]
    async with limited(at, requests_per_minute=3) as client:
        found = [await client.http.get("/documents/") for _ in range(4)]
        over = found[-1]
        refused(over, 429, "rate_limited", r"at most 3 a minute")
        assert over.headers["ratelimit-policy"] == '"requests_per_minute";q=3;w=60'
        assert re.fullmatch(r'"requests_per_minute";r=0;t=\d+', over.headers["ratelimit"])
        for answer in (*answers[:4], *found):
            policy, left = answer.headers["ratelimit-policy"], answer.headers["ratelimit"]
            assert re.fullmatch(r'"requests_per_minute";q=[36];w=60', policy)
            assert re.fullmatch(r'"requests_per_minute";r=\d;t=\d+', left)
    async with httpx.AsyncClient() as nobody:
        assert "ratelimit" not in (await nobody.get(f"{at.server.url}/healthz")).headers


async def test_running_answers(at: World) -> None:
    async with limited(at, running_answers=1) as client:
        gate = asyncio.Event()
        at.fake.play(Say("Par"), Hold(gate), Say("is"), Finish())
        where = await conversation(client)
        async with client.ask() as stream:
            await stream.until(Token)
            assert (await limits_of(client))["running_answers"] == {
                "limit": 1, "used": 1, "remaining": 0, "resets_at": None,
            }  # fmt: skip
            asked = len(at.chats())
            refused(await question(client, where), 429, "rate_limited", "1 answers being written")
            assert await messages(client, where) == []
            gate.set()
            await stream.rest()
        assert len(at.chats()) == asked
        at.fake.play(Say("Paris"), Finish())
        assert (await question(client, where)).status_code == 200


async def test_open_streams(at: World) -> None:
    async with limited(at, open_streams=1) as client:
        gate = asyncio.Event()
        at.fake.play(Say("Par"), Hold(gate), Say("is"), Finish())
        where = await conversation(client)
        async with client.ask() as stream:
            await stream.until(Token)
            for answer in (await client.http.get(f"/runs/{stream.run_id}/events"), await question(client, where)):
                refused(answer, 429, "rate_limited", "1 open answer streams")
            assert await messages(client, where) == []
            assert (await limits_of(client))["open_streams"]["used"] == 1
            gate.set()
            await stream.rest()


async def test_tokens_a_day_as_the_provider_counts_them(at: World) -> None:
    async with limited(at, tokens_per_day=500) as client:
        where = await conversation(client)
        at.fake.play(Say("Paris"), Finish(usage=(480, 21)))
        assert (await question(client, where)).status_code == 200
        found = (await limits_of(client))["tokens_per_day"]
        assert (found["limit"], found["used"], found["remaining"]) == (500, 501, 0)
        midnight = datetime.fromisoformat(found["resets_at"])
        assert timedelta() < midnight - datetime.now(UTC) <= timedelta(days=1)
        assert (midnight.hour, midnight.minute, midnight.second) == (0, 0, 0)
        asked = len(at.chats())
        for answer in (
            await question(client, where),
            await client.http.post("/query/", json={"question": QUESTION}),
            await client.http.get("/query/stream/", params={"question": QUESTION}),
        ):
            refused(answer, 429, "rate_limited", r"500 tokens .* midnight", range(1, 86401))
        assert len(await messages(client, where)) == 2
        assert len(at.chats()) == asked


async def test_answers_that_were_stopped_or_failed_cost_tokens_too(at: World) -> None:
    async with limited(at) as client:
        used = [0]
        gate = asyncio.Event()
        at.fake.play(Say("Paris " * 100), Hold(gate))
        async with client.ask() as stream:
            await stream.until(Token)
            await client.stop(stream.run_id)
            await stream.rest()
        used.append((await limits_of(client))["tokens_per_day"]["used"])
        at.fake.play(Say("Paris " * 100), Reset())
        await client.answer()
        used.append((await limits_of(client))["tokens_per_day"]["used"])
        at.fake.play(Say("Paris " * 100), Hold(gate))
        where = await conversation(client)
        body = {"question": QUESTION}
        async with client.http.stream("POST", f"/conversations/{where}/questions", json=body) as response:
            stream = Stream(response)
            await stream.until(Token)
            await client.http.delete(f"/conversations/{where}")
            await stream.rest()
        used.append((await limits_of(client))["tokens_per_day"]["used"])
        costs = [after - before for before, after in pairwise(used)]
        assert costs[0] > 200, "the text that came, and the prompt"
        assert max(costs) - min(costs) < 20, "also one whose conversation was deleted meanwhile"


async def test_uploads_an_hour_of_which_failed_ones_are_none(at: World) -> None:
    async with limited(at, uploads_per_hour=3) as client:
        for _ in range(3):
            assert (await upload(client, b"MZ\x90\0" * 99, "x.exe")).status_code == 415
            assert (await upload(client, b"")).status_code == 422
        before = files(at)
        answers = [await upload(client, f"One of the texts is number {n}.".encode()) for n in range(4)]
        assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
        refused(answers[-1], 429, "rate_limited", "at most 3 a hour", range(1, 3601))
        assert files(at) == before + 3
        found = (await limits_of(client))["uploads_per_hour"]
        assert (found["limit"], found["used"], found["remaining"]) == (3, 3, 0)
        assert found["resets_at"]


async def test_documents_also_when_they_come_at_once(at: World) -> None:
    async with limited(at, documents=2) as client:
        before = files(at)
        answers = await asyncio.gather(*(upload(client, f"Text number {n} of many.".encode()) for n in range(5)))
        assert sorted(answer.status_code for answer in answers) == [202, 403, 403, 403, 403]
        refused(next(one for one in answers if one.status_code == 403), 403, "quota_exceeded", "2 documents .* delete")
        assert files(at) == before + 1
        found = await limits_of(client)
        assert found["documents"] == {"limit": 2, "used": 2, "remaining": 0, "resets_at": None}
        doc_id = (await client.http.get("/documents/")).json()["items"][0]["doc_id"]
        assert (await client.http.delete(f"/documents/{doc_id}")).status_code == 204
        assert (await upload(client, b"Now there is room for this text.")).status_code == 202


async def test_stored_bytes_before_and_after_the_body_is_read(at: World) -> None:
    async with limited(at, stored_bytes=len(GEO) + 100) as client:
        before = files(at)
        answers = await asyncio.gather(*(upload(client, bytes([97 + n]) * 60) for n in range(3)))
        assert sorted(answer.status_code for answer in answers) == [202, 403, 403]
        refused(next(one for one in answers if one.status_code == 403), 403, "quota_exceeded", "would not fit")
        assert files(at) == before + 1
        # What is announced is refused before it is sent.
        host, _, port = at.server.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"POST /documents/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: {client.http.headers['authorization']}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 50000000\r\n\r\n".encode()
        )
        async with asyncio.timeout(10):
            assert b" 403 " in await reader.readline()
        writer.close()
        doc_id = (await client.http.get("/documents/")).json()["items"][0]["doc_id"]
        assert (await client.http.delete(f"/documents/{doc_id}")).status_code == 204
        assert (await upload(client, b"z" * 100)).status_code == 202
        assert (await limits_of(client))["stored_bytes"]["remaining"] == 0


async def test_every_limit_is_shown_and_zero_is_none(at: World) -> None:
    async with limited(at, tokens_per_day=7) as client:
        found = await limits_of(client)
        assert list(found) == [
            "requests_per_minute", "running_answers", "tokens_per_day", "uploads_per_hour", "stored_bytes",
            "documents", "open_streams",
        ]  # fmt: skip
        assert found["tokens_per_day"]["remaining"] == 7
        for name in found.keys() - {"tokens_per_day"}:
            assert (found[name]["limit"], found[name]["remaining"]) == (0, None)
        assert (found["documents"]["used"], found["stored_bytes"]["used"]) == (1, len(GEO))
