"""Lorestream inside LangChain: a retriever, and answers as a Runnable, over a server or a local library.

Needs the extra ``langchain`` (langchain-core). Importing this brings no server with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self, cast

import msgspec
from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.prompt_values import PromptValue
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr

from lorestream.client import AsyncClient, Client, Done, Error, Event, Passage, Result, Sources, Token
from lorestream.errors import InvalidInput, failure
from lorestream.streaming.events import Usage

if TYPE_CHECKING:  # a program that asks a server needs none of it
    from lorestream.library import Library
    from lorestream.retrieval import models as found

# What of a passage is a document's metadata; its text is the content.
METADATA = ("doc_id", "title", "filename", "page", "start", "end", "distance", "score", "chunk_index", "heading")
# What a question in a dict may say besides its text.
QUESTION_FIELDS = frozenset(("k", "doc_ids", "collection_id", "model", "conversation_id", "client_request_id"))

Find = Callable[[str], Coroutine[Any, Any, "list[found.Passage]"]]
Input = str | dict[str, Any] | PromptValue | list[BaseMessage]


class LorestreamRetriever(BaseRetriever):
    """The best passages of a server's documents, or of a library in this process (``of_library``), best first.

    ``token`` is an API key with the scope ``read``, or an access token. Each document's content is the whole passage;
    its metadata say where it stands: ``doc_id``, ``title``, ``page``, ``start``, ``end``, ``distance``, ``score``, ….
    """

    url: str = "http://127.0.0.1:8000"
    token: SecretStr = SecretStr("")
    k: int = Field(4, ge=1, le=50)
    doc_id: str | None = None
    collection_id: str | None = None

    model_config = ConfigDict(arbitrary_types_allowed=True)
    _find: Find | None = PrivateAttr(None)
    _loop: asyncio.AbstractEventLoop | None = PrivateAttr(None)

    @classmethod
    def of_library(cls, library: Library, owner_id: str, **fields: Any) -> Self:
        """Search an open library as one of its users; made where its event loop runs."""
        made = cls(**fields)

        async def find(query: str) -> list[found.Passage]:
            doc_ids = [made.doc_id] if made.doc_id else None
            return (await library.retrieval.find(owner_id, query, made.k, doc_ids, made.collection_id)).passages

        made._find, made._loop = find, asyncio.get_running_loop()
        return made

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        if self._find and self._loop:
            if _running_loop() is self._loop:
                raise InvalidInput("A library is searched from its own event loop by ainvoke, not by invoke.")
            return _documents(asyncio.run_coroutine_threadsafe(self._find(query), self._loop).result())
        with Client(self.url, self.token.get_secret_value()) as client:
            return _documents(client.search(query, k=self.k, doc_id=self.doc_id, collection_id=self.collection_id))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        if self._find:
            return _documents(await self._find(query))
        async with AsyncClient(self.url, self.token.get_secret_value()) as client:
            return _documents(
                await client.search(query, k=self.k, doc_id=self.doc_id, collection_id=self.collection_id)
            )


class LorestreamAnswer(RunnableSerializable[Input, AIMessage]):
    """A server's answers as messages, whole or streamed: ``LorestreamAnswer(url=…, token=…) | StrOutputParser()``.

    The input is a question: a text, a dict of ``question`` and what else ``Client.ask`` takes, or what a prompt made,
    of which the last human message is asked. ``response_metadata`` holds ``sources``, ``citations``, ``run_id``,
    ``conversation_id`` and more; in a stream the sources come with the first message. A stream that is closed is
    stopped. Raises the leaves of ``lorestream.errors``.
    """

    url: str = "http://127.0.0.1:8000"
    token: SecretStr = SecretStr("")
    k: int = Field(4, ge=1, le=10)
    doc_ids: list[str] | None = None
    collection_id: str | None = None
    model: str | None = None

    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> AIMessage:  # noqa: A002
        """Ask, and wait for the whole answer."""
        return self._call_with_config(self._whole, input, config, run_type="chain", **kwargs)

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> AIMessage:  # noqa: A002
        """Ask, and wait for the whole answer; cancelled, it is stopped."""
        return await self._acall_with_config(self._awhole, input, config, run_type="chain", **kwargs)

    def stream(
        self,
        input: Input,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessage]:
        """Ask, and pass the answer on as it comes; closed, it is stopped."""
        yield from self._transform_stream_with_config(iter([input]), self._pieces, config, **kwargs)

    async def astream(
        self,
        input: Input,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessage]:
        """Ask, and pass the answer on as it comes; closed, it is stopped."""

        async def one() -> AsyncIterator[Input]:
            yield input

        pieces = self._atransform_stream_with_config(one(), self._apieces, config, **kwargs)
        async with aclosing(cast("Any", pieces)):
            async for piece in pieces:
                yield piece

    def _whole(self, asked: Input) -> AIMessage:
        with self._client() as client, client.ask(**self._question(asked)) as answer:
            return _message(answer.result())

    async def _awhole(self, asked: Input) -> AIMessage:
        async with self._aclient() as client, client.ask(**self._question(asked)) as answer:
            return _message(await answer.result())

    def _pieces(self, inputs: Iterator[Input]) -> Iterator[AIMessage]:
        for asked in inputs:
            with self._client() as client, client.ask(**self._question(asked)) as answer:
                for event in answer:
                    if piece := _piece(event, answer.run_id):
                        yield piece

    async def _apieces(self, inputs: AsyncIterator[Input]) -> AsyncIterator[AIMessage]:
        async for asked in inputs:
            async with self._aclient() as client, client.ask(**self._question(asked)) as answer:
                async for event in answer:
                    if piece := _piece(event, answer.run_id):
                        yield piece

    def _client(self) -> Client:
        return Client(self.url, self.token.get_secret_value())

    def _aclient(self) -> AsyncClient:
        return AsyncClient(self.url, self.token.get_secret_value())

    def _question(self, asked: Input) -> dict[str, Any]:
        own = {"k": self.k, "doc_ids": self.doc_ids, "collection_id": self.collection_id, "model": self.model}
        if not isinstance(asked, dict):
            return {**own, "question": _text_of(asked)}
        unknown = sorted(map(str, asked.keys() - QUESTION_FIELDS - {"question"}))
        if unknown or "question" not in asked:
            known = ", ".join(sorted(QUESTION_FIELDS))
            raise InvalidInput(f"A question is a dict with “question” and, if wanted, {known}; not {unknown}.")
        return {**own, **asked, "question": _text_of(asked["question"])}


def _text_of(asked: str | PromptValue | list[BaseMessage]) -> str:
    if isinstance(asked, str):
        return asked
    messages = asked.to_messages() if isinstance(asked, PromptValue) else asked
    human = [message for message in messages if isinstance(message, HumanMessage)]
    if not human:
        raise InvalidInput("There is no human message to ask.")
    return str(human[-1].text)


def _documents(passages: list[Passage] | list[found.Passage]) -> list[Document]:
    return [
        Document(
            id=f"{passage.doc_id}:{passage.chunk_index}",
            page_content=passage.text,
            metadata={name: getattr(passage, name) for name in METADATA},
        )
        for passage in passages
    ]


def _piece(event: Event, run_id: str | None) -> AIMessageChunk | None:
    """An event as a piece of a message; their sum is the whole one. Raises what the answer failed with."""
    match event:
        case Token(text):
            return AIMessageChunk(content=text, id=run_id)
        case Sources(sources):
            metadata = {"run_id": run_id, "sources": msgspec.to_builtins(sources)}
            return AIMessageChunk(content="", id=run_id, response_metadata=metadata)
        case Done():
            return AIMessageChunk(
                content="", id=run_id, response_metadata=_metadata(event), usage_metadata=_usage(event.usage),
                chunk_position="last",
            )  # fmt: skip
        case Error():
            raise failure(event.code, event.message, event.retry_after, {"run_id": run_id})
    return None


def _message(result: Result) -> AIMessage:
    metadata = {"run_id": result.run_id, "sources": msgspec.to_builtins(result.sources), **_metadata(result)}
    usage = _usage(result.usage)
    return AIMessage(content=result.text, id=result.run_id, response_metadata=metadata, usage_metadata=usage)


def _metadata(end: Done | Result) -> dict[str, Any]:
    return {
        "model_name": end.model,
        "finish_reason": end.finish_reason,
        "citations": msgspec.to_builtins(end.citations),
        "uncited": end.uncited,
        "conversation_id": end.conversation_id,
        "message_id": end.message_id,
    }


def _usage(usage: Usage | None) -> UsageMetadata | None:
    if usage is None:
        return None
    return UsageMetadata(
        input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens, total_tokens=usage.total_tokens
    )


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
