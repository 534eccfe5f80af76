"""An account of a data directory of this machine, used as ``AsyncClient`` uses one of a server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from os import PathLike
from pathlib import Path
from typing import Self

import msgspec

from lorestream.client import Collection, Document, Passage, TookTooLong
from lorestream.client.models import Failure
from lorestream.conversations.answer import Started
from lorestream.conversations.models import Place, Question, Request
from lorestream.documents.models import Document as StoredDocument
from lorestream.documents.models import Only
from lorestream.errors import NotFound
from lorestream.library import Library
from lorestream.streaming.events import Event, Fold, Source, Terminal

DOCUMENTS_A_PAGE = 100
LOOK_SECONDS = 0.25


class LocalAccount:
    """One owner's documents and conversations in an open library."""

    def __init__(self, library: Library, owner_id: str) -> None:
        """Use what is open; closing it is left to who opened it."""
        self._library = library
        self._owner_id = owner_id
        self.documents = LocalDocuments(library, owner_id)

    def ask(
        self,
        question: str,
        *,
        k: int = 4,
        collection_id: str | None = None,
        model: str | None = None,
        conversation_id: str | None = None,
    ) -> LocalAnswer:
        """Ask in a conversation, one of its own where none is named; the answer ends when it is left."""
        asked = Question(question, k, None, model, collection_id)
        return LocalAnswer(self._library, self._owner_id, asked, conversation_id)

    async def search(self, query: str, *, k: int = 10, collection_id: str | None = None) -> list[Passage]:
        """The best passages, best first."""
        found = await self._library.retrieval.find(self._owner_id, query, k, None, collection_id)
        return [msgspec.convert(passage, Passage, from_attributes=True) for passage in found.passages]

    async def collection(self, name: str, *, make: bool = False) -> Collection:
        """The collection of this name, made where there is none if so wanted. Raises NotFound."""
        owned = await self._library.collections.of_owner(self._owner_id)
        found = next((one for one in owned if one.name == name), None)
        if found is None and make:
            found = await self._library.collections.create(self._owner_id, name)
        if found is None:
            raise NotFound(f"There is no collection named {name!r}.")
        return Collection(found.collection_id, found.name, found.documents)


class LocalDocuments:
    """The documents of one owner; they are indexed inside ``Library.beside``."""

    def __init__(self, library: Library, owner_id: str) -> None:
        """Made by the account."""
        self._library = library
        self._owner_id = owner_id

    async def upload(self, file: str | PathLike[str], *, collection_id: str | None = None) -> Document:
        """Take a file; the same bytes again are the document that is there."""
        added, _ = await self._library.documents.add_path(self._owner_id, Path(file), collection_id)
        return _document(added)

    async def list(self, *, collection_id: str | None = None, words: str = "") -> AsyncIterator[Document]:
        """All documents (with these words in name or title), the newest first."""
        only, after = Only(None, collection_id, None, words.lower().split()), None
        while True:
            page = await self._library.documents.page(self._owner_id, DOCUMENTS_A_PAGE, after, only)
            for document in page:
                yield _document(document)
            if len(page) < DOCUMENTS_A_PAGE:
                return
            after = page[-1].created_at, page[-1].doc_id

    async def get(self, doc_id: str) -> Document:
        """One document."""
        return _document(await self._library.documents.get(self._owner_id, doc_id))

    async def delete(self, doc_id: str) -> None:
        """Delete a document with everything that was made of it."""
        await self._library.documents.delete(self._owner_id, doc_id)

    async def wait(self, doc_id: str, *, seconds: float = 600.0) -> Document:
        """The document once nothing more happens to it by itself. Raises TookTooLong."""
        until = time.monotonic() + seconds
        while not (document := await self.get(doc_id)).settled:  # by a worker of another process, perhaps
            if time.monotonic() > until:
                raise TookTooLong(f"{document.filename} is still {document.status} after {seconds:g} seconds.")
            await asyncio.sleep(LOOK_SECONDS)
        return document


class LocalAnswer:
    """An answer as it comes, like ``AsyncAnswer``."""

    def __init__(self, library: Library, owner_id: str, question: Question, conversation_id: str | None) -> None:
        """Made by ``LocalAccount.ask``."""
        self._library = library
        self._owner_id = owner_id
        self._question = question
        self._conversation_id = conversation_id
        self._started: Started | None = None
        self._events: AsyncIterator[Event] | None = None
        self._fold = Fold()

    @property
    def terminal(self) -> Terminal | None:
        """How it ended, None until then."""
        return self._fold.terminal

    @property
    def text(self) -> str:
        """The tokens so far."""
        return self._fold.answer

    @property
    def sources(self) -> list[Source] | None:
        """The passages, None until they are known."""
        return self._fold.sources

    @property
    def run_id(self) -> str | None:
        """The run that writes it, None until it is asked for."""
        return self._started.run_id if self._started else None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._events is None:
            self._started = await self._begin()
            self._events = self._started.reader.events()
        event = await anext(self._events)
        self._fold.add(event)
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._started:
            self._started.reader.close()

    async def stop(self) -> None:
        """Stop the answer; its events end with ``Done``."""
        if self._started:
            await self._library.runs.stop(self._started.run_id)

    async def _begin(self) -> Started:
        conversations, into = self._library.conversations, self._conversation_id
        if into is None:
            into = (await conversations.create(self._owner_id, "", None)).conversation_id
        request = Request(None, "")
        return await conversations.ask(self._owner_id, Place(into, newest=True), self._question, request, "cancel")


def _document(stored: StoredDocument) -> Document:
    error = Failure(stored.error_code, stored.error_message or "") if stored.error_code else None
    names = set(Document.__struct_fields__) - {"error"}
    return Document(error=error, **{name: getattr(stored, name) for name in names})
