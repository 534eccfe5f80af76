"""Progress streams: how documents and batches are doing, until they are settled, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from lorestream.documents import batches_store, jobs_store, progress
from lorestream.documents.models import Document
from tests.fakes.documents import ALICE, BOB, Desk, application, desk, local_worker
from tests.fakes.edge import served
from tests.fakes.files import zipped

FRANCE = b"# France\n\nParis is the capital of France.\n"


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path / "data", heartbeat_seconds=0.5, max_streams_per_user=12) as opened:
        yield opened


@pytest.fixture
async def http(at: Desk) -> AsyncIterator[httpx.AsyncClient]:
    async with served(application(at)) as url, user(url, ALICE) as made:
        yield made


def user(url: str, name: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers={"X-User": name}, timeout=30)


class Events:
    """What one stream has told so far."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.raw = ""
        self.events: list[dict[str, Any]] = []
        self._pieces = response.aiter_text()

    async def next(self) -> dict[str, Any] | None:
        """The next event, None at the end."""
        known = len(self.events)
        while len(self.events) == known:
            try:
                self.raw += await anext(self._pieces)
            except StopAsyncIteration:
                return None
            blocks = self.raw.replace(": hb\n", "").removeprefix("retry: 2000\n").split("\n\n")[:-1]
            assert all(block.startswith("data: ") and "\n" not in block for block in blocks), self.raw
            self.events = [json.loads(block[6:]) for block in blocks]
        return self.events[known]

    async def rest(self) -> list[dict[str, Any]]:
        while await self.next() is not None:
            pass
        return self.events


@asynccontextmanager
async def following(http: httpx.AsyncClient, path: str) -> AsyncIterator[Events]:
    async with asyncio.timeout(30), http.stream("GET", path) as response:
        assert response.status_code == 200, await response.aread()
        yield Events(response)


async def test_a_document_is_followed_until_it_is_ready(at: Desk, http: httpx.AsyncClient) -> None:
    doc_id = await at.add(ALICE, "france.md", FRANCE)
    async with following(http, f"/documents/{doc_id}/events") as stream:
        assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        first = await stream.next()
        assert first
        assert (first["status"], first["stage"], first["progress"]) == ("queued", None, 0)
        async with local_worker(at):
            events = await stream.rest()
    assert stream.raw.startswith("retry: 2000\ndata: ")
    document = (await http.get(f"/documents/{doc_id}")).json()
    assert events[-1] == {"type": "document", **document}
    assert document["status"] == "ready"
    shares = [event["progress"] for event in events]
    assert shares == sorted(shares)
    again = await http.get(f"/documents/{doc_id}/events")
    assert (again.status_code, again.content) == (204, b"")


async def test_what_is_not_there_or_foreign_is_404(at: Desk, http: httpx.AsyncClient) -> None:
    doc_id = await at.add(BOB, "france.md", FRANCE)
    for name in (doc_id, "0" * 32):
        answer = await http.get(f"/documents/{name}/events")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_the_stream_of_a_deleted_document_ends(at: Desk, http: httpx.AsyncClient) -> None:
    doc_id = await at.add(ALICE, "france.md", FRANCE)
    async with following(http, f"/documents/{doc_id}/events") as stream:
        await stream.next()
        await http.delete(f"/documents/{doc_id}")
        assert len(await stream.rest()) == 1
    assert (await http.get(f"/documents/{doc_id}/events")).status_code == 404


async def test_a_silent_stream_beats(at: Desk, http: httpx.AsyncClient) -> None:
    doc_id = await at.add(ALICE, "france.md", FRANCE)
    async with following(http, f"/documents/{doc_id}/events") as stream:
        async for piece in stream.response.aiter_text():
            if ": hb\n" in piece:
                break


async def test_a_batch_is_followed_with_what_changes_in_it(at: Desk, http: httpx.AsyncClient) -> None:
    files = {f"{n}.md": f"# Number {n}\n\nThe number {n}.".encode() for n in range(3)}
    sent = await http.post(
        "/batches/archives", files={"file": ("a.zip", zipped({**files, "no.mp3": b"ID3", "blank.txt": b" "}))}
    )
    batch_id = sent.json()["batch_id"]
    async with following(http, f"/batches/{batch_id}/events") as stream:
        first = await stream.next()
        assert first
        assert (first["status"], first["documents"], first["changed"]) == ("unpacking", 0, [])
        async with local_worker(at):
            events = await stream.rest()
    last = events[-1]
    changed = {document["filename"]: document["status"] for event in events for document in event.pop("changed")}
    assert changed == {**dict.fromkeys(files, "ready"), "blank.txt": "failed"}
    assert last == {"type": "batch", **(await http.get(f"/batches/{batch_id}")).json()}
    assert (last["status"], last["ready"], last["failed"], last["chunks"]) == ("done", 3, 1, 3)
    assert [one["name"] for one in last["refused"]] == ["no.mp3"]
    shares = [event["progress"] for event in events]
    assert shares == sorted(shares)
    assert (await http.get(f"/batches/{batch_id}/events")).status_code == 204


