"""How fast documents of each format are indexed, what it takes, and what ten running answers notice of it.

``python -m bench.ingestion``. Each format's documents go in as one ZIP file and are followed to their end: pages and
passages a second of wall time, and the processor time of the ingestion worker with its readers as a share of one
core. Then ten answers stream at an even pace, in turns beside an idle worker and beside a busy one: the gaps between
their tokens tell whether ingestion is on anybody's way (promise P10). Where a format has no pages, 1 800 characters of
text are one.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import openpyxl
import pptx
import psutil
from tests.fakes import files
from tests.fakes.reading import GEO, QUESTION
from tests.fakes.server import RunningServer, running_server

from bench.relay import _free_port, _spawn, _wait_for

PAGE_CHARACTERS = 1800
PAGES_OF_A_DOCUMENT = 12


def text_of_page(document: int, page: int) -> list[str]:
    """Some 1 800 characters of prose, different on every page."""
    return [
        f"Section {document}.{page}.{part} of the report states that the measured value {document * page + part} was "
        f"confirmed by laboratory {part}, which lies {page} kilometres from the river and keeps {document} archives."
        for part in range(10)
    ]


def as_pdf(document: int) -> bytes:
    """Twelve pages of short lines."""
    pages = [[line[:85] for text in text_of_page(document, page) for line in (text, text[85:])] for page in range(12)]
    return files.pdf(pages)


def as_docx(document: int) -> bytes:
    """A heading a page."""
    with tempfile.TemporaryDirectory() as folder:
        body = "".join(
            files.paragraph(f"Chapter {page}", "berschrift1")
            + "".join(map(files.paragraph, text_of_page(document, page)))
            for page in range(PAGES_OF_A_DOCUMENT)
        )
        return files.docx(Path(folder) / "a.docx", body).read_bytes()


def as_pptx(document: int) -> bytes:
    """A slide a page."""
    deck, out = pptx.Presentation(), io.BytesIO()
    for page in range(PAGES_OF_A_DOCUMENT):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = f"Chapter {page}"
        slide.placeholders[1].text = "\n".join(text_of_page(document, page))
    deck.save(out)
    return out.getvalue()


def as_xlsx(document: int) -> bytes:
    """A sheet a page."""
    book, out = openpyxl.Workbook(), io.BytesIO()
    for page in range(PAGES_OF_A_DOCUMENT):
        sheet = book.create_sheet(f"Chapter {page}")
        for number, text in enumerate(text_of_page(document, page)):
            sheet.append([number, text])
    book.save(out)
    return out.getvalue()


def as_epub(document: int) -> bytes:
    """A chapter a page."""
    pages = range(PAGES_OF_A_DOCUMENT)
    items = "".join(f'<item id="c{n}" href="c{n}.xhtml" media-type="application/xhtml+xml"/>' for n in pages)
    spine = "".join(f'<itemref idref="c{n}"/>' for n in pages)
    title = f'<dc:title xmlns:dc="http://purl.org/dc/elements/1.1/">Report {document}</dc:title>'
    package = f"<metadata>{title}</metadata><manifest>{items}</manifest><spine>{spine}</spine>"
    parts = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="a.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
        "a.opf": f'<package xmlns="http://www.idpf.org/2007/opf">{package}</package>',
        **{f"c{n}.xhtml": as_html(document, [n]).decode() for n in pages},
    }
    return files.zipped({name: content.encode() for name, content in parts.items()})


def as_html(document: int, pages: list[int] | None = None) -> bytes:
    """A heading a page."""
    body = "".join(
        f"<h1>Chapter {page}</h1>" + "".join(f"<p>{text}</p>" for text in text_of_page(document, page))
        for page in pages or range(PAGES_OF_A_DOCUMENT)
    )
    return f'<html xmlns="http://www.w3.org/1999/xhtml"><body>{body}</body></html>'.encode()


def as_markdown(document: int) -> bytes:
    """A heading a page."""
    pages = (f"# Chapter {n}\n\n" + "\n\n".join(text_of_page(document, n)) for n in range(PAGES_OF_A_DOCUMENT))
    return "\n\n".join(pages).encode()


def as_text(document: int) -> bytes:
    """Paragraphs."""
    return "\n\n".join(text for page in range(PAGES_OF_A_DOCUMENT) for text in text_of_page(document, page)).encode()


def as_csv(document: int) -> bytes:
    """A row a sentence."""
    rows = (f'{page},"{text}"' for page in range(PAGES_OF_A_DOCUMENT) for text in text_of_page(document, page))
    return "\n".join(("page,statement", *rows)).encode()


def as_json(document: int) -> bytes:
    """An object a sentence."""
    pages = {f"chapter {page}": text_of_page(document, page) for page in range(PAGES_OF_A_DOCUMENT)}
    return json.dumps(pages, indent=1).encode()


FORMATS: dict[str, Callable[[int], bytes]] = {
    "pdf": as_pdf, "docx": as_docx, "pptx": as_pptx, "xlsx": as_xlsx, "epub": as_epub, "html": as_html,
    "md": as_markdown, "txt": as_text, "csv": as_csv, "json": as_json,
}  # fmt: skip


@dataclass(frozen=True)
class Speed:
    """What a batch took."""

    pages: float
    chunks: int
    seconds: float
    cpu_seconds: float

    def __str__(self) -> str:
        rates = f"{self.pages / self.seconds:7.1f} pages/s {self.chunks / self.seconds:7.1f} passages/s"
        per_passage = self.cpu_seconds / self.chunks * 1000
        return f"{rates}   {self.cpu_seconds / self.seconds:4.2f} cores   {per_passage:6.1f} ms CPU a passage"


def worker_of(server: RunningServer) -> psutil.Process:
    """The ingestion worker of a server."""
    children = psutil.Process(server.process.pid).children()
    return next(one for one in children if "lorestream.ingest_worker" in one.cmdline())


def cpu_of(process: psutil.Process) -> float:
    """Its processor time with that of the readers it has collected, in seconds."""
    return float(sum(process.cpu_times()[:4]))


def batch_of(http: httpx.Client, documents: dict[str, bytes]) -> str:
    """Queue documents as one ZIP file."""
    answer = http.post("/batches/archives", files={"file": ("a.zip", files.zipped(documents))}, timeout=120)
    return str(answer.raise_for_status().json()["batch_id"])


def speed_of(server: RunningServer, http: httpx.Client, ending: str, first: int, count: int) -> Speed:
    """Index ``count`` documents of one format."""
    made = {f"{number}.{ending}": FORMATS[ending](number) for number in range(first, first + count)}
    worker = worker_of(server)
    began, cpu = time.monotonic(), cpu_of(worker)
    batch_id = batch_of(http, made)
    http.get(f"/batches/{batch_id}/events", timeout=3600).raise_for_status()  # ends when all is settled
    seconds, cpu = time.monotonic() - began, cpu_of(worker) - cpu
    batch = http.get(f"/batches/{batch_id}").json()
    assert batch["ready"] == count, batch
    characters = sum(len(text) for page in range(PAGES_OF_A_DOCUMENT) for text in text_of_page(first, page))
    return Speed(batch["pages"] or count * characters / PAGE_CHARACTERS, batch["chunks"], seconds, cpu)


class Listener(asyncio.Protocol):
    """Asks once, and notes when tokens come."""

    def __init__(self, request: bytes) -> None:
        self.times: list[float] = []
        self.begun = asyncio.Event()
        self._request = request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if b'"token"' in data:
            self.times.append(time.monotonic())
            self.begun.set()


@asynccontextmanager
async def listeners(port: int, request: bytes, count: int) -> AsyncIterator[list[Listener]]:
    """Streams that have begun."""
    loop = asyncio.get_running_loop()
    made = [(await loop.create_connection(lambda: Listener(request), "127.0.0.1", port))[1] for _ in range(count)]
    try:
        async with asyncio.timeout(60):
            await asyncio.gather(*(one.begun.wait() for one in made))
        yield made
    finally:
        for one in made:
            one.transport.abort()


async def gaps_of(port: int, request: bytes, count: int, seconds: float) -> list[float]:
    """The times between the tokens of each of ``count`` streams, in milliseconds, sorted."""
    async with listeners(port, request, count) as made:
        before = [len(one.times) for one in made]
        await asyncio.sleep(seconds)
        windows = [one.times[start:] for one, start in zip(made, before, strict=True)]
    return sorted((b - a) * 1000 for times in windows for a, b in itertools.pairwise(times))


def percentile(values: list[float], share: float) -> float:
    """Of sorted values."""
    return values[min(len(values) - 1, int(share * len(values)))]


def measure_gaps(server: RunningServer, http: httpx.Client, options: argparse.Namespace) -> None:
    """Print the gaps beside an idle and a busy worker, in turns, and their ratio."""
    port = int(re.findall(r":(\d+)$", server.url)[0])
    asked = QUESTION.replace(" ", "+").replace("?", "%3F")
    ask = f"GET /query/stream/?question={asked} HTTP/1.1\r\nHost: localhost\r\n"
    request = f"{ask}Authorization: {http.headers['authorization']}\r\n\r\n".encode()
    found: dict[str, list[list[float]]] = {"idle": [], "busy": []}
    for turn in range(options.rounds):
        found["idle"].append(asyncio.run(gaps_of(port, request, options.streams, options.seconds)))
        documents = {f"{turn}-{n}.pdf": as_pdf(10_000 * (turn + 1) + n) for n in range(400)}
        batch_id = batch_of(http, documents)
        found["busy"].append(asyncio.run(gaps_of(port, request, options.streams, options.seconds)))
        assert http.get(f"/batches/{batch_id}").json()["status"] != "done", (
            "the worker was idle before the window's end"
        )
        http.post(f"/batches/{batch_id}/cancel", timeout=120).raise_for_status()
    for share, name in ((0.5, "p50"), (0.99, "p99"), (1.0, "max")):
        idle, busy = (statistics.median(percentile(one, share) for one in found[kind]) for kind in ("idle", "busy"))
        print(f"{name} of the gaps of {options.streams} streams: {idle:.1f} ms beside an idle worker, "
              f"{busy:.1f} ms beside a busy one, {busy / idle:.2f} times")  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20, help="of each format")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "models").mkdir()
        upstream = _free_port()
        tokens = str(int(50 * (options.seconds + 120)))
        _spawn(
            stack, sys.executable, "-m", "tests.fakes.upstream", "--port", str(upstream), "--format", "openai",
            "--tokens-per-second", "50", "--tokens", tokens,
        )  # fmt: skip
        _wait_for(upstream)
        server = stack.enter_context(
            running_server(
                folder / "data", folder / "models", model="openai:tiny:latest", max_output_tokens="32768",
                openai_base_url=f"http://127.0.0.1:{upstream}/v1", context_tokens="65536",
            )
        )  # fmt: skip
        headers = server.register()
        server.upload(headers, "geo.txt", GEO)
        http = stack.enter_context(httpx.Client(base_url=server.url, headers=headers))
        for number, ending in enumerate(options.formats.split(",")):
            print(f"{ending:>5} {speed_of(server, http, ending, 1000 * number + 1, options.documents)}", flush=True)
        measure_gaps(server, http, options)


if __name__ == "__main__":
    main()
