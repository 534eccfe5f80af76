"""``GET /search``: the passages themselves, without an answer."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.documents import ALICE, BOB, Desk, client, desk

FRANCE = b"# France\n\n## Cities\n\nParis is the capital of France. Lyon is a city in the east.\n"
BREAD = b"# Bread\n\nSourdough needs flour, water and salt, and a night of rest.\n"


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path / "data") as opened:
        await opened.indexed(ALICE, "france.md", FRANCE)
        yield opened


async def found(at: Desk, user: str = ALICE, **parameters: Any) -> dict[str, Any]:
    async with client(at, user) as http:
        answer = await http.get("/search", params={"q": "capital of France", **parameters})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_passage_comes_whole_with_its_place_and_ranks(at: Desk) -> None:
    body = await found(at)
    [item] = body["items"]
    text = FRANCE.decode()
    assert item["text"] == text[item["start"] : item["end"]]
    assert (item["filename"], item["title"], item["heading"]) == ("france.md", "France", "France > Cities")
    assert (item["chunk_index"], item["page"]) == (0, None)
    assert item["ranks"] == {"dense": 1, "lexical": 1, "rerank": None}
    assert 0 <= item["score"] <= 1
    assert 0 <= item["distance"] <= 2
    timings = body["timings"]
    assert timings["rerank_ms"] is None
    assert 0 < timings["total_ms"] >= timings["embed_ms"]


async def test_what_is_not_relevant_is_found_too_and_no_more_than_wanted(at: Desk) -> None:
    bread = await at.indexed(ALICE, "bread.md", BREAD)
    assert len((await found(at, q="How long must pasta boil?"))["items"]) == 2
    assert len((await found(at, k=1))["items"]) == 1
    assert [item["doc_id"] for item in (await found(at, doc_id=bread))["items"]] == [bread]


async def test_a_collection_narrows_it(at: Desk) -> None:
    bread = await at.indexed(ALICE, "bread.md", BREAD)
    async with client(at) as http:
        made = (await http.post("/collections/", json={"name": "Kitchen"})).json()["collection_id"]
        empty = await http.get("/search", params={"q": "bread", "collection_id": made})
        assert (empty.status_code, empty.json()["code"]) == (404, "no_documents")
        await http.post(f"/collections/{made}/documents", json={"doc_ids": [bread]})
    assert [item["doc_id"] for item in (await found(at, collection_id=made))["items"]] == [bread]


async def test_anothers_things_are_like_none(at: Desk) -> None:
    async with client(at) as http:
        made = (await http.post("/collections/", json={"name": "Mine"})).json()["collection_id"]
        doc_id = (await http.get("/documents/")).json()["items"][0]["doc_id"]
    await at.indexed(BOB, "bread.md", BREAD)
    assert {item["filename"] for item in (await found(at, BOB))["items"]} == {"bread.md"}
    async with client(at, BOB) as http:
        for field, foreign in (("doc_id", doc_id), ("collection_id", made)):
            answers = [await http.get("/search", params={"q": "x", field: value}) for value in (foreign, "0" * 32)]
            assert [answer.status_code for answer in answers] == [404, 404]
            theirs, unknown = ({**answer.json(), "instance": ""} for answer in answers)
            assert theirs == unknown


@pytest.mark.parametrize(
    "parameters",
    [{"q": ""}, {"q": " \n"}, {"q": "x" * 501}, {"k": 0}, {"k": 51}, {"doc_id": "x" * 65}, {"collection_id": ""}],
)
async def test_bad_input_is_refused_with_its_field(at: Desk, parameters: dict[str, Any]) -> None:
    async with client(at) as http:
        answer = await http.get("/search", params={"q": "capital", **parameters})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [f"query.{next(iter(parameters))}"]
