"""What every client is put through."""

from __future__ import annotations

from dataclasses import replace

from tests.doors.client import Driver, Seen, Target
from tests.doors.world import MISSING, MODEL, QUESTION, World


class Probes:
    """The five situations of one client."""

    def __init__(self, at: World, driver: Driver) -> None:
        self._at = at
        self._driver = driver
        self._target = Target(at.server.url, at.token, QUESTION, MODEL if driver.names_model else None)

    async def answered(self) -> Seen:
        """An answer from its beginning to its end."""
        return await self._driver.ask(self._target)

    async def stopped(self) -> tuple[Seen, float]:
        """Stop in mid-answer, and the seconds until the server's connection to the model was closed."""
        before = len(self._at.line.calls)
        self._at.line.mode = "hold"
        self._at.line.held.clear()
        try:
            seen = await self._driver.ask(replace(self._target, writing=self._at.line.held), stop=True)
        finally:
            self._at.line.mode = "pass"
        assert seen.end == "stopped", seen
        call = self._at.line.calls[before]
        return seen, await call.closed - seen.stopped_at

    async def refused(self) -> Seen:
        """A token that is none."""
        return await self._driver.ask(replace(self._target, token="not-a-token"))

    async def missing(self) -> Seen:
        """A model that is not there: refused by name, or by the model's server."""
        if self._driver.names_model:
            return await self._driver.ask(replace(self._target, model=MISSING))
        self._at.line.mode = "missing"
        try:
            return await self._driver.ask(self._target)
        finally:
            self._at.line.mode = "pass"

    async def broken(self) -> Seen:
        """A model whose connection breaks in mid-answer."""
        self._at.line.mode = "cut"
        try:
            return await self._driver.ask(self._target)
        finally:
            self._at.line.mode = "pass"
