"""Batches as their owner sees them: files that came together, as single uploads or in a ZIP file."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from lorestream.documents import batches_store, unpack
from lorestream.documents.batches import MAX_UNPACKING
from tests.fakes.documents import ALICE, BOB, Desk, client, desk, local_worker
from tests.fakes.files import zipped

FRANCE = b"# France\n\nParis is the capital of France.\n"
ITALY = b"# Italy\n\nRome is the capital of Italy.\n"


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path / "data", max_upload_bytes=1024 * 1024, max_archive_entries=500) as opened:
        yield opened


@pytest.fixture
async def http(at: Desk) -> AsyncIterator[httpx.AsyncClient]:
    async with client(at) as made:
        yield made


async def send(http: httpx.AsyncClient, files: Mapping[str, bytes], **params: str) -> httpx.Response:
    return await http.post("/batches/archives", params=params, files={"file": ("papers.zip", zipped(files))})


async def settled(http: httpx.AsyncClient, batch_id: str) -> dict[str, Any]:
    """The batch, once nothing more happens to it."""
    async with asyncio.timeout(30):
        while True:
            batch: dict[str, Any] = (await http.get(f"/batches/{batch_id}")).json()
            if batch["status"] in ("done", "cancelled") and not batch["queued"] + batch["processing"]:
                return batch
            await asyncio.sleep(0.02)


async def names(http: httpx.AsyncClient, batch_id: str) -> list[str]:
    answer = await http.get("/documents/", params={"batch_id": batch_id, "limit": 100})
    return sorted(document["filename"] for document in answer.json()["items"])


async def test_files_that_are_uploaded_with_a_batch_belong_to_it(at: Desk, http: httpx.AsyncClient) -> None:
    made = await http.post("/batches/", json={"name": "Two"})
    assert made.status_code == 201
    batch = made.json()
    assert made.headers["location"] == f"/batches/{batch['batch_id']}"
    assert (batch["name"], batch["status"], batch["documents"], batch["entries"]) == ("Two", "working", 0, None)
    first = await http.post("/documents/?wait=0", params={"wait": 0}, files={"file": ("known.md", ITALY)})
    async with local_worker(at):
        for name, content in (("france.md", FRANCE), ("italy.md", ITALY), ("blank.txt", b"\n \n")):
            answer = await http.post(
                "/documents/", params={"batch_id": batch["batch_id"], "wait": 30}, files={"file": (name, content)}
            )
            assert answer.json()["batch_id"] == batch["batch_id"]
    after = (await http.get(f"/batches/{batch['batch_id']}")).json()
    assert (after["status"], after["progress"]) == ("done", 1)
    assert (after["documents"], after["ready"], after["failed"]) == (3, 2, 1)
    assert after["chunks"] == 2
    assert first.json()["doc_id"] in {one["doc_id"] for one in (await http.get("/documents/")).json()["items"]}
    listed = (await http.get("/batches/")).json()
    assert listed["items"] == [after]


async def test_a_zip_file_becomes_documents_and_reasons(at: Desk, http: httpx.AsyncClient) -> None:
    answer = await send(
        http,
        {
            "reports/france.md": FRANCE,
            "reports/2024/france.md": FRANCE + b"And of more.\n",
            "../../etc/italy.md": ITALY,
            "/absolute.txt": b"An absolute path is a name like any other.",
            "again.md": FRANCE,
            "tune.mp3": b"ID3\x00\x01",
            "empty.txt": b"",
            "inner.zip": zipped({"a.md": b"a"}),
            "__MACOSX/reports/._france.md": b"\x00\x05",
            ".DS_Store": b"\x00",
            "reports/.hidden/notes.md": b"hidden",
            "Thumbs.db": b"\x00",
            "folder/": b"",
        },
    )
    assert answer.status_code == 202, answer.text
    batch = answer.json()
    assert (batch["name"], batch["status"], batch["entries"]) == ("papers.zip", "unpacking", 8)
    async with local_worker(at):
        after = await settled(http, batch["batch_id"])
    assert (after["status"], after["documents"], after["ready"], after["progress"]) == ("done", 4, 4, 1)
    assert await names(http, batch["batch_id"]) == ["absolute.txt", "france.md", "france.md", "italy.md"]
    refused = {one["name"]: one["code"] for one in after["refused"]}
    assert refused == {"tune.mp3": "unsupported_type", "empty.txt": "empty", "inner.zip": "unsupported_type"}
    assert all(one["message"] for one in after["refused"])
    assert (await at.retrieval.search(ALICE, "What is the capital of Italy?", 1))[0].filename == "italy.md"
    assert list((at.settings.data_dir / "uploads").iterdir()) == []
    assert {path.name for path in at.documents.files.iterdir()} == {
        one["doc_id"] for one in (await http.get("/documents/")).json()["items"]
    }


async def test_many_small_files_go_in_by_groups(
    at: Desk, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "GROUP_FILES", 7)
    batch = (await send(http, {f"{n}.txt": f"Word number {n}.".encode() for n in range(45)})).json()
    groups: list[str] = []
    assert await at.batches.unpacker.unpack_one(groups.append) == batch["batch_id"]
    assert len(groups) == 45 // 7 + 2
    after = (await http.get(f"/batches/{batch['batch_id']}")).json()
    assert (after["status"], after["queued"], after["entries"]) == ("working", 45, 45)
    assert await at.batches.unpacker.unpack_one(groups.append) is None


@pytest.mark.parametrize("step", ["hold", "join", "same_bytes", "_keep", "_end"])
async def test_an_archive_whose_worker_dies_goes_on_where_it_was(
    at: Desk, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(unpack, "GROUP_FILES", 4)
    await http.post("/documents/?wait=0", files={"file": ("there.txt", b"Word number 9.")})
    batch_id = (await send(http, {f"{n}.txt": f"Word number {n}.".encode() for n in range(14)})).json()["batch_id"]
    where: Any = unpack.Unpacker if step.startswith("_") else batches_store
    original = getattr(where, step)
    calls = 0

    class Killed(BaseException):
        """As if the process had gone: nothing after it runs."""

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3 or step == "_end":
            raise Killed
        return original(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(where, step, deadly)
        patched.setattr(unpack, "_discard", lambda _group: None)
        patched.setattr(unpack.Unpacker, "_drop", lambda _self, _files: None)
        with pytest.raises(Killed):
            await at.batches.unpacker.unpack_one(lambda _batch_id: None)
    async with at.db.write() as session:
        await batches_store.release(session, None)
    assert await at.batches.unpacker.unpack_one(lambda _batch_id: None) in (batch_id, None)
    after = (await http.get(f"/batches/{batch_id}")).json()
    assert (after["status"], after["documents"], after["queued"]) == ("working", 14, 14)
    assert await at.rows("documents") == 14
    assert len(list(at.documents.files.iterdir())) == 14
    assert list((at.settings.data_dir / "uploads").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"no archive at all", 415),
        (b"PK\x05\x06" + b"\x00" * 18, 422),
        (zipped({"__MACOSX/x": b"1"}), 422),
        (zipped({"a.md": FRANCE})[:-30], 415),
        (zipped({"a.md": FRANCE}).replace(b"PK\x01\x02", b"PK\x01\x03"), 422),
        (zipped({f"{n}.md": b"x" for n in range(501)}), 413),
    ],
)
async def test_what_is_no_archive_of_documents_is_refused_and_leaves_nothing(
    at: Desk, http: httpx.AsyncClient, content: bytes, status: int
) -> None:
    answer = await http.post("/batches/archives", files={"file": ("a.zip", content)})
    assert answer.status_code == status, answer.text
    assert answer.json()["message"]
    assert await at.left_over() == {}
    assert await at.rows("batches") == 0


async def test_an_encrypted_archive_is_refused_as_such(http: httpx.AsyncClient) -> None:
    content = bytearray(zipped({"a.md": FRANCE}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(mark) + offset] |= 1
    answer = await http.post("/batches/archives", files={"file": ("a.zip", bytes(content))})
    assert answer.status_code == 422
    assert "encrypted" in answer.json()["message"]


async def test_names_are_read_as_they_were_meant(at: Desk, http: httpx.AsyncClient) -> None:
    content = zipped({"Bücher/Größe.txt": b"utf-8", "AAAA.txt": b"old"})
    content = content.replace(b"AAAA.txt", "Äß\u00e9é.txt".encode("cp437"))
    batch_id = (await http.post("/batches/archives", files={"file": ("a.zip", content)})).json()["batch_id"]
    await at.batches.unpacker.unpack_one(lambda _batch_id: None)
    assert await names(http, batch_id) == sorted(["Größe.txt", "Äßéé.txt"])


async def test_the_owners_limits_hold_for_every_file(tmp_path: Path) -> None:
    async with desk(tmp_path / "data", max_documents_per_user=3) as at, client(at) as http:
        from_store = at.quotas.of({})
        assert from_store["documents"] == 3
        await _real_user(at)
        batch_id = (await send(http, {f"{n}.txt": f"Number {n}.".encode() for n in range(6)})).json()["batch_id"]
        await at.batches.unpacker.unpack_one(lambda _batch_id: None)
        batch = (await http.get(f"/batches/{batch_id}")).json()
        assert batch["documents"] == 3
        assert [one["code"] for one in batch["refused"]] == ["quota_exceeded"] * 3
        assert len(list(at.documents.files.iterdir())) == 3


async def _real_user(at: Desk) -> None:
    """Limits are those of accounts."""
    values = "user_id, email, password_hash, is_admin, created_at"
    async with at.db.write() as session:
        await session.execute(
            text(f"INSERT INTO users ({values}) VALUES ('{ALICE}', 'a@example.com', 'x', 0, '2026-01-01 00:00:00')")
        )


async def test_a_cancelled_batch_keeps_what_is_ready_and_takes_no_more(at: Desk, http: httpx.AsyncClient) -> None:
    batch_id = (await http.post("/batches/", json={})).json()["batch_id"]
    form = {"batch_id": batch_id, "wait": "0"}
    for name, content in (("france.md", FRANCE), ("italy.md", ITALY)):
        await http.post("/documents/", params=form, files={"file": (name, content)})
    await at.documents.ingestor.ingest()
    answer = await http.post(f"/batches/{batch_id}/cancel")
    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["ready"], answer.json()["cancelled"]) == ("cancelled", 1, 1)
    late = await http.post("/documents/", params=form, files={"file": ("late.md", b"late")})
    assert late.status_code == 409
    assert len(list(at.documents.files.iterdir())) == 2
    assert (await http.post(f"/batches/{batch_id}/cancel")).status_code == 202, "again, it changes nothing"
    assert await at.documents.ingestor.ingest() is None


async def test_a_batch_that_is_cancelled_while_it_is_unpacked(
    at: Desk, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "GROUP_FILES", 5)
    batch_id = (await send(http, {f"{n}.txt": f"Number {n}.".encode() for n in range(20)})).json()["batch_id"]
    original = unpack.Unpacker._keep

    async def cancel() -> None:
        await at.batches.cancel(ALICE, batch_id)

    loop, calls = asyncio.get_running_loop(), 0

    def keep(self: unpack.Unpacker, new: Any) -> None:
        nonlocal calls
        calls += 1
        original(self, new)
        if calls == 2:
            asyncio.run_coroutine_threadsafe(cancel(), loop).result()

    monkeypatch.setattr(unpack.Unpacker, "_keep", keep)
    await at.batches.unpacker.unpack_one(lambda _batch_id: None)
    batch = (await http.get(f"/batches/{batch_id}")).json()
    assert (batch["status"], batch["documents"], batch["cancelled"]) == ("cancelled", 5, 5)
    assert len(list(at.documents.files.iterdir())) == 5
    assert list((at.settings.data_dir / "uploads").iterdir()) == []
    assert await at.batches.unpacker.unpack_one(lambda _batch_id: None) is None


async def test_a_settled_batch_has_nothing_to_cancel(at: Desk, http: httpx.AsyncClient) -> None:
    batch_id = (await send(http, {"france.md": FRANCE})).json()["batch_id"]
    async with local_worker(at):
        await settled(http, batch_id)
    assert (await http.post(f"/batches/{batch_id}/cancel")).status_code == 409


async def test_a_foreign_batch_is_an_unknown_one(at: Desk, http: httpx.AsyncClient) -> None:
    batch_id = (await send(http, {"france.md": FRANCE})).json()["batch_id"]
    async with client(at, BOB) as bob:
        for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel")):
            foreign = await bob.request(method, f"/batches/{batch_id}{path}")
            unknown = await bob.request(method, f"/batches/{'0' * 32}{path}")
            assert (foreign.status_code, foreign.json()["message"]) == (404, unknown.json()["message"])
        sent = await bob.post("/documents/", params={"batch_id": batch_id}, files={"file": ("a.md", b"a")})
        assert sent.status_code == 404
        assert (await bob.get("/batches/")).json()["items"] == []


async def test_a_batch_puts_its_documents_into_its_collection(at: Desk, http: httpx.AsyncClient) -> None:
    collection_id = (await http.post("/collections/", json={"name": "Countries"})).json()["collection_id"]
    assert (await send(http, {"a.md": b"a"}, collection_id="0" * 32)).status_code == 404
    await send(http, {"france.md": FRANCE, "italy.md": ITALY}, collection_id=collection_id)
    await at.batches.unpacker.unpack_one(lambda _batch_id: None)
    made = await http.post("/batches/", json={"name": "More", "collection_id": collection_id})
    batch_id = made.json()["batch_id"]
    await http.post("/documents/", params={"batch_id": batch_id, "wait": 0}, files={"file": ("c.md", b"# C\n\nc")})
    listed = (await http.get("/documents/", params={"collection_id": collection_id})).json()["items"]
    assert {one["filename"] for one in listed} == {"france.md", "italy.md", "c.md"}


async def test_only_so_many_archives_wait_at_once(at: Desk, http: httpx.AsyncClient) -> None:
    for number in range(MAX_UNPACKING):
        assert (await send(http, {f"{number}.md": b"x"})).status_code == 202
    assert (await send(http, {"more.md": b"x"})).status_code == 409
    async with client(at, BOB) as bob:
        assert (await send(bob, {"more.md": b"x"})).status_code == 202


async def test_the_sweep_spares_archives_that_wait(at: Desk, http: httpx.AsyncClient) -> None:
    batch_id = (await send(http, {"france.md": FRANCE})).json()["batch_id"]
    uploads = at.settings.data_dir / "uploads"
    (uploads / f"{'0' * 32}.zip").write_bytes(b"PK")
    old = time.time() - 7200
    for path in uploads.iterdir():
        os.utime(path, (old, old))
    await at.batches.sweep()
    await at.documents.sweep()
    assert [path.name for path in uploads.iterdir()] == [f"{batch_id}.zip"]


async def test_nothing_of_a_deleted_owner_is_left(at: Desk, http: httpx.AsyncClient) -> None:
    await send(http, {"france.md": FRANCE})
    await http.post("/batches/", json={})
    assert await at.documents.owners() == {ALICE}
    await at.documents.delete_all(ALICE)
    assert await at.left_over() == {}
    assert await at.rows("batches") == 0
