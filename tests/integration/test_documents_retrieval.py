"""Searching what was indexed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lorestream.documents import store
from lorestream.errors import ModelUnavailable, NoDocuments, RetrievalFailed
from lorestream.providers.base import Vectors
from lorestream.retrieval.search import Retrieval
from tests.fakes.documents import ALICE, BOB, Desk, desk

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
    everything = Retrieval(at.db, at.index, at.embedder, 0.0)
    assert await everything.search(ALICE, "How long must pasta boil?", 4)


async def test_a_search_stays_within_the_documents_named(at: Desk) -> None:
    await at.indexed(ALICE, "france.md", FRANCE)
    bread = await at.indexed(ALICE, "bread.md", BREAD)
    everything = Retrieval(at.db, at.index, at.embedder, 0.0)
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


async def test_documents_of_another_embedder_are_refused_with_what_to_do(
    at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await at.indexed(ALICE, "france.md", FRANCE)
    monkeypatch.setattr(type(at.embedder), "name", "other")
    with pytest.raises(RetrievalFailed, match="LORESTREAM_EMBEDDER=words"):
        await at.retrieval.search(ALICE, "What is the capital of France?", 4)


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
