"""Reading in a child process: results, typed failures, and limits that hold against hostile files and readers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lorestream.documents import sandbox
from lorestream.documents.parse import (
    CODE,
    CSV,
    DOCX,
    EPUB,
    HTML,
    JSON,
    MARKDOWN,
    PDF,
    PLAIN,
    PPTX,
    DocumentFailed,
    Parsed,
)
from lorestream.documents.sandbox import parse_file
from tests.fakes import files

MIB = 1024 * 1024
READER = "lorestream.documents.formats"
CRASHES = [(signal.SIGSEGV, "broken"), (signal.SIGABRT, "broken"), (signal.SIGKILL, "memory")]


async def read(path: Path, media_type: str, seconds: float = 60, memory: int = 512 * MIB) -> Parsed:
    return await parse_file(path, media_type, timeout_seconds=seconds, memory_bytes=memory)


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the reader of plain text run this body (of a function of ``path``) in the child."""

    def install(body: str) -> None:
        (tmp_path / "sitecustomize.py").write_text(
            "import os, signal, sys, time\nfrom lorestream.documents.formats import plain\n"
            f"def parse(path):\n{textwrap.indent(body, '    ')}\nplain.parse = parse\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return install


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("text")
    return path


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    yield
    assert not [child for child in psutil.Process().children() if child.is_running() and READER in child.cmdline()]


async def test_every_format_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("# Title\n\nGrüße 🦜")
    assert await read(path, PLAIN) == Parsed("# Title\n\nGrüße 🦜")
    parsed = await read(path, MARKDOWN)
    assert (parsed.title, parsed.headings[0].text) == ("Title", "Title")
    path.write_text("<title>T</title><p>Body of the page.")
    assert (await read(path, HTML)).text == "Body of the page."
    path.write_bytes(files.pdf([["One."], ["Two."]]))
    assert [page.number for page in (await read(path, PDF)).pages] == [1, 2]
    assert (await read(files.docx(path, files.paragraph("Body.")), DOCX)).text == "Body."
    path.write_text("a,b\n1,2\n")
    assert (await read(path, CSV)).text == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    path.write_text('{"a": 1}')
    assert [(await read(path, kind)).text for kind in (JSON, CODE)] == ["a: 1", '{"a": 1}']


async def test_an_archive_is_read_as_what_it_is(tmp_path: Path) -> None:
    """Whatever its name and its first bytes made of it."""
    path = files.docx(tmp_path / "file", files.paragraph("Body."))
    assert [(await read(path, kind)).text for kind in (PPTX, EPUB)] == ["Body.", "Body."]


async def test_failures_of_readers_arrive_typed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content, media_type, code in [
        (b" \n", PLAIN, "empty"),
        (b"<html><body></body></html>", HTML, "empty"),
        (files.pdf([[]]), PDF, "no_text"),
        (files.pdf([["x"]], encryption="password"), PDF, "encrypted"),
        (b"nothing", PDF, "broken"),
        (b"nothing", DOCX, "broken"),
    ]:
        path.write_bytes(content)
        with pytest.raises(DocumentFailed) as failed:
            await read(path, media_type)
        assert (failed.value.code, bool(failed.value.message)) == (code, True)


async def test_an_endless_reader_is_killed(text_file: Path, hostile: Callable[[str], None]) -> None:
    hostile("while True: pass")
    with pytest.raises(DocumentFailed, match=r"longer than 0\.5 seconds") as failed:
        await read(text_file, PLAIN, seconds=0.5)
    assert failed.value.code == "timeout"


def test_processor_time_is_limited_too() -> None:
    limited = "from lorestream.documents.formats.__main__ import limit; limit(10**9, 1)"
    done = subprocess.run([sys.executable, "-c", f"{limited}\nwhile True: pass"], check=False)
    assert done.returncode in {-signal.SIGXCPU, -signal.SIGKILL}


async def test_a_reader_that_wants_too_much_memory_ends(text_file: Path, hostile: Callable[[str], None]) -> None:
    hostile("x = [bytes(2**20) for _ in range(10**6)]")
    with pytest.raises(DocumentFailed) as failed:
        await read(text_file, PLAIN, memory=128 * MIB)
    assert failed.value.code == "memory"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGSEGV, "broken"), (signal.SIGABRT, "broken"), (signal.SIGKILL, "memory")]
)
async def test_a_crash_of_the_reader_costs_only_the_document(
    text_file: Path, hostile: Callable[[str], None], number: signal.Signals, code: str
) -> None:
    hostile(f"os.kill(os.getpid(), {int(number)})")
    with pytest.raises(DocumentFailed) as failed:
        await read(text_file, PLAIN)
    assert failed.value.code == code


