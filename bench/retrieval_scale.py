"""``python -m bench.retrieval_scale``: a search among 100 000 chunks, of one user and of a hundred.

Times (first and warm), memory, whether the hits are those of an exact comparison, what a search costs while the same
user's documents are being indexed, and the worst questions for the full text. The texts are made up with the
frequencies of a natural language (Zipf), the vectors are random; questions are embedded by the built-in embedder.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import tempfile
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from lorestream.db import Database
from lorestream.documents.integrity import Integrity
from lorestream.documents.models import version_of
from lorestream.documents.store import owner_word
from lorestream.index.base import Vector
from lorestream.index.sqlite import SqliteIndex
from lorestream.providers.minilm import DIMENSIONS, MiniLM
from lorestream.retrieval.models import Found
from lorestream.retrieval.search import CANDIDATES, Retrieval
from lorestream.retrieval.spaces import Embedders

CHUNKS_PER_DOCUMENT, WORDS_PER_CHUNK, BATCH = 100, 130, 64
VOCABULARY = 40_000
SYLLABLES = (
    "ba be bi bo da de di do fa fe ga go ka ki ko la le li lo ma me mi mo na ne no pa po ra re ri ro sa ta te".split()
)
DOCUMENT = """
INSERT INTO documents (doc_id, owner_id, filename, title, media_type, bytes, sha256, chunks, status, progress, embedder,
    attempts, created_at, generation, vectors_sum, changed_at)
