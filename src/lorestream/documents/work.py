"""One document at work: its claim, how far it is, and who hears of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from lorestream.documents.models import Job, Stage

OnProgress = Callable[[str, str, float], None]

HEARTBEAT_SECONDS = 3.0
# Where in the progress a stage begins and ends. Indexing begins where the stage before has ended.
STAGES: dict[str, tuple[float, float]] = {"reading": (0.0, 0.1), "recognising": (0.1, 0.5)}
INDEXING_FROM = 0.1


class Work:
    """What its attempt and its heartbeat share: ``turn`` keeps their transactions apart.

    ``over`` is set with the last one, after which nobody looks for the lease.
    """

    def __init__(self, job: Job, on_progress: OnProgress | None) -> None:
        """Begin with what ``claim`` gave."""
        self.job = job
        self.turn = asyncio.Lock()
        self.over = False
        self._on_progress = on_progress
        self._stage: Stage = "reading"
        self._progress = 0.0
        self._indexing_from = INDEXING_FROM
        self._pages: int | None = None
        self._chunks = 0
        self._unsaved = False
        self._saved_at = time.monotonic()

    def on_page(self, stage: str, done: int, total: int) -> None:
        """Note that so many pages of a stage are done."""
        first, last = STAGES[stage]
        self._stage = "recognising" if stage == "recognising" else "reading"
        self._pages = max(self._pages or 0, done)
        self._advance(first + (last - first) * done / max(1, total))

    def on_parsed(self, pages: int | None) -> None:
        """Note that the text is known."""
        self._stage, self._pages = "indexing", pages
        self._indexing_from = max(INDEXING_FROM, self._progress)
        self._advance(self._indexing_from)

    def on_chunks(self, done: int, total: int) -> None:
        """Note that so many passages are indexed."""
        self._chunks = done
        self._advance(self._indexing_from + (1 - self._indexing_from) * done / total)

    def tell(self, status: str, progress: float | None = None) -> None:
        """Say where it stands to who asked for it."""
        if self._on_progress:
            self._on_progress(self.job.doc_id, status, self._progress if progress is None else progress)

    def is_due(self) -> bool:
        """Whether there is progress to be stored, or the lease to be renewed."""
        return self._unsaved or time.monotonic() - self._saved_at > HEARTBEAT_SECONDS

    def saved(self) -> dict[str, Any]:
        """The columns to store now; none of a document that serves meanwhile."""
        self._unsaved, self._saved_at = False, time.monotonic()
        if self.job.status != "processing":
            return {}
        return {"stage": self._stage, "progress": self._progress, "pages": self._pages, "chunks": self._chunks}

    def _advance(self, progress: float) -> None:
        self._progress = max(self._progress, progress)
        self._unsaved = True
