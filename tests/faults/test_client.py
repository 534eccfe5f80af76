"""Clients that read slowly, not at all, vanish, storm, lie about where they were, or are two tabs (rows 26 to 35)."""

from __future__ import annotations

import asyncio
import random
import select
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorestream.streaming.events import Done, Sources, Token
from tests.fakes.reading import Stream, user_of
from tests.fakes.upstream import Finish, Hold, Say
from tests.faults.test_counts import read_some
from tests.faults.world import World, world

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

WORDS = [f"w{n} " for n in range(50_000)]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def at(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[World]:
    settings = {"write_timeout_seconds": "1", "heartbeat_seconds": "0.2"}
    async with world(tmp_path_factory.mktemp("client") / "data", models_dir, **settings) as one:
        yield one
        assert "Traceback" not in one.log()


def raw_request(at: World, path: str, receive_buffer: int) -> socket.socket:
    """A client that has sent its request and reads nothing by itself."""
    host, _, port = at.server.url.removeprefix("http://").partition(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.connect((host, int(port)))
    token = at.client.http.headers["authorization"]
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\r\n".encode())
    return client


@pytest.mark.fault(26)
async def test_fault_26_a_client_that_never_reads_is_cut_off_and_its_answer_goes_on(at: World) -> None:
    gate = asyncio.Event()
    at.fake.play(Say(WORDS, together=True), Hold(gate), Finish())
    async with at.client.ask(on_disconnect="continue") as first:
        await first.until(Sources)
    with raw_request(at, f"/runs/{first.run_id}/events", 4096) as client:
        poll = select.poll()
        poll.register(client, select.POLLERR | select.POLLHUP)
        assert await asyncio.to_thread(poll.poll, 10_000), "the connection was broken off"
        async with asyncio.timeout(5):  # the line comes through a pipe of its own
            while "did not read for 1 seconds" not in at.log():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    gate.set()
    async with at.client.stream(f"/runs/{first.run_id}/events") as again:
        await again.rest()
    assert again.text == "".join(WORDS)
    assert isinstance(again.terminal, Done)


@pytest.mark.fault(27)
async def test_fault_27_a_slow_reader_delays_nobody_and_resumes_exactly(at: World) -> None:
    words = WORDS[:5000]
    at.fake.play(Say(words, pause=0.0002), Finish())
    async with at.client.ask(on_disconnect="continue") as fast:
        await fast.until(Sources)
        slow_socket = raw_request(at, f"/runs/{fast.run_id}/events", 4096)
        slow = Stream(fast.response)
        body = b""

        async def drip() -> None:
            nonlocal body
            while len(body) < 20_000:
                body += await asyncio.to_thread(slow_socket.recv, 256)
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        await fast.rest(10)
        assert not dripping.done(), "the fast one did not wait for the slow one"
        assert fast.text == "".join(words)
        await dripping
    slow_socket.close()
    pieces = body.partition(b"\r\n\r\n")[2]
    slow.feed(_unchunked(pieces))
    async with at.client.stream(f"/runs/{fast.run_id}/events", headers={"Last-Event-ID": slow.ids[-1]}) as rest:
        await rest.rest()
    assert slow.text + rest.text == "".join(words)


def _unchunked(data: bytes) -> bytes:
    """The whole chunks of a chunked body."""
    whole = b""
    while True:
        size, found, rest = data.partition(b"\r\n")
        if not found or len(rest) < int(size, 16) + 2:
            return whole
        whole, data = whole + rest[: int(size, 16)], rest[int(size, 16) + 2 :]


@pytest.mark.fault(28)
async def test_fault_28_the_kernel_looks_after_clients_that_vanish(at: World) -> None:
    """A silent connection is probed after 15 s, three times in 30 s; /proc/net/tcp shows the kernel's timer of it."""
    at.skip_chats()
    at.fake.play(Hold())
    with raw_request(at, "/query/stream/?question=capital+of+France", 65536) as client:
        await at.next_chat()
        mine, server = client.getsockname()[1], client.getpeername()[1]
        timers = []
        for line in (await asyncio.to_thread(Path("/proc/net/tcp").read_text)).splitlines()[1:]:
            _, local, remote, _, _, timer, *_ = line.split()
            if (int(local[-4:], 16), int(remote[-4:], 16)) == (server, mine):
                timers.append(timer.split(":"))
    ((kind, when),) = timers
    assert kind in {"02", "01"}, "the keepalive timer, or that of unacknowledged bytes"
    assert int(when, 16) <= 15 * 100


@pytest.mark.fault(29)
async def test_fault_29_fifty_reloads_during_one_answer_lose_nothing_and_ask_once(at: World) -> None:
    chance = random.Random(29)
    words = WORDS[:2000]
    before = len(at.chats())
    at.fake.play(Say(words, pause=0.0005), Finish())
    async with at.client.ask(on_disconnect="continue") as stream:
        await stream.until(Sources)
    ids, text = list(stream.ids), stream.text
    for reload in range(51):
        # Fifty times less than the whole stream, however fast it comes; then the rest.
        size = chance.randrange(1, 1900) if reload < 50 else 10**9
        read = await read_some(at.client, stream.run_id, ids[-1], size)
        ids, text = ids + read.ids, text + read.text
    assert isinstance(read.terminal, Done)
    assert text == "".join(words)
    assert ids == [f"{stream.run_id}:{n}" for n in range(1, len(ids) + 1)]
    assert len(at.chats()) == before + 1


@pytest.mark.fault(30)
async def test_fault_30_a_cursor_that_lies_is_told_so(at: World) -> None:
    mine, other = await at.client.answer(), await at.client.answer()
    events = f"/runs/{mine.run_id}/events"
    for cursor, status in (
        (other.ids[0], 409),
        (f"{mine.run_id}:99999", 409),
        ("garbage", 422),
        ("x" * 10_240, 422),
        (mine.ids[-1], 204),
    ):
        answer = await at.client.http.get(events, headers={"Last-Event-ID": cursor})
        assert answer.status_code == status, cursor[:50]
    assert (await at.client.http.get(events, params={"after": "-1"})).status_code == 422
    assert (await at.client.http.get(f"/runs/{'0' * 32}/events")).status_code == 404
    async with user_of(at.server, "stranger@example.com") as stranger:
        foreign = await stranger.http.get(events, headers={"Last-Event-ID": mine.ids[0]})
    assert foreign.status_code == 404


@pytest.mark.fault(30)
async def test_fault_30_no_cursor_at_all_breaks_a_resume(at: World) -> None:
    mine = await at.client.answer()
    loop = asyncio.get_running_loop()

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=80))
    def check(cursor: str) -> None:
        ours = f"{mine.run_id}{cursor}" if cursor.startswith(":") else cursor
        asking = at.client.http.get(f"/runs/{mine.run_id}/events", headers={"Last-Event-ID": ours})
        answer = asyncio.run_coroutine_threadsafe(asking, loop).result(10)
        assert answer.status_code in {200, 204, 409, 422}

    await asyncio.to_thread(check)


