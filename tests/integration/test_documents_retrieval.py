"""Searching what was indexed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update

from lorestream.documents import store
from lorestream.documents.collections import Collections
from lorestream.documents.models import DocumentRow
from lorestream.errors import ModelUnavailable, NoDocuments, NotFound, Rebuilding, RetrievalFailed, StartRefused
from lorestream.providers.base import Vectors
from lorestream.retrieval.search import Retrieval
from lorestream.retrieval.spaces import Embedders
from tests.fakes.documents import ALICE, BOB, Desk, desk
from tests.fakes.embedder import WordEmbedder

FRANCE = b"# France\n\nParis is the capital of France.\n"
BREAD = b"# Bread\n\nSourdough needs flour, water and salt, and a night of rest.\n"


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path / "data") as opened:
        yield opened


async def test_a_passage_says_where_it_is_from(at: Desk) -> None:
    doc_id = await at.indexed(ALICE, "france.md", FRANCE)
    [passage] = await at.retrieval.search(ALICE, "What is the capital of France?", 4)
    assert passage.doc_id == doc_id
    assert (passage.title, passage.filename, passage.chunk_index, passage.page) == ("France", "france.md", 0, None)
    assert passage.distance == round(passage.distance, 4)
    assert 0 <= passage.distance <= 2
    assert 0 <= passage.score <= 1
    assert (passage.ranks.dense, passage.ranks.lexical) == (1, 1)


async def test_the_best_comes_first_and_no_more_than_were_asked_for(at: Desk) -> None:
    for n in range(8):
        await at.indexed(ALICE, f"{n}.md", f"# Note {n}\n\nThe capital of land{n} is town{n}.\n".encode())
    passages = await at.retrieval.search(ALICE, "What is the capital of land5?", 3)
    assert len(passages) == 3
    assert "town5" in passages[0].text
    assert [p.score for p in passages] == sorted((p.score for p in passages), reverse=True)


async def test_a_hit_of_the_words_alone_has_its_distance_too(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await at.indexed(ALICE, "france.md", FRANCE)
    expected = (await at.retrieval.search(ALICE, "capital of France", 1))[0].distance

    async def finds_nothing(*_args: object) -> list[object]:
        return []

    monkeypatch.setattr(at.index, "search", finds_nothing)
    [passage] = await at.retrieval.search(ALICE, "capital of France", 1)
    assert passage.distance == expected
    assert passage.ranks.dense is None


async def test_nothing_to_search_is_no_documents(at: Desk) -> None:
    with pytest.raises(NoDocuments, match=r"^No documents found\.$"):
        await at.retrieval.search(ALICE, "Anything?", 4)
    await at.add(ALICE, "queued.md", FRANCE)
    with pytest.raises(NoDocuments):
        await at.retrieval.search(ALICE, "Anything?", 4)
    foreign = await at.indexed(BOB, "france.md", FRANCE)
    own = await at.indexed(ALICE, "bread.md", BREAD)
    for doc_ids in ([foreign], ["unknown"], []):
        with pytest.raises(NoDocuments):
            await at.retrieval.search(ALICE, "What is the capital of France?", 4, doc_ids)
    assert await at.retrieval.search(ALICE, "What does sourdough need?", 4, [own, foreign])


async def test_nothing_relevant_is_an_empty_list(at: Desk) -> None:
    await at.indexed(ALICE, "france.md", FRANCE)
    assert await at.retrieval.search(ALICE, "How long must pasta boil?", 4) == []
    everything = Retrieval(at.db, at.index, Embedders(at.embedder), 0.0)
    assert await everything.search(ALICE, "How long must pasta boil?", 4)


async def test_a_search_stays_within_the_documents_named(at: Desk) -> None:
    await at.indexed(ALICE, "france.md", FRANCE)
    bread = await at.indexed(ALICE, "bread.md", BREAD)
    everything = Retrieval(at.db, at.index, Embedders(at.embedder), 0.0)
    found = await everything.search(ALICE, "What is the capital of France?", 10, [bread])
    assert {passage.doc_id for passage in found} == {bread}


@pytest.mark.parametrize(
    "question",
    [
        '"',
        "'; DROP TABLE chunks; --",
        "NEAR(a b)",
        "a AND",
        "owner:x",
        "*",
        "c++ (foo)",
        "\x00",
        "日本語",
        "x" * 20_000,
        "😀",
    ],
)
async def test_any_question_is_only_a_question(at: Desk, question: str) -> None:
    await at.indexed(ALICE, "france.md", FRANCE)
    await at.retrieval.search(ALICE, question, 4)
    assert await at.rows("chunks") == 1


class OtherWords(WordEmbedder):
    """Another embedder, with vectors of another length."""

    @property
    def name(self) -> str:
        return "other"


def searching(at: Desk, embedders: Embedders, **changed: Any) -> Retrieval:
    return Retrieval(at.db, at.index, embedders, at.settings.relevance_floor, **changed)


async def test_documents_of_another_embedder_are_searched_with_that_one(at: Desk) -> None:
    await at.indexed(ALICE, "france.md", FRANCE)
    today = OtherWords(64)
    at.documents.ingestor._embedder = today
    await at.indexed(ALICE, "bread.md", BREAD)
    built: list[str] = []

    def build(name: str) -> WordEmbedder:
        built.append(name)
        return WordEmbedder()

    retrieval = searching(at, Embedders(today, build))
    for _ in range(2):
        [first, *_] = await retrieval.search(ALICE, "What is the capital of France?", 4)
        assert (first.title, first.ranks.dense) == ("France", 1)
        [first, *_] = await retrieval.search(ALICE, "What does sourdough need?", 4)
        assert first.title == "Bread"
    assert built == ["words"], "built once, when it was needed"
    found = await retrieval.find(ALICE, "capital of France, bread of sourdough", 10)
    assert {passage.title for passage in found.passages} == {"France", "Bread"}


async def test_an_embedder_that_cannot_be_had_any_more_is_named_with_what_to_do(at: Desk) -> None:
    await at.indexed(ALICE, "france.md", FRANCE)

    def build(name: str) -> WordEmbedder:
        raise StartRefused(f"no {name}")

    for embedders in (Embedders(OtherWords(), build), Embedders(OtherWords())):
        with pytest.raises(RetrievalFailed, match=r"'words'.*lorestream reindex"):
            await searching(at, embedders).search(ALICE, "What is the capital of France?", 4)


class EverythingIsNear(WordEmbedder):
    """An embedder whose cosines are all high, as those of many models are."""

    @property
    def name(self) -> str:
        return "near"

    async def embed(self, texts: Sequence[str]) -> Vectors:
        rows = await super().embed(texts) + 1.5 / self.size**0.5
        unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return unit


async def test_an_embedder_to_which_everything_is_near_still_refuses_what_is_not_relevant(at: Desk) -> None:
    embedder = EverythingIsNear()
    at.documents.ingestor._embedder = embedder
    await at.indexed(ALICE, "france.md", FRANCE)
    embedders = Embedders(embedder)
    retrieval = searching(at, embedders)
    [passage] = await retrieval.search(ALICE, "What is the capital of France?", 4)
    assert passage.title == "France"
    [far] = (await retrieval.find(ALICE, "How long must pasta boil?", 4)).passages
    assert 1 - far.distance > at.settings.relevance_floor, "its cosine alone would pass"
    assert await embedders.usual("near") > 0.5
    assert await retrieval.search(ALICE, "How long must pasta boil?", 4) == []


async def test_a_search_stays_within_a_collection(at: Desk) -> None:
    collections = Collections(at.db)
    await at.indexed(ALICE, "france.md", FRANCE)
    bread = await at.indexed(ALICE, "bread.md", BREAD)
    made = await collections.create(ALICE, "Kitchen")
    inside = made.collection_id
    for question in ("What is the capital of France?", "What does sourdough need?"):
        with pytest.raises(NoDocuments):
            await at.retrieval.search(ALICE, question, 4, collection_id=inside)
    await collections.put(ALICE, inside, [bread])
    found = await at.retrieval.find(ALICE, "What is the capital of France?", 10, collection_id=inside)
    assert {passage.doc_id for passage in found.passages} == {bread}
    for owner, collection in ((BOB, inside), (ALICE, "unknown")):
        with pytest.raises(NotFound):
            await at.retrieval.search(owner, "What does sourdough need?", 4, collection_id=collection)


async def test_a_damaged_document_is_said_to_be_rebuilt(at: Desk) -> None:
    france = await at.indexed(ALICE, "france.md", FRANCE)
    bread = await at.indexed(ALICE, "bread.md", BREAD)
    async with at.db.write() as session:
        await session.execute(update(DocumentRow).where(DocumentRow.doc_id == france).values(reindex="damaged"))
    for doc_ids in (None, [france], [france, bread]):
        with pytest.raises(Rebuilding):
            await at.retrieval.search(ALICE, "What is the capital of France?", 4, doc_ids)
    assert await at.retrieval.search(ALICE, "What does sourdough need?", 4, [bread])


async def test_chunks_that_may_not_be_seen_take_no_ones_place(at: Desk) -> None:
    await at.indexed(ALICE, "france.md", FRANCE)
    capitals = "\n\n".join(f"# Land {n}\n\nThe capital of France, the capital of land {n}." for n in range(60))
    hidden = await at.indexed(ALICE, "capitals.md", capitals.encode())
    async with at.db.write() as session:
        await session.execute(update(DocumentRow).where(DocumentRow.doc_id == hidden).values(status="processing"))
    [passage] = await at.retrieval.search(ALICE, "What is the capital of France?", 4)
    assert (passage.title, passage.ranks.dense, passage.ranks.lexical) == ("France", 1, 1)


async def test_what_is_found_is_found_whether_relevant_or_not_and_timed(at: Desk) -> None:
    await at.indexed(ALICE, "france.md", FRANCE)
    found = await at.retrieval.find(ALICE, "How long must pasta boil?", 10)
    assert [passage.title for passage in found.passages] == ["France"]
    timings = found.timings
    parts = (timings.embed_ms, timings.dense_ms, timings.lexical_ms)
    assert all(0 <= part <= timings.total_ms for part in parts)
    assert timings.rerank_ms is None
    assert len((await at.retrieval.find(ALICE, "France", 1)).passages) == 1


class Shortest:
    """A reranker that likes short passages; keeps what it was asked."""

    name = "shortest"

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def score(self, question: str, texts: Sequence[str]) -> Vectors:
        self.asked.append((question, len(texts)))
        return np.array([-len(text) for text in texts], dtype=np.float32)

    async def close(self) -> None:
        return


async def test_a_reranker_orders_the_best_and_the_floor_stays(at: Desk) -> None:
    for n in range(8):
        words = "and so on " * (8 - n)
        await at.indexed(ALICE, f"{n}.md", f"# Note {n}\n\nThe capital of land is town{n}, {words}.\n".encode())
    reranker = Shortest()
    retrieval = searching(at, Embedders(at.embedder), reranker=reranker, rerank_candidates=5)
    found = await retrieval.find(ALICE, "What is the capital of land?", 3)
    assert reranker.asked == [("What is the capital of land?", 5)]
    lengths = [len(passage.text) for passage in found.passages]
    assert lengths == sorted(lengths)
    assert [passage.ranks.rerank for passage in found.passages] == [1, 2, 3]
    scores = [passage.score for passage in found.passages]
    assert scores == sorted(scores, reverse=True)
    assert found.timings.rerank_ms is not None
    await retrieval.search(ALICE, "And of land?", 3, context="What is the capital?")
    assert [question for question, _ in reranker.asked[1:]] == ["And of land?", "What is the capital? And of land?"]
    reranker.asked.clear()
    assert await retrieval.search(ALICE, "How long must pasta boil?", 3) == []
    assert reranker.asked == [], "nothing relevant is not ordered"


async def test_failures_of_the_embedder_keep_their_name_and_others_are_retrieval_failed(
    at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await at.indexed(ALICE, "france.md", FRANCE)

    async def unreachable(_text: str) -> Vectors:
        raise ModelUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(at.embedder, "embed_query", unreachable)
        with pytest.raises(ModelUnavailable):
            await at.retrieval.search(ALICE, "capital", 4)

    async def broken(*_args: object) -> Vectors:
        raise ValueError("a secret of the inside")

    with monkeypatch.context() as patched:
        patched.setattr(at.index, "search", broken)
        with pytest.raises(RetrievalFailed) as caught:
            await at.retrieval.search(ALICE, "capital", 4)
    assert "secret" not in caught.value.message


async def test_a_document_deleted_a_moment_ago_is_not_found(at: Desk) -> None:
    """The cached matrix of another process may still hold its vectors."""
    doc_id = await at.indexed(ALICE, "france.md", FRANCE)
    await at.indexed(ALICE, "bread.md", BREAD)
    await at.retrieval.search(ALICE, "capital", 4)
    async with at.db.write() as session:
        await store.begin_deletion(session, ALICE, doc_id)
    found = await at.retrieval.search(ALICE, "What is the capital of France and its bread?", 4)
    assert {passage.title for passage in found} <= {"Bread"}


async def test_searching_while_another_document_is_indexed(at: Desk) -> None:
    await at.indexed(ALICE, "france.md", FRANCE)
    ids = [await at.add(ALICE, f"{n}.md", f"# N{n}\n\nNote {n} about bread.\n".encode()) for n in range(5)]

    async def index_all() -> None:
        for doc_id in ids:
            await at.documents.ingest(doc_id)

    async with asyncio.timeout(60):
        work = asyncio.create_task(index_all())
        while not work.done():
            [first, *_] = await at.retrieval.search(ALICE, "What is the capital of France?", 4)
            assert first.title == "France"
        await work
