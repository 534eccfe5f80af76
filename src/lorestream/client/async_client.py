"""The client for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from lorestream.client import calls
from lorestream.client.calls import Call, result_of
from lorestream.client.connection import (
    LEAVE_SECONDS,
    LOOK_SECONDS,
    Asking,
    Reading,
    Times,
    address,
    never_connected,
    options,
    unreachable,
)
from lorestream.client.course import Course
from lorestream.client.failures import TookTooLong
from lorestream.client.login import Login
from lorestream.client.models import Collection, Document, Passage, Profile, Result
from lorestream.errors import LorestreamError, NotFound
from lorestream.streaming.events import Event

T = TypeVar("T")


class AsyncClient:
    """A Lorestream server as one user. All calls raise ``LorestreamError`` leaves; close it, or use ``async with``."""

    def __init__(self, url: str, token: str = "", *, login: Login | None = None, times: Times | None = None) -> None:
        """``token`` is an API key or an access token; without one, ``log_in`` first."""
        self.url = address(url)
        self.login = login or Login(self.url, token)
        self.times = times or Times()
        self.documents = AsyncDocuments(self)
        self.http = httpx.AsyncClient(**options(self.url, self.login, self.times))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Answers that are still written go on, as long as the server lets them."""
        await self.http.aclose()

    async def log_in(self, email: str, password: str) -> None:
        """Log in with a password; the login renews its access token by itself."""
        call = calls.log_in(email, password)
        response = await self._send(call)
        self.login.take(result_of(call, response.status_code, response.content), response)

    async def log_out(self) -> None:
        """End the login; an API key stays what it is."""
        if self.login.refresh_token:
            await self.call(calls.log_out(self.login.cookie))
        self.login.forget()

    async def me(self) -> Profile:
        """Whose login this is; keys are refused."""
        return await self.call(calls.me())

    def ask(
        self,
        question: str,
        *,
        k: int = 4,
        doc_ids: Sequence[str] | None = None,
        collection_id: str | None = None,
        model: str | None = None,
        conversation_id: str | None = None,
        client_request_id: str | None = None,
        stop_when_left: bool = True,
    ) -> AsyncAnswer:
        """Ask; the answer is sent for when its events are first asked for, and resumed by itself when it breaks.

        Without ``conversation_id`` it begins a conversation. The same ``client_request_id`` (default: a fresh one) is
        asked once, however often it is sent. As a context manager, the answer is stopped when it is left before its
        end, unless ``stop_when_left`` is False: then it goes on, and ``follow`` finds it.
        """
        asking = Asking(question, k, doc_ids, collection_id, model, conversation_id, client_request_id)
        return AsyncAnswer(self, asking=asking, stop_when_left=stop_when_left)

    def follow(self, run_id: str, *, stop_when_left: bool = False) -> AsyncAnswer:
        """The events of an answer that was begun before, from the first one; leaving it does not stop it."""
        course = Course(None, run_id, patience_seconds=self.times.patience)
        return AsyncAnswer(self, course, stop_when_left=stop_when_left)

    async def stop(self, run_id: str) -> bool:
        """Stop an answer; whether it was being written."""
        return (await self.call(calls.stop(run_id))).stopping

    async def search(
        self, query: str, *, k: int = 10, doc_id: str | None = None, collection_id: str | None = None
    ) -> list[Passage]:
        """The best passages, best first; no language model is asked."""
        return (await self.call(calls.search(query, k, doc_id, collection_id))).items

    async def collection(self, name: str, *, make: bool = False) -> Collection:
        """The collection of this name, made where there is none if so wanted. Raises NotFound."""
        found = [one for one in (await self.call(calls.collections())).items if one.name == name]
        if not found and make:
            return await self.call(calls.new_collection(name))
        if not found:
            raise NotFound(f"There is no collection named {name!r}.")
        return found[0]

    async def call(self, call: Call[T]) -> T:
        """Any other request: its answer, or the failure that it is. Not sent again by itself."""
        response = await self._send(call)
        return result_of(call, response.status_code, response.content)

    async def _send(self, call: Call[Any]) -> httpx.Response:
        try:
            return await self.http.request(call.method, call.path, timeout=self.times.of(call.seconds), **call.more)
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from None


