"""``python -m tests.doors``: every real client against one running server, and what each received."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.doors.client import Driver
from tests.doors.drivers import DRIVERS
from tests.doors.probes import Probes
from tests.doors.world import World, world


async def main(wanted: str) -> None:
    """Run the clients whose names hold ``wanted``."""
    with tempfile.TemporaryDirectory(prefix="doors-") as folder:
        models = Path(folder) / "models"
        models.mkdir()
        async with world(Path(folder), models) as at:
            for driver in DRIVERS:
                if wanted in driver.name:
                    await show(at, driver)


async def show(at: World, driver: Driver) -> None:
    """What one client saw, a line for each situation."""
    probes = Probes(at, driver)
    print(f"\n{driver.name}")
    answered = await probes.answered()
    sources = "no" if answered.sources is None else answered.sources
    print(
        f"  answer         {sources} sources, {len(answered.text)} characters: {answered.text[:48]!r}…, {answered.end}"
    )
    stopped, seconds = await probes.stopped()
    after = f"after {len(stopped.text)} characters"
    print(f"  Stop           {after}; the model's connection closed {seconds * 1000:.0f} ms later")
    print(f"  refused token  {(await probes.refused()).end}")
    print(f"  missing model  {(await probes.missing()).end}")
    broken = await probes.broken()
    print(f"  broken model   after {len(broken.text)} characters: {broken.end}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:])))
