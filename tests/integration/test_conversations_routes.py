"""Conversations over HTTP: list, search, rename, delete, export, feedback, and nobody else's anything."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from lorestream.db import MIGRATIONS
from lorestream.streaming.events import Done, Token
from tests.fakes.reading import Client, user_of
from tests.fakes.server import RunningServer, running_server
from tests.fakes.threads import House, Thread, asking, house_of
from tests.fakes.upstream import Finish, Hold, Say

ASYNC = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def two_users(server: RunningServer) -> AsyncIterator[tuple[Client, Client]]:
    async with user_of(server) as alice, user_of(server, "b@example.com") as bob:
        yield alice, bob


async def items(client: Client, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.http.get("/conversations/", params=params)).json()["items"]
    return found


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[House]:
    async with house_of(tmp_path_factory.mktemp("house"), models_dir) as started:
        yield started


@ASYNC
async def test_a_conversation_is_made_renamed_listed_and_deleted(house: House) -> None:
    async with house.asking() as (_, _, client):
        made = await client.http.post("/conversations/", json={"title": "Rivers"})
        assert made.status_code == 201
        one = made.json()
        assert made.headers["location"] == f"/conversations/{one['conversation_id']}"
        assert (one["title"], one["doc_ids"]) == ("Rivers", None)
        path = f"/conversations/{one['conversation_id']}"
        renamed = await client.http.patch(path, json={"title": "Big rivers"})
        assert renamed.json()["title"] == "Big rivers"
        assert (await client.http.get(path)).json()["messages"] == []
        assert [item["title"] for item in await items(client)] == ["Big rivers"]
        assert (await client.http.delete(path)).status_code == 204
        assert (await client.http.get(path)).status_code == 404
        assert await items(client) == []


@ASYNC
async def test_lists_are_paged_without_a_gap_or_a_repetition(house: House) -> None:
    async with house.asking() as (_, _, client):
        for n in range(7):
            await client.http.post("/conversations/", json={"title": f"n{n}"})
        seen: list[str] = []
        cursor: str | None = None
        while True:
            params = {"limit": "3", **({"cursor": cursor} if cursor else {})}
            page = (await client.http.get("/conversations/", params=params)).json()
            seen += [item["title"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == [f"n{n}" for n in reversed(range(7))]
        for cursor in ("nonsense", "bm8gdGltZQ==", "x" * 300):
            assert (await client.http.get("/conversations/", params={"cursor": cursor})).status_code == 422


BAD: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/conversations/", {"title": ""}),
    ("POST", "/conversations/", {"title": "   "}),
    ("POST", "/conversations/", {"title": "x" * 201}),
    ("POST", "/conversations/", {"doc_ids": []}),
    ("POST", "/conversations/", {"doc_ids": ["x" * 65]}),
    ("POST", "/conversations/", {"doc_ids": ["x"] * 201}),
    ("POST", "/conversations/", {"owner_id": "x"}),
    ("PATCH", "{}", {"title": None}),
    ("PATCH", "{}", {"updated_at": "2020-01-01"}),
    ("POST", "{}/questions", {}),
    ("POST", "{}/questions", {"question": " "}),
    ("POST", "{}/questions", {"question": "x" * 4001}),
    ("POST", "{}/questions", {"question": "\ud800"}),
    ("POST", "{}/questions", {"question": "x", "k": 11}),
    ("POST", "{}/questions", {"question": "x", "k": "4 or so"}),
    ("POST", "{}/questions", {"question": "x", "collection": "x"}),
    ("POST", "{}/questions", {"question": "x", "client_request_id": ""}),
    ("POST", "{}/questions", {"question": "x", "on_disconnect": "explode"}),
    ("POST", "{}/questions", {"question": "x", "model": "ollama:not-offered"}),
    ("POST", "{}/messages/x/regenerate", {"question": "another"}),
    ("PUT", "{}/messages/x/feedback", {"rating": "great"}),
    ("PUT", "{}/messages/x/feedback", {}),
]


@ASYNC
async def test_bad_input_is_refused_with_its_reason(house: House) -> None:
    async with house.asking() as (_, _, client):
        one = (await client.http.post("/conversations/", json={})).json()["conversation_id"]
        for method, path, body in BAD:
            answer = await client.http.request(
                method,
                path.format(f"/conversations/{one}"),
                content=json.dumps(body),
                headers={"Content-Type": "application/json"},
            )
            assert answer.status_code == 422, (body, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
        assert (await client.http.get(f"/conversations/{one}")).json()["messages"] == []


@ASYNC
async def test_search_finds_titles_questions_and_answers_of_the_caller_alone(house: House) -> None:
    async with house.asking() as (fake, server, client), user_of(server, f"{uuid4().hex}@example.com") as bob:
        fake.play(Say("The aqueducts carried water."), Finish())
        capital = await Thread.begin(client)
        await capital.answer("What is the capital of France?")
        rivers = await Thread.begin(client, title="Rivers of France")
        await Thread.begin(bob, title="Aqueducts of France, secretly")
        found = await items(client, q="aqueduct")
        assert [item["conversation_id"] for item in found] == [capital.id]
        assert "aqueducts carried" in found[0]["snippet"]
        assert [item["conversation_id"] for item in await items(client, q="RIV")] == [rivers.id]
        assert {item["conversation_id"] for item in await items(client, q="france")} == {rivers.id, capital.id}
        assert [item["conversation_id"] for item in await items(client, q="capital water")] == [capital.id]
        for query in ('"', "NEAR(a b)", "keys:o", "*", "'; DROP TABLE messages; --", "c" + capital.id + "0", "OR"):
            assert await items(client, q=query) == []
        await client.http.patch(rivers.path, json={"title": "Lakes"})
        assert await items(client, q="rivers") == []
        assert [item["title"] for item in await items(client, q="lakes")] == ["Lakes"]


@ASYNC
async def test_the_first_question_names_the_conversation_unless_it_has_a_name(house: House) -> None:
    async with house.asking() as (_, _, client):
        unnamed, named = await Thread.begin(client), await Thread.begin(client, title="Mine")
        for thread in (unnamed, named):
            await thread.answer(
                "What is the capital of France, and since when has it been the capital of that country?"
            )
            await thread.answer("What is the capital of France?")
        assert (await unnamed.read())["title"] == "What is the capital of France, and since when has it been…"
        assert (await named.read())["title"] == "Mine"
        assert (await items(client))[0]["title"] == "Mine", "the last active comes first"


@ASYNC
async def test_deletion_leaves_nothing_and_stops_what_runs(tmp_path: Path, models_dir: Path) -> None:
    async with asking(tmp_path, models_dir) as (fake, server, client):
        thread, kept = await Thread.begin(client), await Thread.begin(client, title="Kept")
        await thread.answer()
        fake.play(Say("Par"), Hold())
        async with thread.ask() as stream:
            await stream.until(Token)
            connection = await fake.chat(1)
            assert (await client.http.delete(thread.path)).status_code == 204
            async with asyncio.timeout(2):
                await connection.closed
            await stream.rest(2)
        assert isinstance(stream.terminal, Done)
        assert stream.terminal.finish_reason == "cancelled"
        assert (await client.http.get(f"/runs/{stream.run_id}")).status_code == 404
        assert (await client.http.get(f"/runs/{stream.run_id}/events")).status_code == 404
        assert [item["conversation_id"] for item in await items(client)] == [kept.id]
        with sqlite3.connect(server.data_dir / "lorestream.db") as db:
            counts = {
                table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("conversations", "messages", "conversation_texts")
            }
        db.close()
        assert counts == {"conversations": 1, "messages": 0, "conversation_texts": 1}


@ASYNC
async def test_an_export_holds_the_newest_branch_or_everything_with_sources(house: House) -> None:
    async with house.asking() as (fake, _, client):
        thread = await Thread.begin(client, title='Straße / "Paris"\r\n')
        fake.play(Say("The old answer."), Finish())
        old = await thread.answer("What is the capital of France?\nIn one line.")
        fake.play(Say("Paris [1]."), Finish())
        await thread.regenerate(old)
        markdown = await client.http.get(f"{thread.path}/export")
        assert markdown.headers["content-type"] == "text/markdown; charset=utf-8"
        assert markdown.headers["content-disposition"] == 'attachment; filename="stra-e-paris.md"'
        assert "## What is the capital of France?\n\nIn one line.\n\nParis [1]." in markdown.text
        assert "- [1] geo: “Paris is the capital of France.”" in markdown.text
        assert "old answer" not in markdown.text
        whole = await client.http.get(f"{thread.path}/export", params={"format": "json"})
        assert whole.headers["content-disposition"].startswith("attachment")
        assert whole.json() == await thread.read()
        assert [m["content"] for m in whole.json()["messages"][1:]] == ["The old answer.", "Paris [1]."]
        assert (await client.http.get(f"{thread.path}/export", params={"format": "docx"})).status_code == 422


@ASYNC
async def test_feedback_is_kept_changed_and_taken_back(house: House) -> None:
    async with house.asking() as (_, _, client):
        thread = await Thread.begin(client)
        await thread.answer()
        question, answer = (await thread.read())["messages"]
        path = f"{thread.path}/messages/{answer['message_id']}/feedback"
        assert answer["feedback"] is None
        rated = await client.http.put(path, json={"rating": "down", "comment": "Too short."})
        assert rated.json()["feedback"] == {"rating": "down", "comment": "Too short."}
        await client.http.put(path, json={"rating": "up"})
        assert (await thread.read())["messages"][1]["feedback"] == {"rating": "up", "comment": None}
        await client.http.put(path, json={"rating": None})
        assert (await thread.read())["messages"][1]["feedback"] is None
        of_question = f"{thread.path}/messages/{question['message_id']}/feedback"
        assert (await client.http.put(of_question, json={"rating": "up"})).status_code == 404


@ASYNC
async def test_no_route_shows_or_changes_anything_of_another_user(house: House) -> None:
    async with house.asking() as (fake, server, alice), user_of(server, f"{uuid4().hex}@example.com") as bob:
        doc_id = (await alice.http.get("/documents/")).json()["items"][0]["doc_id"]
        thread = await Thread.begin(alice, title="Private")
        await thread.answer()
        before = await thread.read()
        message_id = before["messages"][1]["message_id"]
        theirs = await Thread.begin(bob)
        requests: list[tuple[str, str, dict[str, Any] | None]] = [
            ("GET", "{}", None),
            ("PATCH", "{}", {"title": "Mine now"}),
            ("DELETE", "{}", None),
            ("GET", "{}/export?format=json", None),
            ("POST", "{}/questions", {"question": "What?"}),
            ("POST", "{}/messages/" + message_id + "/regenerate", None),
            ("PUT", "{}/messages/" + message_id + "/feedback", {"rating": "up"}),
        ]
        asked = len(fake.chats)
        for method, path, body in requests:
            foreign = await bob.http.request(method, path.format(thread.path), json=body)
            unknown = await bob.http.request(method, path.format(f"/conversations/{'0' * 32}"), json=body)
            assert (foreign.status_code, unknown.status_code) == (404, 404), path
            assert foreign.json() | {"instance": ""} == unknown.json() | {"instance": ""}
        for method, path, body in (
            ("POST", "/conversations/", {"doc_ids": [doc_id]}),
            ("PATCH", theirs.path, {"doc_ids": [doc_id]}),
            ("POST", f"{theirs.path}/questions", {"question": "What?", "doc_ids": [doc_id]}),
            ("POST", f"{theirs.path}/questions", {"question": "What?", "parent_id": message_id}),
            ("POST", f"{theirs.path}/messages/{message_id}/regenerate", {}),
            ("PUT", f"{theirs.path}/messages/{message_id}/feedback", {"rating": "up"}),
        ):
            assert (await bob.http.request(method, path, json=body)).status_code == 404, path
        own = await bob.http.post(f"{theirs.path}/questions", json={"question": "x", "client_request_id": "a" * 8})
        assert own.status_code == 200, "a request id is the owner's own"
        assert len(fake.chats) == asked
        assert await thread.read() == before
        assert [item["title"] for item in await items(bob)] == ["x"]


@ASYNC
async def test_every_route_needs_a_login(house: House) -> None:
    async with house.asking() as (_, _, client):
        client.http.headers.pop("authorization")
        schema = (await client.http.get("/openapi.json")).json()
        routes = [
            (method, path.replace("{conversation_id}", "x").replace("{message_id}", "y"))
            for path, methods in schema["paths"].items()
            for method in methods
            if path.startswith("/conversations/")
        ]
        assert len(routes) == 9
        for method, path in routes:
            assert (await client.http.request(method, path, json={})).status_code == 401, (method, path)


def test_what_was_there_before_conversations_stays(tmp_path: Path, models_dir: Path) -> None:
    """A database of the version before is brought up to date with its messages kept."""
    path = tmp_path / "data" / "lorestream.db"
    path.parent.mkdir()
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        connection.exec_driver_sql(
            "INSERT INTO users (user_id, email, is_admin, created_at) VALUES ('o', 'o@x.de', 0, '2026-01-01')"
        )
        connection.exec_driver_sql(
            "INSERT INTO messages (message_id, owner_id, role, content, reasoning, status, door, created_at, "
            "updated_at) VALUES ('m', 'o', 'user', 'What?', '', 'done', 'query', '2026-01-01', '2026-01-01')"
        )
        connection.commit()
    engine.dispose()
    with running_server(tmp_path / "data", models_dir) as server:
        server.stop()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT content, conversation_id, asked FROM messages").fetchall() == [("What?", None, None)]
    db.close()
