"""Files as people have them, thrown at a server all at once: good, empty, broken, locked, unreadable, and bombs."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import httpx

from tests.fakes import files
from tests.security.bombs import BOMBS

UPLOADS_AT_ONCE = 32
Expected = set[str]


class Thrown(NamedTuple):
    """A file, and what may become of it: ``ready``, a code of a failure, or the status of a refusal."""

    name: str
    content: bytes
    expected: Expected


def paragraphs(number: int, count: int) -> list[str]:
    return [f"Part {n} of the report {number} says what its {n * number} parts are made of. " * 6 for n in range(count)]


def docx(number: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        body = "".join(files.paragraph(text) for text in paragraphs(number, 8))
        return files.docx(Path(folder) / "a.docx", body).read_bytes()


def good(number: int) -> tuple[str, bytes]:
    """A readable file; every number gives another one."""
    texts = paragraphs(number, 8)
    lines = [[f"Report {number}, page {page}", *texts[page][:400].split(". ")] for page in range(3)]
    kinds: dict[str, Callable[[], str | bytes]] = {
        ".md": lambda: f"# Report {number}\n\n" + "\n\n".join(texts),
        ".txt": lambda: "\n\n".join(texts),
        ".html": lambda: f"<html><body><h1>Report {number}</h1><p>{'</p><p>'.join(texts)}</p></body></html>",
        ".csv": lambda: "name,value\n" + "\n".join(f"part {n},{n * number}" for n in range(40)),
        ".pdf": lambda: files.pdf(lines),
        ".docx": lambda: docx(number),
    }
    ending, make = list(kinds.items())[number % len(kinds)]
    content = make()
    return ending, content if isinstance(content, bytes) else content.encode()


def mixed(count: int, bombs: Iterable[str] = tuple(BOMBS)) -> list[Thrown]:
    """``count`` files, or some more where there are many ``bombs``: two thirds are good, each tenth one is a twin."""
    thrown = [Thrown(f"bomb-{name}{BOMBS[name][0]}", BOMBS[name][1](), BOMBS[name][2]) for name in bombs]
    for number in range(1, count - len(thrown) + 1):
        name = f"{number:04}"
        match number % 12:
            case 1:
                thrown.append(Thrown(f"{name}.md", b"", {"422"}))
            case 2:
                thrown.append(Thrown(f"{name}.pdf", files.pdf([["cut off"]])[:120] + name.encode(), {"broken"}))
            case 3:
                lock = files.pdf([[f"locked {name}"]], encryption="password")
                thrown.append(Thrown(f"{name}.pdf", lock, {"encrypted"}))
            case 4:
                thrown.append(Thrown(f"{name}.exe", b"MZ\x00\x01", {"415"}))
            case 5:
                thrown.append(Thrown(f"{name}.txt", b" \n" * number, {"empty"}))
            case 6:
                ending, content = good(number + 1)
                thrown.append(Thrown(f"{name}-again{ending}", content, {"ready"}))
            case _:
                ending, content = good(number)
                thrown.append(Thrown(f"{name}{ending}", content, {"ready"}))
    return thrown


@dataclass
class Outcome:
    """What became of each file, what was not as expected, and how long other requests took meanwhile (seconds)."""

    became: dict[str, str] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    def latency(self, share: float) -> float:
        """A percentile of the latencies, in seconds."""
        return sorted(self.latencies)[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


async def throw(http: httpx.AsyncClient, thrown: Sequence[Thrown], within_seconds: float) -> Outcome:
    """Upload all at once into one batch, and wait until each is ready or has a reason."""
    outcome, began, over = Outcome(), time.monotonic(), asyncio.Event()
    batch_id = (await http.post("/batches/", json={"name": "Mixed"})).raise_for_status().json()["batch_id"]
    doc_ids: dict[str, str] = {}
    gate = asyncio.Semaphore(UPLOADS_AT_ONCE)

    async def upload(one: Thrown) -> None:
        async with gate:
            form = {"file": (one.name, one.content)}
            answer = await http.post("/documents/", params={"wait": 0, "batch_id": batch_id}, files=form, timeout=120)
        if answer.is_success:
            doc_ids[one.name] = answer.json()["doc_id"]
        else:
            assert answer.json()["message"], one.name
            outcome.became[one.name] = str(answer.status_code)

    async def ask() -> None:
        while not over.is_set():
            start = time.monotonic()
            (await http.get("/documents/", timeout=120)).raise_for_status()
            outcome.latencies.append(time.monotonic() - start)
            await asyncio.sleep(0.02)

    asking = asyncio.create_task(ask())
    async with asyncio.timeout(within_seconds):
        await asyncio.gather(*map(upload, thrown))
        async with http.stream("GET", f"/batches/{batch_id}/events", timeout=120) as progress:
            await progress.aread()  # ends when everything is settled
    outcome.seconds = time.monotonic() - began
    over.set()
    await asking
    for name, doc_id in doc_ids.items():
        document = (await http.get(f"/documents/{doc_id}")).json()
        failed = document["status"] == "failed" and document["error"]["message"]
        outcome.became[name] = document["error"]["code"] if failed else document["status"]
    outcome.strange = [
        f"{one.name}: {outcome.became.get(one.name)}"
        for one in thrown
        if outcome.became.get(one.name) not in one.expected
    ]
    return outcome
