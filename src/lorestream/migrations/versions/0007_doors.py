"""Tickets for a browser's EventSource, and the chats of clients that name them themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "stream_tickets",
        sa.Column("hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("user_id", sa.String(32), sa.ForeignKey("users.user_id", ondelete="CASCADE"), nullable=False),
        sa.Column("session_id", sa.String(32), nullable=True),
        sa.Column("key_id", sa.String(32), nullable=True),
        sa.Column("run_id", sa.String(32), nullable=True),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
    )
    op.create_index("ix_stream_tickets_user_id", "stream_tickets", ["user_id"])
    op.create_index("ix_stream_tickets_expires_at", "stream_tickets", ["expires_at"])
    op.add_column("messages", sa.Column("chat_id", sa.String(128), nullable=True))
    op.create_index(
        "ix_messages_chat",
        "messages",
        ["owner_id", "chat_id", "created_at"],
        sqlite_where=sa.text("chat_id IS NOT NULL"),
    )
