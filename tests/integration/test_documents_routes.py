"""The documents' endpoints as their clients see them."""

import asyncio
import errno
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lorestream.documents import upload
from tests.fakes.documents import ALICE, BOB, Desk, application, client, desk, local_worker

FRANCE = b"# France\n\nParis is the capital of France.\n"
FIELDS = {
    "doc_id", "filename", "title", "media_type", "bytes", "pages", "chunks", "status", "stage", "progress",
    "error", "reindex", "batch_id", "created_at",
}  # fmt: skip


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path / "data", max_upload_bytes=1024 * 1024) as opened:
        yield opened


@pytest.fixture
async def http(at: Desk) -> AsyncIterator[httpx.AsyncClient]:
    async with client(at) as made:
        yield made


async def send(http: httpx.AsyncClient, name: str, content: bytes, wait: float = 30) -> httpx.Response:
    return await http.post(f"/documents/?wait={wait}", files={"file": (name, content)})


async def test_a_small_file_is_searchable_when_it_answers_201(at: Desk, http: httpx.AsyncClient) -> None:
    async with local_worker(at):
        answer = await send(http, "france.md", FRANCE)
    assert answer.status_code == 201
    document = answer.json()
    assert set(document) == FIELDS
    assert document["status"] == "ready"
    assert document["title"] == "France"
    assert document["filename"] == "france.md"
    assert document["bytes"] == len(FRANCE)
    assert document["media_type"] == "text/markdown"
    assert document["progress"] == 1
    assert document["error"] is None
    assert document["created_at"].endswith("Z")
    assert answer.headers["location"] == f"/documents/{document['doc_id']}"
    assert (await at.retrieval.search(ALICE, "What is the capital of France?", 1))[0].doc_id == document["doc_id"]


async def test_without_a_worker_in_time_it_is_202(at: Desk, http: httpx.AsyncClient) -> None:
    answer = await send(http, "france.md", FRANCE, wait=0)
    assert answer.status_code == 202
    assert answer.json()["status"] == "queued"


async def test_the_same_bytes_again_are_200_with_the_same_document(at: Desk, http: httpx.AsyncClient) -> None:
    async with local_worker(at):
        first = await send(http, "france.md", FRANCE)
        again = await send(http, "renamed.md", FRANCE)
    assert again.status_code == 200
    assert again.json() == first.json()
    assert (await at.left_over())["files"] == 1


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("broken.pdf", b"%PDF-1.7\nno", "broken"),
        ("blank.txt", b"  \n \n", "empty"),
        ("bad.docx", b"PK\x03\x04word/", "broken"),
    ],
)
async def test_a_file_that_cannot_be_indexed_is_201_and_failed_with_a_code(
    at: Desk, http: httpx.AsyncClient, name: str, content: bytes, code: str
) -> None:
    async with local_worker(at):
        answer = await send(http, name, content)
        assert answer.status_code == 201
        document = answer.json()
        assert (document["status"], document["error"]["code"]) == ("failed", code)
        assert document["error"]["message"]
        again = await http.post(f"/documents/{document['doc_id']}/retry")
        assert again.status_code == 202
        assert again.json()["status"] in ("queued", "processing", "failed")


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ([("file", ("empty.md", b""))], 422),
        ([("file", ("large.md", b"x" * (1024 * 1024 + 1)))], 413),
        ([("file", ("huge.md", b"x" * (3 * 1024 * 1024)))], 413),
        ([("file", ("program.exe", b"MZ\x00\x01"))], 415),
        ([("file", ("picture.png", b"\x89PNG\r\n\x1a\n\x00"))], 415),
        ([("file", ("a.md", b"a")), ("file", ("b.md", b"b"))], 422),
        ([("other", ("a.md", b"a"))], 422),
        ([("file", (None, b"a field, no file"))], 422),
        ([("file", ("a.md", b"a")), ("note", (None, b"x"))], 422),
    ],
)
async def test_what_is_refused_leaves_nothing(at: Desk, http: httpx.AsyncClient, files: Any, status: int) -> None:
    answer = await http.post("/documents/", files=files)
    assert answer.status_code == status
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["message"]
    assert await at.left_over() == {}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "application/json"}, b"{}"),
        ({"content-type": "multipart/form-data"}, b"x"),
        ({"content-type": "multipart/form-data; boundary=b"}, b"no form at all"),
        ({"content-type": "multipart/form-data; boundary=b"}, b""),
        ({"content-type": "multipart/form-data; boundary=b"}, b"--b--\r\n"),
        (
            {"content-type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.md"\r\n\r\ncut o',
        ),
        ({}, b""),
    ],
)
async def test_a_malformed_form_is_422(at: Desk, http: httpx.AsyncClient, headers: dict[str, str], body: bytes) -> None:
    answer = await http.post("/documents/", headers=headers, content=body)
    assert answer.status_code == 422
    assert await at.left_over() == {}


@pytest.mark.parametrize("query", ["wait=-1", "wait=61", "wait=nan", "wait=x"])
async def test_the_waiting_time_is_bounded(at: Desk, http: httpx.AsyncClient, query: str) -> None:
    answer = await http.post(f"/documents/?{query}", files={"file": ("france.md", FRANCE)})
    assert answer.status_code == 422
    assert await at.left_over() == {}