@pytest.mark.fault(31)
async def test_fault_31_two_tabs_see_the_same_stop(at: World) -> None:
    at.fake.play(Say("Par"), Hold())
    async with at.client.ask(on_disconnect="continue") as one:
        await one.until(Token)
        async with at.client.stream(f"/runs/{one.run_id}/events") as other:
            await other.until(Token)
            assert (await at.client.stop(one.run_id)).status_code == 202
            await asyncio.gather(one.rest(2), other.rest(2))
    assert one.events == other.events
    assert one.ids == other.ids
    assert isinstance(one.terminal, Done)
    assert one.terminal.finish_reason == "cancelled"
    stored = await at.stored(one.run_id)
    assert (stored["status"], stored["content"]) == ("stopped", "Par")


@pytest.mark.fault(35)
async def test_fault_35_one_stream_too_many_is_refused_and_the_open_ones_go_on(
    tmp_path: Path, models_dir: Path
) -> None:
    async with world(tmp_path / "data", models_dir, max_streams_per_user="6") as own:
        gate = asyncio.Event()
        own.fake.play(Say("Par"), Hold(gate), Say("is"), Finish(), always=True)
        async with AsyncExitStack() as opened:
            streams = [await opened.enter_async_context(own.client.ask(on_disconnect="continue")) for _ in range(6)]
            await asyncio.gather(*(stream.until(Token) for stream in streams))
            for path in ("/query/stream/?question=Why", f"/runs/{streams[0].run_id}/events"):
                refused = await own.client.http.get(path)
                assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
                assert refused.headers["retry-after"]
            assert len(own.chats()) == 6, "nothing was asked"
            async with user_of(own.server, "other@example.com") as other:
                assert (await other.http.get("/query/stream/?question=Why")).status_code == 200
            await streams[0].response.aclose()
            async with asyncio.timeout(2):
                while (await own.client.http.get(f"/runs/{'0' * 32}/events")).status_code != 404:
                    pass
            gate.set()
            await asyncio.gather(*(stream.rest() for stream in streams[1:]))
        assert {stream.text for stream in streams[1:]} == {"Paris"}
