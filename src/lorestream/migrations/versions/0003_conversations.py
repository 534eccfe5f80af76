"""The tables of conversations/."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "messages",
        sa.Column("message_id", sa.String(32), primary_key=True),
        sa.Column("owner_id", sa.String(32), nullable=False),
        sa.Column("conversation_id", sa.String(32)),
        sa.Column("parent_id", sa.String(32)),
        sa.Column("role", sa.String(9), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("reasoning", sa.Text, nullable=False),
        sa.Column("status", sa.String(11), nullable=False),
        sa.Column("run_id", sa.String(32), unique=True),
        sa.Column("door", sa.String(32), nullable=False),
        sa.Column("model", sa.String(256)),
        sa.Column("finish_reason", sa.String(16)),
        sa.Column("error", sa.JSON),
        sa.Column("sources", sa.JSON),
        sa.Column("citations", sa.JSON),
        sa.Column("usage", sa.JSON),
        sa.Column("timings", sa.JSON),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("updated_at", sa.DateTime, nullable=False),
    )
    op.create_index("ix_messages_owner_id", "messages", ["owner_id"])
    op.create_index("ix_messages_conversation_id", "messages", ["conversation_id"])
    op.create_index("ix_messages_running", "messages", ["status"], sqlite_where=sa.text("status = 'running'"))
