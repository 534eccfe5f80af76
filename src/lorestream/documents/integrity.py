"""Whether the indexes hold what was put in: vectors that are missing, changed or of another length, lost full text.

What was put in is summed and kept with each document. A damaged document is marked, its search refused until it is
rebuilt from its stored text; nothing is ever silently missing from an answer.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping

from lorestream.db import Database
from lorestream.documents import jobs_store as store
from lorestream.documents.models import version_of
from lorestream.errors import LorestreamError, Rebuilding
from lorestream.index.base import Held, Sum, VectorIndex
from lorestream.providers.base import Embedder

log = logging.getLogger(__name__)

# Owners whose last result is remembered; those beyond are compared again.
REMEMBERED = 10_000
Key = tuple[str, str, int]


class Integrity:
    """Compares the indexes with the documents. Built without I/O."""

    def __init__(self, db: Database, index: VectorIndex) -> None:
        """Take what it compares."""
        self._db = db
        self._index = index
        # What was found whole of an owner in a space, and at which revision it was still there.
        self._whole: OrderedDict[Key, Held] = OrderedDict()

    async def check(self, owner_id: str, spaces: Mapping[str, int]) -> None:
        """Compare the owner's vectors in these spaces, of so many dimensions, with the documents they are of.

        Costs a look at the revision where nothing has changed. Raises Rebuilding where something is damaged that was
        not known to be, after it was marked.
        """
        for space, dimensions in spaces.items():
            await self._check((owner_id, space, dimensions))

    async def check_all(self, embedder: Embedder) -> None:
        """Compare everything of everyone with what this embedder and the full text should hold; for the start."""
        async with self._db.read() as session:
            incomplete = await store.incomplete(session)
        await self._mark(incomplete)
        async with self._db.read() as session:
            owner_ids = await store.owners_indexed_by(session, embedder.name)
        for owner_id in owner_ids:
            try:
                await self.check(owner_id, {embedder.name: await embedder.dimensions()})
            except Rebuilding:
                continue
            except LorestreamError as error:
                log.warning("the index is not checked before it is searched: %s", error.message)
                return

    async def _check(self, key: Key) -> None:
        known, held = self._whole.get(key), await self._index.held(*key)
        if known is not None and known.revision == held.revision:
            return
        if known is not None and known.versions.items() <= held.versions.items():
            whole = known.versions  # what came since was written a moment ago
        else:
            whole = await self._compare(key)
        self._whole[key] = Held(held.revision, whole)
        self._whole.move_to_end(key)
        if len(self._whole) > REMEMBERED:
            self._whole.popitem(last=False)

    async def _compare(self, key: Key) -> dict[str, Sum]:
        """What is held of the documents, all of it as it should be. Raises Rebuilding."""
        # First what should be there, then what is: what is published or replaced meanwhile is not damaged.
        async with self._db.read() as session:
            documents = await store.sums(session, *key[:2])
        held = await self._index.held(*key)
        whole, damaged = {}, []
        for doc_id, generation, chunks, total in documents:
            version, wanted = version_of(doc_id, generation), Sum(chunks, total or 0)
            if held.versions.get(version) == wanted:
                whole[version] = wanted
            else:
                damaged.append((doc_id, generation))
        if await self._mark(damaged):
            raise Rebuilding
        return whole

    async def _mark(self, damaged: list[tuple[str, int]]) -> int:
        if not damaged:
            return 0
        async with self._db.write() as session:
            marked = await store.mark_damaged(session, damaged)
        if marked:
            log.error("the index of %d documents is damaged; it is rebuilt from their text", marked)
        return marked
