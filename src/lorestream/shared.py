"""What the workers of one data directory count together: in Redis, behind a circuit breaker.

Counting must neither wait for Redis nor stop without it: every step gives up after STEP_SECONDS, and after a failure
none is tried for RETRY_SECONDS. Whoever counts here also counts for itself, and goes by that meanwhile. The
connections are those of ``limits``, apart from the event logs' own: nothing that streams waits behind a count.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from limits.aio.storage import RedisStorage

log = logging.getLogger(__name__)

T = TypeVar("T")

STEP_SECONDS = 0.5
RETRY_SECONDS = 2.0
# Steps at the same time; for one more Redis counts as unreachable.
MAX_CONNECTIONS = 512
PREFIX = "lorestream:counts"


class SharedCounts:
    """One worker's way to the counts of all. Built without I/O; it connects when it is used."""

    def __init__(
        self, url: str, clock: Callable[[], float] = time.monotonic, step_seconds: float = STEP_SECONDS
    ) -> None:
        """``url`` begins with redis://, rediss:// or unix://; ``clock`` says when to try again after a failure."""
        if url.startswith("unix://"):
            url = f"redis+{url}"  # the name that ``limits`` has for it
        self.windows = RedisStorage(
            url,
            implementation="redispy",
            key_prefix=PREFIX,
            protocol=2,
            socket_connect_timeout=step_seconds,
            socket_timeout=step_seconds,
            max_connections=MAX_CONNECTIONS,
        )
        bridge: Any = self.windows.bridge
        self._client = bridge.get_connection()
        failures: Any = self.windows.base_exceptions
        self._failures: tuple[type[Exception], ...] = (*failures, OSError, TimeoutError)
        self._clock = clock
        self._scripts: dict[str, Any] = {}
        self._is_down = False
        self._silent_until = 0.0

    async def ask(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """What ``work`` found in Redis; None where Redis cannot be used right now, at once where that is known."""
        if self._is_down:
            if self._clock() < self._silent_until:
                return None
            self._silent_until = self._clock() + RETRY_SECONDS  # one tries, the others do not wait for it
        try:
            found = await work()
        except self._failures as error:
            self._silent_until = self._clock() + RETRY_SECONDS
            if not self._is_down:
                self._is_down = True
                log.warning("Redis does not count (%s); this process counts for itself", type(error).__name__)
            return None
        if self._is_down:
            self._is_down = False
            log.info("Redis counts again")
        return found

    async def run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a Lua script, in one step, on keys with our prefix; None as ``ask``."""
        if script not in self._scripts:
            self._scripts[script] = self._client.register_script(script)
        prepared = self._scripts[script]
        names = [f"{PREFIX}:{key}" for key in keys]
        return await self.ask(lambda: prepared(keys=names, args=list(arguments)))

    async def take_back(self, window: str) -> None:
        """Forget the latest use of a window."""
        await self.ask(lambda: self._client.lpop(f"{PREFIX}:{window}"))

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()
