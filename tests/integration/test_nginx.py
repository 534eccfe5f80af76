"""The stream through a real nginx with a stock ``proxy_pass`` arrives token by token (fault 72)."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from pathlib import Path

import pytest

from lorestream.streaming.events import Done, Sources, Token
from tests.fakes.nginx import stock_nginx
from tests.fakes.reading import GEO, Client
from tests.fakes.server import started_server
from tests.fakes.upstream import FakeUpstream, Finish, Hold, Say


@pytest.mark.fault(72)
@pytest.mark.parametrize("extra", ["", "gzip on; gzip_types *; proxy_buffering on;"], ids=["stock", "gzip"])
async def test_each_token_arrives_before_the_next_is_said(tmp_path: Path, models_dir: Path, extra: str) -> None:
    words = [f"word{n} " for n in range(20)]
    async with FakeUpstream() as fake:
        settings = {"model": "ollama:tiny:latest", "ollama_url": fake.url, "heartbeat_seconds": "0.2"}
        async with started_server(tmp_path / "data", models_dir, **settings) as server:
            headers = await asyncio.to_thread(server.register)
            await asyncio.to_thread(server.upload, headers, "geo.txt", GEO)
            with stock_nginx(tmp_path / "nginx", server.url, extra) as proxy:
                client = Client(dataclasses.replace(server, url=proxy), headers)
                gates = [asyncio.Event() for _ in words]
                fake.play(
                    *(step for gate, word in zip(gates, words, strict=True) for step in (Hold(gate), Say(word))),
                    Finish(),
                )
                async with client.ask() as stream:
                    assert ("content-encoding" in stream.response.headers) == ("gzip" in extra)
                    await stream.until(Sources)
                    for count, gate in enumerate(gates, 1):
                        gate.set()
                        await stream.until(Token, count, seconds=2)
                        assert stream.text == "".join(words[:count])
                    await stream.rest()
                assert isinstance(stream.terminal, Done)
                await client.aclose()


@pytest.mark.fault(73)
async def test_silence_is_filled_with_heartbeats_through_nginx(tmp_path: Path, models_dir: Path) -> None:
    gate = asyncio.Event()
    async with FakeUpstream() as fake:
        settings = {"model": "ollama:tiny:latest", "ollama_url": fake.url, "heartbeat_seconds": "0.2"}
        async with started_server(tmp_path / "data", models_dir, **settings) as server:
            headers = await asyncio.to_thread(server.register)
            await asyncio.to_thread(server.upload, headers, "geo.txt", GEO)
            with stock_nginx(tmp_path / "nginx", server.url, "proxy_read_timeout 1s;") as proxy:
                client = Client(dataclasses.replace(server, url=proxy), headers)
                fake.play(Hold(gate), Say("at last"), Finish())
                async with client.ask() as stream:
                    began = time.monotonic()
                    while stream.raw.count(b": hb\n") < 10:  # two seconds: twice what this nginx bears
                        await stream.more()
                    assert time.monotonic() - began > 1.5
                    gate.set()
                    await stream.rest()
                assert stream.text == "at last"
                await client.aclose()


@pytest.mark.parametrize("how", ["stop", "disconnect"])
async def test_stop_and_disconnect_reach_the_upstream_through_nginx(tmp_path: Path, models_dir: Path, how: str) -> None:
    async with FakeUpstream("ollama") as fake:
        settings = {"model": "ollama:tiny:latest", "ollama_url": fake.url}
        async with started_server(tmp_path / "data", models_dir, **settings) as server:
            headers = await asyncio.to_thread(server.register)
            await asyncio.to_thread(server.upload, headers, "geo.txt", GEO)
            with stock_nginx(tmp_path / "nginx", server.url) as proxy:
                client = Client(dataclasses.replace(server, url=proxy), headers)
                fake.play(Say("a"), Hold())
                async with client.ask() as stream:
                    await stream.until(Token)
                    began = time.monotonic()
                    if how == "stop":
                        await client.stop(stream.run_id)
                connection = next(one for one in fake.connections if one.request and "chat" in one.request.path)
                async with asyncio.timeout(5):
                    assert await connection.closed - began < 0.5
                await client.aclose()