async def test_a_full_disk_is_507_and_leaves_nothing(
    at: Desk, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_target: object, _pieces: list[bytes]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(upload._Target, "write", full)
        answer = await send(http, "france.md", FRANCE, wait=0)
    assert answer.status_code == 507
    assert await at.left_over() == {}
    assert (await send(http, "france.md", FRANCE, wait=0)).status_code == 202


def raw_upload(at: Desk, receive: Any) -> Any:
    """An upload over bare ASGI whose body ``receive`` gives; the messages that come back."""
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http", "method": "POST", "path": "/documents/", "raw_path": b"/documents/", "query_string": b"",
        "headers": [(b"content-type", b"multipart/form-data; boundary=b"), (b"x-user", ALICE.encode())],
        "client": ("127.0.0.1", 1), "server": ("test", 80), "scheme": "http", "http_version": "1.1", "root_path": "",
    }  # fmt: skip

    async def collect(message: Any) -> None:
        sent.append(message)

    async def run() -> list[dict[str, Any]]:
        async with asyncio.timeout(20):
            await application(at)(scope, receive, collect)
        return sent

    return run()


START = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.md"\r\n\r\n'


async def test_a_client_that_leaves_in_mid_upload_leaves_nothing(at: Desk) -> None:
    there_meanwhile: list[int] = []
    messages = iter([START, b"x" * 1_500_000])

    async def receive() -> dict[str, Any]:
        there_meanwhile.append(len(list((at.settings.data_dir / "uploads").iterdir())))
        if (body := next(messages, None)) is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body[:900_000], "more_body": True}

    await raw_upload(at, receive)
    assert there_meanwhile[-1] == 1
    assert await at.left_over() == {}


async def test_an_upload_that_stalls_is_ended(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "IDLE_SECONDS", 0.05)
    messages = iter([START])

    async def receive() -> dict[str, Any]:
        if (body := next(messages, None)) is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": body, "more_body": True}

    sent = await raw_upload(at, receive)
    assert sent[0]["status"] == 408
    assert await at.left_over() == {}


