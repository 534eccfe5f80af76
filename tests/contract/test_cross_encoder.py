"""Cross-encoders from a folder of one's own: right scores from a good one, a named refusal of everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lorestream.errors import RetrievalFailed, StartRefused
from lorestream.library import Library
from lorestream.providers import cross_encoder as module
from lorestream.providers.base import Reranker
from lorestream.providers.cross_encoder import CrossEncoder
from lorestream.settings import Settings
from tests.fakes.reranker import BERT, MASKED, TOKENS, XLM_R, cross_encoder

QUESTION = "What is the capital of France?"
PASSAGES = ["Sourdough needs flour and salt.", "Paris is the capital of France.", "A river flows through Paris."]


@pytest.mark.parametrize(("graph", "at"), [(BERT, "model.onnx"), (XLM_R, "onnx/model.onnx")])
async def test_it_scores_pairs_with_either_kind_of_inputs(tmp_path: Path, graph: str, at: str) -> None:
    reranker: Reranker = CrossEncoder(cross_encoder(tmp_path / "overlap", graph, at))
    assert reranker.name == "overlap"
    scores = await reranker.score(QUESTION, PASSAGES)
    assert scores.dtype == np.float32
    assert scores.tolist() == [0, 5, 0], "is the capital of france"
    assert (await reranker.score(QUESTION, [])).shape == (0,)
    await reranker.close()


async def test_batches_of_any_lengths_give_what_each_pair_gives(tmp_path: Path) -> None:
    reranker = CrossEncoder(cross_encoder(tmp_path))
    await reranker.open()
    texts = [("filler " * (n % 13)) + ("capital " if n % 2 else "paris france ") for n in range(40)]
    together = await reranker.score(QUESTION, texts)
    alone = [(await reranker.score(QUESTION, [text]))[0] for text in texts]
    assert together.tolist() == alone
    concurrent = await asyncio.gather(*(reranker.score(QUESTION, PASSAGES) for _ in range(5)))
    assert {tuple(scores.tolist()) for scores in concurrent} == {(0.0, 5.0, 0.0)}
    await reranker.close()


async def test_what_is_too_long_is_cut_at_the_longer_of_both(tmp_path: Path) -> None:
    reranker = CrossEncoder(cross_encoder(tmp_path))
    long = "filler " * 10_000
    scores = await reranker.score(QUESTION, ["capital " + long, long + "capital", "\ud800", ""])
    assert scores.tolist() == [1, 0, 0, 0]
    assert (await reranker.score(long + QUESTION, ["paris"])).tolist() == [0]
    await reranker.close()


async def test_two_labels_are_irrelevant_and_relevant(tmp_path: Path) -> None:
    two = BERT.replace("float[b,1] logits", "float[b,m] scores").replace(
        "keepdims = 1> (met_once, one)", "keepdims = 1> (met_once, one)\n  scores = Concat <axis = 1> (zeros, logits)"
    )
    two = two.replace("known =", "zeros = ReduceMin <keepdims = 1> (met_zero, one)\n  known =").replace(
        "zeros =", "real_numbers = Cast <to = 1> (real)\n  met_zero = Sub(real_numbers, real_numbers)\n  zeros ="
    )
    reranker = CrossEncoder(cross_encoder(tmp_path, two, num_labels=2))
    assert (await reranker.score(QUESTION, PASSAGES)).tolist() == [0, 5, 0]
    await reranker.close()


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}, 512),
        ({"model_type": "modernbert", "max_position_embeddings": 8192, "pad_token_id": 0}, 512),
        ({"model_type": "bert", "max_position_embeddings": TOKENS}, TOKENS),
    ],
)
def test_how_long_a_pair_may_be(config: dict[str, object], tokens: int) -> None:
    assert module._longest(msgspec.convert(config, module._Config)) == tokens


def _without(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def _with(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_without("model.onnx"), "has neither model.onnx nor onnx/model.onnx"),
        (_with("model.onnx", "not a graph"), "ONNX Runtime cannot read"),
        (_without("tokenizer.json"), r"no tokenizer\.json"),
        (_with("tokenizer.json", "{}"), r"no tokenizer\.json"),
        (_without("config.json"), r"no config\.json"),
        (_with("config.json", "[]"), r"no config\.json"),
        (_with("config.json", '{"num_labels": 3}'), "3 labels"),
        (lambda folder: cross_encoder(folder, MASKED), "wants attention_mask, input_ids, pixels"),
        (lambda folder: cross_encoder(folder, BERT.replace("[b,1] logits", "[b,n,m] met_numbers")),
         "does not score"),
    ],
)  # fmt: skip
async def test_a_folder_that_is_no_cross_encoder_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    spoil(cross_encoder(tmp_path))
    reranker = CrossEncoder(tmp_path)
    with pytest.raises(StartRefused, match=reason) as caught:
        await reranker.open()
    assert str(tmp_path) in caught.value.message
    assert "LORESTREAM_RERANKER" in caught.value.message
    await reranker.close()


async def test_a_score_that_is_no_number_fails_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reranker = CrossEncoder(cross_encoder(tmp_path))
    await reranker.open()

    class Broken:
        def run(self, _names: object, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [np.full((len(feed["input_ids"]), 1), np.nan, np.float32)]

    assert reranker._model
    object.__setattr__(reranker._model, "session", Broken())
    with pytest.raises(RetrievalFailed):
        await reranker.score(QUESTION, PASSAGES)
    await reranker.close()


async def test_the_start_is_refused_with_a_folder_that_cannot_be_used(tmp_path: Path, models_dir: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "models").symlink_to(models_dir, target_is_directory=True)
    library = Library(Settings(data_dir=data_dir, reranker=tmp_path / "nowhere"))
    with pytest.raises(StartRefused, match="nowhere"):
        await library.open()
    await library.close()
