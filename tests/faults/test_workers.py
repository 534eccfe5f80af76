"""Two workers on one data directory over a real Redis, without sticky routing: follow, stop, die, stall, replace."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import sqlite3
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from lorestream.streaming.events import Done, Error, Token
from tests.fakes.fleet import pair_of_servers
from tests.fakes.nginx import stock_nginx
from tests.fakes.reading import GEO, Client, Stream, user_of
from tests.fakes.redis import redis_server
from tests.fakes.server import started_server
from tests.fakes.upstream import FakeUpstream, Finish, Hold, Say


async def resume(client: Client, run_id: str, last_id: str | None, until: int | None = None) -> Stream:
    """Go on reading, up to ``until`` further bytes and then gone, or to the end."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    async with client.stream(f"/runs/{run_id}/events", headers=headers) as stream:
        if stream.response.status_code == 204:
            return stream
        assert stream.response.status_code == 200, await stream.response.aread()
        while until is None or len(stream.raw) < until:
            try:
                await stream.more(15)
            except StopAsyncIteration:
                break
    return stream


async def snapshot(client: Client, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await client.http.get(f"/runs/{run_id}")).raise_for_status().json()
    return found


async def chat(fake: FakeUpstream, index: int) -> Any:
    """The ``index``-th connection that asked for an answer."""
    number = -1
    while index >= 0:
        number += 1
        connection = await fake.connection(number, seconds=10)
        assert connection.request
        index -= "chat" in connection.request.path
    return connection


@pytest.mark.timeout(60)
async def test_reading_on_at_another_worker_after_every_disconnect_gives_every_byte_once(
    tmp_path: Path, models_dir: Path
) -> None:
    chance = random.Random(11)
    async with pair_of_servers(tmp_path, models_dir) as pair:
        for _ in range(3):
            pair.fake.play(Say([f"{n} " for n in range(600)], pause=0.004), Finish())
            async with pair.clients[0].ask(on_disconnect="continue") as first:
                await first.until(Token)
            events, last = list(first.events), first.ids[-1]
            async with asyncio.timeout(20):
                for number in itertools.count():
                    part = await resume(pair.clients[number % 2], first.run_id, last, chance.randrange(1, 4000))
                    events += part.events
                    last = part.ids[-1] if part.ids else last
                    if isinstance(events[-1], Done | Error):
                        break
            text = "".join(event.text for event in events if isinstance(event, Token))
            assert isinstance(events[-1], Done)
            assert text == "".join(f"{n} " for n in range(600))
            assert text == (await snapshot(pair.clients[1], first.run_id))["content"]
            for client in pair.clients:
                assert (await resume(client, first.run_id, last)).response.status_code == 204
                ahead = {"Last-Event-ID": f"{first.run_id}:999999"}
                assert (await client.http.get(f"/runs/{first.run_id}/events", headers=ahead)).status_code == 409


async def test_readers_at_both_workers_get_the_same_events(tmp_path: Path, models_dir: Path) -> None:
    async with pair_of_servers(tmp_path, models_dir) as pair:
        pair.fake.play(Say([f"{n} " for n in range(200)], pause=0.005), Finish())
        async with pair.clients[0].ask(on_disconnect="continue") as first:
            others = [asyncio.create_task(resume(client, first.run_id, None)) for client in pair.clients * 2]
            await first.rest()
        read = await asyncio.gather(*others)
    assert isinstance(first.terminal, Done)
    assert all((one.ids, one.events) == (first.ids, first.events) for one in read)


