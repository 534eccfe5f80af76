"""The OpenAI-compatible door, through the official clients: what is sent on, what comes beside the text, refusals."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import struct
import time
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from openai.types.chat import ChatCompletionChunk
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import openai
from lorestream.streaming import sse
from lorestream.streaming.events import Done, Error, Fold
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from tests.doors.client import WEB
from tests.fakes.edge import served
from tests.fakes.reading import QUESTION, Client
from tests.fakes.upstream import Close, Finish, Hold, Say
from tests.faults.world import World, world

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]
STREAMS = WEB.parent / "wire" / "streams"
NAMES = sorted(path.stem for path in STREAMS.glob("*.sse"))
STOP_SECONDS = 0.5
ASKED: Any = [{"role": "user", "content": QUESTION}]
NEVER_SENT = {"n", "logprobs", "tools", "tool_choice", "user", "seed", "base_url", "lorestream", "__proto__"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[World]:
    settings = {"heartbeat_seconds": "0.2", "max_output_tokens": "100"}
    async with world(tmp_path_factory.mktemp("openai") / "data", models_dir, **settings) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def at(shared: World) -> World:
    shared.skip_chats()
    return shared


def token_of(client: Client) -> str:
    return client.http.headers["Authorization"].removeprefix("Bearer ")


@pytest_asyncio.fixture(loop_scope="module")
async def client(at: World) -> AsyncIterator[AsyncOpenAI]:
    async with asked_with(at, token_of(at.client)) as made:
        yield made


def asked_with(at: World, token: str, **options: Any) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{at.server.url}/v1", api_key=token, max_retries=0, timeout=30, **options)


async def streamed(client: AsyncOpenAI, **others: Any) -> list[ChatCompletionChunk]:
    given: dict[str, Any] = {"model": "lorestream", "messages": ASKED, **others}
    async with asyncio.timeout(30):
        return [chunk async for chunk in await client.chat.completions.create(stream=True, **given)]


def text(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def beside(chunks: list[ChatCompletionChunk], name: str) -> Any:
    """A member that stands beside the choices of one of the chunks."""
    (found,) = [chunk.model_extra[name] for chunk in chunks if chunk.model_extra and name in chunk.model_extra]
    return found


async def sent(at: World) -> dict[str, Any]:
    """What the language model was asked."""
    request = (await at.next_chat()).request
    assert request
    body: dict[str, Any] = request.json
    return body


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def golden() -> AsyncIterator[str]:
    """A server whose ``/NAME/chat/completions`` answers with the golden stream of that name."""

    async def answer(request: Request) -> Response:
        content = (STREAMS / "openai" / f"{request.path_params['name']}.sse").read_bytes()
        return Response(content, media_type="text/event-stream")

    async with served(Starlette(routes=[Route("/{name}/chat/completions", answer, methods=["POST"])])) as url:
        yield url


@pytest.mark.parametrize("name", NAMES)
async def test_the_official_client_reads_a_golden_stream(golden: str, name: str) -> None:
    fold, chunks = Fold(), []
    for block in (STREAMS / f"{name}.sse").read_bytes().split(b"\n\n"):
        if b"data: " in block:
            fold.add(sse.decode(block))
    async with AsyncOpenAI(base_url=f"{golden}/{name}", api_key="none", max_retries=0) as client:
        stream = await client.chat.completions.create(model="lorestream", messages=ASKED, stream=True)
        failed = fold.terminal.message if isinstance(fold.terminal, Error) else None
        with pytest.raises(openai.APIError, match=re.escape(failed)) if failed else nullcontext():
            async for chunk in stream:
                chunks += [ChatCompletionChunk.model_validate(chunk.model_dump())]
    assert text(chunks) == fold.answer
    if fold.sources is not None:
        assert [one["doc_id"] for one in beside(chunks, "sources")] == [one.doc_id for one in fold.sources]
    if isinstance(fold.terminal, Done):
        assert beside(chunks, "citations") == [
            {"n": one.n, "start": one.start, "end": one.end, "support": one.support} for one in fold.terminal.citations
        ]
        assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == (
            [fold.terminal.usage.total_tokens] if fold.terminal.usage else []
        )
    assert (STREAMS / "openai" / f"{name}.sse").read_bytes().endswith(b"[DONE]\n\n") == isinstance(fold.terminal, Done)


async def test_what_comes_beside_the_text(at: World, client: AsyncOpenAI) -> None:
    at.fake.play(Say("Where was that?", reasoning=True), Say(["Paris", " [1]."]), Finish(usage=(20, 2)))
    chunks = await streamed(client, stream_options={"include_usage": True})
    assert text(chunks) == "Paris [1]."
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(getattr(one.choices[0].delta, "reasoning_content", "") for one in chunks if one.choices) == (
        "Where was that?"
    )
    (source,) = beside(chunks[:1], "sources")
    assert (source["n"], source["text"]) == (1, "Paris is the capital of France.")
    shown = beside(chunks, "event")["data"]
    assert (shown["document"], shown["metadata"][0]["name"]) == ([source["text"]], source["title"])
    assert [one["n"] for one in beside(chunks, "citations")] == [1]
    assert beside(chunks, "answered_by") == "openai:tiny"
    assert [one.choices[0].finish_reason for one in chunks[-2:-1]] == ["stop"]
    assert chunks[-1].usage
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 22)
    stored = await at.stored(beside(chunks, "run_id"))
    assert (stored["content"], stored["status"]) == ("Paris [1].", "done")


async def test_usage_that_nobody_counted_is_left_out(at: World, client: AsyncOpenAI) -> None:
    at.fake.play(Say("Paris"), Finish(usage=None))
    assert not any(one.usage for one in await streamed(client, stream_options={"include_usage": True}))
    at.fake.play(Say("Paris"), Finish(usage=None))
    whole = await client.chat.completions.create(model="lorestream", messages=ASKED)
    assert whole.usage is None


async def test_the_whole_answer_is_the_fold_of_the_streamed_one(at: World, client: AsyncOpenAI) -> None:
    for _ in range(2):
        at.fake.play(Say("Hm.", reasoning=True), Say(["Paris", " [1]."]), Finish("length", usage=(20, 2)))
    chunks = await streamed(client)
    whole = await client.chat.completions.create(model="lorestream", messages=ASKED)
    (choice,) = whole.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", text(chunks), "length")
    assert (choice.message.model_extra or {})["reasoning_content"] == "Hm."
    assert whole.usage
    assert whole.usage.total_tokens == 22
    told = whole.model_extra or {}
    assert (told["sources"], told["citations"]) == (beside(chunks, "sources"), beside(chunks, "citations"))
    assert whole.id == f"chatcmpl-{told['run_id']}"


async def test_what_the_model_is_asked(at: World, client: AsyncOpenAI) -> None:
    messages: Any = [
        {"role": "system", "content": "Answer like a sailor."},
        {"role": "user", "content": "Is France a country?"},
        {"role": "assistant", "content": "Aye."},
        {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
    ]
    many: dict[str, Any] = {"max_tokens": 5000, "temperature": 0.7, "seed": 1, "user": "somebody", "n": 1}
    at.fake.play(Say("Paris"), Finish())
    unknown = {"base_url": "http://evil.example/", "lorestream": {"k": 1}, "__proto__": {"a": 1}}
    tools: Any = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    await streamed(client, messages=messages, **many, tools=tools, extra_body=unknown)
    body = await sent(at)
    assert not NEVER_SENT & body.keys()
    assert (body["max_tokens"], body["temperature"]) == (100, 0.7)
    system, asked, answered, last = body["messages"]
    assert "Answer like a sailor." in system["content"]
    assert (asked["content"], answered["content"]) == ("Is France a country?", "Aye.")
    assert QUESTION in last["content"]
    assert "Paris is the capital of France." in last["content"]


@pytest.mark.parametrize("how", [{"model": "lorestream/plain"}, {"extra_body": {"lorestream": {"retrieve": False}}}])
async def test_the_model_alone(at: World, client: AsyncOpenAI, how: dict[str, Any]) -> None:
    at.fake.play(Say("French Capital"), Finish())
    chunks = await streamed(client, messages=[{"role": "user", "content": "A title for this chat, please."}], **how)
    assert (text(chunks), beside(chunks, "sources")) == ("French Capital", [])
    assert (await sent(at))["messages"] == [{"role": "user", "content": "A title for this chat, please."}]


async def test_a_stop_text_ends_the_answer(at: World, client: AsyncOpenAI) -> None:
    at.fake.play(Say(["One. ", "T", "wo. Three."]), Hold())
    chunks = await streamed(client, stop=["Four", "Two"])
    assert (text(chunks), chunks[-1].choices[0].finish_reason) == ("One. ", "stop")


async def test_stop_from_elsewhere_is_a_proper_end(at: World, client: AsyncOpenAI) -> None:
    at.fake.play(Say("Par"), Hold())
    chunks = []
    async with asyncio.timeout(20):
        stream = await client.chat.completions.create(model="lorestream", messages=ASKED, stream=True)
        async for chunk in stream:
            chunks.append(chunk)
            if text(chunks) == "Par" and len(chunks) < 5:
                await at.client.stop(stream.response.headers["x-run-id"])
    assert (text(chunks), chunks[-1].choices[0].finish_reason) == ("Par", "stop")


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_before_the_first_token_closes_the_upstream(at: World, client: AsyncOpenAI, stream: bool) -> None:
    at.fake.play(before=(Hold(),))
    given: Any = {"model": "lorestream", "messages": ASKED, "stream": stream}
    asking = asyncio.create_task(client.chat.completions.create(**given))
    connection = await at.next_chat()
    if stream:
        answer = await asking
        began = time.monotonic()
        await answer.close()
    else:
        began = time.monotonic()
        asking.cancel()
    async with asyncio.timeout(5):
        assert await connection.closed - began < STOP_SECONDS


async def test_clients_pass_over_what_fills_a_silence(at: World, client: AsyncOpenAI) -> None:
    gate = asyncio.Event()
    at.fake.play(Hold(gate), Say("Paris"), Finish())
    raw = b""
    body = {"messages": ASKED, "stream": True}
    async with at.client.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        async for piece in answer.aiter_bytes():
            raw += piece
            if raw.count(sse.HEARTBEAT) >= 4:
                gate.set()
    assert raw.endswith(b"data: [DONE]\n\n")
    assert b"id: " not in raw
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    gate = asyncio.Event()
    at.fake.play(Hold(gate), Say("Paris"), Finish())
    asyncio.get_running_loop().call_later(0.7, gate.set)
    assert text(await streamed(client)) == "Paris"


@pytest_asyncio.fixture(loop_scope="module")
async def langchain(client: AsyncOpenAI) -> AsyncIterator[dict[str, Any]]:
    """How LangChain's classes are made for this server."""
    async with DefaultAsyncHttpxClient() as http:
        where = {"base_url": str(client.base_url), "api_key": client.api_key, "max_retries": 0}
        yield {"model": "lorestream", "http_async_client": http, **where}


