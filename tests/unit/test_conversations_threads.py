"""Titles of conversations, their tables, and what is exported."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, create_engine

from lorestream.conversations import export
from lorestream.conversations.models import Conversation, ConversationRow, Message, StoredMessage
from lorestream.conversations.threads import title_of
from lorestream.db import Database

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("What?", "What?"),
        ("  What\n is\tit?  ", "What is it?"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        ("word " * 30, "word " * 11 + "word…"),
        ("What is the capital of France, and since when has it been, exactly?",
         "What is the capital of France, and since when has it been…"),
        ("日本" * 40, "日本" * 29 + "日…"),
    ],
)  # fmt: skip
def test_a_title_is_the_first_words_of_the_question(question: str, title: str) -> None:
    assert title_of(question) == title
    assert len(title) <= 60


def test_migration_and_models_agree(tmp_path: Path) -> None:
    Database(tmp_path / "lorestream.db").migrate()
    expected = MetaData()
    tables = {ConversationRow.__tablename__, Message.__tablename__}
    for name in tables:
        ConversationRow.metadata.tables[name].to_metadata(expected)
    engine = create_engine(f"sqlite:///{tmp_path / 'lorestream.db'}")
    with engine.connect() as connection:
        options = {"include_name": lambda name, kind, _parent: kind != "table" or name in tables}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), expected)
    engine.dispose()
    assert differences == []


def message(message_id: str, parent_id: str | None, role: Any, content: str, **values: Any) -> StoredMessage:
    rest: dict[str, Any] = dict.fromkeys(StoredMessage.__dataclass_fields__)
    known = {"message_id": message_id, "parent_id": parent_id, "role": role, "content": content, "status": "done"}
    return StoredMessage(**{**rest, **known, "created_at": NOON, **values})


def test_markdown_shows_the_newest_branch_with_its_sources_and_how_answers_ended() -> None:
    source = {"n": 1, "title": "geo", "page": 3, "text": "Paris is\nthe capital."}
    messages = [
        message("q1", None, "user", "Capital?"),
        message("a1", "q1", "assistant", "Lyon."),
        message("a2", "q1", "assistant", "Paris [1].", sources=[source]),
        message("q2", "a2", "user", "Sure?\nReally?"),
        message("a3", "q2", "assistant", "Ye", status="stopped"),
        message("q3", "a3", "user", "So?"),
        message("a4", "q3", "assistant", "", status="failed", error={"message": "The model is gone."}),
    ]
    assert export.markdown(Conversation("c", "Towns", None, NOON, NOON), messages) == (
        "# Towns\n\n*2026-01-02 12:00 UTC*\n\n## Capital?\n\nParis [1].\n\n**Sources**\n\n"
        "- [1] geo, page 3: “Paris is the capital.”\n\n## Sure?\n\nReally?\n\nYe\n\n*This answer was stopped.*\n\n"
        "## So?\n\n*This answer failed. The model is gone.*\n"
    )
    assert export.markdown(Conversation("c", "", None, NOON, NOON), []).startswith("# Conversation\n")
    assert export.file_name(Conversation("c", "日本", None, NOON, NOON), "md") == "conversation.md"
