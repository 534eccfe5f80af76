"""The tokens of a day: counted once for each run that ends, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from lorestream.accounts.models import TokenUsage, User
from lorestream.conversations.models import Question
from lorestream.conversations.store import MessageStore
from lorestream.db import Database, now
from lorestream.errors import Internal
from lorestream.streaming.events import Fold, Token, error_event

OWNER = "a" * 32


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "lorestream.db")
    await asyncio.to_thread(database.migrate)
    async with database.write() as session:
        session.add(User(user_id=OWNER, email="a@example.com", password_hash="x", is_admin=False, created_at=now()))
    yield database
    await database.close()


async def used(db: Database) -> list[tuple[int, int]]:
    """(tokens, answers) of each day."""
    async with db.read() as session:
        rows = await session.execute(select(TokenUsage.tokens, TokenUsage.answers))
        return [(row.tokens, row.answers) for row in rows]


def written(text: str) -> Fold:
    fold = Fold()
    fold.add(Token(text))
    return fold


async def test_a_run_whose_process_was_killed_costs_what_was_kept_of_it(db: Database) -> None:
    store = MessageStore(db)
    killed = [await store.begin(OWNER, Question("Where?"), "query") for _ in range(2)]
    await store.checkpoint([(begun.run_id, written("word " * 60)) for begun in killed])
    assert await store.interrupt_running() == 2
    assert await used(db) == [(200, 2)]
    assert await store.interrupt_running() == 0
    # The process that was taken for dead: what it saves late is refused, and counts nothing.
    late = error_event(Internal(), None)
    assert not await store.finish(OWNER, killed[0].run_id, Fold(), "failed", late, tokens=500)
    assert await used(db) == [(200, 2)]


async def test_a_run_counts_once_also_where_its_message_or_its_user_is_gone(db: Database) -> None:
    store, failed = MessageStore(db), error_event(Internal(), None)
    begun = await store.begin(OWNER, Question("Where?"), "query")
    assert await store.finish(OWNER, begun.run_id, Fold(), "failed", failed, tokens=500)
    assert not await store.finish(OWNER, begun.run_id, Fold(), "failed", failed, tokens=500)
    assert await used(db) == [(500, 1)]
    assert await store.finish(OWNER, "deleted", Fold(), "failed", failed, tokens=30)
    assert await used(db) == [(530, 2)]
    async with db.write() as session:
        await session.execute(delete(User))
    assert await store.finish(OWNER, "deleted", Fold(), "failed", failed, tokens=30)
    assert await used(db) == []
