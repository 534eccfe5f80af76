"""The migrations: how the tables of an earlier version become those of this one. Loaded by whoever migrates."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError, OperationalError

from lorestream.errors import StartRefused

WAIT_SECONDS, LOOK_SECONDS = 30.0, 0.02


def upgrade(engine: Engine, path: Path, migrations: Path) -> None:
    """Bring a database file's tables to this version's schema (blocking); as ``db.Database.migrate``."""
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    try:
        # Made by us, because SQLite would let others read it; its -wal and -shm files take over the mode. Never
        # opened where it is there: closing it would end SQLite's locks of this process, and spoil the file.
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with _connected(engine.execution_options(lorestream_write=True)) as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except (DatabaseError, sqlite3.DatabaseError, OSError) as error:
        raise StartRefused(
            f"The database {path} cannot be opened ({type(error.__cause__ or error).__name__}). "
            "If the file is damaged, restore a backup; it was not changed."
        ) from error
    except CommandError as error:
        raise StartRefused(f"The database {path} was made by a newer Lorestream; please update Lorestream.") from error
    finally:
        engine.dispose()


def _connected(engine: Engine) -> Connection:
    """A connection. SQLite gives up at once, whatever its timeout, where another one just turns a new file into WAL."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return engine.connect()
        except OperationalError as error:
            code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
            if code != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(LOOK_SECONDS)
