"""The remote embedders: right vectors from a good server, a named refusal of everything else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from lorestream.errors import (
    ModelAuthFailed,
    ModelError,
    ModelNotFound,
    ModelProtocolError,
    ModelUnavailable,
    RunFailed,
)
from lorestream.providers.base import Embedder
from lorestream.providers.remote_embedders import AT_ONCE, BATCH, OllamaEmbedder, OpenAIEmbedder, RemoteEmbedder
from lorestream.providers.upstream import Endpoint
from tests.fakes.upstream import Answer, Close, FakeUpstream, Format, Raw, as_json

pytestmark = pytest.mark.timeout(30)


def embedder_of(kind: Format, base_url: str, model: str = "tiny") -> Embedder:
    endpoint = Endpoint(base_url)
    return OllamaEmbedder(model, endpoint) if kind == "ollama" else OpenAIEmbedder(model, endpoint)


def rows_answer(kind: Format, rows: list[Any]) -> Answer:
    if kind == "ollama":
        return as_json({"embeddings": rows})
    return as_json({"data": [{"index": index, "embedding": row} for index, row in enumerate(rows)]})


@pytest.fixture(params=["ollama", "openai"])
def kind(request: pytest.FixtureRequest) -> Format:
    return "ollama" if request.param == "ollama" else "openai"


@pytest.fixture
async def fake(kind: Format) -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(kind) as server:
        yield server


@pytest.fixture
def embedder(kind: Format, fake: FakeUpstream) -> Embedder:
    return embedder_of(kind, fake.base_url)


async def test_vectors_are_unit_rows_in_the_order_of_the_texts(embedder: Embedder, fake: FakeUpstream) -> None:
    texts = [f"text number {number}" for number in range(2 * BATCH + 1)]
    vectors = await embedder.embed(texts)
    assert vectors.shape == (len(texts), 8)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert [len(request.json["input"]) for request in fake.requests] == [BATCH, BATCH, 1]
    alone = await embedder.embed_query(texts[40])
    assert alone.shape == (8,)
    assert np.allclose(alone, vectors[40])


async def test_rows_are_brought_to_length_one(embedder: Embedder, fake: FakeUpstream, kind: Format) -> None:
    fake.answer(rows_answer(kind, [[3.0, 4.0]]))
    assert np.allclose(await embedder.embed(["x"]), [[0.6, 0.8]])


async def test_dimensions_are_asked_once(embedder: Embedder, fake: FakeUpstream) -> None:
    assert set(await asyncio.gather(embedder.dimensions(), embedder.dimensions())) == {8}
    assert (await embedder.embed([])).shape == (0, 8)
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    "rows",
    [
        [[1.0, 0.0], [1.0]],
        [[1.0, 0.0]],
        [[1.0, 0.0]] * 3,
        [[0.0, 0.0], [1.0, 0.0]],
        [[], []],
        [[1e999, 0.0], [1.0, 0.0]],
        [[float("nan"), 0.0], [1.0, 0.0]],
        [["x", 0.0], [1.0, 0.0]],
        [None, [1.0, 0.0]],
    ],
)
async def test_wrong_vectors_are_refused(embedder: Embedder, fake: FakeUpstream, kind: Format, rows: list[Any]) -> None:
    fake.answer(rows_answer(kind, rows))
    with pytest.raises(ModelProtocolError):
        await embedder.embed(["one", "two"])


async def test_another_dimension_than_before_is_refused(embedder: Embedder, fake: FakeUpstream, kind: Format) -> None:
    await embedder.embed(["one"])
    fake.answer(rows_answer(kind, [[1.0, 0.0]]))
    with pytest.raises(ModelProtocolError):
        await embedder.embed(["two"])


@pytest.mark.parametrize("indexes", [[0, 0], [1, 2], [0], [-1, 0]])
async def test_openai_indexes_must_be_those_of_the_texts(indexes: list[int]) -> None:
    async with FakeUpstream("openai") as server:
        server.answer(as_json({"data": [{"index": index, "embedding": [1.0]} for index in indexes]}))
        with pytest.raises(ModelProtocolError):
            await embedder_of("openai", server.base_url).embed(["one", "two"])


async def test_openai_vectors_are_put_in_order() -> None:
    async with FakeUpstream("openai") as server:
        data = [{"index": 1, "embedding": [0.0, 1.0]}, {"index": 0, "embedding": [1.0, 0.0]}]
        server.answer(as_json({"data": data}))
        vectors = await embedder_of("openai", server.base_url).embed(["one", "two"])
    assert np.allclose(vectors, [[1, 0], [0, 1]])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer((Raw(b"no"),), status=401), ModelAuthFailed),
        (Answer((Raw(b'{"error":"model not found"}'),), status=404), ModelNotFound),
        (Answer((Raw(b"no"),), status=503), ModelUnavailable),
        (Answer((Raw(b'{"embeddings":[[1.0'), Close())), ModelUnavailable),
        (Answer((Raw(b"<html>"),)), ModelProtocolError),
        (Answer((), status=302, headers={"Location": "http://127.0.0.1:1/"}), ModelProtocolError),
        (Answer(before=(Close(),)), ModelUnavailable),
    ],
)
async def test_failures_have_names(
    embedder: Embedder, fake: FakeUpstream, answer: Answer, expected: type[RunFailed]
) -> None:
    fake.answer(answer)
    with pytest.raises(expected):
        await embedder.embed(["one"])


async def test_models_that_want_prefixes_get_them(kind: Format, fake: FakeUpstream) -> None:
    embedder = embedder_of(kind, fake.base_url, "nomic-embed-text")
    await embedder.embed(["Paris"])
    await embedder.embed_query("Where?")
    sent = [json.loads(request.body)["input"] for request in fake.requests]
    assert sent == [["search_document: Paris"], ["search_query: Where?"]]


async def test_questions_of_many_askers_share_requests(embedder: Embedder, fake: FakeUpstream) -> None:
    together = await asyncio.gather(*(embedder.embed_query(f"question {number}") for number in range(40)))
    asked = [len(request.json["input"]) for request in fake.requests]
    assert sum(asked) == 40
    assert len(asked) <= 40 // BATCH + AT_ONCE + 1
    assert np.allclose(together[7], await embedder.embed_query("question 7"))


async def test_one_question_that_a_server_refuses_fails_alone(kind: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = embedder_of(kind, "http://127.0.0.1:1")
    assert isinstance(embedder, RemoteEmbedder)
    calls = 0

    async def request(texts: list[str]) -> list[list[float]]:
        nonlocal calls
        calls += 1
        if "bad" in texts:
            raise ModelError
        return [[1.0, 0.0] for _ in texts]

    monkeypatch.setattr(embedder, "_request", request)
    asked = [embedder.embed_query("bad" if number == 13 else "good") for number in range(20)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [number for number, answer in enumerate(answers) if isinstance(answer, ModelError)] == [13]
    assert sum(isinstance(answer, np.ndarray) for answer in answers) == 19
    assert calls < 20


async def test_a_server_that_is_down_is_asked_once_for_all_who_wait(embedder: Embedder, fake: FakeUpstream) -> None:
    fake.answer(Answer((Raw(b"no"),), status=503))
    answers = await asyncio.gather(*(embedder.embed_query("?") for _ in range(20)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {ModelUnavailable}
    assert len(fake.requests) < 20


def test_token_spans_cover_every_word_cautiously() -> None:
    embedder = embedder_of("ollama", "http://127.0.0.1:1")
    text = "Extraordinarily, Paris! 首都はパリ"
    spans = embedder.token_spans(text)
    assert spans == sorted(spans)
    covered = {index for start, end in spans for index in range(start, end)}
    assert covered == {index for index, character in enumerate(text) if not character.isspace()}
    assert len(spans) >= 4 + 1 + 2 + 1 + 5
    assert embedder.max_tokens <= 256
