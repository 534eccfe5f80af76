"""How documents and batches are doing, as it happens: one look at the database for all who follow the same one.

A feed looks when the worker reports, and by itself every LOOK_SECONDS, since the worker may be another process's; so a
worker that dies shows as soon as its documents are queued again, and nothing that moves is ever missed.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from lorestream.db import Database
from lorestream.documents import batches_store
from lorestream.documents import store as documents_store
from lorestream.documents.models import Batch, Document
from lorestream.documents.queue import ANY
from lorestream.documents.service import Documents
from lorestream.errors import NotFound
from lorestream.streaming.sse import HEARTBEAT

log = logging.getLogger(__name__)

# At most four events a second; and looking may take a twentieth of the time, however many documents there are.
GAP_SECONDS, GAP_PER_LOOK = 0.25, 20
LOOK_SECONDS = 1.0
# A row's time is set when it is written and seen when that is committed: so far back is looked again.
OVERLAP = timedelta(seconds=3)
MAX_CHANGED = 100
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

# One event's bytes, from what there is to tell.
EncodeDocument = Callable[[Document], bytes]
EncodeBatch = Callable[[Batch, Sequence[Document]], bytes]


class Feed(ABC):
    """One document or batch, looked at for all its followers: what is told grows by one number with every change."""

    def __init__(self, watched: str, documents: Documents) -> None:
        """Follow nothing yet; ``watched`` is the name of which the worker's reports tell."""
        self.number = 0
        self.over = False
        self._watched = watched
        self._documents = documents
        self._followers: set[Follower] = set()
        self._looking: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        self._failure: Exception | None = None

    @abstractmethod
    async def look(self) -> bool:
        """Read what there is; whether more can follow. Raises ``number`` where it changed."""

    @abstractmethod
    def block(self, after: int) -> bytes:
        """The event that tells all that changed after the number ``after``."""

    @property
    def followed(self) -> bool:
        """Whether anybody follows."""
        return bool(self._followers)

    async def follow(self) -> Follower:
        """A follower, once there is something to tell it. Raises NotFound where there is nothing (any more)."""
        follower = Follower(self)
        self._followers.add(follower)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_until_over(), name=f"progress of {self._watched or 'any'}")
        try:
            await self._looked.wait()
        except BaseException:
            self.leave(follower)
            raise
        if not self.number:
            self.leave(follower)
            raise self._failure or NotFound
        return follower

    def leave(self, follower: Follower) -> None:
        """The follower is gone; with the last one the looking ends."""
        self._followers.discard(follower)
        if not self._followers and self._looking:
            self.over = True
            self._looking.cancel()

    async def _look_until_over(self) -> None:
        clock = asyncio.get_running_loop().time
        with self._documents.watch(self._watched) as news:
            while not self.over:
                news.clear()
                began = clock()
                await self._look_once()
                self._looked.set()
                for follower in self._followers:
                    follower.news.set()
                await asyncio.sleep(max(GAP_SECONDS, GAP_PER_LOOK * (clock() - began)))
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await news.wait()

    async def _look_once(self) -> None:
        try:
            self.over = not await self.look()
        except Exception as error:
            if not self._looked.is_set():  # nobody has been told anything yet: a status can say so
                self.over, self._failure = True, error
                return
            log.exception("looking at how documents are doing failed; it is tried again")


class Follower:
    """One event stream's source (``http.EventSource``)."""

    def __init__(self, feed: Feed) -> None:
        """Begin with what is now."""
        self.news = asyncio.Event()
        self._feed = feed
        self._told = 0

    async def next(self, wait_seconds: float) -> bytes | None:
        """The next event; a heartbeat after ``wait_seconds``; None when the last one was told."""
        try:
            async with asyncio.timeout(wait_seconds):
                while self._told == self._feed.number:
                    if self._feed.over:
                        return None
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            return HEARTBEAT
        block = self._feed.block(self._told)
        self._told = self._feed.number
        return block

    def close(self) -> None:
        """The connection is gone."""
        self._feed.leave(self)


class _DocumentFeed(Feed):
    def __init__(self, db: Database, documents: Documents, owner_id: str, doc_id: str, encode: EncodeDocument) -> None:
        super().__init__(doc_id, documents)
        self._db = db
        self._name = owner_id, doc_id
        self._encode = encode
        self._document: Document | None = None
        self._block = b""

    async def look(self) -> bool:
        async with self._db.read() as session:
            document = await documents_store.find(session, *self._name)
        if document is None:
            return False
        if document != self._document:
            self._document, self._block = document, self._encode(document)
            self.number += 1
        return not document.settled

    def block(self, after: int) -> bytes:
        return self._block


class _BatchFeed(Feed):
    def __init__(self, db: Database, documents: Documents, owner_id: str, batch_id: str, encode: EncodeBatch) -> None:
        super().__init__(ANY, documents)
        self._db = db
        self._name = owner_id, batch_id
        self._encode = encode
        self._batch: Batch | None = None
        # The documents that changed last, each with the number of its change; the latest last.
        self._changed: OrderedDict[str, tuple[int, Document]] = OrderedDict()
        self._since = LONG_AGO
        self._block: tuple[int, int, bytes] = (0, 0, b"")

    async def look(self) -> bool:
        async with self._db.read() as session:
            batch = await batches_store.find(session, *self._name)
            rows = await batches_store.changed(session, *self._name, self._since - OVERLAP, MAX_CHANGED)
        if batch is None:
            return False
        known = {doc_id: document for doc_id, (_, document) in self._changed.items()}
        new = [document for _, document in reversed(rows) if known.get(document.doc_id) != document]
        if new or batch != self._batch:
            self.number += 1
        for document in new:
            self._changed[document.doc_id] = self.number, document
            self._changed.move_to_end(document.doc_id)
        while len(self._changed) > MAX_CHANGED:
            self._changed.popitem(last=False)
        self._batch = batch
        self._since = max([self._since, *(changed_at for changed_at, _ in rows)])
        return not batch.settled

    def block(self, after: int) -> bytes:
        assert self._batch
        number, told, block = self._block
        if (number, told) != (self.number, after):
            changed = [document for at, document in self._changed.values() if at > after]
            block = self._encode(self._batch, changed[::-1])
            self._block = self.number, after, block
        return block


class Progress:
    """The feeds that somebody follows."""

    def __init__(self, db: Database, documents: Documents) -> None:
        """No I/O."""
        self._db = db
        self._documents = documents
        self._feeds: dict[tuple[str, str, str], Feed] = {}

    async def document(self, owner_id: str, doc_id: str, encode: EncodeDocument) -> Follower:
        """Follow a document of the owner until it is settled or gone. Raises NotFound."""
        return await self._follow(
            ("document", owner_id, doc_id), lambda: _DocumentFeed(self._db, self._documents, owner_id, doc_id, encode)
        )

    async def batch(self, owner_id: str, batch_id: str, encode: EncodeBatch) -> Follower:
        """Follow a batch of the owner until it is settled. Raises NotFound."""
        return await self._follow(
            ("batch", owner_id, batch_id), lambda: _BatchFeed(self._db, self._documents, owner_id, batch_id, encode)
        )

    async def _follow(self, key: tuple[str, str, str], make: Callable[[], Feed]) -> Follower:
        self._feeds = {name: feed for name, feed in self._feeds.items() if feed.followed and not feed.over}
        feed = self._feeds.get(key) or self._feeds.setdefault(key, make())
        return await feed.follow()
