"""The migrations: how the tables of an earlier version become those of this one. Loaded by whoever migrates."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError

from lorestream.errors import StartRefused


def upgrade(engine: Engine, path: Path, migrations: Path) -> None:
    """Bring a database file's tables to this version's schema (blocking); as ``db.Database.migrate``."""
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    try:
        # Made by us, because SQLite would let others read it; its -wal and -shm files take over the mode. Never
        # opened where it is there: closing it would end SQLite's locks of this process, and spoil the file.
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with engine.execution_options(lorestream_write=True).connect() as connection:
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
