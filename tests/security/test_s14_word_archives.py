"""S14: of a document's archive no more is unpacked than its limits allow, whatever its directory says."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path

import psutil
import pytest

from lorestream.documents.formats import archive, docx
from lorestream.documents.parse import DOCX, EXTENSIONS, DocumentFailed
from lorestream.documents.sandbox import parse_file
from tests.fakes.files import docx as written
from tests.fakes.files import paragraph
from tests.security.bombs import BOMBS, MIB, one_long_text

ROOM = 384 * MIB
ARCHIVES = {".docx", ".pptx", ".xlsx", ".epub"}
READER = "lorestream.documents.formats"


async def peak_of(work: asyncio.Task[object]) -> int:
    """The largest resident memory of any reader while the work is done."""
    most = 0
    while not work.done():
        await asyncio.wait([work], timeout=0.01)
        for child in psutil.Process().children(recursive=True):
            try:
                if READER in child.cmdline():
                    most = max(most, child.memory_info().rss)
            except psutil.Error:
                continue
    return most


@pytest.mark.parametrize("name", [name for name, (ending, _, _) in BOMBS.items() if ending in ARCHIVES])
async def test_a_bomb_takes_no_memory(tmp_path: Path, name: str) -> None:
    ending, make, codes = BOMBS[name]
    path = tmp_path / f"bomb{ending}"
    path.write_bytes(make())

    async def read() -> object:
        try:
            return await parse_file(path, EXTENSIONS[ending], timeout_seconds=20, memory_bytes=ROOM) and "ready"
        except DocumentFailed as failed:
            return failed.code

    work = asyncio.create_task(read())
    assert await peak_of(work) < 200 * MIB
    assert work.result() in codes


async def test_230_kilobytes_with_one_long_text_are_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.docx"
    path.write_bytes(one_long_text())
    assert path.stat().st_size < 400_000

    async def read() -> object:
        return len((await parse_file(path, DOCX, timeout_seconds=60, memory_bytes=ROOM)).text)

    work = asyncio.create_task(read())
    assert await peak_of(work) < ROOM
    assert work.result() == 20 * MIB // 250 * 250


def test_bytes_are_counted_as_they_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory's numbers are the first look only."""
    path = written(tmp_path / "a.docx", paragraph("word " * 10_000))
    monkeypatch.setattr(archive, "MAX_PART_BYTES", 20_000)
    with pytest.raises(DocumentFailed) as failed:
        docx.parse(path)
    assert failed.value.code == "too_large"


@pytest.mark.parametrize(
    ("limit", "value"), [("MAX_ENTRIES", 2), ("MAX_PART_BYTES", 100), ("MAX_RATIO", 0)], ids=lambda given: str(given)
)
def test_what_is_too_much_is_refused_before_anything_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    def unpack(*_: object) -> None:
        raise AssertionError("unpacked")

    path = written(tmp_path / "a.docx", paragraph("word " * 10_000))
    monkeypatch.setattr(archive, limit, value)
    monkeypatch.setattr(archive, "RATIO_FROM_BYTES", 1000)
    monkeypatch.setattr(zipfile.ZipFile, "open", unpack)
    with pytest.raises(DocumentFailed) as failed:
        docx.parse(path)
    assert failed.value.code == "too_large"
