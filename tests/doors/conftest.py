"""One server for all tests of doors that need no settings of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.doors.house import House
from tests.fakes.reading import GEO, user_of
from tests.fakes.server import started_server
from tests.fakes.threads import ScriptedModel


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[House]:
    fake = ScriptedModel()
    async with fake:
        model = {"model": "ollama:tiny:latest", "ollama_url": fake.url}
        folder = tmp_path_factory.mktemp("house")
        async with started_server(folder, models_dir, **model) as server, user_of(server) as client:
            await asyncio.to_thread(server.upload, dict(client.http.headers), "geo.txt", GEO)
            made = House(fake, server, client)
            yield made
            await made.browser.aclose()
