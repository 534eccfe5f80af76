"""S13: of a ZIP file of documents no more is unpacked than its limits allow, and nowhere else than it belongs."""

from __future__ import annotations

import asyncio
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from lorestream.documents.archive import documents_of
from tests.fakes.documents import Desk, client, desk
from tests.fakes.files import zipped
from tests.security.bombs import MIB

FRANCE = b"# France\n\nParis is the capital of France.\n"
MOST_MEMORY = 24 * MIB


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path / "data", max_upload_bytes=64 * MIB, max_archive_entries=1000) as opened:
        yield opened


@pytest.fixture
async def http(at: Desk) -> AsyncIterator[httpx.AsyncClient]:
    async with client(at) as made:
        yield made


def entry(name: bytes, size: int, packed: int, *, method: int = 8, offset: int = 0, crc: int = 0) -> bytes:
    """One entry of a directory."""
    head = (20, 20, 0, method, 0, 0, crc, packed, size, len(name), 0, 0, 0, 0, 0, offset)
    return struct.pack("<4s6H3I5H2I", b"PK\x01\x02", *head) + name


def local(name: bytes, data: bytes) -> bytes:
    return struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, 0, 0, len(name), 0) + name + data


def archive(content: bytes, directory: bytes, count: int) -> bytes:
    count = min(count, 0xFFFF)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(directory), len(content), 0)
    return content + directory + end


def a_million_entries() -> bytes:
    """A directory of 50 MB, which says that it has one entry."""
    return archive(b"", entry(b"a.md", 1, 1) * 1_000_000, 1)


def ten_gigabytes_claimed() -> bytes:
    return archive(b"", b"".join(entry(b"%d.md" % n, 0xFFFFFFF, 1) for n in range(40)), 40)


def overlapping() -> bytes:
    """The same packed megabyte under many names (as in David Fifield's bombs)."""
    data = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = data.compress(b"A" * (16 * MIB)) + data.flush()
    directory = b"".join(entry(b"%d.md" % n, 16 * MIB, len(packed)) for n in range(50))
    return archive(local(b"0.md", packed), directory, 50)


@pytest.mark.parametrize(
    ("make", "status", "words"),
    [
        (a_million_entries, 413, "1000 files"),
        (ten_gigabytes_claimed, 413, "larger than"),
        (overlapping, 422, "overlap"),
    ],
)
async def test_what_claims_too_much_is_refused_before_anything_is_unpacked(
    at: Desk, http: httpx.AsyncClient, make: Callable[[], bytes], status: int, words: str
) -> None:
    content = make()
    form = {"file": ("a.zip", content)}
    answer = await http.post("/batches/archives", files=form)
    assert (answer.status_code, words in answer.json()["message"]) == (status, True), answer.text
    assert await at.left_over() == {}