@pytest.mark.fault(45)
@pytest.mark.timeout(60)
async def test_fault_45_stop_at_a_worker_that_does_not_write_the_answer(tmp_path: Path, models_dir: Path) -> None:
    took: list[float] = []
    async with pair_of_servers(tmp_path, models_dir) as pair:
        for number in range(20):
            before_the_first = number % 2 == 0
            steps = () if before_the_first else (Say("begun "),)
            pair.fake.play(*steps, Hold())
            client, other = pair.clients if number % 4 < 2 else reversed(pair.clients)
            async with client.ask(on_disconnect="continue") as stream:
                connection = await chat(pair.fake, number)
                if not before_the_first:
                    await stream.until(Token)
                began = time.monotonic()
                answer = await other.stop(stream.run_id)
                async with asyncio.timeout(5):
                    took.append(await connection.closed - began)
                await stream.rest(5)
            assert (answer.status_code, answer.json()["stopping"]) == (202, True)
            assert isinstance(stream.terminal, Done)
            assert stream.terminal.finish_reason == "cancelled"
            assert (await snapshot(other, stream.run_id))["status"] == "stopped"
        assert (await other.stop(stream.run_id)).json()["stopping"] is False
    assert max(took) < 0.5, took


@pytest.mark.timeout(60)
async def test_a_killed_worker_s_answers_end_as_interrupted_and_the_other_worker_goes_on(
    tmp_path: Path, models_dir: Path
) -> None:
    async with pair_of_servers(tmp_path, models_dir) as pair:
        one, other = pair.clients
        pair.fake.play(Say([f"{n} " for n in range(5000)], pause=0.01))
        async with one.ask(on_disconnect="continue") as first:
            await first.until(Token, 150)
            following = asyncio.create_task(resume(other, first.run_id, None))
            await first.until(Token, 200)
            pair.servers[0].process.kill()
            killed = time.monotonic()
        pair.fake.play(Say("Paris."), Finish())
        assert (await other.answer()).text == "Paris."
        async with asyncio.timeout(20):
            followed = await following
        took = time.monotonic() - killed
        stored = await snapshot(other, first.run_id)
    assert isinstance(followed.terminal, Error)
    assert followed.terminal.code == "interrupted"
    assert took < 15, took
    assert (stored["status"], stored["error"]["code"]) == ("interrupted", "interrupted")
    assert followed.text.startswith(stored["content"])
    assert stored["content"]


@pytest.mark.fault(43)
@pytest.mark.timeout(90)
async def test_fault_43_a_worker_that_stood_still_finds_its_run_ended_and_writes_nothing_more(
    tmp_path: Path, models_dir: Path
) -> None:
    async with pair_of_servers(tmp_path, models_dir) as pair:
        one, other = pair.clients
        gate = asyncio.Event()
        pair.fake.play(Say("begun "), Hold(gate), Say([f"{n} " for n in range(50)]), Finish())
        async with one.ask(on_disconnect="continue") as first:
            await first.until(Token)
            following = asyncio.create_task(resume(other, first.run_id, None))
            pair.servers[0].process.send_signal(signal.SIGSTOP)
            async with asyncio.timeout(20):
                followed = await following
            gate.set()
            before = await snapshot(other, first.run_id)
            pair.servers[0].process.send_signal(signal.SIGCONT)
            await first.rest(10)
        again = await resume(one, first.run_id, None)
        after = await snapshot(other, first.run_id)
        log = "".join(pair.servers[0].output)
    assert isinstance(followed.terminal, Error)
    assert followed.terminal.code == "interrupted"
    assert not isinstance(first.terminal, Done)
    assert before == after
    assert before["status"] == "interrupted"
    assert again.ids == followed.ids
    assert "Traceback" not in log


