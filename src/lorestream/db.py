"""The database: one engine, short transactions, and the migrations that make its tables.

SQLite in WAL mode under the data directory. Every writing transaction begins IMMEDIATE, so that it waits for
the lock at its start (``busy_timeout``) instead of failing in the middle when two writers meet.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, DateTime, Dialect, create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from lorestream.errors import Busy, StartRefused, StorageFull

BUSY_TIMEOUT_SECONDS = 10
MIGRATIONS = Path(__file__).parent / "migrations"


# One transaction, for those who may hand it on but not speak SQL.
Session = AsyncSession


class Utc(TypeDecorator[datetime]):
    """A point in time: aware and in UTC in Python, naive UTC in SQLite."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC without its zone; a naive value is a mistake."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime reached the database")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """The root of every mapped class; ``*/models.py`` files subclass it."""


def now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def configure(engine: Engine) -> None:
    """Have every connection of an engine, and every transaction, as this page says at its top."""

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        # WAL with FULL: a commit that was acknowledged survives a power cut (promise P5).
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("lorestream_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _busy() -> Busy:
    return Busy("The database is busy; please try again in a moment.", retry_after=5)


@contextmanager
def _translated() -> Iterator[None]:
    """What SQLite says of the moment, as what it means for the caller; everything else stays an internal error."""
    try:
        yield
    except OperationalError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF  # the primary code of an extended one
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise _busy() from error
        if code == sqlite3.SQLITE_FULL:
            raise StorageFull from error
        raise


class Database:
    """Short transactions over one SQLite file. Built without I/O; ``migrate`` before the first use."""

    def __init__(self, path: Path) -> None:
        """Remember the file; nothing is opened yet."""
        self.path = path
        # No overflow: a connection beyond the pool is opened, configured and closed again for every single use.
        self._engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(path)), pool_size=16, max_overflow=0
        )
        configure(self._engine.sync_engine)
        self._readers = async_sessionmaker(self._engine, expire_on_commit=False)
        self._writers = async_sessionmaker(
            self._engine.execution_options(lorestream_write=True), expire_on_commit=False
        )
        # Writers of this process wait here, in order, and not with a connection each in SQLite's polling, where a
        # hundred of them would starve one another and every reader.
        self._writing = asyncio.Lock()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A consistent snapshot for reading."""
        with _translated():
            async with self._readers() as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A transaction that commits at the end of the block and rolls back on an exception.

        Raises Busy when its turn does not come within BUSY_TIMEOUT_SECONDS.
        """
        try:
            async with asyncio.timeout(BUSY_TIMEOUT_SECONDS):  # not wait_for, which can swallow a cancellation here
                await self._writing.acquire()
        except TimeoutError as error:
            raise _busy() from error
        try:
            with _translated():
                async with self._writers() as session, session.begin():
                    yield session
        finally:
            self._writing.release()

    def copy_to(self, target: Path) -> None:
        """A consistent copy of the file, also while others write to it (blocking). Raises StartRefused."""
        try:
            os.close(os.open(target, os.O_RDWR | os.O_CREAT, 0o600))
            with (
                closing(sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)) as source,
                closing(sqlite3.connect(target)) as copy,
            ):
                source.backup(copy)
        except (sqlite3.Error, OSError) as error:
            raise StartRefused(f"The database {self.path} cannot be copied to {target.parent}: {error}.") from error

    async def close(self) -> None:
        """Close every pooled connection."""
        await self._engine.dispose()

    def is_current(self) -> bool:
        """Whether the file has this version's tables (blocking); False where there is no file yet."""
        if not self.path.exists():
            return False
        engine = create_engine(URL.create("sqlite", database=str(self.path)))
        try:
            with engine.connect() as connection:
                made_by = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        except (DatabaseError, sqlite3.DatabaseError):
            return False
        finally:
            engine.dispose()
        # The last migration's file is named by its number, as all are.
        return bool(made_by == max((MIGRATIONS / "versions").glob("[0-9]*.py")).name.partition("_")[0])

    def migrate(self) -> None:
        """Bring the tables to this version's schema (blocking: call it in a thread).

        Raises StartRefused when the file is not a database or is of a newer version; it is never re-created.
        """
        # Not with the others: Alembic takes as long to load as all the rest, and only who migrates needs it.
        schema = importlib.import_module("lorestream.schema")
        engine = create_engine(URL.create("sqlite", database=str(self.path)))
        configure(engine)
        schema.upgrade(engine, self.path, MIGRATIONS)
