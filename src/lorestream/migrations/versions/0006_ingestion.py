"""Batches, collections, generations of chunks, page boxes: what ingestion at scale and exact citations need."""

import sqlite3
import zlib

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

# `generation` becomes part of the key, which SQLite cannot change in place.
CHUNKS = """
CREATE TABLE chunks_made_anew (
    chunk_id INTEGER PRIMARY KEY AUTOINCREMENT,
    doc_id TEXT NOT NULL REFERENCES documents (doc_id) ON DELETE CASCADE,
    owner_id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    chunk_index INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    page INTEGER,
    heading TEXT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (doc_id, generation, chunk_index)
)
"""
COPY = """
INSERT INTO chunks_made_anew (chunk_id, doc_id, owner_id, generation, chunk_index, start, "end", page, heading, text)
SELECT chunk_id, doc_id, owner_id, 0, chunk_index, start, "end", page, heading, text FROM chunks
"""
CHUNK_GONE = """
CREATE TRIGGER chunk_gone AFTER DELETE ON chunks BEGIN
    DELETE FROM chunk_texts WHERE rowid = old.chunk_id;
    DELETE FROM vectors WHERE chunk_id = old.chunk_id;
END
"""
# Until now the vectors of a document were all its embedder's.
SPACES = """
UPDATE vectors SET space = coalesce((SELECT embedder FROM documents WHERE documents.doc_id = vectors.doc_id), 'minilm')
"""
# The sum by which a damaged index is told, of the vectors as they are now.
SUMS = """
UPDATE documents SET vectors_sum = (
    SELECT sum(crc32(embedding)) FROM vectors
    WHERE vectors.owner_id = documents.owner_id AND vectors.doc_id = documents.doc_id
) WHERE status = 'ready'
"""


def upgrade() -> None:
    for column in (
        sa.Column("stage", sa.Text),
        sa.Column("batch_id", sa.Text),
        sa.Column("chunker", sa.Text),
        sa.Column("generation", sa.Integer, nullable=False, server_default="0"),
        sa.Column("reindex", sa.Text),
        sa.Column("vectors_sum", sa.Integer),
        sa.Column("changed_at", sa.DateTime),
    ):
        op.add_column("documents", column)
    op.create_index("documents_of_batch", "documents", ["owner_id", "batch_id", "status"])
    op.create_index("documents_stored", "documents", ["owner_id", "status", "bytes"])
    op.create_index("documents_changed", "documents", ["owner_id", "changed_at"])
    # Few rows each: what a worker looks for among the settled documents.
    reindex, leased = sa.text("reindex IS NOT NULL"), sa.text("lease_token IS NOT NULL")
    op.create_index("documents_to_reindex", "documents", ["reindex", "created_at"], sqlite_where=reindex)
    op.create_index("documents_leased", "documents", ["status", "created_at"], sqlite_where=leased)
    op.execute("DROP TRIGGER chunk_gone")
    op.execute(CHUNKS)
    op.execute(COPY)
    op.execute("DROP TABLE chunks")
    op.execute("ALTER TABLE chunks_made_anew RENAME TO chunks")
    op.execute(CHUNK_GONE)
    for page_column in (
        sa.Column("width", sa.Float),
        sa.Column("height", sa.Float),
        sa.Column("words", sa.LargeBinary),
    ):
        op.add_column("document_pages", page_column)
    document = ("documents.doc_id",)
    op.create_table(
        "document_outlines",
        sa.Column("doc_id", sa.Text, sa.ForeignKey(*document, ondelete="CASCADE"), primary_key=True),
        sa.Column("headings", sa.JSON, nullable=False),
    )
    op.add_column("vectors", sa.Column("space", sa.Text, nullable=False, server_default="minilm"))
    op.execute(SPACES)
    sqlite: sqlite3.Connection = op.get_bind().connection.dbapi_connection  # type: ignore[assignment]
    sqlite.create_function("crc32", 1, zlib.crc32, deterministic=True)
    op.execute(SUMS)
    op.get_bind().exec_driver_sql("UPDATE vectors SET doc_id = doc_id || ':0'")
    op.execute("ALTER TABLE vectors RENAME COLUMN doc_id TO version")
    op.drop_index("vectors_of_document", "vectors")
    op.create_index("vectors_of_version", "vectors", ["owner_id", "version", "space"])
    op.create_table(
        "batches",
        sa.Column("batch_id", sa.Text, primary_key=True),
        sa.Column("owner_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("collection_id", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("entries", sa.Integer),
        sa.Column("next_entry", sa.Integer, nullable=False),
        sa.Column("refused", sa.JSON, nullable=False),
        sa.Column("lease_token", sa.Text),
        sa.Column("lease_until", sa.DateTime),
        sa.Column("created_at", sa.DateTime, nullable=False),
    )
    op.create_index("batches_listed", "batches", ["owner_id", "created_at", "batch_id"])
    op.create_table(
        "collections",
        sa.Column("collection_id", sa.Text, primary_key=True),
        sa.Column("owner_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.UniqueConstraint("owner_id", "name"),
    )
    op.create_table(
        "collection_documents",
        sa.Column(
            "collection_id",
            sa.Text,
            sa.ForeignKey("collections.collection_id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("doc_id", sa.Text, sa.ForeignKey(*document, ondelete="CASCADE"), primary_key=True),
    )
    op.add_column("conversations", sa.Column("collection_id", sa.String(32)))
    rated = sa.text("rating IS NOT NULL")
    op.create_index("ix_messages_rated", "messages", ["owner_id", "created_at", "message_id"], sqlite_where=rated)
    op.create_index("collections_of_document", "collection_documents", ["doc_id"])
