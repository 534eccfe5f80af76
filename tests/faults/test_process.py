"""The server's process is killed, asked to end, asked twice; and indexing beside running answers."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from lorestream.streaming.events import Done, Error, Token
from tests.fakes.reading import GEO, QUESTION, Client, Stream, user_of
from tests.fakes.server import RunningServer, started_server
from tests.fakes.upstream import FakeUpstream, Finish, Hold, Say


@asynccontextmanager
async def asking(
    data_dir: Path, models_dir: Path, fake: FakeUpstream, **settings: str
) -> AsyncIterator[tuple[RunningServer, Client]]:
    settings = {"model": "ollama:tiny:latest", "ollama_url": fake.url, **settings}
    async with started_server(data_dir, models_dir, **settings) as server, user_of(server) as client:
        await asyncio.to_thread(server.upload, dict(client.http.headers), "geo.txt", GEO)
        yield server, client


@pytest.mark.fault(38)
async def test_fault_38_a_killed_process_keeps_the_question_and_all_but_the_last_second(
    tmp_path: Path, models_dir: Path, moment: float, measured: Callable[[str], None]
) -> None:
    async with FakeUpstream("ollama") as fake:
        fake.play(Say([f"{n} " for n in range(1000)], pause=0.01))
        async with asking(tmp_path / "data", models_dir, fake) as (server, client):
            headers = dict(client.http.headers)
            async with client.ask(on_disconnect="continue") as stream:
                await stream.until(Token)
                began = time.monotonic()
                while time.monotonic() - began < moment:
                    await stream.more()
                server.process.kill()
                await asyncio.to_thread(server.process.wait, 10)
        tokens = [
            (at, event.text) for at, event in zip(stream.times, stream.events, strict=True) if isinstance(event, Token)
        ]
        settings = {"model": "ollama:tiny:latest", "ollama_url": fake.url}
        async with started_server(tmp_path / "data", models_dir, **settings) as again:
            client = Client(again, headers)
            stored = (await client.http.get(f"/runs/{stream.run_id}")).json()
            resumed = await client.http.get(f"/runs/{stream.run_id}/events", headers={"Last-Event-ID": stream.ids[-1]})
            await client.aclose()
        assert (stored["status"], stored["error"]["code"]) == ("interrupted", "interrupted")
        assert stored["question"] == QUESTION
        assert stream.text.startswith(stored["content"])
        old = "".join(text for at, text in tokens if at < tokens[-1][0] - 1.5)
        assert len(stored["content"]) >= len(old), "at most about a second is lost"
        kept = [at for at, _ in tokens][: len(stored["content"].split())]
        lost = tokens[-1][0] - (kept[-1] if kept else tokens[0][0])
        measured(f"killed after {moment:.2f} s: interrupted, question kept, {lost:.2f} s of text lost")
        assert (resumed.status_code, resumed.json()["code"]) == (410, "gone")
        assert len([one for one in fake.requests if "chat" in one.path]) == 1, "never generated again by itself"


@pytest.mark.fault(39)
async def test_fault_39_a_process_killed_before_the_first_event_keeps_the_question(
    tmp_path: Path, models_dir: Path
) -> None:
    async with FakeUpstream() as fake:
        settings = {"model": "ollama:tiny:latest", "ollama_url": fake.url, "embedder": "ollama:vectors"}
        question = {"question": QUESTION, "client_request_id": "one"}
        async with asking(tmp_path / "data", models_dir, fake, **settings) as (server, client):
            headers = dict(client.http.headers)
            conversation = (await client.http.post("/conversations/", json={})).json()["conversation_id"]
            path = f"/conversations/{conversation}"
            # The search waits for the question's vector: the question is stored, and of the answer there is nothing.
            fake.play(Hold())
            begun = len(fake.requests)
            async with client.http.stream("POST", f"{path}/questions", json=question) as response:
                assert response.status_code == 200
                await fake.connection(begun, seconds=10)
                server.process.kill()
                await asyncio.to_thread(server.process.wait, 10)
        async with started_server(tmp_path / "data", models_dir, **settings) as again:
            client = Client(again, headers)
            asked, answer = (await client.http.get(path)).json()["messages"]
            repeated = await client.http.post(f"{path}/questions", json=question)
            after = (await client.http.get(path)).json()["messages"]
            await client.aclose()
    assert asked["content"] == QUESTION
    assert (answer["status"], answer["error"]["code"], answer["content"]) == ("interrupted", "interrupted", "")
    assert (repeated.status_code, repeated.json()["message_id"]) == (409, answer["message_id"])
    assert len(after) == 2
    assert not [one for one in fake.requests if "chat" in one.path], "never generated by itself"


@pytest.mark.fault(40)
async def test_fault_40_sigterm_lets_answers_finish_and_ends_the_rest_as_shutdown(
    tmp_path: Path, models_dir: Path, measured: Callable[[str], None]
) -> None:
    gate = asyncio.Event()
    async with (
        FakeUpstream("ollama") as fake,
        asking(tmp_path / "data", models_dir, fake, drain_seconds="2") as (server, client),
    ):
        for number in range(20):
            fake.play(Say("begun"), Hold(gate if number % 2 else None), Say(" and finished"), Finish())
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            reading = [group.create_task(_read(client)) for _ in range(20)]
            await _all_generating(fake, 20)
            server.process.send_signal(signal.SIGTERM)
            refused = await _until_refused(client)
            gate.set()
            began = time.monotonic()
            code = await asyncio.to_thread(server.process.wait, 20)
            took = time.monotonic() - began
    assert code == 0
    assert time.monotonic() - began < 8
    assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
    ends = [task.result().terminal for task in reading]
    finished = [end for end in ends if isinstance(end, Done) and end.finish_reason == "stop"]
    cut = [end for end in ends if isinstance(end, Error) and end.code == "shutdown"]
    assert (len(finished), len(cut)) == (10, 10)
    measured(f"20 streams and SIGTERM: 10 finished, 10 ended as shutdown, exit code 0, {took:.1f} s")
    log = "".join(server.output)
    assert "Traceback" not in log
    assert "CancelledError" not in log


@pytest.mark.fault(41)
async def test_fault_41_a_second_signal_saves_and_leaves_at_once(tmp_path: Path, models_dir: Path) -> None:
    async with (
        FakeUpstream("ollama") as fake,
        asking(tmp_path / "data", models_dir, fake, drain_seconds="60") as (server, client),
    ):
        fake.play(Say("begun"), Hold())
        async with client.ask() as stream:
            await stream.until(Token)
            server.process.send_signal(signal.SIGINT)
            await _until_refused(client)
            began = time.monotonic()
            server.process.send_signal(signal.SIGINT)
            await stream.rest(5)
            assert await asyncio.to_thread(server.process.wait, 10) == 0
            assert time.monotonic() - began < 2
    assert isinstance(stream.terminal, Error)
    assert stream.terminal.code == "shutdown"


async def test_indexing_a_large_file_delays_nobodys_stream(tmp_path: Path, models_dir: Path) -> None:
    """Promise P10: eight answers at 20 tokens a second while a 5 MB file is indexed."""
    words = (Path(__file__).parents[2] / "docs" / "design.md").read_text().split()
    chance = random.Random(7)
    text = "\n\n".join(" ".join(chance.choices(words, k=80)) + "." for _ in range(9000))
    async with FakeUpstream("ollama") as fake:
        fake.play(Say([f"{n} " for n in range(300)], pause=0.05), Finish(), always=True)
        async with asking(tmp_path / "data", models_dir, fake) as (_, client):
            async with asyncio.timeout(100), asyncio.TaskGroup() as group:
                uploading = client.http.post(
                    "/documents/?wait=0", files={"file": ("large.txt", text.encode()[:5_000_000])}, timeout=60
                )
                upload = group.create_task(uploading)
                reading = [group.create_task(_read(client)) for _ in range(8)]
            doc_id = upload.result().json()["doc_id"]
            during = (await client.http.get(f"/documents/{doc_id}")).json()
            assert (await client.http.delete(f"/documents/{doc_id}")).status_code == 204
        gaps = []
        for task in reading:
            stream = task.result()
            assert isinstance(stream.terminal, Done)
            tokens = [at for at, event in zip(stream.times, stream.events, strict=True) if isinstance(event, Token)]
            gaps += [later - earlier for earlier, later in itertools.pairwise(tokens)]
        assert during["status"] == "processing", "the file was being indexed all the while"
        assert 0 < during["progress"] < 1
        assert max(gaps) < 0.05 + 0.25, f"median {statistics.median(gaps):.3f}, longest {max(gaps):.3f}"


async def _read(client: Client) -> Stream:
    async with client.ask() as stream:
        await stream.rest(60)
    return stream


async def _all_generating(fake: FakeUpstream, count: int) -> None:
    for number in itertools.count():
        connection = await fake.connection(number, seconds=20)
        assert connection.request
        count -= "chat" in connection.request.path
        if not count:
            return


async def _until_refused(client: Client) -> httpx.Response:
    async with asyncio.timeout(5):
        while (answer := await client.http.get("/readyz")).status_code == 200:
            pass
    return answer