class AsyncDocuments:
    """The documents of an account."""

    def __init__(self, client: AsyncClient) -> None:
        """Made by the client, as ``client.documents``."""
        self._client = client

    async def upload(
        self, file: str | PathLike[str] | bytes, *, name: str | None = None, collection_id: str | None = None
    ) -> Document:
        """Give a file (or its bytes, with a ``name``) to the documents. It can be searched once ``wait`` gives it back.

        The same bytes again are the document that is there. Raises OSError for a file that cannot be read.
        """
        if isinstance(file, bytes):
            return await self._client.call(calls.upload(name or "document", file, collection_id))
        path = Path(file)
        with await asyncio.to_thread(path.open, "rb") as content:
            return await self._client.call(calls.upload(name or path.name, content, collection_id))

    async def list(self, *, collection_id: str | None = None, words: str = "") -> AsyncIterator[Document]:
        """All documents (with these words in name or title), the newest first, page by page."""
        cursor: str | None = None
        while True:
            page = await self._client.call(calls.documents(cursor, collection_id, words))
            for document in page.items:
                yield document
            if (cursor := page.next_cursor) is None:
                return

    async def get(self, doc_id: str) -> Document:
        """One document."""
        return await self._client.call(calls.document(doc_id))

    async def delete(self, doc_id: str) -> None:
        """Delete a document with everything that was made of it."""
        await self._client.call(calls.delete_document(doc_id))

    async def wait(self, doc_id: str, *, seconds: float = 600.0) -> Document:
        """The document once it is ``ready``, ``failed`` (``error`` says why) or ``cancelled``. Raises TookTooLong."""
        until, (pause, longest) = time.monotonic() + seconds, LOOK_SECONDS
        while not (document := await self.get(doc_id)).settled:
            if time.monotonic() > until:
                raise TookTooLong(f"{document.filename} is still {document.status} after {seconds:g} seconds.")
            await asyncio.sleep(pause)
            pause = min(longest, pause * 1.5)
        return document


class AsyncAnswer(Reading):
    """An answer as it comes: ``async for event in answer``, each event once, in order, through lost connections.

    The last one is ``Done`` or ``Error``. ``text``, ``sources`` and ``terminal`` are what the events so far add up to.
    """

    def __init__(
        self, client: AsyncClient, course: Course | None = None, *, asking: Asking | None = None, stop_when_left: bool
    ) -> None:
        """Made by ``AsyncClient.ask`` and ``follow``."""
        super().__init__(course, stop_when_left=stop_when_left)
        self._client = client
        self._asking = asking
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._ready:
            if self._course and self._course.over:
                raise StopAsyncIteration
            self._ready.extend(await self._more())
        return self._taken()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def result(self) -> Result:
        """The whole answer, once it has come to its end. Raises what it failed with."""
        async for _ in self:
            pass
        return self._result()

    async def stop(self) -> None:
        """Stop the answer: its events end with ``Done``, ``finish_reason`` ``cancelled``. May be called at any time."""
        self._stopping = True
        if self.run_id and not (self._course and self._course.over):
            await self._client.stop(self.run_id)

    async def aclose(self) -> None:
        """Leave; what is still written is stopped, unless it was asked for with ``stop_when_left=False``."""
        await self._disconnect()
        if self._is_left():
            with suppress(LorestreamError, httpx.TransportError):
                await self._stop_unread()

    async def _stop_unread(self) -> None:
        if not self.run_id:  # the server was asked and has not named its answer yet: the same request tells
            await self._open(LEAVE_SECONDS)
            await self._disconnect()
        self._stop_when_left = False
        if self.run_id:
            await self._client.stop(self.run_id)

    async def _begin(self) -> Course:
        assert self._asking
        into = self._asking.conversation_id
        if not into:
            into = (await self._client.call(calls.conversation())).conversation_id
        return self._asking.course(into, self._client.times)

    async def _more(self) -> list[Event]:
        """What the next read brings; a connection that breaks is followed by another one."""
        if self._course is None:
            self._course = await self._begin()
        course = self._course
        try:
            if self._chunks is None:
                await asyncio.sleep(course.pause)
                return await self._open(self._client.times.silence)
            data = await anext(self._chunks, b"")
        except httpx.TransportError as error:
            await self._disconnect()
            if never_connected(error) and not course.met:
                course.sent = False
                raise unreachable(self._client.url, error) from None
            course.lost()
            return []
        events = course.feed(data)
        if not data or course.broken or course.over:
            await self._disconnect()
            if not course.over:
                course.lost()
        return events

    async def _open(self, seconds: float) -> list[Event]:
        assert self._course
        call, http = self._course.request(), self._client.http
        timeout = self._client.times.of(seconds)
        request = http.build_request(call.method, call.path, timeout=timeout, **call.more)
        response = await http.send(request, stream=True)
        self._response = response
        if not self._course.opened(response.status_code, response.headers):
            body = await response.aread()
            await self._disconnect()
            return self._course.told(response.status_code, body)
        self._chunks = response.aiter_raw()
        if self._stopping:
            await self.stop()
        return []

    async def _disconnect(self) -> None:
        response, self._response, self._chunks = self._response, None, None
        if response:
            await response.aclose()
