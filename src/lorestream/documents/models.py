"""The tables of documents, and the plain values that leave the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from lorestream.db import Base, Utc, now

Status = Literal["queued", "processing", "ready", "failed", "cancelled"]
BatchStatus = Literal["unpacking", "working", "done", "cancelled"]
# What is being done while it is processing: reading the file, recognising scanned pages, indexing the passages.
Stage = Literal["reading", "recognising", "indexing"]
# Why a ready document is indexed again: its owner's wish (the old index serves meanwhile), or damaged vectors (search
# says so meanwhile).
Reindex = Literal["wanted", "damaged"]
# In the table only: invisible to everyone while its chunks are removed piece by piece.
DELETING = "deleting"


def version_of(doc_id: str, generation: int) -> str:
    """What the vector index knows a document's chunks of one generation by."""
    return f"{doc_id}:{generation}"


class DocumentRow(Base):
    """One uploaded file and where it stands."""

    __tablename__ = "documents"

    doc_id: Mapped[str] = mapped_column(primary_key=True)
    owner_id: Mapped[str]
    filename: Mapped[str]
    title: Mapped[str]
    media_type: Mapped[str]
    bytes: Mapped[int]
    sha256: Mapped[str]
    pages: Mapped[int | None]
    chunks: Mapped[int] = mapped_column(default=0)
    status: Mapped[str] = mapped_column(default="queued")
    progress: Mapped[float] = mapped_column(default=0.0)
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    embedder: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=0)
    lease_token: Mapped[str | None]
    # While processing: when the lease ends. While queued: not to be tried again before.
    lease_until: Mapped[datetime | None] = mapped_column(Utc)
    created_at: Mapped[datetime] = mapped_column(Utc)
    stage: Mapped[str | None]
    batch_id: Mapped[str | None]
    chunker: Mapped[str | None]
    # Only the chunks of this generation are the document's; others are being made, or removed.
    generation: Mapped[int] = mapped_column(default=0)
    reindex: Mapped[str | None]
    # The sum of the vectors' checksums, which tells a damaged index.
    vectors_sum: Mapped[int | None]
    # Set by every statement that changes the row, so that progress streams read only what is new.
    changed_at: Mapped[datetime | None] = mapped_column(Utc, default=now, onupdate=now)


