"""Without sticky routing: another worker than the one that writes an answer resumes it, and stops it."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from tests.doors.test_ai_sdk import body, parts, text
from tests.doors.test_mcp import ACCEPT, CALL
from tests.fakes.fleet import Pair, pair_of_servers
from tests.fakes.upstream import Connection, Finish, Hold, Say

pytestmark = pytest.mark.timeout(120)
STOP_SECONDS = 0.5


async def chat(pair: Pair, index: int) -> Connection:
    """The ``index``-th generation that was asked of the model."""
    for number in itertools.count():
        connection = await pair.fake.connection(number, seconds=10)
        assert connection.request
        index -= "chat" in connection.request.path
        if index < 0:
            return connection
    raise AssertionError


async def test_a_chat_is_resumed_and_stopped_and_a_tool_is_cancelled_at_another_worker(
    tmp_path: Path, models_dir: Path
) -> None:
    async with asyncio.timeout(100), pair_of_servers(tmp_path, models_dir) as pair:
        here, there = (client.http for client in pair.clients)
        gate = asyncio.Event()
        pair.fake.play(Say("Par"), Hold(gate), Say("is."), Finish())
        pair.fake.play(Hold())
        pair.fake.play(Hold())
        asking = asyncio.create_task(here.post("/ai-sdk/chat", json=body("resumed")))
        await chat(pair, 0)
        request = there.build_request("GET", "/ai-sdk/chat/resumed/stream")
        resumed = await there.send(request, stream=True)
        assert resumed.status_code == 200
        gate.set()
        assert text(parts((await resumed.aread()).decode())) == text(parts((await asking).text)) == "Paris."
        asking = asyncio.create_task(here.post("/ai-sdk/chat", json=body("stopped")))
        upstream = await chat(pair, 1)
        assert (await there.post("/ai-sdk/chat/stopped/stop")).json() == {"stopping": 1}
        async with asyncio.timeout(STOP_SECONDS):
            await asyncio.shield(upstream.closed)
        assert parts((await asking).text)[-1]["type"] == "abort"
        session = {**ACCEPT, "Mcp-Session-Id": "ab" * 16}
        asking = asyncio.create_task(here.post("/mcp", json=CALL, headers=session))
        upstream = await chat(pair, 2)
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": CALL["id"]}}
        cancelling = asyncio.create_task(there.post("/mcp", json=cancel, headers=session))
        async with asyncio.timeout(STOP_SECONDS):
            await asyncio.shield(upstream.closed)
        assert (await cancelling).status_code == 202
        assert '"isError":false' in (await asking).text.replace(" ", "")
