"""Stop texts of a client: an answer ends before the first of them, whatever language model writes it."""

from __future__ import annotations

from collections.abc import Sequence


class StopScanner:
    """Passes on an answer's pieces, holding back what may be the beginning of a stop text until it is known."""

    def __init__(self, stops: Sequence[str]) -> None:
        """Take the stop texts, none of them empty."""
        self.hit = False
        self._stops = stops
        self._longest = max(map(len, stops))
        self._held = ""

    def feed(self, text: str) -> str:
        """What of the answer is certain now that ``text`` came; nothing more once a stop text was ``hit``."""
        if self.hit:
            return ""
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.hit = True
            return self._held[: min(found)]
        keep = self._kept()
        sure, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return sure

    def rest(self) -> str:
        """What was held back, at the end of an answer in which no stop text came."""
        return "" if self.hit else self._held

    def _kept(self) -> int:
        """How many of the last characters may begin a stop text."""
        for size in range(min(self._longest - 1, len(self._held)), 0, -1):
            tail = self._held[-size:]
            if any(stop.startswith(tail) for stop in self._stops):
                return size
        return 0
