"""Collections: named sets of documents, in which one can search and ask. A document may be in many."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from lorestream.db import Database, now
from lorestream.documents import collections_store as store
from lorestream.documents.models import Collection
from lorestream.errors import Conflict, NotFound

MAX_COLLECTIONS = 1000


class Collections:
    """The collections of all owners. Every call names the owner, and raises NotFound for what is not theirs."""

    def __init__(self, db: Database) -> None:
        """Use this database; no I/O."""
        self._db = db

    async def of_owner(self, owner_id: str) -> list[Collection]:
        """All of them, by their names; at most MAX_COLLECTIONS."""
        async with self._db.read() as session:
            return await store.listed(session, owner_id)

    async def get(self, owner_id: str, collection_id: str) -> Collection:
        """One of them."""
        async with self._db.read() as session:
            found = await store.listed(session, owner_id, collection_id)
        if not found:
            raise no_collection()
        return found[0]

    async def create(self, owner_id: str, name: str) -> Collection:
        """An empty one. Raises Conflict where the name is taken, or there are too many."""
        made = Collection(uuid4().hex, name, now(), 0)
        async with self._db.write() as session:
            if await store.count(session, owner_id) >= MAX_COLLECTIONS:
                raise Conflict(f"You have {MAX_COLLECTIONS} collections; delete one first.")
            await store.create(session, owner_id, made)
        return made

    async def rename(self, owner_id: str, collection_id: str, name: str) -> Collection:
        """Give it another name. Raises Conflict where that is taken."""
        async with self._db.write() as session:
            await store.rename(session, owner_id, collection_id, name)
        return await self.get(owner_id, collection_id)

    async def delete(self, owner_id: str, collection_id: str) -> None:
        """Delete it; its documents stay."""
        async with self._db.write() as session:
            removed = await store.remove(session, owner_id, collection_id)
        if not removed:
            raise no_collection()

    async def put(self, owner_id: str, collection_id: str, doc_ids: Sequence[str]) -> None:
        """Put documents into it, all or none."""
        async with self._db.write() as session:
            if not await store.exists(session, owner_id, collection_id):
                raise no_collection()
            if not await store.put(session, owner_id, collection_id, doc_ids):
                raise NotFound("There is no such document.")

    async def take(self, owner_id: str, collection_id: str, doc_id: str) -> None:
        """Take a document out of it."""
        async with self._db.write() as session:
            if not await store.take(session, owner_id, collection_id, doc_id):
                raise NotFound("There is no such document in this collection.")

    async def documents(self, owner_id: str, collection_id: str) -> list[str]:
        """The ids of its documents, oldest first."""
        async with self._db.read() as session:
            return await store.memberships(session, owner_id, collection_id)


def no_collection() -> NotFound:
    """What an unknown collection and another owner's are alike."""
    return NotFound("There is no such collection.")
