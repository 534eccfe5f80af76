"""Questions that lean on the ones before find their passages, and questions that do not are not led astray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lorestream.accounts.quotas import Quotas
from lorestream.db import Database
from lorestream.documents.service import Documents
from lorestream.index.sqlite import SqliteIndex
from lorestream.limits import RateLimiter
from lorestream.providers.minilm import MiniLM
from lorestream.retrieval.search import Retrieval
from lorestream.retrieval.spaces import Embedders
from lorestream.settings import Settings
from tests.fakes.followups import CHANGES, FOLLOWUPS, FRANCE, KENYA, Followup, documents
from tests.fakes.threads import Thread, asking


@asynccontextmanager
async def indexed(data_dir: Path, models_dir: Path) -> AsyncIterator[Retrieval]:
    """The small documents, indexed with the built-in embedder."""
    db, embedder = Database(data_dir / "lorestream.db"), MiniLM(models_dir)
    await asyncio.to_thread(data_dir.mkdir)
    await asyncio.to_thread(db.migrate)
    settings, index = Settings(data_dir=data_dir), SqliteIndex(db)
    library = Documents(db, index, embedder, Quotas(db, settings, RateLimiter()), settings)
    await library.open()
    try:
        for name, content in documents().items():
            path = data_dir / name
            await asyncio.to_thread(path.write_bytes, content)
            document, _ = await library.add_path("alice", path)
            await library.ingest(document.doc_id)
        yield Retrieval(db, index, Embedders(embedder), settings.relevance_floor)
    finally:
        await embedder.close()
        await db.close()


async def places(retrieval: Retrieval, cases: list[Followup], *, with_context: bool = True) -> list[int]:
    """At which place each case's passage is found, from 1; 99 where it is not among four."""
    found = []
    for case in cases:
        context = " ".join(case.earlier) if with_context else None
        passages = await retrieval.search("alice", case.question, 4, None, context)
        wanted = [passage.title == case.document and passage.heading.endswith(case.section) for passage in passages]
        found.append(wanted.index(True) + 1 if any(wanted) else 99)
    return found


def first(found: list[int]) -> int:
    return found.count(1)


async def test_forty_followups_and_forty_changes_of_subject(tmp_path: Path, models_dir: Path) -> None:
    """The numbers of docs/retrieval.md; they vary by one or two with the processor's arithmetic."""
    async with indexed(tmp_path / "data", models_dir) as retrieval:
        alone = await places(retrieval, FOLLOWUPS, with_context=False)
        followups = await places(retrieval, FOLLOWUPS)
        assert len(followups) == 40
        assert first(alone) <= 22
        assert first(followups) >= 35, followups
        assert max(followups) <= 4, "every one among the passages of an answer"
        changes_alone = await places(retrieval, CHANGES, with_context=False)
        changes = await places(retrieval, CHANGES)
        assert first(changes) >= first(changes_alone) - 2
        assert max(changes) <= 3


async def test_a_question_without_a_subject_is_as_relevant_as_its_context(tmp_path: Path, models_dir: Path) -> None:
    async with indexed(tmp_path / "data", models_dir) as retrieval:
        assert await retrieval.search("alice", "Why is that so long?", 4) == []
        found = await retrieval.search("alice", "Why is that so long?", 4, None, "How long is the mower's warranty?")
        assert (found[0].title, found[0].heading.rpartition(" ")[2]) == ("Robot mower Sheep", "Warranty")
        assert await retrieval.search("alice", "And the oven?", 4, None, "How do I bake sourdough bread?") == []


async def test_a_followup_is_searched_with_the_questions_of_its_branch(tmp_path: Path, models_dir: Path) -> None:
    async with asking(tmp_path, models_dir) as (_, server, client):
        for name, content in documents().items():
            await asyncio.to_thread(server.upload, dict(client.http.headers), name, content)
        thread = await Thread.begin(client)
        france = await thread.answer(f"How many people live in {FRANCE}?")
        await thread.answer(f"How many people live in {KENYA}?", parent_id=None)
        for parent, country in ((None, KENYA), (france.terminal, FRANCE)):
            body = {"parent_id": parent.message_id} if parent else {}
            followed = await thread.answer("And what are the mountains like?", **body)
            best = followed.sources.sources[0]
            assert (best.title, "metres" in best.text) == (country, True)