async def test_an_answer_that_breaks_is_raised_and_never_done(
    at: World, client: AsyncOpenAI, langchain: dict[str, Any]
) -> None:
    at.fake.play(Say("Par"), Close())
    with pytest.raises(openai.APIError, match="broke in mid-answer") as broken:
        await streamed(client)
    assert broken.value.code == "upstream_truncated"
    at.fake.play(Say("Par"), Close())
    with pytest.raises(openai.APIError, match="broke in mid-answer"):
        [piece async for piece in ChatOpenAI(**langchain).astream(QUESTION)]
    at.fake.play(Say("Par"), Close())
    with pytest.raises(openai.InternalServerError, match="broke in mid-answer") as failed:
        await client.chat.completions.create(model="lorestream", messages=ASKED)
    assert failed.value.status_code == 502


async def test_langchain_gets_text_and_usage(at: World, langchain: dict[str, Any]) -> None:
    model = ChatOpenAI(**langchain, stream_usage=True, stop=["never"])
    at.fake.play(Say(["Paris", " [1]."]), Finish(usage=(20, 2)))
    whole = None
    async for piece in model.astream([("system", "Be brief."), ("human", QUESTION)]):
        whole = piece if whole is None else whole + piece
    assert whole
    assert (whole.content, whole.response_metadata["finish_reason"]) == ("Paris [1].", "stop")
    assert whole.usage_metadata
    assert whole.usage_metadata["total_tokens"] == 22
    at.fake.play(Say("Paris"), Finish(usage=None))
    answer = await model.ainvoke(QUESTION)
    assert (answer.content, answer.usage_metadata) == ("Paris", None)


