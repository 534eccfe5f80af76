"""Watches the credentials that something open was begun with: what is over ends within seconds.

Requests read their login or key from the database each time; what stays open is looked after here instead, by one
query for all of it, at most every LOOK_SECONDS, and by none while nothing is open. So it does not matter who ended the
credential: this process, another one, or the command line.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from lorestream import db
from lorestream.accounts import watch_store
from lorestream.accounts.models import Credential
from lorestream.errors import Unauthenticated

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
# What goes by the user alone ends later: an answer that is stopped would end its streams properly, at other workers
# too, before these have looked.
USER_GRACE_SECONDS = 2 * LOOK_SECONDS


class Watch:
    """The credentials of what is open in this process. ``clock`` gives the current time in UTC."""

    def __init__(self, database: db.Database, clock: Callable[[], datetime] = db.now) -> None:
        """No I/O."""
        self._db = database
        self._clock = clock
        self._held: dict[Credential, dict[object, Callable[[], object]]] = {}
        self._any_held = asyncio.Event()
        self._over_since: dict[Credential, float] = {}
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to look."""
        self._looking = asyncio.create_task(self._look_forever(), name="credentials watch")

    async def close(self) -> None:
        """Look no more."""
        if self._looking:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    @contextmanager
    def holding(self, credential: Credential, on_over: Callable[[], object]) -> Iterator[None]:
        """Inside the block ``on_over`` is called when the credential is over: at once and without an argument."""
        ours = object()
        self._held.setdefault(credential, {})[ours] = on_over
        self._any_held.set()
        try:
            yield
        finally:
            holders = self._held.get(credential, {})
            holders.pop(ours, None)
            if not holders:
                self._held.pop(credential, None)
            if not self._held:
                self._any_held.clear()

    async def check(self, credential: Credential) -> None:
        """Look at one now, before something new is done with it. Raises Unauthenticated."""
        async with self._db.read() as session:
            if not await watch_store.alive(session, {credential}, self._clock()):
                raise Unauthenticated

    async def _look_forever(self) -> None:
        while True:
            await self._any_held.wait()
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception:
                log.exception("the credentials of open streams could not be checked; trying again")

    async def look(self) -> None:
        """Look now: whoever has just ended a credential need not wait for what is open here."""
        held = set(self._held)
        if not held:
            return
        async with self._db.read() as session:
            alive = await watch_store.alive(session, held, self._clock())
        now = asyncio.get_running_loop().time()
        over = [credential for credential in held if credential not in alive]
        self._over_since = {credential: self._over_since.get(credential, now) for credential in over}
        for credential, since in self._over_since.items():
            if credential.kind == "user" and now - since < USER_GRACE_SECONDS:
                continue
            for on_over in list(self._held.get(credential, {}).values()):
                on_over()
