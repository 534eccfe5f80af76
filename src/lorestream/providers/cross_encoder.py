"""A cross-encoder on the user's own disk: any sentence-transformers reranker that was exported to ONNX.

The folder holds ``model.onnx`` (or ``onnx/model.onnx``), ``tokenizer.json`` and ``config.json``, as the export writes
them. Nothing is downloaded, no code of the folder is run, and a folder that cannot be used is refused at the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lorestream.errors import RetrievalFailed, StartRefused
from lorestream.providers.onnx_cpu import UNREADABLE, batches, encodable, open_graph

Scores = NDArray[np.float32]

GRAPHS = ("model.onnx", "onnx/model.onnx")
# Inputs by the names that exports give them: BERT has types of tokens, XLM-R has not.
INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
# Longer pairs are cut: the passages are shorter than this, and the time grows with the square.
MOST_TOKENS = 512
# Models of this family count positions from the padding's number on, so their longest text is shorter by that.
OFFSET_POSITIONS = ("roberta", "camembert")
TEXT_CHARACTERS, QUESTION_CHARACTERS = 16_384, 4096
SAMPLE = ("What is the capital of France?", "Paris is the capital of France.")


class _Config(msgspec.Struct):
    """What ``config.json`` says that matters here."""

    model_type: str = ""
    max_position_embeddings: int = MOST_TOKENS
    pad_token_id: int | None = None
    num_labels: int | None = None
    id2label: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class _Model:
    session: onnxruntime.InferenceSession
    tokenizer: Tokenizer
    inputs: frozenset[str]
    tokens: int


class CrossEncoder:
    """The ``Reranker`` that reads a question and a passage together; in a thread of its own."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Take the model's folder and the threads of each inference; does no I/O."""
        self._folder, self._threads = folder, threads
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="rerank")
        self._model: _Model | None = None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self._folder.resolve().name

    async def open(self) -> None:
        """Load the model and try it; raises StartRefused, naming what is wrong with the folder."""
        self._model = await asyncio.get_running_loop().run_in_executor(self._executor, self._load)

    async def score(self, question: str, texts: Sequence[str]) -> Scores:
        """How well each text answers the question: the model's logits, float32 of shape (len(texts),).

        Pairs that are too long are cut, the longer of the two first. Raises RetrievalFailed for what is no number.
        """
        if self._model is None:
            await self.open()
        assert self._model
        scores = np.zeros(len(texts), np.float32)
        loop = asyncio.get_running_loop()
        for indices in batches([len(question) + len(text) for text in texts], self._model.tokens):
            some = [texts[index] for index in indices]
            scores[indices] = await loop.run_in_executor(self._executor, _infer, self._model, question, some)
        return scores

    async def close(self) -> None:
        """Let a running inference end, drop those that wait."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)

    def _load(self) -> _Model:
        folder = self._folder.resolve()
        graph = next((folder / name for name in GRAPHS if (folder / name).is_file()), None)
        if graph is None:
            raise self._refused(f"has neither {GRAPHS[0]} nor {GRAPHS[1]}; export the model to ONNX")
        config = self._config(folder / "config.json")
        labels = config.num_labels or len(config.id2label) or 1
        if labels > 2:
            raise self._refused(f"holds a classifier with {labels} labels, not a cross-encoder, which has one or two")
        tokens = _longest(config)
        tokenizer = self._tokenizer(folder / "tokenizer.json", tokens, config.pad_token_id)
        try:
            session = open_graph(graph, self._threads)
        except UNREADABLE as error:
            raise self._refused(f"has a {graph.relative_to(folder)} that ONNX Runtime cannot read") from error
        inputs = frozenset(one.name for one in session.get_inputs())
        if not {"input_ids", "attention_mask"} <= inputs <= INPUTS:
            raise self._refused(
                f"has a model that wants {', '.join(sorted(inputs))} and not {', '.join(sorted(INPUTS))}"
            )
        model = _Model(session, tokenizer, inputs, tokens)
        try:
            _infer(model, SAMPLE[0], SAMPLE[1:] * 2)
        except (*UNREADABLE, RetrievalFailed) as error:
            raise self._refused("has a model that does not score a question and a passage") from error
        return model

    def _config(self, path: Path) -> _Config:
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Config)
        except (OSError, msgspec.MsgspecError) as error:
            raise self._refused(f"has no {path.name} that can be read") from error

    def _tokenizer(self, path: Path, tokens: int, pad_id: int | None) -> Tokenizer:
        try:
            tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # tokenizers raises nothing narrower
            raise self._refused(f"has no {path.name} that can be read") from error
        token = tokenizer.id_to_token(pad_id) if pad_id is not None else None
        if token is None:
            token = next((one for one in ("[PAD]", "<pad>") if tokenizer.token_to_id(one) is not None), None)
        if token is None:
            raise self._refused("has a tokenizer without a token for padding")
        # A document that says "[SEP]" means the letters.
        tokenizer.encode_special_tokens = True
        tokenizer.enable_truncation(tokens, strategy="longest_first")
        tokenizer.enable_padding(pad_id=tokenizer.token_to_id(token), pad_token=token)
        return tokenizer

    def _refused(self, reason: str) -> StartRefused:
        return StartRefused(f"The reranker's folder {self._folder} {reason} (LORESTREAM_RERANKER).")


def _longest(config: _Config) -> int:
    offset = (config.pad_token_id or 0) + 1 if any(name in config.model_type for name in OFFSET_POSITIONS) else 0
    return max(8, min(MOST_TOKENS, config.max_position_embeddings - offset))


def _infer(model: _Model, question: str, texts: Sequence[str]) -> Scores:
    asked = encodable(question[:QUESTION_CHARACTERS])
    encoded = model.tokenizer.encode_batch([(asked, encodable(text[:TEXT_CHARACTERS])) for text in texts])
    feed = {
        "input_ids": np.array([row.ids for row in encoded], np.int64),
        "attention_mask": np.array([row.attention_mask for row in encoded], np.int64),
        "token_type_ids": np.array([row.type_ids for row in encoded], np.int64),
    }
    logits = np.asarray(model.session.run(None, {name: feed[name] for name in model.inputs})[0], np.float32)
    rows = logits.reshape(len(texts), -1) if len(logits) == len(texts) else logits[:0]
    if not len(rows) or rows.shape[1] > 2 or not np.isfinite(rows).all():
        raise RetrievalFailed("The reranker computed something that is not a score for each passage.")
    # Of two labels the second one is "relevant".
    scores: Scores = rows[:, 1] - rows[:, 0] if rows.shape[1] == 2 else rows[:, 0]
    return scores
