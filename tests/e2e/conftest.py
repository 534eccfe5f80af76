"""One server for all browser tests that need no settings of their own; each makes an account of its own in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.page import House, served


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[House]:
    async with served(tmp_path_factory.mktemp("house"), models_dir) as house:
        yield house


@pytest_asyncio.fixture(loop_scope="session")
async def house(_shared: House) -> House:
    """The server, and its model as nobody has asked it yet."""
    fake, _ = _shared
    fake.connections.clear()
    return _shared
