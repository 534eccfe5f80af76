"""Everything of one person: deleted for good, or taken along in one file.

An account is deleted in two steps: first its row, with logins and keys, in one transaction, then what it owned, piece
by piece. Whatever cuts the second step off leaves owners who are nobody, and these are looked for at every start and
now and then: so nothing of somebody who is gone stays for ever, nor does what they had on its way just then.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from lorestream.accounts.audit import Audit
from lorestream.accounts.keys import Keys
from lorestream.accounts.models import Principal
from lorestream.accounts.service import Accounts
from lorestream.accounts.users import Actor, Users
from lorestream.accounts.watch import Watch
from lorestream.conversations.threads import Conversations
from lorestream.db import now
from lorestream.documents.batches import Batches
from lorestream.documents.collections import Collections
from lorestream.documents.service import Documents
from lorestream.errors import RateLimited
from lorestream.ops.export import Export

log = logging.getLogger(__name__)


class PersonalData:
    """What the server knows of its users, across all of its parts."""

    def __init__(
        self,
        accounts: Accounts,
        keys: Keys,
        users: Users,
        watch: Watch,
        conversations: Conversations,
        documents: Documents,
        collections: Collections,
        batches: Batches,
        audit: Audit,
        audit_days: int,
    ) -> None:
        """No I/O."""
        self._accounts = accounts
        self._keys = keys
        self._users = users
        self._watch = watch
        self._conversations = conversations
        self._documents = documents
        self._collections = collections
        self._batches = batches
        self._audit = audit
        self._audit_days = audit_days
        self._exporting: set[str] = set()

    async def delete(self, user_id: str, actor: Actor) -> None:
        """Delete an account and everything that it owns; nobody can use it from the first moment on.

        Raises NotFound, and Conflict for the last administrator.
        """
        await self._users.remove(user_id, actor)
        # Their streams break off before their answers are stopped, which would end them properly.
        await self._watch.look()
        await self._erase(user_id)

    @asynccontextmanager
    async def export(self, user: Principal, ip: str) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """Everything of one user as the bytes of a ZIP file, made while it is read; whoever reads it closes it.

        Raises RateLimited where another one of the same user is being made.
        """
        if user.user_id in self._exporting:
            raise RateLimited("Your data is being exported already; wait for that to end.", retry_after=10)
        self._exporting.add(user.user_id)
        try:
            await self._audit.record("account_exported", user_id=user.user_id, ip=ip)
            parts = self._conversations, self._documents, self._collections, self._batches
            yield Export(user, self._accounts, self._keys, *parts).pieces()
        finally:
            self._exporting.discard(user.user_id)

    async def sweep(self) -> None:
        """Finish deletions that were cut off, and have the audit log forget what is old."""
        # The owners first: whoever registers in between is among the users then.
        owners = await self._conversations.owners() | await self._documents.owners()
        for owner_id in owners - await self._users.ids():
            log.warning("removing what user %s left, who is gone", owner_id)
            await self._erase(owner_id)
        await self._users.forget_events(now() - timedelta(days=self._audit_days))

    async def _erase(self, owner_id: str) -> None:
        await self._conversations.delete_all(owner_id)
        await self._documents.delete_all(owner_id)
