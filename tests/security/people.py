"""Users of a real server with everything that a user can have, and the probing of one's things by another."""

from __future__ import annotations

import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx

from lorestream.doors.ai_sdk import EXAMPLE
from tests.fakes.server import RunningServer, running_server
from tests.security.matrix import HARMLESS, Route, Things, expected, probes, shape, state, unknown

QUESTION = "What is the capital of France?"
# One for each time that a route is tried with a client_request_id of hers, under every configuration.
ALICES_QUESTIONS = 12
# Quick, and every passage counts.
PLAIN = {"reader_words_per_second": "0", "relevance_floor": "0"}


@dataclass
class People:
    """The administrator, the one whose things are tried for, and the one who tries; ``canary`` is Alice's secret."""

    root: Things
    alice: Things
    bob: Things
    canary: str


@contextmanager
def settled(data_dir: Path, models_dir: Path, **settings: str) -> Iterator[tuple[RunningServer, People]]:
    """A server with three users."""
    with running_server(data_dir, models_dir, **PLAIN, **settings) as server:
        yield server, settle(server)


def settle(server: RunningServer) -> People:
    """Three users, each with documents, a collection, a batch, a conversation, answers, a login, a key and more."""
    canary = secrets.token_hex(12)
    root = _user(server, "root@example.com", "The root of the matter.")
    alice = _user(server, "alice@example.com", f"The capital of France hides the canary {canary}.", ALICES_QUESTIONS)
    bob = _user(server, "bob@example.com", "Paris is the capital of France, says Bob.")
    return People(root, alice, bob, canary)


def log_in_again(server: RunningServer, people: People) -> None:
    """Fresh logins on a server that was started anew."""
    for one in (people.root, people.alice, people.bob):
        one.headers = server.log_in(one.email)
        one.ids["login"] = _newest_login(server, one.user_id)


def _user(server: RunningServer, email: str, text: str, questions: int = 1) -> Things:
    headers = server.register(email)
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as http:
        user_id = http.get("/auth/me").raise_for_status().json()["user_id"]
        things = Things(email, headers, user_id)
        things.ids["user"] = user_id
        server.upload(headers, "other.md", f"# Other\n\nAnother document of {email}.".encode())
        things.ids["document"] = str(server.upload(headers, "geo.md", f"# Geography\n\n{text}".encode())["doc_id"])
        things.ids["cursor"] = http.get("/documents/", params={"limit": 1}).raise_for_status().json()["next_cursor"]
        named = http.post("/collections/", json={"name": f"Those of {email}"}).raise_for_status().json()
        things.ids["collection"] = named["collection_id"]
        inside = {"doc_ids": [things.ids["document"]]}
        http.post(f"/collections/{named['collection_id']}/documents", json=inside).raise_for_status()
        made = http.post("/conversations/", json={"title": f"Of {email}", "doc_ids": [things.ids["document"]]})
        things.ids["conversation"] = made.raise_for_status().json()["conversation_id"]
        for _ in range(questions):
            things.requests.append(uuid4().hex)
            asked = {"question": QUESTION, "client_request_id": things.requests[-1]}
            http.post(f"/conversations/{things.ids['conversation']}/questions", json=asked).raise_for_status()
        whole = http.get(f"/conversations/{things.ids['conversation']}").raise_for_status().json()
        things.ids["chat"] = f"chat of {email}"
        http.post("/ai-sdk/chat", json={"id": things.ids["chat"], "messages": EXAMPLE}).raise_for_status()
    things.ids["answer"] = whole["messages"][-1]["message_id"]
    things.ids["run"] = whole["messages"][-1]["run_id"]
    things.ids["event"] = f"{things.ids['run']}:1"
    things.ids["login"] = _newest_login(server, user_id)
    things.ids |= _written(server, user_id)
    return things


def _newest_login(server: RunningServer, user_id: str) -> str:
    newest = "SELECT session_id FROM logins WHERE user_id = ? ORDER BY created_at DESC LIMIT 1"
    with closing(sqlite3.connect(server.data_dir / "lorestream.db")) as database:
        return str(database.execute(newest, (user_id,)).fetchone()[0])


def _written(server: RunningServer, user_id: str) -> dict[str, str]:
    """A key, an invitation and a batch, as they are stored."""
    key, invitation, batch = uuid4().hex, uuid4().hex, uuid4().hex
    at = datetime.now(UTC).replace(tzinfo=None)
    later = str(at + timedelta(days=7))
    with closing(sqlite3.connect(server.data_dir / "lorestream.db", timeout=10)) as database, database:
        database.execute(
            "INSERT INTO api_keys (key_id, user_id, hash, prefix, name, scopes, created_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (key, user_id, secrets.token_bytes(32), "lsk_", "mine", '["read"]', str(at)),
        )
        database.execute(
            "INSERT INTO invitations (invitation_id, hash, created_by, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
            (invitation, secrets.token_bytes(32), user_id, str(at), later),
        )
        database.execute(
            "INSERT INTO batches (batch_id, owner_id, name, status, next_entry, refused, created_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (batch, user_id, "mine", "working", 0, "[]", str(at)),
        )
        database.execute("UPDATE documents SET batch_id = ? WHERE owner_id = ?", (batch, user_id))
    return {"key": key, "invitation": invitation, "batch": batch}


async def try_everything(server: RunningServer, people: People, found: Sequence[Route]) -> tuple[int, Counter[int]]:
    """Bob puts Alice's ids into every field of every route: how many probes, and their statuses.

    Fails where an answer is not that to an unknown id, holds anything of Alice's, or her rows and files change.
    """
    alice, bob, statuses = people.alice, people.bob, Counter[int]()
    before = state(server.data_dir, alice)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        for probe in (probe for route in found for probe in probes(route)):
            alices = alice.ids | {"request": alice.requests[-1]}
            foreign = await http.request(**probe.request(bob, alices))
            assert people.canary not in foreign.text, str(probe)
            assert foreign.status_code == expected(probe), f"{probe}: {foreign.status_code} {foreign.text[:300]}"
            if any(one.kind == "request" for one in probe.foreign):
                alice.requests.pop()
            if not all(one.kind in HARMLESS for one in probe.foreign):
                nowhere = await http.request(**probe.request(bob, unknown(alice)))
                assert shape(foreign) == shape(nowhere), str(probe)
                refused = foreign.status_code >= 400 or "No documents found." in foreign.text
                assert refused, f"{probe}: {foreign.text[:300]}"
            statuses[foreign.status_code] += 1
    assert state(server.data_dir, alice) == before, "something of Alice's was changed"
    return statuses.total(), statuses