async def test_an_empty_batch_waits_for_its_first_file(
    at: Desk, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = (await http.post("/batches/", json={"name": "Nothing yet"})).json()["batch_id"]
    async with following(http, f"/batches/{batch_id}/events") as stream:
        first = await stream.next()
        assert first
        assert (first["status"], first["progress"]) == ("working", 0)
        monkeypatch.setattr(batches_store, "ARRIVING_SECONDS", 0)
        assert (await stream.rest())[-1]["status"] == "done"


async def work(at: Desk, doc_id: str, share: float) -> None:
    """Another process's worker: nobody here hears of it."""
    async with at.db.write() as session:
        if (job := await jobs_store.claim(session, "another", doc_id)) is not None:
            await jobs_store.hold(session, job, progress=share)


async def test_a_worker_that_dies_elsewhere_shows_by_itself(at: Desk, http: httpx.AsyncClient) -> None:
    doc_id = await at.add(ALICE, "france.md", FRANCE)
    await work(at, doc_id, 0.4)
    async with following(http, f"/documents/{doc_id}/events") as stream:
        first = await stream.next()
        assert first
        assert (first["status"], first["progress"]) == ("processing", 0.4)
        async with at.db.write() as session:
            await jobs_store.release(session, "another", counted=True)
        then = await stream.next()
        assert then
        assert (then["status"], then["stage"]) == ("queued", None)
        await http.delete(f"/documents/{doc_id}")


async def test_changes_without_end_are_at_most_four_events_a_second(at: Desk, http: httpx.AsyncClient) -> None:
    doc_id = await at.add(ALICE, "france.md", FRANCE)
    over = asyncio.Event()

    async def change() -> None:
        async with at.db.write() as session:
            job = await jobs_store.claim(session, "busy", doc_id)
            assert job
        for step in range(10**6):
            async with at.db.write() as session:
                await jobs_store.hold(session, job, progress=step / 10**6)
            at.documents.tell(doc_id)
            await asyncio.sleep(0)
            if over.is_set():
                return

    changing = asyncio.create_task(change())
    clock = asyncio.get_running_loop().time
    async with following(http, f"/documents/{doc_id}/events") as stream:
        began = clock()
        while clock() - began < 1.5:
            await stream.next()
        assert 2 <= len(stream.events) <= 4 * (clock() - began) + 2
        over.set()
        await changing


async def test_ten_streams_of_a_large_batch_share_one_look(
    at: Desk, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = (await http.post("/batches/", json={})).json()["batch_id"]
    await fill(at, batch_id, 1000)
    looks = 0
    look = progress._BatchFeed.look

    async def counted(self: Any) -> bool:
        nonlocal looks
        looks += 1
        return await look(self)

    monkeypatch.setattr(progress._BatchFeed, "look", counted)
    clock = asyncio.get_running_loop().time
    began = clock()

    async def follow() -> list[dict[str, Any]]:
        async with following(http, f"/batches/{batch_id}/events") as stream:
            await stream.next()
            ready.release()
            return await stream.rest()

    ready = asyncio.Semaphore(0)
    streams = [asyncio.create_task(follow()) for _ in range(10)]
    for _ in streams:
        await ready.acquire()
    await http.post(f"/batches/{batch_id}/cancel")
    told = await asyncio.gather(*streams)
    assert looks <= 4 * (clock() - began) + 2
    for events in told:
        assert (events[0]["documents"], events[0]["queued"]) == (1000, 1000)
        assert 0 < len(events[0]["changed"]) <= 100
        assert (events[-1]["status"], events[-1]["cancelled"]) == ("cancelled", 1000)
        assert all(len(json.dumps(event)) <= 64 * 1024 for event in events)
    assert not at.progress._feeds or not any(feed.followed for feed in at.progress._feeds.values())


async def fill(at: Desk, batch_id: str, count: int) -> None:
    names = [f"{n:05}-{'長い名前' * 40}.txt" for n in range(count)]
    documents = [
        Document(
            doc_id=f"{number:032}", owner_id=ALICE, filename=name, title=name[:200], media_type="text/plain", bytes=1,
            sha256=f"{number}", pages=None, chunks=0, status="queued", progress=0.0, error_code=None,
            error_message=None, embedder=None, created_at=progress.LONG_AGO, batch_id=batch_id,
        )
        for number, name in enumerate(names)
    ]  # fmt: skip
    async with at.db.write() as session:
        await batches_store.insert_documents(session, documents)


async def test_streams_of_progress_are_open_streams(at: Desk, http: httpx.AsyncClient) -> None:
    doc_id = await at.add(ALICE, "france.md", FRANCE)
    give_back = [await at.seats.take(ALICE, 12) for _ in range(12)]
    assert (await http.get(f"/documents/{doc_id}/events")).status_code == 429
    give_back[0]()
    async with following(http, f"/documents/{doc_id}/events") as stream:
        await stream.next()
        assert await at.seats.taken(ALICE) == 12
