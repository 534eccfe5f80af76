"""The database: writers wait for each other, damaged or newer files are refused and left as they are."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from lorestream.db import MIGRATIONS, Database, Utc, configure
from lorestream.errors import StartRefused
from lorestream.schema import upgrade

MIGRATE = "import sys, pathlib, lorestream.db as db; db.Database(pathlib.Path(sys.argv[1])).migrate()"


class OwnBase(DeclarativeBase):
    """Apart from the product's tables, which other tests look at as a whole."""


class Stamp(OwnBase):
    __tablename__ = "test_stamps"

    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime | None] = mapped_column(Utc)


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "what? 100% # ü.db")
    await asyncio.to_thread(database.migrate)
    async with database.write() as session:
        await session.execute(text("CREATE TABLE test_stamps (number INTEGER PRIMARY KEY, at DATETIME)"))
    yield database
    await database.close()


async def write(db: Database, number: int, at: datetime | None = None) -> None:
    async with db.write() as session:
        session.add(Stamp(number=number, at=at))


async def count(db: Database) -> int:
    async with db.read() as session:
        return len((await session.scalars(select(Stamp))).all())


async def test_a_writer_waits_for_the_lock_at_its_start_instead_of_failing_in_the_middle(db: Database) -> None:
    other = sqlite3.connect(db.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with asyncio.timeout(10):
        waiting = asyncio.create_task(write(db, 1))
        assert await count(db) == 0  # readers do not wait
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
        other.execute("INSERT INTO test_stamps VALUES (2, NULL)")
        other.execute("COMMIT")
        await waiting
    other.close()
    assert await count(db) == 2


async def test_read_then_write_never_conflicts(db: Database) -> None:
    async def increment() -> None:
        async with db.write() as session:
            largest = await session.scalar(text("SELECT coalesce(max(number), 0) FROM test_stamps"))
            session.add(Stamp(number=(largest or 0) + 1))

    async with asyncio.timeout(20):
        await asyncio.gather(*(increment() for _ in range(30)))
    assert await count(db) == 30


async def test_an_exception_rolls_back(db: Database) -> None:
    async def fail() -> None:
        async with db.write() as session:
            session.add(Stamp(number=1))
            await session.flush()
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await count(db) == 0


async def test_a_writer_cancelled_while_it_waits_leaves_no_lock_behind(db: Database) -> None:
    other = sqlite3.connect(db.path, isolation_level=None)
    async with asyncio.timeout(15):
        for number in range(3):
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(write(db, 100 + number))
            await asyncio.wait([waiting], timeout=0.05)
            waiting.cancel()
            other.execute("ROLLBACK")
            await asyncio.wait([waiting])
            await write(db, number)
    other.close()
    assert await count(db) == 3


async def test_times_come_back_in_utc_and_naive_ones_are_refused(db: Database) -> None:
    berlin = timezone(timedelta(hours=1))
    await write(db, 1, datetime(2026, 3, 1, 13, tzinfo=berlin))
    async with db.read() as session:
        stamp = await session.get(Stamp, 1)
    assert stamp is not None
    assert stamp.at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert stamp.at.tzinfo is UTC
    with pytest.raises(StatementError, match="naive datetime"):
        await write(db, 2, datetime(2026, 3, 1))  # noqa: DTZ001


async def test_only_the_owner_can_read_the_files(db: Database) -> None:
    await write(db, 1)
    modes = await asyncio.to_thread(
        lambda: {path.name: path.stat().st_mode & 0o777 for path in db.path.parent.iterdir()}
    )
    assert len(modes) == 3  # with -wal and -shm
    assert set(modes.values()) == {0o600}


async def test_foreign_keys_hold_and_commits_are_durable(db: Database) -> None:
    async with db.read() as session:
        assert await session.scalar(text("PRAGMA foreign_keys")) == 1
        assert await session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert await session.scalar(text("PRAGMA synchronous")) == 2


async def test_migrating_again_changes_nothing(db: Database) -> None:
    await write(db, 1)

    def schema() -> list[tuple[str]]:
        with sqlite3.connect(db.path) as connection:
            return connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()

    before = schema()
    await asyncio.to_thread(db.migrate)
    assert schema() == before
    assert await count(db) == 1


def test_processes_that_start_together_migrate_once(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", MIGRATE, str(tmp_path / "new.db")]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=60)[1] for process in processes] == ["", "", ""]
    assert [process.returncode for process in processes] == [0, 0, 0]


def test_a_file_that_another_process_just_turns_into_a_database_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    path.touch()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    # While this is held no other connection gets the file into WAL, and none waits for it that has no timeout.
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0})
    configure(engine)
    release = threading.Timer(0.3, other.execute, ["COMMIT"])
    release.start()
    upgrade(engine, path, MIGRATIONS)
    release.join()
    other.close()
    assert Database(path).is_current()


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to look at: " * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lorestream.db"
    path.write_bytes(content)
    with pytest.raises(StartRefused, match="restore a backup"):
        Database(path).migrate()
    assert path.read_bytes() == content


def test_a_newer_schema_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    database = Database(tmp_path / "lorestream.db")
    database.migrate()
    with sqlite3.connect(database.path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StartRefused, match="newer Lorestream; please update"):
        database.migrate()
    with sqlite3.connect(database.path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    connection.close()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="cannot be opened"):
        Database(tmp_path / "missing" / "lorestream.db").migrate()