async def test_foreign_documents_and_collections_are_unknown_ones(at: World) -> None:
    stranger = Client(at.server, await asyncio.to_thread(at.server.register, "stranger@example.com"))
    await asyncio.to_thread(at.server.upload, dict(stranger.http.headers), "own.txt", b"Rome is in Italy.")
    mine = (await at.client.http.get("/documents/")).json()["items"][0]["doc_id"]
    named = (await at.client.http.post("/collections/", json={"name": "Mine"})).json()["collection_id"]

    async def answer(where: dict[str, Any], *, stream: bool) -> httpx.Response:
        body = {"messages": ASKED, "stream": stream, "lorestream": where}
        return await stranger.http.post("/v1/chat/completions", json=body)

    own = (await stranger.http.get("/documents/")).json()["items"][0]["doc_id"]
    for name, foreign, unknown in (
        ("doc_ids", [mine], ["0" * 32]),
        ("doc_ids", [own, mine], [own, "0" * 32]),
        ("collection_id", named, "0" * 32),
    ):
        for stream in (True, False):
            answers = [await answer({name: ids}, stream=stream) for ids in (foreign, unknown)]
            assert answers[0].text == answers[1].text
            assert {one.status_code for one in answers} == {404}
            assert answers[0].json()["error"]["code"] == "not_found"
    await stranger.aclose()


