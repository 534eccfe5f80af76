"""Collections as their clients see them: named, filled, listed, filtered by, deleted; nobody else's anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from lorestream.documents import collections
from tests.fakes.documents import ALICE, BOB, Desk, client, desk


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
async def http(at: Desk) -> AsyncIterator[httpx.AsyncClient]:
    async with client(at) as made:
        yield made


async def made(http: httpx.AsyncClient, name: str) -> str:
    answer = await http.post("/collections/", json={"name": name})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/collections/{answer.json()['collection_id']}"
    return str(answer.json()["collection_id"])


async def inside(http: httpx.AsyncClient, collection_id: str) -> set[str]:
    page = (await http.get("/documents/", params={"collection_id": collection_id})).raise_for_status().json()
    return {one["doc_id"] for one in page["items"]}


async def test_a_collection_is_made_filled_renamed_and_deleted(at: Desk, http: httpx.AsyncClient) -> None:
    first, second = [await at.add(ALICE, f"{n}.md", f"number {n}".encode()) for n in range(2)]
    rivers, lakes = await made(http, "  Rivers  of\tEurope "), await made(http, "lakes")
    one = (await http.get(f"/collections/{rivers}")).json()
    assert (one["name"], one["documents"]) == ("Rivers of Europe", 0)
    assert one["created_at"].endswith("Z")
    put = await http.post(f"/collections/{rivers}/documents", json={"doc_ids": [first, second, first]})
    assert (put.status_code, put.content) == (204, b"")
    again = await http.post(f"/collections/{rivers}/documents", json={"doc_ids": [second]})
    assert again.status_code == 204
    assert (await http.post(f"/collections/{lakes}/documents", json={"doc_ids": [second]})).status_code == 204
    listed = (await http.get("/collections/")).json()
    assert [(item["name"], item["documents"]) for item in listed["items"]] == [("lakes", 1), ("Rivers of Europe", 2)]
    assert listed["next_cursor"] is None
    assert await inside(http, rivers) == {first, second}
    assert (await http.delete(f"/collections/{rivers}/documents/{first}")).status_code == 204
    assert (await http.delete(f"/collections/{rivers}/documents/{first}")).status_code == 404
    assert await inside(http, rivers) == {second}
    renamed = await http.patch(f"/collections/{rivers}", json={"name": "Streams"})
    assert (renamed.status_code, renamed.json()["name"], renamed.json()["documents"]) == (200, "Streams", 1)
    assert (await http.delete(f"/collections/{rivers}")).status_code == 204
    assert (await http.get(f"/collections/{rivers}")).status_code == 404
    assert (await http.get(f"/documents/{second}")).status_code == 200, "its documents stay"
    assert await inside(http, lakes) == {second}


async def test_a_deleted_document_is_in_no_collection(at: Desk, http: httpx.AsyncClient) -> None:
    doc_id, rivers = await at.add(ALICE, "a.md", b"a"), await made(http, "rivers")
    await http.post(f"/collections/{rivers}/documents", json={"doc_ids": [doc_id]})
    await http.delete(f"/documents/{doc_id}")
    assert (await http.get(f"/collections/{rivers}")).json()["documents"] == 0
    assert await at.left_over() == {}


async def test_a_name_is_unique_for_its_owner(at: Desk, http: httpx.AsyncClient) -> None:
    await made(http, "rivers")
    lakes = await made(http, "lakes")
    taken = await http.post("/collections/", json={"name": " rivers "})
    assert (taken.status_code, taken.json()["code"]) == (409, "conflict")
    assert (await http.patch(f"/collections/{lakes}", json={"name": "rivers"})).status_code == 409
    assert (await http.patch(f"/collections/{lakes}", json={"name": "lakes"})).status_code == 200
    async with client(at, BOB) as bob:
        await made(bob, "rivers")


async def test_there_are_so_many_and_no_more(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collections, "MAX_COLLECTIONS", 2)
    for name in ("one", "two"):
        await made(http, name)
    assert (await http.post("/collections/", json={"name": "three"})).status_code == 409


async def test_what_makes_no_sense_is_422(http: httpx.AsyncClient) -> None:
    for name in ("", " \n ", "a\0b", "x" * 101):
        assert (await http.post("/collections/", json={"name": name})).status_code == 422, repr(name)
    for body in ({"name": "x", "owner_id": "y"}, {"name": 1}, {}):
        assert (await http.post("/collections/", json=body)).status_code == 422, body
    for doc_ids in ([], ["x"] * 1001, [""], ["x" * 65], "x"):
        assert (await http.post("/collections/x/documents", json={"doc_ids": doc_ids})).status_code == 422


async def test_what_is_anothers_is_what_is_nowhere(at: Desk, http: httpx.AsyncClient) -> None:
    """The same 404, word for word, and nothing changes: for a foreign collection, a foreign document, and both."""
    alices, own = await at.add(ALICE, "a.md", b"a"), await at.add(BOB, "b.md", b"b")
    hers = await made(http, "hers")
    await http.post(f"/collections/{hers}/documents", json={"doc_ids": [alices]})
    async with client(at, BOB) as bob:
        his = await made(bob, "his")
        for collection_id, doc_id in [(hers, own), (hers, alices), (his, alices)]:
            nowhere = "0" * 32
            unknown = (nowhere if collection_id == hers else his, nowhere if doc_id == alices else own)
            for method, path, body in [
                ("POST", "/collections/{}/documents", {"doc_ids": [own, "{}"]}),
                ("DELETE", "/collections/{}/documents/{}", None),
                *([("GET", "/collections/{}", None), ("DELETE", "/collections/{}", None)] * (collection_id == hers)),
                *([("PATCH", "/collections/{}", {"name": "mine"})] * (collection_id == hers)),
                *([("GET", "/documents/?collection_id={}", None)] * (collection_id == hers)),
            ]:
                answers = []
                for names in ((collection_id, doc_id), unknown):
                    sent = {"doc_ids": [own, names[1]]} if body and "doc_ids" in body else body
                    answer = await bob.request(method, path.format(*names), json=sent)
                    answers.append((answer.status_code, answer.json()["code"], answer.json()["message"]))
                assert answers[0] == answers[1]
                assert answers[0][0] == 404, (method, path)
        assert (await bob.get("/collections/")).json()["items"][0]["documents"] == 0
    assert await inside(http, hers) == {alices}
    assert (await http.get(f"/collections/{hers}")).json()["name"] == "hers"


async def test_an_upload_goes_into_a_collection_also_where_its_bytes_are_there(
    at: Desk, http: httpx.AsyncClient
) -> None:
    first, second = await made(http, "first"), await made(http, "second")

    async def upload(collection_id: str, user: httpx.AsyncClient = http) -> httpx.Response:
        files = {"file": ("a.md", b"The same bytes.")}
        return await user.post("/documents/", params={"collection_id": collection_id, "wait": 0}, files=files)

    answer = await upload(first)
    assert answer.status_code == 202
    assert (await upload(second)).status_code == 200
    assert await inside(http, first) == await inside(http, second) == {answer.json()["doc_id"]}
    async with client(at, BOB) as bob:
        for unknown in (first, "0" * 32):
            refused = await upload(unknown, bob)
            assert (refused.status_code, refused.json()["message"]) == (404, "There is no such collection.")
    assert (await at.left_over())["documents"] == 1
