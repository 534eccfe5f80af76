"""The rest of conversations/: the conversations, their tree of messages, repeated requests, feedback, full text."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# `keys` holds a made-up word for the owner and for the row's own conversation or message, so that a MATCH finds them
# without walking through anyone else's rows. Kept by triggers: whoever ends an answer makes it findable.
FULL_TEXT = """
CREATE VIRTUAL TABLE conversation_texts USING fts5 (
    keys, conversation_id UNINDEXED, text, tokenize = 'porter unicode61 remove_diacritics 2'
)
"""
ADD = """
INSERT INTO conversation_texts (keys, conversation_id, text)
VALUES ('o' || lower(hex(new.owner_id)) || '0 c' || new.conversation_id || '0 {key}0', new.conversation_id, new.{text})
"""
OF_KEY = """
{change} WHERE rowid IN (SELECT rowid FROM conversation_texts WHERE conversation_texts MATCH 'keys : "{key}0"')
"""
GONE = "DELETE FROM conversation_texts"
TITLE, MESSAGE = "t' || {row}.conversation_id || '", "m' || {row}.message_id || '"
TRIGGERS = {
    "conversation_titled": (
        "AFTER INSERT ON conversations",
        ADD.format(key=TITLE.format(row="new"), text="title"),
    ),
    "conversation_renamed": (
        "AFTER UPDATE OF title ON conversations",
        OF_KEY.format(change="UPDATE conversation_texts SET text = new.title", key=TITLE.format(row="new")),
    ),
    "conversation_gone": (
        "AFTER DELETE ON conversations",
        OF_KEY.format(change=GONE, key=TITLE.format(row="old")),
    ),
    "message_asked": (
        "AFTER INSERT ON messages WHEN new.conversation_id IS NOT NULL AND new.status <> 'running'",
        ADD.format(key=MESSAGE.format(row="new"), text="content"),
    ),
    "message_answered": (
        "AFTER UPDATE OF status ON messages WHEN new.conversation_id IS NOT NULL AND \
old.status = 'running' AND new.status <> 'running'",
        ADD.format(key=MESSAGE.format(row="new"), text="content"),
    ),
    "message_gone": (
        "AFTER DELETE ON messages WHEN old.conversation_id IS NOT NULL",
        OF_KEY.format(change=GONE, key=MESSAGE.format(row="old")),
    ),
}


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "conversations",
        sa.Column("conversation_id", sa.String(32), primary_key=True),
        sa.Column("owner_id", sa.String(32), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("doc_ids", sa.JSON),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("updated_at", sa.DateTime, nullable=False),
    )
    op.create_index("ix_conversations_listed", "conversations", ["owner_id", "updated_at", "conversation_id"])
    for column in (
        sa.Column("asked", sa.JSON),
        sa.Column("client_request_id", sa.String(128)),
        sa.Column("request_hash", sa.String(64)),
        sa.Column("rating", sa.String(4)),
        sa.Column("comment", sa.Text),
    ):
        op.add_column("messages", column)
    op.create_index(
        "ix_messages_request",
        "messages",
        ["owner_id", "client_request_id"],
        unique=True,
        sqlite_where=sa.text("client_request_id IS NOT NULL"),
    )
    op.execute(FULL_TEXT)
    for name, (when, statement) in TRIGGERS.items():
        op.execute(f"CREATE TRIGGER {name} {when} BEGIN {statement}; END")
