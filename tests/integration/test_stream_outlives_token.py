"""An access token that expires during a stream does not break it; refreshing works beside it, and resuming after it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from lorestream.streaming.events import Done, Token
from tests.fakes.reading import GEO, QUESTION, Client
from tests.fakes.server import EMAIL, PASSWORD, RunningServer, started_server
from tests.fakes.upstream import FakeUpstream, Finish, Hold, Say

LIFE_SECONDS = 5


async def log_in(server: RunningServer) -> tuple[str, str]:
    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.post("/auth/token", data={"username": EMAIL, "password": PASSWORD})
        return answer.json()["access_token"], answer.cookies["lorestream_refresh"]


async def refresh(server: RunningServer, cookie: str) -> str:
    async with httpx.AsyncClient(base_url=server.url, cookies={"lorestream_refresh": cookie}) as http:
        access: str = (await http.post("/auth/refresh")).raise_for_status().json()["access_token"]
        return access


async def until_expired(client: Client) -> None:
    # Looked at now and then: nothing tells a client that its token has expired but the next answer.
    while (answer := await client.http.get("/auth/me")).status_code == 200:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    assert answer.json()["code"] == "unauthenticated"


async def test_a_stream_goes_on_when_its_token_expires(tmp_path: Path, models_dir: Path) -> None:
    after_expiry, at_the_end = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(100), FakeUpstream("ollama") as fake:
        chosen = {"model": "ollama:tiny:latest", "ollama_url": fake.url, "access_token_seconds": str(LIFE_SECONDS)}
        async with started_server(tmp_path / "data", models_dir, **chosen) as server:
            uploading = await asyncio.to_thread(server.register)
            await asyncio.to_thread(server.upload, uploading, "geo.txt", GEO)
            fake.play(Say("Paris"), Hold(after_expiry), Say(" it"), Hold(at_the_end), Say(" is"), Finish())
            access, cookie = await log_in(server)
            client = Client(server, {"Authorization": f"Bearer {access}"})
            async with client.ask(QUESTION, on_disconnect="continue") as stream:
                await stream.until(Token)
                await until_expired(client)
                after_expiry.set()
                await stream.until(Token, 2)
                renewed = await refresh(server, cookie)
                path, read = f"/runs/{stream.run_id}/events", {"Last-Event-ID": stream.ids[-1]}
                assert (await client.http.get(path, headers=read)).status_code == 401
            client.http.headers["Authorization"] = f"Bearer {renewed}"
            async with client.stream(path, headers=read) as resumed:
                at_the_end.set()
                await resumed.rest()
            await client.aclose()
    assert stream.text + resumed.text == "Paris it is"
    assert isinstance(resumed.terminal, Done)
