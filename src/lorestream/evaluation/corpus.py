"""The documents that a question set is asked over: a folder's, indexed once and kept, or a user's own as they are."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from lorestream import __version__
from lorestream.db import Database
from lorestream.documents.models import Document
from lorestream.documents.parse import MARKDOWN, PLAIN
from lorestream.errors import InvalidInput, LorestreamError, StartRefused
from lorestream.evaluation.measures import contains
from lorestream.evaluation.question_set import Example, Span
from lorestream.library import Library
from lorestream.settings import Settings, cache_dir

OnFile = Callable[[str, float], None]

PAGE = 500
# What decides what a folder's index holds.
INDEX_SETTINGS = ("embedder", "chunk_tokens", "chunk_overlap_tokens", "ocr", "ocr_languages")
# An evaluation takes as much as it takes, shares nothing, and does not wait for a reading pace.
UNLIMITED = {
    "redis_url": None, "workers": 1, "user_rate": "0/minute", "tokens_per_day": 0, "uploads_per_hour": 0,
    "max_stored_bytes_per_user": 0, "max_documents_per_user": 0, "max_runs_per_user": 0,
}  # fmt: skip
# Documents whose text is at hand at once.
TEXTS = 32


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer stands: in any of these documents (copies of one file), from ``start`` to ``end``."""

    doc_ids: frozenset[str]
    start: int
    end: int

    def meets(self, doc_id: str, start: int, end: int) -> bool:
        """Whether a passage has a character of it."""
        return doc_id in self.doc_ids and start < self.end and self.start < end


@dataclass(frozen=True, slots=True)
class Gold:
    """What a passage must show to be right: one of the places, or, without places, an answer in these documents.

    ``doc_ids`` is None for any document; no places and no answers: nothing is known.
    """

    places: tuple[Place, ...] = ()
    answers: tuple[str, ...] = ()
    doc_ids: frozenset[str] | None = None

    @property
    def wanted(self) -> int:
        """How many things there are to be shown."""
        return len(self.places) or int(bool(self.answers))

    def shown_by(self, doc_id: str, start: int, end: int, text: str) -> list[int]:
        """Which of them a passage shows."""
        if self.places:
            return [number for number, place in enumerate(self.places) if place.meets(doc_id, start, end)]
        here = self.doc_ids is None or doc_id in self.doc_ids
        return [0] if here and contains(text, self.answers) else []