REFUSED: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "no messages": ({"messages": []}, "invalid_input", "messages"),
    "no question": ({"messages": [{"role": "system", "content": "x"}]}, "invalid_input", None),
    "two answers": ({"n": 2}, "invalid_input", "n"),
    "JSON": ({"response_format": {"type": "json_object"}}, "invalid_input", "response_format"),
    "too warm": ({"temperature": 3}, "invalid_input", "temperature"),
    "a misspelt field of ours": ({"extra_body": {"lorestream": {"docs": []}}}, "invalid_input", "lorestream.docs"),
    "a long text": (
        {"model": "lorestream/plain", "messages": [{"role": "user", "content": "word " * 6000}]},
        "context_length_exceeded",
        None,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_bad_request_is_one_to_the_client(client: AsyncOpenAI, name: str) -> None:
    wrong, code, param = REFUSED[name]
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(**{"model": "lorestream", "messages": ASKED, **wrong})
    assert (refused.value.code, refused.value.param, refused.value.type) == (code, param, "invalid_request_error")
    assert refused.value.request_id == refused.value.response.headers["x-request-id"]


async def test_every_refusal_below_v1_is_told_in_one_shape(at: World) -> None:
    http = at.client.http
    json_type = {"Content-Type": "application/json"}
    answers: dict[int, httpx.Response] = {
        400: await http.post("/v1/chat/completions", content=b"{", headers=json_type),
        401: await http.get("/v1/models", headers={"Authorization": "Bearer sk-none"}),
        404: await http.get("/v1/nothing"),
        405: await http.put("/v1/models"),
        413: await http.post("/v1/embeddings", content=b" " * 1_100_000, headers=json_type),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/json"
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert answer.headers["x-should-retry"] == "false"
    assert answers[401].json()["error"]["code"] == "invalid_api_key"
    assert answers[401].headers["www-authenticate"] == "Bearer"
    assert answers[405].headers["allow"] == "GET"


async def test_keys_and_their_scopes(at: World) -> None:
    async def client_with(scope: str) -> AsyncOpenAI:
        made = await at.client.http.post("/auth/keys", json={"name": scope, "scopes": [scope]})
        return asked_with(at, made.raise_for_status().json()["key"])

    at.fake.play(Say("Paris"), Finish())
    async with await client_with("ask") as asks, await client_with("read") as reads:
        assert text(await streamed(asks)) == "Paris"
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await streamed(reads)
        assert (refused.value.code, refused.value.type) == ("forbidden", "permission_error")
        assert (await reads.models.list()).data
        assert (await reads.embeddings.create(model="minilm", input="Paris")).data
        with pytest.raises(openai.PermissionDeniedError):
            await asks.models.list()


async def test_one_answer_too_many_says_when_to_try_again(at: World) -> None:
    limited = Client(at.server, await asyncio.to_thread(at.server.register, "limited@example.com"))
    found = (await at.client.http.get("/admin/users", params={"q": "limited@"})).json()["items"][0]
    limits = {"limits": {"running_answers": 1}}
    (await at.client.http.patch(f"/admin/users/{found['user_id']}", json=limits)).raise_for_status()
    client = asked_with(at, token_of(limited))
    at.fake.play(Hold())
    plain: Any = {"model": "lorestream/plain", "messages": ASKED}
    held = await client.chat.completions.create(stream=True, **plain)
    with pytest.raises(openai.RateLimitError) as refused:
        await client.chat.completions.create(**plain)
    assert refused.value.code == "rate_limit_exceeded"
    assert int(refused.value.response.headers["retry-after"]) >= 1
    assert "x-should-retry" not in refused.value.response.headers
    await held.close()
    await client.close()
    await limited.aclose()


async def test_models(client: AsyncOpenAI) -> None:
    listed = [model.id async for model in await client.models.list()]
    assert listed == ["lorestream", "lorestream/plain", "openai:tiny", "reader"]
    for name in listed:
        assert (await client.models.retrieve(name)).id == name
    with pytest.raises(openai.NotFoundError) as refused:
        await client.models.retrieve("gpt-4o")
    assert refused.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError, match="no model named 'gpt-4o'"):
        await streamed(client, model="gpt-4o")


async def test_embeddings(client: AsyncOpenAI, langchain: dict[str, Any]) -> None:
    texts = ["Paris is the capital of France.", "The capital of France is Paris.", "Bananas are yellow."]
    many = await client.embeddings.create(model="lorestream", input=texts)
    rows = np.array([one.embedding for one in many.data], np.float32)
    assert rows.shape == (3, 384)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert rows[0] @ rows[1] > 0.9 > 0.5 > rows[0] @ rows[2]
    assert (many.model, many.usage.prompt_tokens, many.usage.total_tokens) == ("minilm", 18, 18)
    one = await client.embeddings.create(model="minilm", input=texts[0], encoding_format="float")
    assert np.dot(one.data[0].embedding, rows[0]) > 0.99  # the built-in one computes a batch a little differently
    raw = await client.embeddings.with_raw_response.create(model="minilm", input=texts[0])
    decoded = base64.b64decode(json.loads(raw.text)["data"][0]["embedding"])
    assert np.allclose(struct.unpack("<384f", decoded), one.data[0].embedding, atol=1e-6)
    made = OpenAIEmbeddings(**langchain, check_embedding_ctx_length=False)
    assert np.dot(await made.aembed_query(texts[0]), rows[0]) > 0.99


async def test_a_text_longer_than_the_embedder_reads_is_embedded_whole(client: AsyncOpenAI) -> None:
    paris, bananas = "Paris is the capital of France. " * 60, "Bananas are yellow and sweet. " * 60
    both, first, last = (
        np.array(one.embedding)
        for one in (await client.embeddings.create(model="lorestream", input=[paris + bananas, paris, bananas])).data
    )
    assert both @ first > 0.6
    assert both @ last > 0.6


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"input": [1, 2, 3]}, "input"),
        ({"input": [[1, 2], [3]]}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["x"] * 257}, "input"),
        ({"input": ["x" * 20_000] * 11}, "input"),
        ({"input": "x", "dimensions": 256}, "dimensions"),
        ({"input": "x", "encoding_format": "int8"}, "encoding_format"),
    ],
    ids=["tokens", "lists of tokens", "none", "empty", "too many", "too long", "shorter vectors", "another format"],
)
async def test_embeddings_that_cannot_be_had(client: AsyncOpenAI, wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.embeddings.create(**{"model": "lorestream", **wrong})
    assert (refused.value.param or "").startswith(param)


async def test_another_embedder_is_unknown(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="minilm") as refused:
        await client.embeddings.create(model="text-embedding-3-small", input="x")
    assert refused.value.code == "model_not_found"
