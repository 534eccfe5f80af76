"""Whatever real client asks: the same answer, a Stop that reaches the model, and a plain word when something fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.doors.client import Driver
from tests.doors.drivers import DRIVERS
from tests.doors.probes import Probes
from tests.doors.world import ANSWER, World, world

pytestmark = pytest.mark.timeout(120)
STOP_SECONDS = 0.5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def at(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("doors"), models_dir) as started:
        yield started


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
async def test_a_real_client_gets_what_every_other_gets(driver: Driver, at: World) -> None:
    probes = Probes(at, driver)
    async with asyncio.timeout(100):
        answered = await probes.answered()
        assert (answered.text.strip(), answered.end) == (ANSWER, "done")
        if driver.sourced:
            assert answered.sources
        stopped, seconds = await probes.stopped()
        assert ANSWER.startswith(stopped.text.strip())
        assert seconds < STOP_SECONDS, f"the model's connection was closed {seconds:.3f} s after Stop"
        refused = await probes.refused()
        assert not refused.text
        assert any(word in refused.end.lower() for word in ("401", "unauthenticated", "log in")), refused.end
        missing = await probes.missing()
        assert not missing.text
        assert any(word in missing.end.lower() for word in ("model_not_found", "no model named", "does not have"))
        broken = await probes.broken()
        assert broken.end not in {"", "done", "stopped"}
        assert ANSWER.startswith(broken.text.strip())
