"""The threads that check passwords are exhausted (row 49): logins are turned away, and no stream notices."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlencode

import pytest

from lorestream.streaming.events import Token
from tests.fakes.raw import Answered, sent
from tests.fakes.reading import Stream
from tests.fakes.server import EMAIL, PASSWORD
from tests.fakes.upstream import Say
from tests.faults.world import world

LOGINS, TOKENS, PAUSE = 200, 100, 0.02


async def _log_in(url: str, number: int) -> Answered:
    """A guess at an account of its own, from an address of its own, as behind a proxy that we trust."""
    body = urlencode({"username": f"somebody{number}@example.com", "password": "wrong-one"})
    head = (
        f"POST /auth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: 10.1.{number // 250}.{number % 250}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return await sent(url, (head + body).encode(), seconds=60)


def _p99(times: list[float]) -> float:
    gaps = sorted(after - before for before, after in pairwise(times))
    return gaps[int(len(gaps) * 0.99)]


async def _read_until(stream: Stream, done: asyncio.Event) -> None:
    while not done.is_set():
        await stream.more(30)


@pytest.mark.fault(49)
async def test_fault_49_two_hundred_logins_at_once_are_turned_away_in_part_and_no_stream_waits(
    tmp_path: Path, models_dir: Path
) -> None:
    async with world(tmp_path / "data", models_dir, trusted_proxies="127.0.0.1") as at:
        at.fake.play(Say(["word "] * 100_000, pause=PAUSE))
        async with at.client.ask() as stream:
            await stream.until(Token, TOKENS, seconds=60)
            before, answered = len(stream.times), asyncio.Event()
            reading = asyncio.create_task(_read_until(stream, answered))
            began = time.monotonic()
            answers = await asyncio.gather(*(_log_in(at.server.url, number) for number in range(LOGINS)))
            seconds = time.monotonic() - began
            await asyncio.sleep(0.5)  # what was held up meanwhile shows as one gap at its end
            answered.set()
            await reading
            usual, during = _p99(stream.times[:before]), _p99(stream.times[before:])
            await at.client.stop(stream.run_id)
        statuses = [answer.statuses[0] for answer in answers]
        assert set(statuses) == {401, 503}, statuses
        busy = [answer for answer in answers if answer.statuses[0] == 503]
        assert all(b"\r\nretry-after: " in answer.data.lower() and b'"busy"' in answer.body for answer in busy)
        assert during < 5 * usual + 0.25, (usual, during, seconds)
        form = {"username": EMAIL, "password": PASSWORD}
        assert (await at.client.http.post("/auth/token", data=form)).status_code == 200
