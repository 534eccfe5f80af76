"""Accounts a company can trust: used refresh tokens, API keys, invitations, the audit log, token usage, own limits."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("users", sa.Column("limits", sa.JSON(), nullable=True))
    op.add_column("logins", sa.Column("ip", sa.String(64), nullable=False, server_default=""))
    op.create_table(
        "used_refresh_tokens",
        sa.Column("hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("session_id", sa.String(32), sa.ForeignKey("logins.session_id", ondelete="CASCADE"), nullable=False),
        sa.Column("used_at", sa.DateTime(), nullable=False),
    )
    columns = ["session_id", "used_at"]
    op.create_index("ix_used_refresh_tokens_session_id_used_at", "used_refresh_tokens", columns)
    op.drop_index("ix_logins_previous_hash", "logins")
    op.drop_column("logins", "previous_hash")
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String(32), primary_key=True),
        sa.Column("user_id", sa.String(32), sa.ForeignKey("users.user_id", ondelete="CASCADE"), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("last_used_at", sa.DateTime(), nullable=True),
        sa.Column("expires_at", sa.DateTime(), nullable=True),
    )
    op.create_index("ix_api_keys_user_id", "api_keys", ["user_id"])
    op.create_table(
        "invitations",
        sa.Column("invitation_id", sa.String(32), primary_key=True),
        sa.Column("hash", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("email", sa.String(254), nullable=True),
        sa.Column("created_by", sa.String(32), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.Column("used_by", sa.String(32), nullable=True),
        sa.Column("used_at", sa.DateTime(), nullable=True),
    )
    # Outlives the accounts that it tells of, so without foreign keys.
    op.create_table(
        "audit_events",
        sa.Column("event_id", sa.String(32), primary_key=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("user_id", sa.String(32), nullable=True),
        sa.Column("actor_id", sa.String(32), nullable=True),
        sa.Column("ip", sa.String(64), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
    )
    op.create_index("ix_audit_events_at", "audit_events", ["at", "event_id"])
    op.create_table(
        "token_usage",
        sa.Column("user_id", sa.String(32), sa.ForeignKey("users.user_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("answers", sa.Integer(), nullable=False),
    )
