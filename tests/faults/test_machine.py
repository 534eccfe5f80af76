"""The machine itself: a process that stands still, no file descriptors left, a clock that jumps (rows 44, 48, 50)."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import psutil
import pytest

from lorestream.streaming.events import Done, Error, Token
from tests.fakes.upstream import Finish, Hold, Say
from tests.faults.world import world

FAKETIME = list(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@pytest.mark.fault(44)
async def test_fault_44_a_process_that_stood_still_says_so_and_goes_on(tmp_path: Path, models_dir: Path) -> None:
    async with world(tmp_path / "data", models_dir) as at:
        gate = asyncio.Event()
        at.fake.play(Say("Par"), Hold(gate), Say("is"), Finish())
        async with at.client.ask() as stream:
            await stream.until(Token)
            at.server.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(2.5)  # the injected fault itself
            at.server.process.send_signal(signal.SIGCONT)
            async with asyncio.timeout(2):
                while (ready := await at.client.http.get("/readyz")).status_code == 200:
                    pass
            assert (ready.status_code, ready.json()["code"]) == (503, "busy")
            assert "stood still for" in at.log()
            gate.set()
            await stream.rest()
        assert isinstance(stream.terminal, Done)
        assert stream.text == "Paris"
        async with asyncio.timeout(8):
            while (await at.client.http.get("/readyz")).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


@pytest.mark.fault(48)
async def test_fault_48_without_file_descriptors_old_streams_live_and_the_server_recovers(
    tmp_path: Path, models_dir: Path
) -> None:
    async with world(tmp_path / "data", models_dir) as at:
        gate = asyncio.Event()
        at.fake.play(Say("Par"), Hold(gate), Say("is"), Finish())
        process = psutil.Process(at.server.process.pid)
        async with at.client.ask() as stream:
            await stream.until(Token)
            limit = process.num_fds() + 10
            hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[1]
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (limit, hard))
            host, _, port = at.server.url.removeprefix("http://").partition(":")
            crowd = [socket.create_connection((host, int(port)), 2) for _ in range(40)]
            async with asyncio.timeout(5):
                while process.num_fds() < limit - 1:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await _is_refused(at.server.url)
            gate.set()
            await stream.rest(5)
        assert isinstance(stream.terminal, Done)
        assert stream.text == "Paris"
        for one in crowd:
            one.close()
        async with asyncio.timeout(10):
            while not await _answers(at.server.url):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        again = await at.client.answer()
        assert isinstance(again.terminal, Done), again.terminal
        assert process.is_running()


@pytest.mark.fault(50)
async def test_fault_50_a_clock_that_jumps_moves_no_stream_and_no_timeout(
    tmp_path: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FAKETIME, "install libfaketime"
    clock = tmp_path / "clock"
    clock.write_text("+0s")
    monkeypatch.setenv("LD_PRELOAD", str(FAKETIME[0]))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(clock))
    monkeypatch.setenv("FAKETIME_CACHE_DURATION", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    settings = {"first_token_timeout_seconds": "2", "heartbeat_seconds": "0.2"}
    async with world(tmp_path / "data", models_dir, **settings) as at:
        monkeypatch.undo()
        for jump, shown in (("+3600s", 3600), ("-3600s", -3600)):
            gate = asyncio.Event()
            at.fake.play(Say("Par"), Hold(gate), Say("is"), Finish())
            async with at.client.ask() as stream:
                await stream.until(Token)
                clock.write_text(jump)
                beats = stream.raw.count(b": hb\n")
                while stream.raw.count(b": hb\n") < beats + 3 or abs(await _clock_of(at.server.url) - shown) > 60:
                    await stream.more(2)
                gate.set()
                await stream.rest(5)
            assert isinstance(stream.terminal, Done)
            assert stream.text == "Paris"
            assert 0 <= stream.terminal.timings.total_ms < 10_000
            at.client.http.headers.update(await asyncio.to_thread(at.server.log_in))
            stored = (await at.client.http.get(f"/runs/{stream.run_id}")).raise_for_status().json()
            assert stored["status"] == "done"
            at.fake.play(Hold())
            began = time.monotonic()
            silent = await at.client.answer()
            assert isinstance(silent.terminal, Error)
            assert silent.terminal.code == "first_token_timeout"
            # Not at once, and not in an hour: the bound leaves room for a busy machine.
            assert 1.9 < time.monotonic() - began < 20


async def _clock_of(url: str) -> float:
    """By how many seconds the server's time of day differs from ours."""
    async with httpx.AsyncClient() as client:
        told = (await client.get(f"{url}/healthz")).headers["date"]
    return parsedate_to_datetime(told).timestamp() - time.time()


async def _answers(url: str) -> bool:
    async with httpx.AsyncClient(timeout=1) as client:
        try:
            return (await client.get(f"{url}/readyz")).status_code == 200
        except httpx.HTTPError:
            return False


async def _is_refused(url: str) -> None:
    began = time.monotonic()
    assert not await _answers(url), "a new connection is refused or kept waiting"
    assert time.monotonic() - began < 3
