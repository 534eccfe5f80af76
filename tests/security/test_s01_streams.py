"""S01: the stream of another user cannot be followed, resumed, stopped or read, and nobody learns that it exists."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from lorestream.streaming.events import Token
from tests.fakes.reading import Client, user_of
from tests.fakes.threads import asking
from tests.fakes.upstream import Finish, Hold, Say
from tests.security.matrix import shape

SECRET = "The treasure lies under the old oak"
ROUNDS = 60


def ways(run_id: str) -> list[tuple[str, str, dict[str, str]]]:
    """Every way to reach a stream by its id."""
    return [
        ("GET", f"/runs/{run_id}/events", {}),
        ("GET", f"/runs/{run_id}/events/", {}),
        ("GET", f"/runs/{run_id}/events?after=0", {}),
        ("GET", f"/runs/{run_id}/events?after=1", {}),
        ("GET", f"/runs/{run_id}/events?after=100000", {}),
        ("GET", f"/runs/{run_id}/events", {"Last-Event-ID": f"{run_id}:1"}),
        ("GET", f"/runs/{run_id}/events", {"Last-Event-ID": "nonsense"}),
        ("GET", "/query/stream/?question=what", {"Last-Event-ID": f"{run_id}:1"}),
        ("GET", "/rag/stream?query=what", {"Last-Event-ID": f"{run_id}:1"}),
        ("GET", "/rag/stream-with-sources?query=what", {"Last-Event-ID": f"{run_id}:1"}),
        ("GET", f"/runs/{run_id}", {}),
        ("POST", f"/runs/{run_id}/stop", {}),
        ("GET", f"/runs/{run_id.upper()}", {}),
        ("GET", f"/runs/{run_id}%00", {}),
        ("GET", f"/runs/{run_id}%20/events", {}),
    ]


@pytest.fixture
async def alice_and_bob(tmp_path: Path, models_dir: Path) -> AsyncIterator[tuple[Client, Client, asyncio.Event]]:
    """Alice is being told a secret, and Bob knows it."""
    async with (
        asking(tmp_path, models_dir, access_token_seconds="3600") as (fake, server, alice),
        user_of(server, "bob@example.com") as bob,
    ):
        gate = asyncio.Event()
        fake.play(Say([SECRET, " [1]"]), Hold(gate), Say("."), Finish())
        yield alice, bob, gate


async def test_a_foreign_stream_is_an_unknown_one(
    alice_and_bob: tuple[Client, Client, asyncio.Event], measured: Callable[[str], None]
) -> None:
    alice, bob, gate = alice_and_bob
    async with alice.ask() as stream:
        await stream.until(Token, 2)
        for index, (method, path, headers) in enumerate(ways(stream.run_id)):
            foreign = await bob.http.request(method, path, headers=headers)
            assert foreign.status_code == 404, f"{method} {path}: {foreign.status_code}"
            nowhere_method, nowhere_path, nowhere_headers = ways(uuid4().hex)[index]
            nowhere = await bob.http.request(nowhere_method, nowhere_path, headers=nowhere_headers)
            assert shape(foreign) == shape(nowhere), path
            assert b"treasure" not in foreign.content
            assert foreign.headers.keys() == nowhere.headers.keys()
        foreign_ms, unknown_ms = await timings(bob.http, f"/runs/{stream.run_id}/events", f"/runs/{uuid4().hex}/events")
        measured(f"S01: a foreign stream is refused in {foreign_ms:.2f} ms, an unknown one in {unknown_ms:.2f} ms")
        assert foreign_ms < 1.5 * unknown_ms + 2
        assert (await alice.http.get(f"/runs/{stream.run_id}")).json()["status"] == "running"
        gate.set()
        await stream.rest()
    assert stream.text == f"{SECRET} [1]."
    assert (await bob.http.get(f"/runs/{stream.run_id}/events")).status_code == 404, "nor when it has ended"


async def timings(http: httpx.AsyncClient, one: str, other: str) -> tuple[float, float]:
    """Median times of two requests in turn, in milliseconds."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for path, spent in zip((one, other), seconds, strict=True):
            began = time.perf_counter()
            await http.get(path)
            spent.append(time.perf_counter() - began)
    return statistics.median(seconds[0]) * 1000, statistics.median(seconds[1]) * 1000
