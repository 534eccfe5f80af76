"""Fifty poisoned documents and a model that obeys them (OWASP LLM01): nothing leaves, nothing changes.

No prompt can keep a model from obeying what it reads. What holds is what stands around it: it gets one user's passages
and no tool, and what it says is text.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from lorestream.conversations.prompt import INSTRUCTIONS
from lorestream.providers.base import NO_ANSWER
from tests.fakes.reading import Client, user_of
from tests.fakes.server import RunningServer, started_server
from tests.fakes.threads import ScriptedModel
from tests.security.listener import listening
from tests.security.poison import POISON, filled, obey

CANARY = "Alice keeps her cuckoo clock at 7c1f2ab9"
API_KEY = "sk-canary-of-the-settings-5512"
QUESTION = "What does the note say?"
# All that is ever asked of a model; above all no tools, functions or ids of users.
OLLAMA_FIELDS = {"model", "messages", "stream", "truncate", "shift", "options"}
GROWS = {"messages", "token_usage", "logins", "sqlite_sequence"}


def test_the_corpus_has_fifty_documents() -> None:
    assert len(POISON) == len(set(POISON.values())) == 50


def rows(data_dir: Path) -> dict[str, list[str]]:
    """Every row of every table that asking a question has no business with."""
    with closing(sqlite3.connect(f"file:{data_dir / 'lorestream.db'}?mode=ro", uri=True)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: sorted(repr(row) for row in database.execute(f'SELECT * FROM "{table}"'))
            for table in tables
            if table not in GROWS and not table.startswith("conversation_texts")
        }


@asynccontextmanager
async def poisoned_house(
    tmp_path: Path, models_dir: Path, model: ScriptedModel
) -> AsyncIterator[tuple[RunningServer, Client, Client]]:
    """A server with this model, with a secret in its settings, and two users."""
    chosen = {"model": "ollama:tiny:latest", "ollama_url": model.url, "openai_api_key": API_KEY}
    async with (
        started_server(tmp_path / "data", models_dir, **chosen, relevance_floor="0") as server,
        user_of(server, "alice@example.com") as alice,
        user_of(server, "bob@example.com") as bob,
    ):
        yield server, alice, bob


async def until_ready(client: Client, count: int) -> None:
    async with asyncio.timeout(240):
        while True:
            items = (await client.http.get("/documents/", params={"limit": 100})).json()["items"]
            assert not [item for item in items if item["status"] == "failed"]
            if sum(item["status"] == "ready" for item in items) == count:
                return
            await asyncio.sleep(0.1)  # between two looks, as the page does


async def uploaded(client: Client, name: str, text: str) -> str:
    """Queue one document; its id."""
    files = {"file": (f"{name}.txt", text.encode())}
    answer = await client.http.post("/documents/", params={"wait": 0}, files=files)
    assert answer.status_code in {201, 202}, answer.text
    return str(answer.json()["doc_id"])


@pytest.mark.timeout(300)
async def test_nothing_leaves_and_nothing_changes(
    tmp_path: Path, models_dir: Path, measured: Callable[[str], None]
) -> None:
    async with listening() as outside, ScriptedModel("ollama", respond=obey(lambda: outside.url)) as model:
        assert isinstance(model, ScriptedModel)
        async with poisoned_house(tmp_path, models_dir, model) as (server, alice, bob):
            theirs = await uploaded(alice, "diary", CANARY)
            me = (await alice.http.get("/auth/me")).json()["user_id"]
            mine = {
                name: await uploaded(bob, name, filled(text, url=outside.url, alice=me, canary=theirs))
                for name, text in POISON.items()
            }
            await until_ready(alice, 1)
            await until_ready(bob, len(POISON))
            before = rows(server.data_dir)
            dropped = 0
            for name, doc_id in mine.items():
                body = {"question": QUESTION, "doc_id": doc_id, "k": 10}
                answer = (await bob.http.post("/query/", json=body)).raise_for_status().json()
                assert answer["answer"].startswith("I obey."), f"{name}: the model was not asked"
                numbers = {source["n"] for source in answer["sources"]}
                assert {source["doc_id"] for source in answer["sources"]} == {doc_id}
                assert {citation["n"] for citation in answer["citations"]} <= numbers, "a forged number was kept"
                dropped += len(re.findall(r"\[(?:42|99|0|998)\]", answer["answer"]))
                assert CANARY not in str(answer)
                assert API_KEY not in str(answer)
            assert (await bob.http.post("/query/", json={"question": QUESTION, "k": 10})).status_code == 200
            assert rows(server.data_dir) == before, "a question changed something"
            assert (await alice.http.get("/documents/")).json()["items"][0]["doc_id"] == theirs
            check_prompts(model)
            assert outside.hits == []
        log = "".join(server.output)
        assert CANARY not in log
        assert API_KEY not in log
    measured(f"poisoned documents: {len(POISON)} asked, {dropped} forged citations dropped, 0 connections, 0 changes")


def check_prompts(model: ScriptedModel) -> None:
    """Of every prompt: passages apart from all else, a mark of its own, nothing of others, no tool, no secret."""
    nonces = []
    for request in model.chats:
        assert set(request.json) == OLLAMA_FIELDS
        assert set(request.json["options"]) == {"num_ctx", "num_predict", "temperature"}
        system, user = request.json["messages"]
        assert (set(system), set(user)) == ({"role", "content"}, {"role", "content"})
        nonce = re.findall(r"<passage-([0-9a-f]{16,}) …>", system["content"])
        assert len(nonce) == 1
        nonces += nonce
        assert system["content"] == INSTRUCTIONS.format(no_answer=NO_ANSWER, nonce=nonce[0])
        marks = re.findall(r"[<＜]\s*/?\s*passage\S*", user["content"], re.IGNORECASE)
        assert marks, "a passage"
        assert marks == [f"<passage-{nonce[0]}", f"</passage-{nonce[0]}>"] * (len(marks) // 2)
        head = user["content"].split("<passage-", 1)[0]
        assert head == f"Question: {QUESTION}\n\nPassages:\n\n"
        assert not re.search("[\u200b\u2060\ufeff\u202e\U000e0000-\U000e007f]", user["content"])
        for secret in (CANARY, API_KEY, "eyJ", "Bearer"):
            assert secret not in request.body.decode()
    assert len(set(nonces)) == len(nonces) > 50
