"""A real llama.cpp server with a tiny random model, in a child process that can be killed.

In a test::

    async with llama_server(tmp_path, slots=1) as server:
        model = OpenAIModel("tiny", Endpoint(server.base_url))

The weights are random, so its words mean nothing; ``grammar`` (GBNF) gives chosen text for every request.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import xllamacpp

LAYERS, WIDTH, HEADS, CONTEXT = 2, 64, 4, 4096
SPECIAL = ("<unk>", "<s>", "</s>")
# Printable ASCII first as plain tokens, so that random weights mostly write readable text.
PLAIN = (*map(chr, range(33, 127)), "\u2581", "\u2581the", "\u2581of", "\u2581in")
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant: "
UNKNOWN, NORMAL, CONTROL, BYTE = 2, 1, 3, 6  # llama.cpp's token types


def write_model(path: Path, seed: int = 0) -> Path:
    """Write a Llama of two layers and random weights, about 0.5 MB, as GGUF."""
    random = np.random.default_rng(seed)
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *PLAIN]
    types = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(PLAIN)]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(index) for index in range(len(tokens))])
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for name, shape in _tensors(len(tokens)).items():
        weights = np.ones(shape) if "norm" in name else random.normal(0, 0.08, shape)
        writer.add_tensor(name, weights.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors(vocabulary: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (vocabulary, WIDTH),
        "output_norm.weight": (WIDTH,),
        "output.weight": (vocabulary, WIDTH),
    }
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"blk.{layer}.{name}.weight"] = (WIDTH, WIDTH)
        for name in ("attn_norm", "ffn_norm"):
            shapes[f"blk.{layer}.{name}.weight"] = (WIDTH,)
        shapes[f"blk.{layer}.ffn_gate.weight"] = (2 * WIDTH, WIDTH)
        shapes[f"blk.{layer}.ffn_up.weight"] = (2 * WIDTH, WIDTH)
        shapes[f"blk.{layer}.ffn_down.weight"] = (WIDTH, 2 * WIDTH)
    return shapes


@dataclass
class LlamaServer:
    """A running server; ``process`` can be killed."""

    url: str
    process: asyncio.subprocess.Process

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    async def slots(self) -> list[dict[str, Any]]:
        """The state of its slots: ``is_processing`` tells whether one is generating."""

        def get() -> list[dict[str, Any]]:
            with urllib.request.urlopen(f"{self.url}/slots", timeout=5) as answer:
                slots: list[dict[str, Any]] = json.load(answer)
                return slots

        return await asyncio.to_thread(get)

    async def wait_idle(self, seconds: float = 5.0) -> float:
        """Wait until no slot generates; the seconds that it took."""
        begun = time.monotonic()
        async with asyncio.timeout(seconds):
            while any(slot["is_processing"] for slot in await self.slots()):  # noqa: ASYNC110 (a foreign process)
                await asyncio.sleep(0.005)
        return time.monotonic() - begun


@contextlib.asynccontextmanager
async def llama_server(folder: Path, *, slots: int = 1, grammar: str = "") -> AsyncIterator[LlamaServer]:
    """Start a server with ``slots`` slots on a free port of 127.0.0.1; killed at the end."""
    model = folder / "tiny.gguf"
    if not model.exists():
        write_model(model)
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "tests.fakes.llama",
            "--model",
            str(model),
            "--slots",
            str(slots),
            "--grammar",
            grammar,
        ),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout
        async with asyncio.timeout(60):
            while not (line := await process.stdout.readline()).startswith(b"READY "):
                assert line, "the llama.cpp server ended while starting"
        yield LlamaServer(line.decode().split()[1], process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def _serve(model: str, slots: int, grammar: str) -> None:
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = slots
    params.n_ctx = CONTEXT * slots
    params.n_predict = -1
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.endpoint_slots = True
    params.warmup = False
    if grammar:
        user = xllamacpp.common_grammar_type.COMMON_GRAMMAR_TYPE_USER
        params.sampling.grammar = xllamacpp.CommonGrammar(user, grammar)
    server = xllamacpp.Server(params)
    sys.stdout.write(f"READY {server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()  # until the parent is gone


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A llama.cpp server with a tiny random model.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--grammar", default="")
    options = parser.parse_args()
    _serve(options.model, options.slots, options.grammar)