@dataclass
class Corpus:
    """An open library and the documents in it that are asked. ``failed`` are (name, reason)."""

    library: Library
    owner_id: str
    scope: list[str] | None
    identity: str
    verbatim: bool
    named: dict[str, list[Document]] = field(default_factory=dict)
    failed: list[tuple[str, str]] = field(default_factory=list)
    _texts: dict[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> int:
        """How many documents can be found."""
        return len({one.doc_id for documents in self.named.values() for one in documents})

    def missing(self, examples: Sequence[Example]) -> list[str]:
        """The names that the questions use and no document has."""
        wanted = {name for one in examples for name in (one.document, *(span.document for span in one.spans)) if name}
        return sorted(wanted - self.named.keys() - {name for name, _ in self.failed})

    async def gold(self, example: Example) -> Gold:
        """What is right for a question, with offsets that hold in the documents' extracted text.

        Offsets of a folder's files are believed for plain text and Markdown, which are extracted as they are, and where
        the span's ``text`` or an answer stands there; else a passage is right by the answer that it holds.
        """
        if example.unanswerable:
            return Gold()
        places = [place for span in example.spans if (place := await self._place(span, example.answers))]
        document = self.named.get(example.document or "", [])
        doc_ids = frozenset(one.doc_id for one in document) if example.document else None
        # Where nothing says which document, the answer may stand anywhere by chance.
        return Gold(tuple(places), example.answers if example.document else (), doc_ids)

    async def _place(self, span: Span, answers: Sequence[str]) -> Place | None:
        found: dict[tuple[int, int], set[str]] = {}
        for document in self.named.get(span.document or "", []):
            place = self._checked(span, document, await self._text(document), answers)
            if place:
                found.setdefault(place, set()).add(document.doc_id)
        if not found:
            return None
        (start, end), doc_ids = max(found.items(), key=lambda one: len(one[1]))
        return Place(frozenset(doc_ids), start, end)

    def _checked(self, span: Span, document: Document, text: str, answers: Sequence[str]) -> tuple[int, int] | None:
        there = text[span.start : span.end]
        if span.text is not None and there != span.text:
            start = text.find(span.text)
            return (start, start + len(span.text)) if start >= 0 and span.text.strip() else None
        believed = self.verbatim or document.media_type in (MARKDOWN, PLAIN) or span.text is not None
        if span.end <= len(text) and (believed or contains(there, answers)):
            return span.start, span.end
        return None

    async def _text(self, document: Document) -> str:
        if document.doc_id not in self._texts:
            while len(self._texts) >= TEXTS:
                del self._texts[next(iter(self._texts))]
            _, parts, _ = await self.library.documents.text(self.owner_id, document.doc_id)
            self._texts[document.doc_id] = "".join(parts)
        return self._texts[document.doc_id]


@asynccontextmanager
async def folder_corpus(settings: Settings, folder: Path, on_file: OnFile) -> AsyncIterator[Corpus]:
    """The files below a folder, indexed in a data directory of their own that is kept for the next time.

    It is chosen by the files' content and by what decides how they are indexed; an index that was not finished is gone
    on with. ``on_file(name, share)`` hears of the progress.
    """
    files = await asyncio.to_thread(_files, folder)
    if not files:
        raise InvalidInput(f"{folder}: there are no files in it.")
    key = await asyncio.to_thread(_key, files, settings)
    data_dir = cache_dir().parent / "evaluate" / key
    await asyncio.to_thread(_borrow_models, data_dir, cache_dir() / "models")
    async with _library(settings, data_dir) as library:
        owner = await library.accounts.local_user()
        corpus = Corpus(library, owner.user_id, None, key, verbatim=False)
        for number, (name, path) in enumerate(files.items()):
            on_file(name, number / len(files))
            try:
                document, _ = await library.documents.add_path(owner.user_id, path)
                if not document.settled:
                    await library.documents.ingest(document.doc_id)
                    document = await library.documents.get(owner.user_id, document.doc_id)
            except LorestreamError as failure:
                corpus.failed.append((name, failure.message))
            else:
                _file_under(corpus, name, document)
        on_file("", 1.0)
        try:
            yield corpus
        finally:
            await library.conversations.delete_all(owner.user_id)


@asynccontextmanager
async def own_corpus(settings: Settings, email: str | None, collection: str | None) -> AsyncIterator[Corpus]:
    """A user's documents, in a copy of the database: beside a running server, and nothing of theirs is touched.

    Without ``email`` there must be one account alone. Raises InvalidInput, NotFound and StartRefused.
    """
    source = Database(settings.data_dir / "lorestream.db")
    if not source.path.is_file():
        raise StartRefused(f"There are no documents in {settings.data_dir.resolve()}. Name a folder with --documents.")
    with tempfile.TemporaryDirectory(prefix="lorestream-evaluate-") as name:
        data_dir = Path(name)
        await asyncio.to_thread(_borrow_models, data_dir, settings.data_dir / "models")
        await asyncio.to_thread(source.copy_to, data_dir / "lorestream.db")
        async with _library(settings, data_dir) as library:
            owner_id = await _owner(library, email)
            scope = await _collection(library, owner_id, collection) if collection else None
            corpus = Corpus(library, owner_id, scope, "", verbatim=True)
            identity = hashlib.sha256()
            async for document in _all(library, owner_id):
                if scope is None or document.doc_id in scope:
                    _file_under(corpus, document.filename, document)
                    identity.update(f"{document.doc_id}{document.embedder}{document.chunks}".encode())
            corpus.identity = identity.hexdigest()
            yield corpus


def _file_under(corpus: Corpus, name: str, document: Document) -> None:
    """Let questions name a document by its path in the folder, and by its file's name."""
    if document.status != "ready":
        corpus.failed.append((name, document.error_message or document.status))
        return
    for one in {name, Path(name).name}:
        corpus.named.setdefault(one, []).append(document)


@asynccontextmanager
async def _library(settings: Settings, data_dir: Path) -> AsyncIterator[Library]:
    unpaced = {} if "reader_words_per_second" in settings.model_fields_set else {"reader_words_per_second": 0}
    library = Library(settings.model_copy(update={**UNLIMITED, **unpaced, "data_dir": data_dir}))
    try:
        await library.open()
        yield library
    finally:
        await library.close()


async def _owner(library: Library, email: str | None) -> str:
    if email:
        return (await library.users.by_email(email)).user_id
    accounts = await library.users.page("", 2, None)
    if len(accounts) != 1:
        raise InvalidInput("Say whose documents are meant: --user EMAIL." if accounts else "There is no account yet.")
    return accounts[0].user_id


async def _collection(library: Library, owner_id: str, name: str) -> list[str]:
    for one in await library.collections.of_owner(owner_id):
        if one.name == name:
            return await library.collections.documents(owner_id, one.collection_id)
    raise InvalidInput(f"There is no collection {name!r}.")


async def _all(library: Library, owner_id: str) -> AsyncIterator[Document]:
    after: tuple[datetime, str] | None = None
    while page := await library.documents.page(owner_id, PAGE, after):
        for document in page:
            yield document
        after = page[-1].created_at, page[-1].doc_id


def _files(folder: Path) -> dict[str, Path]:
    """The files below a folder by their path in it, in order, without hidden ones."""
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name.as_posix(): path for name, path in found.items() if not any(part[0] == "." for part in name.parts)}


def _key(files: dict[str, Path], settings: Settings) -> str:
    """The content of all files, what decides how they are indexed, and the code that does it."""
    digest = hashlib.sha256(__version__.encode())
    for name in INDEX_SETTINGS:
        digest.update(f"{name}={getattr(settings, name)}\n".encode())
    code = Path(__file__).parent.parent / "documents"
    for name, path in (*files.items(), *((one.name, one) for one in sorted(code.rglob("*.py")))):
        with path.open("rb") as file:
            digest.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:32]


def _borrow_models(data_dir: Path, models: Path) -> None:
    """Make a data directory that shares the embedding model's files with another one."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    models.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (data_dir / "models").exists():
        (data_dir / "models").symlink_to(models.resolve(), target_is_directory=True)
