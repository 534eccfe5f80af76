"""Everything of one person: taken along in one file, and deleted for good, also where a kill comes between."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

import httpx
import psutil
import pytest

import lorestream.conversations.thread_store
import lorestream.documents.store
from lorestream.accounts.users import COMMAND_LINE
from lorestream.db import Base
from lorestream.library import Library
from tests.fakes.edge import settings
from tests.fakes.server import PASSWORD, RunningServer, running_server

MIB = 1024 * 1024
# Columns that say whose a row is, or who did it.
OF_USERS = re.compile(r"user_id|owner_id|owner|created_by|used_by|actor_id")
# What is deleted piece by piece, after the account itself.
PIECES = {
    "messages": (lorestream.conversations.thread_store, "delete_messages"),
    "document": (lorestream.documents.store, "delete_chunks"),
}
KILLED_AFTER = ("account", *PIECES)
DEADLINE_SECONDS = 60


def rows_of(data_dir: Path, *values: str) -> dict[str, int]:
    """In which tables, of all there are, somebody is named: by a column for it, or anywhere in a text."""
    found: dict[str, int] = {}
    with closing(sqlite3.connect(data_dir / "lorestream.db")) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert {table.name for table in Base.metadata.sorted_tables} <= set(tables)
        for table in tables:
            for row in database.execute(f'SELECT * FROM "{table}"'):
                if any(value in str(cell) for cell in row for value in values):
                    found[table] = found.get(table, 0) + 1
    return found


def user_columns() -> dict[str, list[str]]:
    """The columns of the models that name users."""
    named = {
        table.name: [column.name for column in table.columns if OF_USERS.fullmatch(column.name)]
        for table in Base.metadata.sorted_tables
    }
    return {table: columns for table, columns in named.items() if columns}


def live_fully(server: RunningServer, email: str, canary: str) -> tuple[str, dict[str, str]]:
    """A user with something in every table: their id, and the headers of their login."""
    login = server.register(email)
    with httpx.Client(base_url=server.url, headers=login, timeout=60) as client:
        user_id = str(client.get("/auth/me").json()["user_id"])
        server.upload(login, f"{canary}.txt", f"The word of {canary} is Paris, the capital of France.".encode())
        server.upload(login, "second.txt", f"{canary} also likes Rome, the capital of Italy.".encode())
        named = client.post("/collections/", json={"name": f"Those of {canary}"}).json()["collection_id"]
        inside = {"doc_ids": [client.get("/documents/").json()["items"][0]["doc_id"]]}
        assert client.post(f"/collections/{named}/documents", json=inside).status_code == 204
        made = client.post("/conversations/", json={"title": f"About {canary}"}).json()["conversation_id"]
        question = {"question": f"What is the capital of France, {canary}?"}
        assert client.post(f"/conversations/{made}/questions", json=question).status_code == 200
        assert client.post("/query/", json=question).status_code == 200
        assert client.post("/auth/keys", json={"name": canary, "scopes": ["read"]}).status_code == 201
        assert client.post("/auth/tickets").status_code == 201
        assert client.post("/batches/", json={"name": f"Sent by {canary}"}).status_code == 201
        client.post("/auth/refresh", headers={"Cookie": _cookie(server, email)})
    return user_id, login


def _cookie(server: RunningServer, email: str) -> str:
    form = {"username": email, "password": PASSWORD}
    return httpx.post(f"{server.url}/auth/token", data=form).headers["set-cookie"].split(";")[0]


def files_of(data_dir: Path) -> set[str]:
    return {path.name for folder in ("files", "uploads") for path in (data_dir / folder).iterdir()}


def test_nothing_of_a_deleted_account_is_left_anywhere(reader_server: RunningServer) -> None:
    server = reader_server
    server.register("root@example.com")
    ann, login = live_fully(server, "ann@example.com", "xylophone")
    others_files = files_of(server.data_dir)
    bob, bobs = live_fully(server, "bob@example.com", "zeppelin")
    others_files = files_of(server.data_dir) - others_files
    before = rows_of(server.data_dir, bob, "zeppelin")
    assert {
        "users",
        "logins",
        "used_refresh_tokens",
        "api_keys",
        "documents",
        "chunks",
        "collections",
        "messages",
        "conversations",
    } <= (set(rows_of(server.data_dir, ann, "xylophone")) | {"used_refresh_tokens"})
    assert user_columns().keys() - {"token_usage"} <= set(rows_of(server.data_dir, ann)) | {"invitations"}
    wrong = httpx.post(f"{server.url}/auth/delete-account", json={"password": "not that"}, headers=login)
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "body.password")
    gone = httpx.post(f"{server.url}/auth/delete-account", json={"password": PASSWORD}, headers=login, timeout=60)
    assert gone.status_code == 204
    left = rows_of(server.data_dir, ann, "ann@example.com", "xylophone")
    assert set(left) == {"audit_events"}
    assert rows_of(server.data_dir, "ann@example.com", "xylophone") == {}, "the audit log keeps ids only"
    assert files_of(server.data_dir) == others_files
    after = rows_of(server.data_dir, bob, "zeppelin")
    assert after == before
    assert httpx.get(f"{server.url}/documents/", headers=bobs).json()["items"]
    assert httpx.get(f"{server.url}/auth/me", headers=login).status_code == 401
    assert server.log_in("bob@example.com")
    again = server.register("ann@example.com")
    assert httpx.get(f"{server.url}/documents/", headers=again).json()["items"] == []


def die_in_deletion(data_dir: Path, email: str, point: str) -> None:
    """Delete an account in this process, which kills itself in the middle of it."""

    async def die(*_args: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def work() -> None:
        library = Library(settings(data_dir, model="reader"))
        await library.open()
        account = await library.users.by_email(email)
        if point == "account":
            library.personal_data._erase = die  # type: ignore[method-assign, assignment]
        else:
            module, name = PIECES[point]
            original = getattr(module, name)

            async def first_piece(session: Any, whose: str, limit: int) -> int:
                """The first piece, committed as if there were more; with the second one this process dies."""
                setattr(module, name, die)
                await original(session, whose, limit)
                return limit

            setattr(module, name, first_piece)
        await library.personal_data.delete(account.user_id, COMMAND_LINE)

    asyncio.run(work())


@pytest.mark.timeout(180)
def test_a_deletion_that_is_killed_is_finished_at_the_next_start(tmp_path: Path, models_dir: Path) -> None:
    data_dir, users = tmp_path / "data", {}
    with running_server(data_dir, models_dir) as server:
        server.register("root@example.com")
        for point in KILLED_AFTER:
            users[point] = live_fully(server, f"{point}@example.com", f"canary-{point}")[0]
        with closing(sqlite3.connect(data_dir / "lorestream.db")) as database, database:
            for at in ("2020-01-01", "2999-01-01"):
                database.execute(
                    "INSERT INTO audit_events (event_id, at, kind, ip, details) VALUES (?, ?, 'login', '', '{}')",
                    (at, at),
                )
        server.stop()
    for point, user_id in users.items():
        run = "from tests.integration.test_personal_data import *; die_in_deletion(Path(sys.argv[1]), *sys.argv[2:])"
        killed = subprocess.run(
            [sys.executable, "-c", run, str(data_dir), f"{point}@example.com", point],
            cwd=Path(__file__).parents[2], timeout=60, check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        left = rows_of(data_dir, user_id)
        assert "users" not in left
        assert "documents" in left, f"killed too late to show anything: {point}"
    with running_server(data_dir, models_dir) as server:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while files_of(data_dir) or any(set(rows_of(data_dir, one)) != {"audit_events"} for one in users.values()):
            assert time.monotonic() < deadline, [rows_of(data_dir, one) for one in users.values()]
            time.sleep(0.2)
        assert rows_of(data_dir, *(f"canary-{point}" for point in KILLED_AFTER)) == {}
        assert rows_of(data_dir, "2020-01-01") == {}, "the audit log forgets what is old"
        assert rows_of(data_dir, "2999-01-01") == {"audit_events": 1}
        assert server.log_in("root@example.com")


def test_the_export_holds_everything_of_its_user_and_nothing_of_others(reader_server: RunningServer) -> None:
    server = reader_server
    server.register("root@example.com")
    ann, login = live_fully(server, "ann@example.com", "xylophone")
    bob, _ = live_fully(server, "bob@example.com", "zeppelin")
    for number, name in enumerate(("../../etc/passwd", "CON.txt", "a" * 200 + ".txt", "Ärger & ☃.txt")):
        server.upload(login, name, f"file {number} of xylophone".encode())
    answer = httpx.get(f"{server.url}/auth/export", headers=login, timeout=60)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert answer.headers["cache-control"] == "no-store"
    assert re.fullmatch(r'attachment; filename="lorestream-[\d-]+\.zip"', answer.headers["content-disposition"])
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        contents = {name: archive.read(name) for name in names}
    account = json.loads(contents["account.json"])
    assert (account["user_id"], account["email"], len(account["keys"])) == (ann, "ann@example.com", 1)
    assert len(account["sessions"]) >= 2
    threads = [name for name in names if name.startswith("conversations/")]
    assert sorted(PurePosixPath(name).suffix for name in threads) == [".json", ".md"]
    thread = json.loads(next(contents[name] for name in threads if name.endswith(".json")))
    assert [message["role"] for message in thread["messages"]] == ["user", "assistant"]
    assert len(json.loads(contents["questions.json"])) == 2
    manifest = json.loads(contents["documents/manifest.json"])
    assert [one["name"] for one in json.loads(contents["batches.json"])] == ["Sent by xylophone"]
    collections = json.loads(contents["collections.json"])
    assert [one["name"] for one in collections] == ["Those of xylophone"]
    assert collections[0]["doc_ids"] == [one["doc_id"] for one in manifest if one["filename"] == "second.txt"]
    originals = {one["filename"]: contents[f"documents/{one['file']}"] for one in manifest}
    assert len(originals) == 6
    assert originals["xylophone.txt"] == b"The word of xylophone is Paris, the capital of France."
    for name in names:
        assert re.fullmatch(r"([a-z]+/)?[A-Za-z0-9][A-Za-z0-9._-]{0,120}", name), name
    whole = b"".join(contents.values())
    assert b"zeppelin" not in whole
    assert bob.encode() not in whole
    with closing(sqlite3.connect(server.data_dir / "lorestream.db")) as database:
        for (secret,) in database.execute("SELECT password_hash FROM users"):
            assert secret.encode() not in whole
    assert b"lsk_" in whole
    assert not re.search(rb"lsk_[\w-]{20}", whole), "a key is shown by its beginning alone"


@pytest.mark.timeout(120)
def test_an_export_takes_little_memory_and_one_at_a_time(
    reader_server: RunningServer, measured: Callable[[str], None]
) -> None:
    server = reader_server
    login = server.register()
    size = 40 * MIB
    for _ in range(2):  # files that nothing can be read from, and that do not shrink
        files = {"file": ("noise.pdf", b"%PDF-1.4\n" + os.urandom(size))}
        made = httpx.post(f"{server.url}/documents/?wait=60", files=files, headers=login, timeout=90).json()
        assert made["status"] == "failed", made
    process, received = psutil.Process(server.process.pid), 0
    before = peak = process.memory_info().rss
    with httpx.Client(base_url=server.url, headers=login, timeout=60) as client:
        with client.stream("GET", "/auth/export") as answer:
            pieces = answer.iter_bytes(MIB)
            received += len(next(pieces))
            refused = httpx.get(f"{server.url}/auth/export", headers=login)
            assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
            for piece in pieces:
                received += len(piece)
                peak = max(peak, process.memory_info().rss)
        assert received > 2 * size
        assert peak - before < 32 * MIB
        with client.stream("GET", "/auth/export") as answer:
            next(answer.iter_bytes(MIB))  # and away
        deadline = time.monotonic() + 20
        while client.get("/auth/export").status_code == 429:
            assert time.monotonic() < deadline, "an export that nobody reads is given up"
    _, traced, trace = "".join(server.output).partition("Traceback")
    assert not traced, trace
    measured(f"export of {received / MIB:.0f} MiB: {(peak - before) / MIB:.1f} MiB more memory")
