"""``lorestream ingest`` as a user runs it: in a process of its own, with and without a server."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from lorestream.accounts.audit import Audit
from lorestream.accounts.passwords import Passwords
from lorestream.accounts.users import COMMAND_LINE, Users
from lorestream.db import Database
from tests.fakes.files import zipped
from tests.fakes.server import EMAIL, running_server

FILES = 4


@pytest.fixture
def home(tmp_path: Path, models_dir: Path) -> Path:
    """A data directory without a database, and a folder to ingest."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "models").symlink_to(models_dir, target_is_directory=True)
    papers = tmp_path / "papers"
    (papers / "more").mkdir(parents=True)
    for number in range(FILES):
        (papers / f"{number}.md").write_text(f"# Number {number}\n\n" + f"It speaks of {number}. " * 40)
    (papers / "more" / "a.zip").write_bytes(zipped({"in/zip.txt": b"From an archive.", "in/no.exe": b"MZ\x00"}))
    (papers / "more" / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00")
    (papers / "more" / "again.md").write_bytes((papers / "3.md").read_bytes())
    return tmp_path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lorestream", *arguments]


def environment(home: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LORESTREAM_")}
    return {**clean, "HOME": str(home), "LORESTREAM_DATA_DIR": str(home / "data")}


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=home, env=environment(home), capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip


def rows(home: Path, query: str) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(home / "data" / "lorestream.db", timeout=10)) as database:
        return database.execute(query).fetchall()


async def register(data_dir: Path) -> None:
    """The one account of a data directory."""
    db, passwords = Database(data_dir / "lorestream.db"), Passwords()
    await asyncio.to_thread(db.migrate)
    await passwords.open()
    try:
        await Users(db, passwords, Audit(db), 8).add(EMAIL, None, is_admin=True, actor=COMMAND_LINE)
    finally:
        passwords.close()
        await db.close()


BY_STATUS = "SELECT status, count(*) FROM documents GROUP BY status ORDER BY status"


@pytest.mark.timeout(180)
async def test_what_a_kill_cut_off_goes_on_without_a_server(home: Path) -> None:
    await register(home / "data")
    process = await asyncio.create_subprocess_exec(
        *command("ingest", "papers"), cwd=home, env=environment(home), stderr=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(100):
        while not [count for status, count in await asyncio.to_thread(rows, home, BY_STATUS) if status == "ready"]:
            assert process.returncode is None
            await asyncio.sleep(0.05)  # between two looks into another process's database
    process.kill()
    await process.wait()
    (home / "papers" / "broken.pdf").write_bytes(b"%PDF-1.7\nno")
    (home / "papers" / "blank.txt").write_bytes(b"")
    done = await asyncio.to_thread(run, home, "ingest", "papers", "--collection", "Papers")
    assert done.returncode == 1, done.stderr
    assert "broken.pdf: " in done.stderr
    assert "blank.txt: " in done.stderr
    assert "2 failed" in done.stderr
    assert "left out" in done.stderr
    assert "1 .png" in done.stderr
    assert rows(home, BY_STATUS) == [("failed", 1), ("ready", FILES + 1)]
    assert len(list((home / "data" / "files").iterdir())) == FILES + 2
    assert rows(
        home, "SELECT name, count(doc_id) FROM collections JOIN collection_documents USING (collection_id)"
    ) == [("Papers", FILES + 1 + 1)]


@pytest.mark.timeout(180)
def test_beside_a_server_it_adds_and_follows(home: Path, models_dir: Path) -> None:
    with running_server(home / "data", models_dir) as server:
        headers = server.register()
        server.register("other@example.com")
        unnamed = run(home, "ingest", "papers")
        assert unnamed.returncode == 1
        assert "--user" in unnamed.stderr
        done = run(home, "ingest", "papers", "--user", EMAIL, "--jobs", "2")
        assert done.returncode == 0, done.stderr
        assert f"{FILES + 1} files indexed, 1 known already" in done.stderr
        listed = httpx.get(f"{server.url}/documents/?limit=100", headers=headers).json()["items"]
        assert [one["status"] for one in listed] == ["ready"] * (FILES + 1)
        assert server.stop(signal.SIGTERM) == 0