async def test_nobody_unknown_can_make_the_server_write(at: Desk) -> None:
    """The caller is asked who it is before a byte of the file is read."""
    async with client(at, user="") as http:
        http.headers.pop("X-User")
        answer = await send(http, "france.md", FRANCE)
    assert answer.status_code == 401
    assert await at.left_over() == {}


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
async def test_every_byte_arrives_whatever_the_pieces(at: Desk, size: int) -> None:
    content = bytes(range(256)) + b"\r\n--\r\n-b\r\n\r\n--a\r\r\n--" + b"--b" + bytes(range(256)) * 8
    body = START + content + b"\r\n--b--\r\n"

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    folder = at.settings.data_dir / "uploads"
    async with upload.received(pieces(), "multipart/form-data; boundary=b", folder, 10**6) as received:
        assert received.path.read_bytes() == content
        assert (received.bytes, received.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert content.startswith(received.head)
    assert await at.left_over() == {}


async def test_the_list_comes_in_pages_newest_first(at: Desk, http: httpx.AsyncClient) -> None:
    made = [await at.add(ALICE, f"{n}.md", f"number {n}".encode()) for n in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        answer = await http.get("/documents/", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200
        page = answer.json()
        seen += [item["doc_id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert cursor is None
    assert seen == made[::-1]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "cursor=garbage", "cursor=%00", f"cursor={'x' * 201}", "cursor=MjAyNiBh"]
)
async def test_a_list_that_makes_no_sense_is_422(http: httpx.AsyncClient, query: str) -> None:
    assert (await http.get(f"/documents/?{query}")).status_code == 422


async def test_the_list_is_narrowed_by_status_and_by_words(at: Desk, http: httpx.AsyncClient) -> None:
    names = ["Annual_Report-2025.md", "reporting (draft).md", "Jahresbericht Ärzte.md", "50%_off.md", "airport.md"]
    made = {name: await at.add(ALICE, name, f"# Some title\n\n{name}".encode()) for name in names}
    await at.documents.ingest(made["airport.md"])

    async def found(**query: str) -> set[str]:
        page = (await http.get("/documents/", params={**query, "limit": "2"})).raise_for_status().json()
        items = page["items"]
        while page["next_cursor"]:
            cursor = {"cursor": page["next_cursor"]}
            page = (await http.get("/documents/", params={**query, "limit": "2"} | cursor)).raise_for_status().json()
            items += page["items"]
        return {one["filename"] for one in items}

    assert await found() == set(names)
    assert await found(q="report") == {names[0], names[1]}
    assert await found(q="REP annual") == {names[0]}
    assert await found(q="ärz") == await found(q="ÄRZTE bericht") == await found(q="ärzte") == {names[2]}
    assert await found(q="of") == await found(q="50%_off.md") == {names[3]}
    assert await found(q="title") == {names[4]}, "a document has its title when it has been read"
    assert await found(q="%") == await found(q="nothing md") == set()
    assert await found(q=" ") == set(names)
    assert await found(status="ready") == {names[4]}
    assert await found(status="queued", q="md") == set(names) - {names[4]}
    assert await found(status="failed") == set()
    for query in ("status=gone", f"q={'x' * 201}", "collection_id=", f"batch_id={'x' * 65}"):
        assert (await http.get(f"/documents/?{query}")).status_code == 422
    for query in ("collection_id=x", "batch_id=x"):
        assert (await http.get(f"/documents/?{query}")).status_code == 404


async def test_text_and_passages_fit_together(at: Desk, http: httpx.AsyncClient) -> None:
    content = '# Crème brûlée\n\nЗдравствуй 🙂 "quoted" \\ text.\n\nSecond paragraph here.\n'
    doc_id = await at.indexed(ALICE, "text.md", content.encode())
    document = (await http.get(f"/documents/{doc_id}/text")).json()
    assert set(document) == {"doc_id", "title", "text", "pages"}
    assert document["title"] == "Crème brûlée"
    assert '🙂 "quoted" \\ text.' in document["text"]
    for n in range((await http.get(f"/documents/{doc_id}")).json()["chunks"]):
        chunk = (await http.get(f"/documents/{doc_id}/chunks/{n}")).json()
        assert set(chunk) == {"doc_id", "chunk_index", "text", "start", "end", "page", "heading"}
        assert document["text"][chunk["start"] : chunk["end"]] == chunk["text"]
    assert (await http.get(f"/documents/{doc_id}/chunks/{n + 1}")).status_code == 404
    assert (await http.get(f"/documents/{doc_id}/chunks/-1")).status_code == 422
    assert (await http.get(f"/documents/{doc_id}/chunks/{10**30}")).status_code == 422


async def test_the_text_of_a_document_that_is_not_ready_is_409(at: Desk, http: httpx.AsyncClient) -> None:
    doc_id = await at.add(ALICE, "france.md", FRANCE)
    assert (await http.get(f"/documents/{doc_id}/text")).status_code == 409
    assert (await http.get(f"/documents/{doc_id}/chunks/0")).status_code == 404


async def test_retrying_what_is_indexed_is_409(at: Desk, http: httpx.AsyncClient) -> None:
    doc_id = await at.indexed(ALICE, "france.md", FRANCE)
    assert (await http.post(f"/documents/{doc_id}/retry")).status_code == 409


async def test_cancelling_and_trying_again(at: Desk, http: httpx.AsyncClient) -> None:
    doc_id = await at.add(ALICE, "france.md", FRANCE)
    cancelled = await http.post(f"/documents/{doc_id}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    await at.documents.ingest(doc_id)
    assert (await http.get(f"/documents/{doc_id}")).json()["status"] == "cancelled"
    assert (await http.post(f"/documents/{doc_id}/cancel")).status_code == 409
    again = await http.post(f"/documents/{doc_id}/retry")
    assert (again.status_code, again.json()["status"]) == (202, "queued")
    await at.documents.ingest(doc_id)
    assert (await http.get(f"/documents/{doc_id}")).json()["status"] == "ready"
    assert (await http.post(f"/documents/{doc_id}/cancel")).status_code == 409
    async with client(at, BOB) as bob:
        assert (await bob.post(f"/documents/{doc_id}/cancel")).status_code == 404


async def test_deleting_is_for_good(at: Desk, http: httpx.AsyncClient) -> None:
    async with local_worker(at):
        doc_id = (await send(http, "france.md", FRANCE)).json()["doc_id"]
    assert (await http.delete(f"/documents/{doc_id}")).status_code == 204
    assert (await http.delete(f"/documents/{doc_id}")).status_code == 404
    assert (await http.get(f"/documents/{doc_id}")).status_code == 404
    assert await at.left_over() == {}


@pytest.mark.parametrize(
    ("name", "inline"), [("page.html", False), ("notes.md", False), ("plain.txt", True), ("a;b=x.txt", True)]
)
async def test_the_original_comes_back_and_never_runs(
    at: Desk, http: httpx.AsyncClient, name: str, inline: bool
) -> None:
    content = b"<html><body><script>alert(1)</script><p>Some text to be read.</p></body></html>"
    doc_id = await at.add(ALICE, name, content)
    answer = await http.get(f"/documents/{doc_id}/file")
    assert answer.content == content
    assert answer.headers["x-content-type-options"] == "nosniff"
    disposition = answer.headers["content-disposition"]
    assert disposition.startswith("inline" if inline else "attachment")
    expected = "text/plain; charset=utf-8" if inline else "application/octet-stream"
    assert answer.headers["content-type"] == expected
    ranged = await http.get(f"/documents/{doc_id}/file", headers={"Range": "bytes=0-5"})
    assert (ranged.status_code, ranged.content) == (206, content[:6])


async def test_an_original_that_was_lost_is_404(at: Desk, http: httpx.AsyncClient) -> None:
    doc_id = await at.add(ALICE, "france.md", FRANCE)
    (at.documents.files / doc_id).unlink()
    assert (await http.get(f"/documents/{doc_id}/file")).status_code == 404
