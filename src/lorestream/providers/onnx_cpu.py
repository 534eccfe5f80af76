"""Inference on CPU with ONNX Runtime: what the built-in embedder and a cross-encoder share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
    RuntimeException,
)
from onnxruntime.capi.onnxruntime_pybind11_state import (
    NotImplemented as NotSupported,
)

# What ONNX Runtime raises for a graph that it cannot read or run.
UNREADABLE = (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NoSuchFile, NotSupported, RuntimeException)
# Measured: larger batches are slower on CPU, not faster: short texts are padded to the longest, long ones fill its
# caches.
BATCH_TOKENS, BATCH_TEXTS = 1024, 8
CHARACTERS_PER_TOKEN = 4


def open_graph(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """A session with ``threads`` threads for each inference (blocking). Raises one of ``UNREADABLE``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Idle threads must not spin: streams need the processor.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def batches(lengths: Sequence[int], longest_tokens: int) -> list[list[int]]:
    """Indices in batches of like length (in characters), so that little is computed for padding.

    A text counts as no more than ``longest_tokens``, at which the model cuts it.
    """
    made: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        tokens = min(longest_tokens, lengths[index] // CHARACTERS_PER_TOKEN + 2)
        if not made or len(made[-1]) >= max(1, min(BATCH_TEXTS, BATCH_TOKENS // tokens)):
            made.append([])
        made[-1].append(index)
    return made


def encodable(text: str) -> str:
    """The text with lone surrogates replaced one by one, so that offsets stay."""
    return text.encode("utf-8", "replace").decode("utf-8")
