"""``lorestream.langchain`` in real chains: what it gives, and that closing a chain's stream lets go of the model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from langchain_core.documents import Document
from langchain_core.messages import AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from lorestream.errors import InvalidInput, ModelError, Unauthenticated
from lorestream.langchain import LorestreamAnswer, LorestreamRetriever
from lorestream.library import Library
from tests.clients.world import At, serving
from tests.fakes.edge import settings
from tests.fakes.reading import GEO, QUESTION
from tests.fakes.upstream import Fail, Finish, Hold, Say

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]
STOP_SECONDS = 0.5


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def at(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[At]:
    async with serving(tmp_path_factory.mktemp("langchain") / "data", models_dir) as one:
        yield one


@pytest.fixture
def answer(at: At) -> LorestreamAnswer:
    return LorestreamAnswer(url=at.url, token=SecretStr(at.token))


def context(documents: list[Document]) -> str:
    return "\n".join(document.page_content for document in documents)


async def test_the_retriever_gives_passages_to_a_chain_of_another_model(at: At) -> None:
    retriever = LorestreamRetriever(url=at.url, token=SecretStr(at.token), k=2)
    prompt = ChatPromptTemplate.from_template("Use this: {context}\nQuestion: {question}")
    model = ChatOpenAI(model="tiny", base_url=f"{at.fake.url}/v1", api_key=SecretStr("x"), streaming=True)
    chain = {"context": retriever | context, "question": RunnablePassthrough()} | prompt | model | StrOutputParser()
    for in_a_thread in (False, True):
        at.fake.play(Say(["Par", "is."]), Finish())
        asking = asyncio.to_thread(chain.invoke, QUESTION) if in_a_thread else chain.ainvoke(QUESTION)
        assert await asking == "Paris."
        request = at.chats()[-1].request
        assert request
        assert GEO.decode() in request.json["messages"][-1]["content"]
    (document, *_) = await retriever.ainvoke(QUESTION)
    assert document.page_content == GEO.decode()
    place = {name: document.metadata[name] for name in ("title", "page", "start", "end", "chunk_index")}
    assert place == {"title": "geo", "page": None, "start": 0, "end": len(GEO), "chunk_index": 0}
    assert 0 <= document.metadata["distance"] <= 1
    assert document.metadata["doc_id"]


async def test_the_retriever_over_a_library_gives_the_same(at: At, tmp_path: Path, models_dir: Path) -> None:
    (tmp_path / "models").symlink_to(models_dir, target_is_directory=True)
    (tmp_path / "geo.txt").write_bytes(GEO)
    library = Library(settings(tmp_path, model="reader"))
    await library.open()
    try:
        owner = await library.accounts.local_user()
        added, _ = await library.documents.add_path(owner.user_id, tmp_path / "geo.txt")
        await library.documents.ingestor.ingest(added.doc_id, lambda *_: None)
        retriever = LorestreamRetriever.of_library(library, owner.user_id, k=1)
        (here,) = await retriever.ainvoke(QUESTION)
        (there,) = await asyncio.to_thread(retriever.invoke, QUESTION)
        with pytest.raises(InvalidInput, match="ainvoke"):
            retriever.invoke(QUESTION)
    finally:
        await library.close()
    (served,) = await LorestreamRetriever(url=at.url, token=SecretStr(at.token), k=1).ainvoke(QUESTION)
    assert here == there
    assert here.page_content == served.page_content
    assert here.metadata | {"doc_id": ""} == served.metadata | {"doc_id": ""}


async def test_an_answer_is_a_message_with_its_sources_whole_or_streamed(at: At, answer: LorestreamAnswer) -> None:
    def play() -> None:
        at.fake.play(Say(["Par", "is [1]."]), Finish(usage=(3, 2)))

    play()
    whole = await answer.ainvoke(QUESTION)
    assert whole.text == "Paris [1]."
    assert whole.response_metadata["sources"][0]["text"] == GEO.decode()
    assert whole.response_metadata["citations"][0]["n"] == 1
    assert whole.usage_metadata
    assert whole.usage_metadata["total_tokens"] == 5
    play()
    pieces = [piece async for piece in answer.astream({"question": QUESTION, "k": 1})]
    assert pieces[0].response_metadata["sources"], "before the first word"
    play()
    blocking = await asyncio.to_thread(lambda: list(answer.stream(QUESTION)))
    play()
    invoked = await asyncio.to_thread(answer.invoke, QUESTION)
    for streamed in (pieces, blocking):
        total = streamed[0]
        for piece in streamed[1:]:
            assert isinstance(piece, AIMessageChunk)
            total = total + piece  # type: ignore[assignment]
        assert total.text == whole.text == invoked.text
        assert total.response_metadata.keys() == whole.response_metadata.keys()
        assert total.response_metadata["sources"] == whole.response_metadata["sources"]
        assert total.response_metadata["finish_reason"] == "stop"


async def test_an_answer_is_a_link_of_a_chain(at: At, answer: LorestreamAnswer) -> None:
    chain = ChatPromptTemplate.from_messages([("system", "x"), ("human", "Where is {what}?")]) | answer
    text = chain | StrOutputParser()
    at.fake.play(Say("Here."), Finish(), always=True)
    try:
        assert await text.ainvoke({"what": "Paris"}) == "Here."
        assert "".join([piece async for piece in text.astream({"what": "Paris"})]) == "Here."
        assert await asyncio.to_thread(text.batch, [{"what": "Paris"}, {"what": "France"}]) == ["Here.", "Here."]
        request = at.chats()[-1].request
        assert request
        assert "Where is" in request.body.decode()
    finally:
        at.fake.play(Say("Paris"), Finish(), always=True)


@pytest.mark.parametrize("how", ["astream", "chain", "stream", "cancel"])
async def test_closing_a_stream_lets_go_of_the_model(at: At, answer: LorestreamAnswer, how: str) -> None:
    at.fake.play(Say("Par"), Hold())
    before = len(at.chats())
    async with asyncio.timeout(20):
        if how == "stream":
            began = await asyncio.to_thread(_read_some, answer)
        elif how == "cancel":
            asking = asyncio.create_task(answer.ainvoke(QUESTION))
            await at.chat(before)
            began = time.monotonic()
            asking.cancel()
            await asyncio.wait([asking])
        else:
            asked = answer if how == "astream" else answer | StrOutputParser()
            stream: Any = asked.astream(QUESTION)
            async for piece in stream:
                if getattr(piece, "text", piece):
                    break
            began = time.monotonic()
            await stream.aclose()
        assert await (await at.chat(before)).closed - began < STOP_SECONDS


def _read_some(answer: LorestreamAnswer) -> float:
    stream = answer.stream(QUESTION)
    for piece in stream:
        if piece.text:
            break
    began = time.monotonic()
    stream.close()  # type: ignore[attr-defined]
    return began


async def test_what_goes_wrong_is_raised_as_what_it_is(at: At, answer: LorestreamAnswer) -> None:
    at.fake.play(Say("Par"), Fail())
    with pytest.raises(ModelError) as failed:
        _ = [piece async for piece in answer.astream(QUESTION)]
    assert failed.value.fields["run_id"]
    bad: list[Any] = [{"question": QUESTION, "nonsense": 1}, {"k": 2}, []]
    for asked in bad:
        with pytest.raises(InvalidInput):
            await answer.ainvoke(asked)
    stranger = SecretStr("not-a-token")
    with pytest.raises(Unauthenticated):
        await LorestreamAnswer(url=at.url, token=stranger).ainvoke(QUESTION)
    with pytest.raises(Unauthenticated):
        await LorestreamRetriever(url=at.url, token=stranger).ainvoke(QUESTION)
    assert "not-a-token" not in repr(LorestreamAnswer(url=at.url, token=stranger))
