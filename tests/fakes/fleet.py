"""Two real servers on one data directory and one Redis, without sticky routing, and a user of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.reading import GEO, Client
from tests.fakes.redis import RedisServer, redis_server
from tests.fakes.server import RunningServer, started_server
from tests.fakes.upstream import FakeUpstream


@dataclass
class Pair:
    """The servers, the user's client of each, and what they share."""

    servers: tuple[RunningServer, RunningServer]
    clients: tuple[Client, Client]
    redis: RedisServer
    fake: FakeUpstream
    settings: dict[str, str]


@asynccontextmanager
async def pair_of_servers(folder: Path, models_dir: Path, **settings: str) -> AsyncIterator[Pair]:
    """Start everything; one document is there to be asked."""
    async with AsyncExitStack() as stack:
        redis = await asyncio.to_thread(stack.enter_context, redis_server(folder / "redis"))
        fake = await stack.enter_async_context(FakeUpstream("ollama"))
        common = {
            "model": "ollama:tiny:latest",
            "ollama_url": fake.url,
            "redis_url": redis.url,
            "max_runs_per_user": "100",
            "max_streams_per_user": "200",
            **settings,
        }
        one = await stack.enter_async_context(started_server(folder / "data", models_dir, **common))
        headers = await asyncio.to_thread(one.register)
        await asyncio.to_thread(one.upload, headers, "geo.txt", GEO)
        other = await stack.enter_async_context(started_server(folder / "data", models_dir, **common))
        clients = Client(one, headers), Client(other, headers)
        for client in clients:
            stack.push_async_callback(client.aclose)
        yield Pair((one, other), clients, redis, fake, common)