VALUES (?, ?, 'x.md', ?, 'text/markdown', 1, ?, ?, 'ready', 1, 'minilm', 0, '2026-01-01', 0, ?, '2026-01-01')
"""


class Texts:
    """Chunks and questions of words as frequent as in a natural language."""

    def __init__(self) -> None:
        chosen = random.Random(7)
        words = {"".join(chosen.choices(SYLLABLES, k=chosen.randint(2, 5))) for _ in range(2 * VOCABULARY)}
        self.words = sorted(words)[:VOCABULARY]
        chosen.shuffle(self.words)
        self._numbers = np.random.default_rng(7)
        frequencies = 1 / (10 + np.arange(VOCABULARY))
        self._sum = np.cumsum(frequencies / frequencies.sum())

    def some(self, count: int, rare: float = 0.0) -> str:
        """A text of this many words, none of the most frequent share ``rare``."""
        places = np.searchsorted(self._sum, self._numbers.uniform(rare, 1, count))
        return " ".join(self.words[min(place, VOCABULARY - 1)] for place in places)


def unit_rows(count: int, seed: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSIONS), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def fill(path: Path, owners: Sequence[str], chunks: int, texts: Texts) -> None:
    """Documents of ``owners``, ``chunks`` in all, straight into the tables."""
    with closing(sqlite3.connect(path)) as database:
        for number in range(chunks // CHUNKS_PER_DOCUMENT):
            owner, doc_id = owners[number % len(owners)], f"{number:032x}"
            blobs = [row.astype("<f4").tobytes() for row in unit_rows(CHUNKS_PER_DOCUMENT, number)]
            title, total = texts.some(3, 0.5), sum(map(zlib.crc32, blobs))
            database.execute(DOCUMENT, (doc_id, owner, title, doc_id, len(blobs), total))
            ids = range(number * CHUNKS_PER_DOCUMENT + 1, (number + 1) * CHUNKS_PER_DOCUMENT + 1)
            bodies = [texts.some(WORDS_PER_CHUNK) for _ in ids]
            database.executemany(
                "INSERT INTO chunks VALUES (?, ?, ?, 0, ?, 0, 1, NULL, '', ?)",
                [(i, doc_id, owner, index, body) for index, (i, body) in enumerate(zip(ids, bodies, strict=True))],
            )
            database.executemany(
                "INSERT INTO chunk_texts (rowid, owner, title, heading, body) VALUES (?, ?, ?, '', ?)",
                [(i, owner_word(owner), title, body) for i, body in zip(ids, bodies, strict=True)],
            )
            database.executemany(
                "INSERT INTO vectors (chunk_id, owner_id, version, space, embedding) VALUES (?, ?, ?, 'minilm', ?)",
                [(i, owner, version_of(doc_id, 0), blob) for i, blob in zip(ids, blobs, strict=True)],
            )
        database.executemany("INSERT INTO index_revisions VALUES (?, 1)", [(owner,) for owner in owners])
        database.commit()


def megabytes() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20


async def timed(what: str, search: Callable[[int], Awaitable[Found]], count: int) -> None:
    """Print a row: how long ``count`` searches took, their parts, and the processor time of one of them."""
    took, parts, began_cpu = [], [], time.process_time()
    for number in range(count):
        began = time.perf_counter()
        parts.append((await search(number)).timings)
        took.append((time.perf_counter() - began) * 1000)
    cpu = (time.process_time() - began_cpu) * 1000 / count
    p50, p99 = np.percentile(took, [50, 99])
    medians = (np.median([getattr(one, name) for one in parts]) for name in ("embed_ms", "dense_ms", "lexical_ms"))
    print(f"| {what} | {p50:.0f} | {p99:.0f} | {' | '.join(f'{one:.0f}' for one in medians)} | {cpu:.0f} |", flush=True)


async def measure(folder: Path, models: Path, owners: Sequence[str], chunks: int, searches: int) -> None:
    db, embedder, texts = Database(folder / "scale.db"), MiniLM(models), Texts()
    await asyncio.to_thread(db.migrate)
    await asyncio.to_thread(fill, db.path, owners, chunks, texts)
    await embedder.embed_query("ready?")
    index = SqliteIndex(db)
    retrieval = Retrieval(db, index, Embedders(embedder), 0.28, integrity=Integrity(db, index))
    questions = [texts.some(10, 0.2) for _ in range(searches)]
    print(f"\n{chunks} chunks of {len(owners)} users, {db.path.stat().st_size / 2**20:.0f} MB on disk\n")
    print("| search | p50 ms | p99 ms | embedding | vectors | full text | CPU ms |\n|---|---|---|---|---|---|---|")

    def asking(asked: Sequence[str], doc_ids: list[str] | None = None) -> Callable[[int], Awaitable[Found]]:
        return lambda n: retrieval.find(owners[n % len(owners)], asked[n % len(asked)], 10, doc_ids)

    before = megabytes()
    await timed("the first of each user", asking(questions), len(owners))
    await timed("warm", asking(questions), searches)
    held = megabytes() - before
    if len(owners) == 1:
        every = [f"{number:032x}" for number in range(chunks // CHUNKS_PER_DOCUMENT)]
        await timed("within 10 documents", asking(questions, every[:10]), searches // 3)
        await timed("within half of the documents", asking(questions, every[::2]), searches // 5)
    await timed("24 words as frequent as stop words", asking([" ".join(texts.words[:24])]), 10)
    stop = asyncio.Event()
    adding = asyncio.create_task(keep_adding(db, index, owners[0], chunks, stop))
    await timed(
        "while that user's upload is indexed",
        lambda n: retrieval.find(owners[0], questions[n % len(questions)], 10),
        searches // 5,
    )
    stop.set()
    print(f"\nbatches written meanwhile: {await adding}; memory of the matrices: {held:.0f} MB")
    print(f"recall@{CANDIDATES} against an exact comparison: {await exact(db.path, index, owners[0]):.4f}")
    await embedder.close()
    await db.close()


async def keep_adding(db: Database, index: SqliteIndex, owner: str, at: int, stop: asyncio.Event) -> int:
    """Write vectors as ingestion does, a batch each half second, of a document that is not there yet."""
    batches = 0
    while not stop.is_set():
        vectors = unit_rows(BATCH, at + batches)
        async with db.write() as session:
            first = at + 1 + batches * BATCH
            rows = [Vector(first + number, row) for number, row in enumerate(vectors)]
            await index.add(session, owner, version_of("f" * 32, 0), "minilm", rows)
        batches += 1
        await asyncio.sleep(0.5)
    return batches


async def exact(path: Path, index: SqliteIndex, owner: str) -> float:
    """The share of the index's hits that a comparison in double precision with every stored vector finds, too."""
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT chunk_id, embedding FROM vectors WHERE owner_id = ?", (owner,)).fetchall()
    ids = np.array([chunk_id for chunk_id, _ in rows])
    matrix = np.frombuffer(b"".join(blob for _, blob in rows), dtype="<f4").reshape(len(rows), DIMENSIONS)
    found = 0
    for query in unit_rows(20, 1):
        best = ids[np.argsort(-(matrix.astype(np.float64) @ query.astype(np.float64)))[:CANDIDATES]]
        hits = await index.search(owner, "minilm", query, CANDIDATES)
        found += len(set(best.tolist()) & {hit.chunk_id for hit in hits})
    return found / (20 * CANDIDATES)


def main() -> None:
    """Measure both and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("data/models"), help="where the embedder's graph is kept")
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--searches", type=int, default=300)
    asked = parser.parse_args()
    for count in (1, 100):
        with tempfile.TemporaryDirectory() as folder:
            owners = [f"owner{number}" for number in range(count)]
            asyncio.run(measure(Path(folder), asked.models, owners, asked.chunks, asked.searches))


if __name__ == "__main__":
    main()