async def test_what_a_reader_prints_or_raises_never_reaches_users(
    text_file: Path, hostile: Callable[[str], None]
) -> None:
    hostile("print('noise'); os.write(1, b'noise'); sys.stderr.write('secret'); raise ValueError('secret')")
    with pytest.raises(DocumentFailed) as failed:
        await read(text_file, PLAIN)
    assert (failed.value.code, "secret" in failed.value.message) == ("broken", False)


async def test_a_flood_of_text_is_cut(
    text_file: Path, hostile: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "MAX_RESULT_BYTES", MIB)
    hostile("from lorestream.documents.parse import Parsed; return Parsed('x' * (2 * 2**20))")
    with pytest.raises(DocumentFailed) as failed:
        await read(text_file, PLAIN)
    assert failed.value.code == "too_large"


async def test_the_reader_sees_no_secrets_and_writes_no_files(
    text_file: Path, hostile: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORESTREAM_OPENAI_API_KEY", "secret")
    hostile(
        "from lorestream.documents.parse import Parsed\n"
        "try: (path.parent / 'written').write_text('x')\n"
        "except OSError: pass\n"
        "return Parsed(repr(sorted(os.environ)) + repr((path.parent / 'written').read_text()))"
    )
    text = (await read(text_file, PLAIN)).text
    assert "LORESTREAM" not in text
    assert text.endswith("''")


async def test_cancellation_kills_the_reader_and_what_it_started(
    text_file: Path, hostile: Callable[[str], None], tmp_path: Path
) -> None:
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    hostile(
        f"import subprocess; child = subprocess.Popen(['sleep', '600'])\n"
        f"with open({str(fifo)!r}, 'w') as out: out.write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(600)"
    )
    reading = asyncio.create_task(read(text_file, PLAIN, seconds=100))
    async with asyncio.timeout(30):
        started = await asyncio.to_thread(fifo.read_text)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        reader, child = map(int, started.split())
        assert not psutil.pid_exists(reader)
        await asyncio.to_thread(wait_for_end, child)


def wait_for_end(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            process.wait(10)


@pytest.mark.parametrize("depth", [1_000, 200_000])
async def test_deep_nesting_is_read_or_refused(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "file"
    path.write_text("<div>" * depth + "deep" + "</div>" * depth)
    assert await text_or_code(path, HTML) in {"deep", "broken", "empty"}
    files.docx(path, "<w:sdt>" * depth + files.paragraph("deep") + "</w:sdt>" * depth)
    assert await text_or_code(path, DOCX) in {"deep", "broken", "too_large", "memory"}


async def text_or_code(path: Path, media_type: str) -> str:
    try:
        return (await read(path, media_type)).text
    except DocumentFailed as failed:
        return failed.code


def test_readers_import_only_what_they_need() -> None:
    heavy = ["asyncio", "sqlalchemy", "fastapi", "onnxruntime", "trafilatura", "lxml", "pypdfium2", "pydantic"]
    code = (
        "import sys, lorestream.documents.formats.__main__, lorestream.documents.formats.plain\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
