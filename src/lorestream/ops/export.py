"""One user's data as a ZIP file (APPNOTE 6.3.10) that is made while it is sent, one piece in memory at a time."""

from __future__ import annotations

import asyncio
import io
import json
import re
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from lorestream.accounts.keys import Keys
from lorestream.accounts.models import Principal
from lorestream.accounts.service import Accounts
from lorestream.conversations import export as exported
from lorestream.conversations.thread_routes import message_view, whole
from lorestream.conversations.threads import Conversations
from lorestream.db import now
from lorestream.documents.batches import Batches
from lorestream.documents.collections import Collections
from lorestream.documents.models import Document
from lorestream.documents.service import Documents
from lorestream.errors import NotFound

PIECE_BYTES = 256 * 1024
PAGE = 100
# What every file system takes: no separators, no device names with a colon, nothing that a shell reads.
UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
MAX_NAME = 80
README = """Everything that this Lorestream keeps of you.

account.json             your account, where you are logged in, your API keys (never the keys themselves)
conversations/           each as JSON (everything) and as Markdown (its newest branch)
questions.json           what you asked outside conversations
collections.json         your collections, each with the ids of its documents
batches.json             what you uploaded together, and which of its files were refused
documents/               the original files; manifest.json tells the name and type of each
"""


class Export:
    """The export of one user; every query names them."""

    def __init__(
        self,
        user: Principal,
        accounts: Accounts,
        keys: Keys,
        conversations: Conversations,
        documents: Documents,
        collections: Collections,
        batches: Batches,
    ) -> None:
        """No I/O."""
        self._user = user
        self._accounts = accounts
        self._keys = keys
        self._conversations = conversations
        self._documents = documents
        self._collections = collections
        self._batches = batches
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The bytes of the file, compressed off the event loop."""
        for part in (
            self._account(),
            self._threads(),
            self._asked(),
            self._named_sets(),
            self._sent_together(),
            self._manifest(),
            self._originals(),
        ):
            async with aclosing(part):
                async for piece in part:
                    yield piece
        await asyncio.to_thread(self._zip.close)
        yield self._sink.take()

    async def _account(self) -> AsyncGenerator[bytes, None]:
        user = await self._accounts.user(self._user.user_id)
        logins = await self._accounts.sessions.living(self._user)
        keys = await self._keys.of_user(user.user_id)
        account = {
            **_named(user, "user_id", "email", "created_at", "is_admin", "limits"),
            "sessions": [
                _named(one, "session_id", "created_at", "last_used_at", "expires_at", "user_agent", "ip")
                for one in logins
            ],
            "keys": [
                _named(one, "key_id", "name", "prefix", "scopes", "created_at", "last_used_at", "expires_at")
                for one in keys
            ],
            "exported_at": now().isoformat(),
        }
        yield await self._file("README.txt", README)
        yield await self._file("account.json", json.dumps(account, indent=2))

    async def _threads(self) -> AsyncGenerator[bytes, None]:
        after: tuple[datetime, str] | None = None
        while page := await self._conversations.page(self._user.user_id, "", PAGE, after):
            for one in page:
                with suppress(NotFound):  # deleted meanwhile
                    found, messages = await self._conversations.get(self._user.user_id, one.conversation_id)
                    name = f"conversations/{exported.file_name(found, one.conversation_id[:8])}"
                    as_json = await asyncio.to_thread(lambda: whole(found, messages).model_dump_json(indent=2))  # noqa: B023
                    yield await self._file(f"{name}.json", as_json)
                    yield await self._file(f"{name}.md", exported.markdown(found, messages))
            after = (page[-1].updated_at, page[-1].conversation_id)

    async def _asked(self) -> AsyncGenerator[bytes, None]:
        async def pages() -> AsyncIterator[list[Any]]:
            after: tuple[datetime, str] | None = None
            while page := await self._conversations.asked_outside(self._user.user_id, PAGE, after):
                yield [message_view(message).model_dump(mode="json") for message in page]
                after = (page[-1].created_at, page[-1].message_id)

        async for piece in self._list("questions.json", pages()):
            yield piece

    async def _named_sets(self) -> AsyncGenerator[bytes, None]:
        async def pages() -> AsyncIterator[list[Any]]:
            for one in await self._collections.of_owner(self._user.user_id):
                inside = await self._collections.documents(self._user.user_id, one.collection_id)
                yield [{**_named(one, "collection_id", "name", "created_at"), "doc_ids": inside}]

        async for piece in self._list("collections.json", pages()):
            yield piece

    async def _sent_together(self) -> AsyncGenerator[bytes, None]:
        async def pages() -> AsyncIterator[list[Any]]:
            after: tuple[datetime, str] | None = None
            while page := await self._batches.page(self._user.user_id, PAGE, after):
                yield [_named(one, "batch_id", "name", "status", "refused", "created_at") for one in page]
                after = (page[-1].created_at, page[-1].batch_id)

        async for piece in self._list("batches.json", pages()):
            yield piece

    async def _manifest(self) -> AsyncGenerator[bytes, None]:
        names = ("doc_id", "filename", "title", "media_type", "bytes", "sha256", "pages", "status", "created_at")

        async def pages() -> AsyncIterator[list[Any]]:
            async for page in self._pages():
                yield [{"file": _file_name(document), **_named(document, *names)} for document in page]

        async for piece in self._list("documents/manifest.json", pages()):
            yield piece

    async def _originals(self) -> AsyncGenerator[bytes, None]:
        async for page in self._pages():
            for document in page:
                try:
                    _, path = await self._documents.file(self._user.user_id, document.doc_id)
                except NotFound:  # deleted meanwhile
                    continue
                async for piece in self._original(_file_name(document), path):
                    yield piece

    async def _original(self, name: str, path: Path) -> AsyncGenerator[bytes, None]:
        with await asyncio.to_thread(path.open, "rb") as file, self._entry(f"documents/{name}") as entry:
            while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                await asyncio.to_thread(entry.write, piece)
                yield self._sink.take()
        yield self._sink.take()

    async def _pages(self) -> AsyncIterator[list[Document]]:
        after: tuple[datetime, str] | None = None
        while page := await self._documents.page(self._user.user_id, PAGE, after):
            yield page
            after = (page[-1].created_at, page[-1].doc_id)

    async def _list(self, name: str, pages: AsyncIterator[list[Any]]) -> AsyncIterator[bytes]:
        """A JSON list, written page by page."""
        separator = "[\n"
        with self._entry(name) as entry:
            async for page in pages:
                lines = separator + ",\n".join(json.dumps(item) for item in page)
                await asyncio.to_thread(entry.write, lines.encode())
                separator = ",\n"
                yield self._sink.take()
            entry.write(b"\n]\n" if separator == ",\n" else b"[]\n")
        yield self._sink.take()

    async def _file(self, name: str, content: str) -> bytes:
        def write() -> None:
            with self._entry(name) as entry:
                entry.write(content.encode("utf-8", "replace"))

        await asyncio.to_thread(write)
        return self._sink.take()

    def _entry(self, name: str) -> Any:
        made = zipfile.ZipInfo(name, now().timetuple()[:6])
        made.compress_type = zipfile.ZIP_DEFLATED
        made.external_attr = 0o600 << 16
        # The sizes are not known before: an original may have any.
        return self._zip.open(made, "w", force_zip64=True)


class _Sink(io.RawIOBase):
    """A file that cannot seek and is emptied by its reader."""

    def __init__(self) -> None:
        super().__init__()
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        taken, self._written = bytes(self._written), bytearray()
        return taken


def _named(source: object, *names: str) -> dict[str, Any]:
    values = {name: getattr(source, name) for name in names}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def _file_name(document: Document) -> str:
    """A name that is safe everywhere and unlike every other: the beginning of the id, then of the original's name."""
    stem, dot, extension = document.filename.rpartition(".")
    stem, extension = (stem, extension) if dot else (document.filename, "")
    safe = UNSAFE.sub("-", stem).strip("-.")[:MAX_NAME]
    ending = UNSAFE.sub("", extension)[:10]
    return f"{document.doc_id[:12]}-{safe or 'document'}{'.' + ending if ending else ''}"
