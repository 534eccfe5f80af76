"""A circuit breaker: a server that cannot be reached is not tried again for every question."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager

from lorestream.errors import ModelUnavailable

OPEN_AFTER = 5  # failures in a row
OPEN_SECONDS = 10.0


class Breaker:
    """Opens after OPEN_AFTER failed connections in a row, for OPEN_SECONDS; then one attempt at a time may close it.

    The states are those of M. Nygard, Release It! (closed, open, half-open). Times are the loop's, which no change of
    the wall clock moves.
    """

    def __init__(self) -> None:
        """Start closed."""
        self._failures = 0
        self._until = 0.0
        self._trying = False

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Around one attempt to connect: ModelUnavailable raised inside counts as a failure, no failure closes.

        Raises ModelUnavailable at once while open, with the seconds to wait.
        """
        is_open = self._failures >= OPEN_AFTER
        if is_open:
            self._refuse_while_open()
            self._trying = True
        try:
            yield
        except ModelUnavailable:
            self._failures += 1
            self._until = asyncio.get_running_loop().time() + OPEN_SECONDS
            raise
        else:
            self._failures = 0
        finally:
            if is_open:
                self._trying = False

    def _refuse_while_open(self) -> None:
        wait = self._until - asyncio.get_running_loop().time()
        if wait > 0 or self._trying:
            seconds = max(1, math.ceil(wait))
            raise ModelUnavailable(
                "The language model's server could not be reached several times in a row; "
                f"it is tried again in {seconds} s. Is it running?",
                retry_after=seconds,
            )
