"""The tables of accounts/."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
