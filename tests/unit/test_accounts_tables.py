"""The tables that the migration makes are those that the models expect."""

from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, create_engine

from lorestream.accounts.models import (
    ApiKey,
    AuditEvent,
    Invitation,
    Login,
    StreamTicket,
    TokenUsage,
    UsedRefreshToken,
    User,
)
from lorestream.db import Database

MODELS = (User, Login, UsedRefreshToken, ApiKey, StreamTicket, Invitation, AuditEvent, TokenUsage)
TABLES = {model.__tablename__ for model in MODELS}


def test_migration_and_models_agree(tmp_path: Path) -> None:
    Database(tmp_path / "lorestream.db").migrate()
    expected = MetaData()
    for model in MODELS:
        model.metadata.tables[model.__tablename__].to_metadata(expected)
    engine = create_engine(f"sqlite:///{tmp_path / 'lorestream.db'}")
    with engine.connect() as connection:
        options = {"include_name": lambda name, kind, _parent: kind != "table" or name in TABLES}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), expected)
    engine.dispose()
    assert differences == []
