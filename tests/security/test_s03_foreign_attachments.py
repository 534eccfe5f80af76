"""S03: another user's document is bound to nothing of one's own, and where it were, it is not read either."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.fakes.server import RunningServer
from tests.security.people import QUESTION, People

World = tuple[RunningServer, People]


@pytest.fixture
def bob(world: World) -> Iterator[httpx.Client]:
    server, people = world
    with httpx.Client(base_url=server.url, headers=people.bob.headers, timeout=30) as http:
        yield http


def written(world: World, statement: str, *values: Any) -> None:
    """A change of the database that no route made."""
    with closing(sqlite3.connect(world[0].data_dir / "lorestream.db", timeout=10)) as database, database:
        assert database.execute(statement, values).rowcount == 1


def test_a_foreign_document_is_refused_when_it_is_written(world: World, bob: httpx.Client) -> None:
    _, people = world
    theirs, own = people.alice.ids["document"], people.bob.ids["document"]
    of_bob = f"/conversations/{people.bob.ids['conversation']}"
    before = bob.get("/conversations/").json(), bob.get(of_bob).json()
    for named in ([theirs], [own, theirs], [theirs] * 3):
        for method, path, body in (
            ("POST", "/conversations/", {"doc_ids": named}),
            ("PATCH", of_bob, {"doc_ids": named}),
            ("PATCH", of_bob, {"title": "new", "doc_ids": named}),
            ("POST", f"{of_bob}/questions", {"question": QUESTION, "doc_ids": named}),
            ("POST", f"/collections/{people.bob.ids['collection']}/documents", {"doc_ids": named}),
        ):
            answer = bob.request(method, path, json=body)
            assert answer.status_code == 404, f"{method} {path} {body}"
    for parent in (people.alice.ids["answer"], people.alice.ids["conversation"]):
        asked = {"question": QUESTION, "parent_id": parent}
        assert bob.post(f"{of_bob}/questions", json=asked).status_code == 404
    assert (bob.get("/conversations/").json(), bob.get(of_bob).json()) == before


def test_a_document_bound_behind_the_apis_back_is_not_read(world: World, bob: httpx.Client) -> None:
    _, people = world
    of_bob = people.bob.ids["conversation"]
    bound = json.dumps([people.alice.ids["document"]])
    written(world, "UPDATE conversations SET doc_ids = ? WHERE conversation_id = ?", bound, of_bob)
    for answer in (
        bob.post(f"/conversations/{of_bob}/questions", json={"question": QUESTION}),
        bob.post(f"/conversations/{of_bob}/questions", json={"question": people.canary}),
    ):
        assert '"code":"no_documents"' in answer.text
        assert people.canary not in answer.text
    # A question of before, asked again, names its documents by itself.
    written(
        world,
        "UPDATE messages SET asked = json_set(asked, '$.doc_ids', json(?)) WHERE message_id = "
        "(SELECT parent_id FROM messages WHERE message_id = ?)",
        bound, people.bob.ids["answer"],
    )  # fmt: skip
    again = bob.post(f"/conversations/{of_bob}/messages/{people.bob.ids['answer']}/regenerate")
    assert '"code":"no_documents"' in again.text
    assert people.canary not in again.text


def test_a_collection_bound_behind_the_apis_back_is_not_read(world: World, bob: httpx.Client) -> None:
    """Nor is a document of another's that stands in one's own."""
    _, people = world
    made = bob.post("/conversations/", json={"collection_id": people.bob.ids["collection"]}).json()["conversation_id"]
    bound = "UPDATE conversations SET collection_id = ? WHERE conversation_id = ?"
    written(world, bound, people.alice.ids["collection"], made)
    asked = bob.post(f"/conversations/{made}/questions", json={"question": people.canary})
    assert (asked.status_code, people.canary in asked.text) == (404, False)
    written(world, bound, people.bob.ids["collection"], made)
    inside = (people.bob.ids["collection"], people.alice.ids["document"])
    written(world, "INSERT INTO collection_documents (collection_id, doc_id) VALUES (?, ?)", *inside)
    try:
        listed = bob.get("/documents/", params={"collection_id": people.bob.ids["collection"]}).text
        found = bob.get("/search", params={"q": people.canary, "collection_id": people.bob.ids["collection"]}).text
        asked = bob.post(f"/conversations/{made}/questions", json={"question": people.canary})
        for shown in (listed, found, asked.text):
            assert people.alice.ids["document"] not in shown
            assert people.canary not in shown.replace(f'"{people.canary}"', "")
    finally:
        written(world, "DELETE FROM collection_documents WHERE collection_id = ? AND doc_id = ?", *inside)


def test_a_message_hung_below_a_foreign_one_shows_nothing_of_it(world: World, bob: httpx.Client) -> None:
    _, people = world
    made = bob.post("/conversations/", json={}).json()["conversation_id"]
    bob.post(f"/conversations/{made}/questions", json={"question": QUESTION}).raise_for_status()
    question = bob.get(f"/conversations/{made}").json()["messages"][0]["message_id"]
    written(world, "UPDATE messages SET parent_id = ? WHERE message_id = ?", people.alice.ids["answer"], question)
    answer = bob.post(f"/conversations/{made}/questions", json={"question": "And what else?"})
    for shown in (answer, bob.get(f"/conversations/{made}"), bob.get(f"/conversations/{made}/export")):
        assert people.canary not in shown.text
    assert "hides" not in answer.text


def test_a_passage_that_changed_hands_is_not_found(world: World, bob: httpx.Client) -> None:
    """Half a change of owner, of the passage or of the document, is no change."""
    server, people = world
    change = "UPDATE chunks SET owner_id = ? WHERE doc_id = ? AND chunk_index = 0"
    alices = people.alice.ids["document"]
    written(world, change, people.bob.user_id, alices)
    try:
        for question in (people.canary, QUESTION):
            answer = bob.post("/query/", json={"question": question, "k": 10})
            assert people.canary not in answer.text
        assert bob.get(f"/documents/{alices}/chunks/0").status_code == 404
    finally:
        written(world, change, people.alice.user_id, alices)
    with httpx.Client(base_url=server.url, headers=people.alice.headers) as alice:
        assert people.canary in alice.get(f"/documents/{alices}/chunks/0").text
