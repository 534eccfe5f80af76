"""The tables of documents/ and index/: documents, their text and pages, chunks, full text, vectors."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# The same bytes are one document of an owner, unless it failed or is on its way out.
SAME_BYTES = """
CREATE UNIQUE INDEX documents_same_bytes ON documents (owner_id, sha256)
WHERE status IN ('queued', 'processing', 'ready')
"""
# `owner` holds one made-up word per owner, so that a MATCH never walks through another owner's rows.
FULL_TEXT = """
CREATE VIRTUAL TABLE chunk_texts USING fts5 (
    owner, title, heading, body, tokenize = 'porter unicode61 remove_diacritics 2'
)
"""
# Runs for cascades too: whatever removes a chunk removes what makes it findable.
CHUNK_GONE = """
CREATE TRIGGER chunk_gone AFTER DELETE ON chunks BEGIN
    DELETE FROM chunk_texts WHERE rowid = old.chunk_id;
    DELETE FROM vectors WHERE chunk_id = old.chunk_id;
END
"""


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "documents",
        sa.Column("doc_id", sa.Text, primary_key=True),
        sa.Column("owner_id", sa.Text, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("pages", sa.Integer),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("progress", sa.Float, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("embedder", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("lease_token", sa.Text),
        sa.Column("lease_until", sa.DateTime),
        sa.Column("created_at", sa.DateTime, nullable=False),
    )
    op.create_index("documents_listed", "documents", ["owner_id", "created_at", "doc_id"])
    op.create_index("documents_searchable", "documents", ["owner_id", "status", "embedder", "doc_id"])
    op.create_index("documents_waiting", "documents", ["status", "created_at"])
    op.execute(SAME_BYTES)
    document = ("documents.doc_id",)
    op.create_table(
        "document_texts",
        sa.Column("doc_id", sa.Text, sa.ForeignKey(*document, ondelete="CASCADE"), primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "document_pages",
        sa.Column("doc_id", sa.Text, sa.ForeignKey(*document, ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("start", sa.Integer, nullable=False),
        sa.Column("end", sa.Integer, nullable=False),
    )
    # AUTOINCREMENT: a chunk_id never comes back, so a remembered one can never name another chunk.
    op.create_table(
        "chunks",
        sa.Column("chunk_id", sa.Integer, primary_key=True),
        sa.Column("doc_id", sa.Text, sa.ForeignKey(*document, ondelete="CASCADE"), nullable=False),
        sa.Column("owner_id", sa.Text, nullable=False),
        sa.Column("chunk_index", sa.Integer, nullable=False),
        sa.Column("start", sa.Integer, nullable=False),
        sa.Column("end", sa.Integer, nullable=False),
        sa.Column("page", sa.Integer),
        sa.Column("heading", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.UniqueConstraint("doc_id", "chunk_index"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "vectors",
        sa.Column("chunk_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("owner_id", sa.Text, nullable=False),
        sa.Column("doc_id", sa.Text, nullable=False),
        sa.Column("embedding", sa.LargeBinary, nullable=False),
    )
    op.create_index("vectors_of_document", "vectors", ["owner_id", "doc_id"])
    op.create_table(
        "index_revisions",
        sa.Column("owner_id", sa.Text, primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
    )
    op.execute(FULL_TEXT)
    op.execute(CHUNK_GONE)
