"""Builds the ONNX graph of all-MiniLM-L6-v2 from its packaged weights.

A program of its own (``python -m lorestream.providers.minilm_graph WEIGHTS_FOLDER OUT``), run once in a short-lived
process, because importing ``onnx`` and holding the fp32 weights would stay in the server's memory. The graph is BERT
with ONNX Runtime's fused operators; pooling over the attention mask and the L2 norm are inside it. Every matrix is int8
with one scale per output channel, activations are quantised as they come (DynamicQuantizeMatMul); the word table is
int8 with one scale per word.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper
from safetensors.numpy import load_file

Array = NDArray[np.float32]
MICROSOFT = "com.microsoft"
# What onnxruntime 1.17 and newer read; the packaged onnx may be ahead of the runtime.
IR_VERSION, OPSET = 9, 17
LARGEST_INT8 = 127
# Seven bits keep the 16-bit sums of u8 × s8 products from saturating on x86 without VNNI.
LARGEST_INT7 = 63


def quantise(weights: Array, axis: int, largest: int) -> tuple[NDArray[np.int8], Array]:
    """Symmetric int8 of a matrix, one scale for each index that is left when ``axis`` is reduced."""
    scale = np.maximum(np.abs(weights).max(axis=axis, keepdims=True), 1e-12) / largest
    return np.rint(weights / scale).astype(np.int8), scale.squeeze(axis).astype(np.float32)


class Graph:
    """Nodes and constants as they are added; every method returns the name of its result."""

    def __init__(self, weights: dict[str, Array], config: dict[str, float], largest: int) -> None:
        self.weights, self.largest = weights, largest
        self.heads, self.epsilon = int(config["num_attention_heads"]), float(config["layer_norm_eps"])
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """A constant as it is."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op: str, inputs: list[str], domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        """One operator; the name of its first output, the others have the suffixes _1, _2, …."""
        names = [f"{op}_{len(self.nodes)}" + (f"_{n}" if n else "") for n in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        return names[0]

    def linear(self, x: str, name: str, weights: Array, bias: Array) -> str:
        """``x @ weights.T + bias``, with the weights laid out as (out, in)."""
        values, scale = quantise(weights.T, 0, self.largest)
        inputs = [x, self.constant(f"{name}.weight", values), self.constant(f"{name}.scale", scale), ""]
        return self.node("DynamicQuantizeMatMul", [*inputs, self.constant(f"{name}.bias", bias)], MICROSOFT)

    def dense(self, x: str, name: str) -> str:
        """A linear layer under its published name."""
        return self.linear(x, name, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def norm(self, x: str, residual: str, name: str) -> str:
        """Layer normalisation of ``x + residual``."""
        scale = self.constant(f"{name}.weight", self.weights[f"{name}.weight"])
        bias = self.constant(f"{name}.bias", self.weights[f"{name}.bias"])
        return self.node("SkipLayerNormalization", [x, residual, scale, bias], MICROSOFT, epsilon=self.epsilon)

    def embeddings(self) -> str:
        """Words (int8, scaled) plus positions plus the one segment, normalised."""
        values, scale = quantise(self.weights["embeddings.word_embeddings.weight"], 1, LARGEST_INT8)
        rows = self.node("Gather", [self.constant("words", values), "input_ids"])
        scales = self.node("Gather", [self.constant("words.scale", scale[:, None]), "input_ids"])
        words = self.node("Mul", [self.node("Cast", [rows], to=TensorProto.FLOAT), scales])
        segment = self.weights["embeddings.token_type_embeddings.weight"][0]
        table = self.constant("positions", self.weights["embeddings.position_embeddings.weight"] + segment)
        length = self.node("Slice", [self.node("Shape", ["input_ids"]), self.vector("one", 1), self.vector("two", 2)])
        positions = self.node("Slice", [table, self.vector("zero", 0), length, "zero"])
        return self.norm(words, positions, "embeddings.LayerNorm")

    def vector(self, name: str, value: int) -> str:
        """A constant of shape (1,), as operators take axes and indices."""
        return self.constant(name, np.array([value], np.int64))

    def layer(self, x: str, name: str, mask: str) -> str:
        """One transformer layer: attention, then the feed-forward part, each with its residual and norm."""
        parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        weights = np.concatenate([self.weights[f"{part}.weight"] for part in parts])
        bias = np.concatenate([self.weights[f"{part}.bias"] for part in parts])
        joined = self.linear(x, f"{name}.attention.self", weights, bias)
        query = self.node("Split", [joined], outputs=3, axis=2)
        inputs = [query, f"{query}_1", f"{query}_2", "", mask]
        attended = self.node("MultiHeadAttention", inputs, MICROSOFT, num_heads=self.heads)
        x = self.norm(self.dense(attended, f"{name}.attention.output.dense"), x, f"{name}.attention.output.LayerNorm")
        wide = self.node("Gelu", [self.dense(x, f"{name}.intermediate.dense")], MICROSOFT)
        return self.norm(self.dense(wide, f"{name}.output.dense"), x, f"{name}.output.LayerNorm")

    def pool(self, x: str) -> str:
        """The mean over the tokens of the mask, as a unit vector."""
        mask = self.node("Unsqueeze", [self.node("Cast", ["attention_mask"], to=TensorProto.FLOAT), "one"])
        total = self.node("MatMul", [mask, x])
        flat = self.node("Squeeze", [total, "one"])
        return self.node("LpNormalization", [flat], axis=1, p=2)


def build(folder: Path, reduce_range: bool) -> ModelProto:
    """The graph: ``input_ids`` and ``attention_mask``, int64 (batch, length), to ``vectors``, float32 (batch, 384).

    ``folder`` holds ``config.json`` and ``model.safetensors`` as published by sentence-transformers.
    """
    config = json.loads((folder / "config.json").read_text())
    graph = Graph(load_file(folder / "model.safetensors"), config, LARGEST_INT7 if reduce_range else LARGEST_INT8)
    x = graph.embeddings()
    mask = graph.node("Cast", ["attention_mask"], to=TensorProto.INT32)
    for number in range(config["num_hidden_layers"]):
        x = graph.layer(x, f"encoder.layer.{number}", mask)
    vectors = graph.pool(x)
    shape = ["batch", "length"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")]
    output = helper.make_tensor_value_info(vectors, TensorProto.FLOAT, ["batch", config["hidden_size"]])
    made = helper.make_graph(graph.nodes, "minilm", inputs, [output], graph.constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="lorestream")
    checker.check_model(model)
    return model


def write(model: ModelProto, out: Path) -> None:
    """Write the file as a whole or not at all; two processes that write the same file do not disturb each other."""
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(model.SerializeToString())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


def main(folder: str, out: str, *flags: str) -> None:
    """Build from the weights in ``folder`` into the file ``out``; the flag ``--reduce-range`` takes seven bits."""
    write(build(Path(folder), "--reduce-range" in flags), Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