class TextRow(Base):
    """A part of a document's extracted text; the parts in order are the text."""

    __tablename__ = "document_texts"

    doc_id: Mapped[str] = mapped_column(ForeignKey("documents.doc_id", ondelete="CASCADE"), primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class PageRow(Base):
    """The characters of the extracted text that stand on one page, and where its words stand on the paper.

    ``width`` and ``height`` are in points, as the page is shown (rotated); ``words`` is ``parse.pack_words``.
    """

    __tablename__ = "document_pages"

    doc_id: Mapped[str] = mapped_column(ForeignKey("documents.doc_id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    start: Mapped[int]
    end: Mapped[int]
    width: Mapped[float | None]
    height: Mapped[float | None]
    words: Mapped[bytes | None] = mapped_column(LargeBinary)


class OutlineRow(Base):
    """The headings of a document's text, so that it can be split again without reading the file again."""

    __tablename__ = "document_outlines"

    doc_id: Mapped[str] = mapped_column(ForeignKey("documents.doc_id", ondelete="CASCADE"), primary_key=True)
    headings: Mapped[list[Any]] = mapped_column(JSON)


class BatchRow(Base):
    """Files that came together; ``entries``, ``next_entry`` are of a ZIP file, ``refused`` what became no document."""

    __tablename__ = "batches"

    batch_id: Mapped[str] = mapped_column(primary_key=True)
    owner_id: Mapped[str]
    name: Mapped[str]
    collection_id: Mapped[str | None]
    status: Mapped[str]
    entries: Mapped[int | None]
    next_entry: Mapped[int] = mapped_column(default=0)
    refused: Mapped[list[dict[str, str]]] = mapped_column(JSON)
    lease_token: Mapped[str | None]
    lease_until: Mapped[datetime | None] = mapped_column(Utc)
    created_at: Mapped[datetime] = mapped_column(Utc)


class CollectionRow(Base):
    """A named set of an owner's documents."""

    __tablename__ = "collections"

    collection_id: Mapped[str] = mapped_column(primary_key=True)
    owner_id: Mapped[str]
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(Utc)


class CollectionDocumentRow(Base):
    """One document in one collection."""

    __tablename__ = "collection_documents"

    collection_id: Mapped[str] = mapped_column(
        ForeignKey("collections.collection_id", ondelete="CASCADE"), primary_key=True
    )
    doc_id: Mapped[str] = mapped_column(ForeignKey("documents.doc_id", ondelete="CASCADE"), primary_key=True)


class ChunkRow(Base):
    """A passage: ``text`` is the extracted text from ``start`` to ``end``."""

    __tablename__ = "chunks"

    chunk_id: Mapped[int] = mapped_column(primary_key=True)
    doc_id: Mapped[str] = mapped_column(ForeignKey("documents.doc_id", ondelete="CASCADE"))
    owner_id: Mapped[str]
    generation: Mapped[int] = mapped_column(default=0)
    chunk_index: Mapped[int]
    start: Mapped[int]
    end: Mapped[int]
    page: Mapped[int | None]
    heading: Mapped[str]
    text: Mapped[str]


@dataclass(frozen=True, slots=True)
class Document:
    """One document as its owner sees it; ``progress`` from 0 to 1, ``error_*`` only when it failed."""

    doc_id: str
    owner_id: str
    filename: str
    title: str
    media_type: str
    bytes: int
    sha256: str
    pages: int | None
    chunks: int
    status: Status
    progress: float
    error_code: str | None
    error_message: str | None
    embedder: str | None
    created_at: datetime
    stage: Stage | None = None
    batch_id: str | None = None
    chunker: str | None = None
    reindex: Reindex | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.status not in ("queued", "processing")


@dataclass(frozen=True, slots=True)
class Only:
    """Which documents are wanted; None and no ``words`` are all. Each word is in the file's name or title."""

    status: Status | None = None
    collection_id: str | None = None
    batch_id: str | None = None
    words: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of documents, and how many are in it."""

    collection_id: str
    name: str
    created_at: datetime
    documents: int


@dataclass(frozen=True, slots=True)
class Job:
    """A claim on one document: whoever holds the current ``lease_token`` may write to it, nobody else.

    ``status`` is ``processing`` for one that is indexed for the first time (or again from its file). A ``ready`` one is
    indexed anew from its text where ``reindex`` says so; else it, or a ``cancelled`` one, has something left over.
    """

    doc_id: str
    owner_id: str
    filename: str
    title: str
    media_type: str
    status: str
    reindex: Reindex | None
    attempts: int
    generation: int
    lease_token: str

    def next_generation(self) -> Job:
        """The claim on what serves from now on."""
        return replace(self, generation=self.generation + 1, reindex=None, attempts=1)


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that came together, and how they are doing: numbers of documents by status, ``progress`` from 0 to 1.

    ``pages`` and ``chunks`` are those read and indexed so far, ``refused`` the files that became no document.
    """

    batch_id: str
    name: str
    collection_id: str | None
    status: BatchStatus
    entries: int | None
    documents: int
    queued: int
    processing: int
    ready: int
    failed: int
    cancelled: int
    pages: int
    chunks: int
    progress: float
    refused: Sequence[Mapping[str, str]]
    created_at: datetime

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.status in ("done", "cancelled") and not (self.queued or self.processing)


@dataclass(frozen=True, slots=True)
class PageSpan:
    """One page's characters in the extracted text."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class StoredPage:
    """A page of paper: where its text begins, its size in points, and its words (``parse.pack_words``)."""

    number: int
    start: int
    width: float
    height: float
    words: bytes


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """One passage of a document."""

    doc_id: str
    chunk_index: int
    text: str
    start: int
    end: int
    page: int | None
    heading: str
