"""Pictures of pages: drawn in the sandbox, a few at a time for all users, and kept while there is room."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from lorestream.documents.parse import DocumentFailed
from lorestream.documents.sandbox import page_image
from lorestream.errors import Busy, Conflict, NotFound, RateLimited

AT_ONCE = 2
# Those that wait, and those of one user that are drawn or wait: a viewer that turns pages quickly asks for a handful.
MAX_WAITING, MAX_OF_USER = 24, 8
RETRY_SECONDS = 2
DRAW_SECONDS = 20.0
KEPT_BYTES = 64 * 1024 * 1024


class Picture(NamedTuple):
    """What a picture is of: the document, the number of the page (from 1), the width in pixels."""

    doc_id: str
    number: int
    width: int


class PageImages:
    """Draws pages of PDFs. Whoever stops waiting frees the place, and ends the process that was drawing."""

    def __init__(self, memory_bytes: int) -> None:
        """``memory_bytes`` is what drawing one page may take."""
        self._memory_bytes = memory_bytes
        self._drawing = asyncio.Semaphore(AT_ONCE)
        self._asked: Counter[str] = Counter()
        self._kept: OrderedDict[Picture, bytes] = OrderedDict()
        self._kept_bytes = 0

    async def get(self, owner_id: str, path: Path, picture: Picture) -> bytes:
        """A PNG of a page of the PDF at ``path``.

        Raises NotFound for a page that there is not, Conflict for one that cannot be drawn, and with the seconds to
        wait Busy where too many pages wait, RateLimited where too many of them are this owner's.
        """
        if kept := self._find(picture):
            return kept
        async with self._place(owner_id):
            if kept := self._find(picture):  # somebody waited for the same page
                return kept
            try:
                image = await page_image(
                    path, picture.number, picture.width, timeout_seconds=DRAW_SECONDS, memory_bytes=self._memory_bytes
                )
            except DocumentFailed as failed:
                raise (NotFound if failed.code == "no_page" else Conflict)(failed.message) from failed
        self._keep(picture, image)
        return image

    def forget(self, doc_id: str) -> None:
        """Drop the pictures of a document that is deleted."""
        for picture in [picture for picture in self._kept if picture.doc_id == doc_id]:
            self._kept_bytes -= len(self._kept.pop(picture))

    @asynccontextmanager
    async def _place(self, owner_id: str) -> AsyncIterator[None]:
        if self._asked[owner_id] >= MAX_OF_USER:
            raise RateLimited(f"You are waiting for {MAX_OF_USER} pages already.", retry_after=RETRY_SECONDS)
        if self._asked.total() >= AT_ONCE + MAX_WAITING:
            raise Busy("Too many pages are being drawn; please try again in a moment.", retry_after=RETRY_SECONDS)
        self._asked[owner_id] += 1
        try:
            async with self._drawing:
                yield
        finally:
            self._asked[owner_id] -= 1
            self._asked += Counter()  # forgets those who wait for none

    def _find(self, picture: Picture) -> bytes | None:
        if picture in self._kept:
            self._kept.move_to_end(picture)
        return self._kept.get(picture)

    def _keep(self, picture: Picture, image: bytes) -> None:
        """Keep it in place of those that were asked for least lately."""
        if picture in self._kept or len(image) > KEPT_BYTES:
            return
        self._kept[picture] = image
        self._kept_bytes += len(image)
        while self._kept_bytes > KEPT_BYTES:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= len(dropped)