async def test_a_directory_of_a_million_entries_takes_no_memory(at: Desk, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(a_million_entries())
    tracemalloc.start()
    with path.open("rb") as file:
        assert sum(1 for _, _ in zip(documents_of(file), range(20_000), strict=False)) == 20_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MIB


async def unpacked(at: Desk, http: httpx.AsyncClient, content: bytes) -> tuple[list[str], dict[str, str]]:
    """The names of the documents that came of it, and the codes of what was refused by name."""
    answer = await http.post("/batches/archives", files={"file": ("a.zip", content)})
    assert answer.status_code == 202, answer.text
    await at.batches.unpacker.unpack_one(lambda _batch_id: None)
    batch = (await http.get(f"/batches/{answer.json()['batch_id']}")).json()
    assert batch["status"] == ("working" if batch["queued"] else "done")
    listed = (await http.get("/documents/")).json()["items"]
    assert list((at.settings.data_dir / "uploads").iterdir()) == []
    return [one["filename"] for one in listed], {one["name"]: one["code"] for one in batch["refused"]}


async def test_a_thousand_to_one_is_not_unpacked_and_its_neighbours_are(at: Desk, http: httpx.AsyncClient) -> None:
    tracemalloc.start()
    content = zipped({"bomb.txt": b"A" * (32 * MIB), "france.md": FRANCE})
    tracemalloc.reset_peak()
    names, refused = await unpacked(at, http, content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (names, refused) == (["france.md"], {"bomb.txt": "too_large"})
    assert peak < MOST_MEMORY


@pytest.mark.parametrize("where", ["directory", "local header"])
async def test_a_file_that_is_larger_than_it_says_is_cut_where_it_said(
    at: Desk, http: httpx.AsyncClient, where: str
) -> None:
    lines = b"".join(b"%d lies about itself.\n" % n for n in range(100_000))
    content = bytearray(zipped({"liar.txt": lines, "france.md": FRANCE}))
    place = content.find(b"PK\x01\x02") + 24 if where == "directory" else content.find(b"PK\x03\x04") + 22
    content[place : place + 4] = (1000).to_bytes(4, "little")
    names, refused = await unpacked(at, http, bytes(content))
    expected = {"liar.txt": "broken"} if where == "directory" else {}
    assert refused == expected
    assert sorted(names) == sorted(["france.md"] if expected else ["france.md", "liar.txt"])


def outside(folder: Path) -> set[Path]:
    """What is beside the data directory."""
    return {path for path in folder.rglob("*") if "data" not in path.parts}


async def test_no_name_leads_out_of_the_data_directory(at: Desk, http: httpx.AsyncClient, tmp_path: Path) -> None:
    before = outside(tmp_path)
    evil = {
        "../../../evil1.md": b"1",
        "/etc/evil2.md": b"2",
        "..\\..\\evil3.md": b"3",
        "C:\\evil4.md": b"4",
        "a/../../evil5.md": b"5",
        "evil6.md\x00.txt": b"6",
    }
    names, refused = await unpacked(at, http, zipped(evil))
    assert refused == {}
    assert sorted(names) == [f"evil{n}.md" for n in range(1, 7)]
    assert outside(tmp_path) == before
    assert all(len(path.name) == 32 for path in at.documents.files.iterdir())


async def test_links_and_archives_in_it_are_not_followed(at: Desk, http: httpx.AsyncClient, tmp_path: Path) -> None:
    path = tmp_path / "made.zip"
    link = zipfile.ZipInfo("link.md")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(link, "/etc/passwd")
        made.writestr("inner.zip", zipped({"inner.md": b"inner"}))
        made.writestr("inner.tar.gz", b"\x1f\x8b")
        made.writestr("disguised.md", zipped({"inner.md": b"inner"}))
        made.writestr("france.md", FRANCE)
    names, refused = await unpacked(at, http, path.read_bytes())
    assert names == ["france.md"]
    assert refused == dict.fromkeys(("inner.zip", "inner.tar.gz", "disguised.md"), "unsupported_type")


async def test_damaged_entries_are_named_and_the_others_read(at: Desk, http: httpx.AsyncClient) -> None:
    content = bytearray(zipped({"a.md": FRANCE, "b.md": FRANCE + b"b" * 50, "c.md": b"c"}))
    second = content.find(b"PK\x03\x04", 10)
    content[second : second + 4] = b"XXXX"
    names, refused = await unpacked(at, http, bytes(content))
    assert (sorted(names), refused) == (["a.md", "c.md"], {"b.md": "broken"})


async def test_a_directory_that_breaks_off_in_the_middle_ends_the_batch_with_a_reason(
    at: Desk, http: httpx.AsyncClient
) -> None:
    content = zipped({f"{n}.md": b"number %d" % n for n in range(9)})
    answer = await http.post("/batches/archives", files={"file": ("a.zip", content)})
    batch_id = answer.json()["batch_id"]
    stored = at.settings.data_dir / "uploads" / f"{batch_id}.zip"
    broken = bytearray(content)
    broken[broken.rfind(b"PK\x01\x02")] = 0
    await asyncio.to_thread(stored.write_bytes, bytes(broken))
    await at.batches.unpacker.unpack_one(lambda _batch_id: None)
    batch = (await http.get(f"/batches/{batch_id}")).json()
    assert (batch["status"], batch["refused"][-1]["code"]) == ("done", "broken") or batch["documents"] == 8
    assert batch["refused"][-1]["name"] == "a.zip"
