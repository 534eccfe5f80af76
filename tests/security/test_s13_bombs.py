"""S13: a file that unpacks or runs without end fails with a reason, alone: memory stays, and everybody is served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.fakes.memory import memory_of
from tests.fakes.reading import GEO, Client, user_of
from tests.fakes.server import RunningServer, started_server
from tests.security.bombs import BOMBS, MIB

MOST_MEMORY = 512 * MIB
WITHIN_SECONDS = 30
# Of what is packed one of each kind; S14 reads the others.
PACKED, HERE = {".docx", ".pptx", ".xlsx", ".epub"}, {"thousand-to-one", "billion-laughs", "long-slide", "wide-rows"}
# Far above what a request takes on a busy machine, and far below what a blocked server would take.
SLOWEST_SECONDS = 5


async def settled_within(client: Client, doc_id: str, seconds: float) -> tuple[str, float]:
    """The document's code ("ready" without a failure), and how long reading it took at most."""
    began: float | None = None
    async with asyncio.timeout(seconds):
        while True:
            document = (await client.http.get(f"/documents/{doc_id}")).json()
            if document["status"] != "queued" and began is None:
                began = time.monotonic()
            if document["status"] in {"ready", "failed"}:
                code = document["error"]["code"] if document["error"] else "ready"
                return code, time.monotonic() - (began or 0)
            await asyncio.sleep(0.05)  # between two looks, as the page does


async def asked_meanwhile(client: Client, over: asyncio.Event) -> list[float]:
    """How long requests took, one after another, until it is over."""
    times = []
    while not over.is_set():
        began = time.monotonic()
        assert (await client.http.get("/documents/")).status_code == 200
        times.append(time.monotonic() - began)
    return sorted(times)


@pytest.mark.timeout(300)
async def test_every_bomb_fails_alone(tmp_path: Path, models_dir: Path, measured: Callable[[str], None]) -> None:
    made = {name: (ending, make()) for name, (ending, make, _) in BOMBS.items() if name in HERE or ending not in PACKED}
    async with (
        started_server(tmp_path / "data", models_dir) as server,
        user_of(server, "mallory@example.com") as mallory,
        user_of(server, "alice@example.com") as alice,
    ):
        with memory_of(server.process.pid) as memory:
            over = asyncio.Event()
            asking = asyncio.create_task(asked_meanwhile(alice, over))
            bombs = {name: await queued(mallory, name + ending, content) for name, (ending, content) in made.items()}
            hers = await queued(alice, "geo.md", GEO)
            for name, doc_id in bombs.items():
                code, seconds = await settled_within(mallory, doc_id, 100)
                assert code in BOMBS[name][2], f"{name}: {code}"
                assert seconds < WITHIN_SECONDS, f"{name}: {seconds:.0f} s"
            assert (await settled_within(alice, hers, 60))[0] == "ready"
            over.set()
            times = await asking
        assert await answers(alice, server)
    most = max(memory.values())
    assert most < MOST_MEMORY, memory
    assert times[len(times) * 99 // 100] < SLOWEST_SECONDS
    measured(
        f"S13: {len(bombs)} bombs, at most {most // MIB} MiB in one process; "
        f"meanwhile {len(times)} requests, p99 {times[len(times) * 99 // 100] * 1000:.0f} ms"
    )


async def queued(client: Client, name: str, content: bytes) -> str:
    answer = await client.http.post("/documents/", params={"wait": 0}, files={"file": (name, content)})
    assert answer.status_code in {201, 202}, answer.text
    return str(answer.json()["doc_id"])


async def answers(client: Client, server: RunningServer) -> bool:
    """Whether the server is the same one, and answers."""
    answer = await client.answer()
    return server.process.poll() is None and "Paris" in answer.text and isinstance(client.http, httpx.AsyncClient)