@pytest.mark.fault(42)
@pytest.mark.timeout(180)
async def test_fault_42_replacing_one_server_after_the_other_loses_and_repeats_no_question(
    tmp_path: Path, models_dir: Path
) -> None:
    """Round robin by nginx, which asks the other server where one says that it shuts down or has gone."""
    async with pair_of_servers(tmp_path, models_dir, query_rate="100000/minute", trusted_proxies="127.0.0.1") as pair:
        pair.fake.play(Say([f"{n} " for n in range(20)], pause=0.01), Finish(), always=True)
        settings = {name: value for name, value in pair.settings.items() if name != "port"}
        ports = [str(server.url.rpartition(":")[2]) for server in pair.servers]
        peers = "".join(f"server 127.0.0.1:{port} max_fails=0; " for port in ports)
        retry = "proxy_next_upstream error http_503 non_idempotent; proxy_next_upstream_tries 4;"
        with stock_nginx(tmp_path / "nginx", "http://fleet", retry, http=f"upstream fleet {{ {peers} }}") as url:
            over = Client(pair.servers[0], dict(pair.clients[0].http.headers))
            over.http.base_url = httpx.URL(url)
            halt, asked = asyncio.Event(), asyncio.Queue[Stream]()
            async with asyncio.timeout(150), AsyncExitStack() as stack, asyncio.TaskGroup() as group:
                for lane in range(4):
                    group.create_task(_ask_until(halt, over, lane, asked))
                for server, port in zip(pair.servers, ports, strict=True):
                    server.process.send_signal(signal.SIGTERM)
                    assert await asyncio.to_thread(server.process.wait, 30) == 0
                    await stack.enter_async_context(
                        started_server(tmp_path / "data", models_dir, **settings, port=port)
                    )
                halt.set()
            await over.aclose()
        read = [asked.get_nowait() for _ in range(asked.qsize())]
        runs = {stream.run_id for stream in read}
        assert len(runs) == len(read) > 20
        assert all(isinstance(stream.terminal, Done) for stream in read)
    with sqlite3.connect(tmp_path / "data" / "lorestream.db") as database:
        stored = database.execute("SELECT content, count(*) FROM messages WHERE role = 'user' GROUP BY content")
        assert {count for _, count in stored} == {1}, "no question is stored twice"
        kept = database.execute("SELECT count(*) FROM messages WHERE role = 'assistant' AND status = 'done'")
        assert kept.fetchone()[0] == len(read)


async def _ask_until(halt: asyncio.Event, client: Client, lane: int, asked: asyncio.Queue[Stream]) -> None:
    for number in itertools.count():
        if halt.is_set():
            return
        asked.put_nowait(await client.answer(f"What is the capital of France, {lane}-{number}?"))


@pytest.mark.timeout(180)
async def test_several_workers_by_one_command_are_restarted_replaced_and_drained(
    tmp_path: Path, models_dir: Path
) -> None:
    with redis_server(tmp_path / "redis") as redis:
        settings = {"workers": "2", "redis_url": redis.url}
        async with started_server(tmp_path / "data", models_dir, **settings) as server, user_of(server) as client:
            await asyncio.to_thread(server.upload, dict(client.http.headers), "geo.txt", GEO)
            parent = psutil.Process(server.process.pid)
            first = await _children(parent, without=set())
            psutil.Process(min(first)).kill()
            second = await _children(parent, without={min(first)})
            assert max(first) in second
            # At once: the one that replaces the killed one is still on its way.
            server.process.send_signal(signal.SIGHUP)
            third = await _children(parent, without=second)
            assert isinstance((await client.answer()).terminal, Done)
            assert await asyncio.to_thread(server.stop) == 0
            assert not any(psutil.pid_exists(pid) for pid in third)
            assert "".join(server.output).count("is ready") == 1
            assert "Traceback" not in "".join(server.output)


async def _children(parent: psutil.Process, without: set[int]) -> set[int]:
    """The two workers, once there are two and none of these; both answer by then or are about to."""
    async with asyncio.timeout(60):
        while True:
            workers = {child.pid for child in parent.children() if child.status() != psutil.STATUS_ZOMBIE}
            if len(workers) == 2 and not workers & without:
                return workers
            await asyncio.sleep(0.05)


async def test_without_redis_a_second_worker_is_refused(tmp_path: Path, models_dir: Path) -> None:
    for settings in ({"workers": "2"}, {}):
        async with AsyncExitStack() as stack:
            if not settings:
                await stack.enter_async_context(started_server(tmp_path / "data", models_dir))
            with pytest.raises(AssertionError, match="LORESTREAM_REDIS_URL"):
                await stack.enter_async_context(started_server(tmp_path / "data", models_dir, **settings))
