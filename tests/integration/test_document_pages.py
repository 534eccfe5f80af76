"""The paper of a document: boxes of its text, pictures of its pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from lorestream.documents import page_images, sandbox
from lorestream.documents.page_images import PageImages, Picture
from lorestream.documents.parse import DocumentFailed
from lorestream.errors import Busy, Conflict, RateLimited
from tests.fakes.documents import ALICE, BOB, Desk, application, client, desk
from tests.fakes.files import pdf

LINES = [["The Loire is the longest river of France.", "It rises in the Massif Central."], ["The Rhine is longer."]]


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path / "data") as opened:
        yield opened


async def test_a_stretch_of_text_has_its_boxes(at: Desk) -> None:
    doc_id = await at.indexed(ALICE, "rivers.pdf", pdf(LINES))
    async with client(at) as http:
        text = (await http.get(f"/documents/{doc_id}/text")).json()["text"]

        async def boxes(part: str) -> list[dict[str, Any]]:
            start = text.index(part)
            query = {"start": start, "end": start + len(part)}
            answer = (await http.get(f"/documents/{doc_id}/boxes", params=query)).raise_for_status().json()
            assert answer["doc_id"] == doc_id
            pages: list[dict[str, Any]] = answer["pages"]
            return pages

        [page] = await boxes("longest river")
        assert (page["page"], page["width"], page["height"], len(page["boxes"])) == (1, 612, 792, 1)
        x0, y0, x1, y1 = page["boxes"][0]
        assert 72 < x0 * 612 < x1 * 612 < 300
        assert 58 < y0 * 792 < y1 * 792 < 78, "the first line, whose base is 72 points below the top"
        [page] = await boxes("longest river of France.\nIt rises")
        assert [round(box[0], 2) for box in page["boxes"]] == [x0.__round__(2), round(72 / 612, 2)]
        assert page["boxes"][1][1] > y1 - 0.01
        both = await boxes(text[text.index("Massif") :])
        assert [(page["page"], len(page["boxes"])) for page in both] == [(1, 1), (2, 1)]
        assert await boxes(text) != []
        beyond = await http.get(f"/documents/{doc_id}/boxes", params={"start": len(text) + 5, "end": len(text) + 9})
        assert beyond.json()["pages"] == []
        for query in (
            "start=0",
            "start=3&end=3",
            "start=5&end=2",
            "start=-1&end=2",
            "start=0&end=20001",
            "start=0&end=9e9",
        ):
            assert (await http.get(f"/documents/{doc_id}/boxes?{query}")).status_code == 422, query
    async with client(at, BOB) as bob:
        assert (await bob.get(f"/documents/{doc_id}/boxes?start=0&end=9")).status_code == 404


async def test_what_has_no_paper_has_no_boxes(at: Desk) -> None:
    ready, queued = await at.indexed(ALICE, "a.md", b"# Title\n\nSome text."), await at.add(ALICE, "b.md", b"more")
    async with client(at) as http:
        assert (await http.get(f"/documents/{ready}/boxes?start=0&end=9")).json() == {"doc_id": ready, "pages": []}
        assert (await http.get(f"/documents/{queued}/boxes?start=0&end=9")).status_code == 409
        no_pdf = await http.get(f"/documents/{ready}/pages/1/image")
        assert (no_pdf.status_code, no_pdf.json()["code"]) == (409, "conflict")


async def test_a_page_is_shown_as_a_picture_and_drawn_once(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    original = sandbox.page_image

    async def counted(path: Path, number: int, width: int, **limits: Any) -> bytes:
        drawn.append(number)
        return await original(path, number, width, **limits)

    monkeypatch.setattr(page_images, "page_image", counted)
    doc_id, broken = await at.add(ALICE, "rivers.pdf", pdf(LINES)), await at.add(ALICE, "no.pdf", b"%PDF-1.4\nno")
    async with client(at) as http, client(at, BOB) as bob:
        first = await http.get(f"/documents/{doc_id}/pages/2/image?width=300")
        assert (first.status_code, first.headers["content-type"]) == (200, "image/png")
        assert first.content.startswith(b"\x89PNG\r\n\x1a\n")
        assert int.from_bytes(first.content[16:20]) == 300
        assert first.headers["cache-control"] == "private, no-cache"
        assert first.headers["x-content-type-options"] == "nosniff"
        again = await http.get(f"/documents/{doc_id}/pages/2/image?width=300")
        assert again.content == first.content
        known = {"If-None-Match": first.headers["etag"]}
        same = await http.get(f"/documents/{doc_id}/pages/2/image?width=300", headers=known)
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", first.headers["etag"])
        assert drawn == [2]
        other = await http.get(f"/documents/{doc_id}/pages/1/image?width=300", headers=known)
        assert (other.status_code, drawn) == (200, [2, 1])
        assert (await http.get(f"/documents/{doc_id}/pages/3/image")).status_code == 404
        assert (await http.get(f"/documents/{broken}/pages/1/image")).status_code == 409
        for path in ("0/image", "1/image?width=199", "1/image?width=2001", "x/image"):
            assert (await http.get(f"/documents/{doc_id}/pages/{path}")).status_code == 422
        foreign = await bob.get(f"/documents/{doc_id}/pages/2/image?width=300", headers=known)
        unknown = await bob.get(f"/documents/{'0' * 32}/pages/2/image?width=300", headers=known)
        assert (foreign.status_code, foreign.json()["message"]) == (404, unknown.json()["message"])


async def test_nothing_is_drawn_for_whom_has_gone(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def endless(*_: Any, **_limits: Any) -> bytes:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return b""

    monkeypatch.setattr(page_images, "page_image", endless)
    doc_id = await at.add(ALICE, "rivers.pdf", pdf(LINES))
    path = f"/documents/{doc_id}/pages/1/image"
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(b"x-user", ALICE.encode())], "client": ("127.0.0.1", 1), "server": ("test", 80),
        "scheme": "http", "http_version": "1.1", "root_path": "",
    }  # fmt: skip
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await began.wait()
        return {"type": "http.disconnect"}

    async def send(_message: Any) -> None:
        return

    async with asyncio.timeout(20):
        await application(at)(scope, receive, send)
        await ended.wait()


async def test_so_many_pages_are_drawn_at_once_and_no_more_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever goes away makes room at once; a page that somebody drew meanwhile is not drawn again."""
    release, drawing = asyncio.Event(), 0

    async def slow(_path: Path, number: int, _width: int, **_limits: Any) -> bytes:
        nonlocal drawing
        drawing += 1
        try:
            await release.wait()
        finally:
            drawing -= 1
        return b"%d" % number

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 (nothing tells how many are being drawn)
                await asyncio.sleep(0)

    monkeypatch.setattr(page_images, "page_image", slow)
    images = PageImages(2**29)

    def ask(owner: str, number: int) -> asyncio.Task[bytes]:
        return asyncio.create_task(images.get(owner, Path("x"), Picture("0" * 64, number, 300)))

    tasks = [
        ask(f"user {n // page_images.MAX_OF_USER}", n) for n in range(page_images.AT_ONCE + page_images.MAX_WAITING)
    ]
    await until(lambda: drawing == page_images.AT_ONCE)
    with pytest.raises(RateLimited) as own:
        await ask("user 0", 99)
    with pytest.raises(Busy) as full:
        await ask("somebody else", 99)
    assert own.value.retry_after
    assert full.value.retry_after
    for task in tasks[2:]:
        task.cancel()
    tasks[0].cancel()
    await asyncio.wait([tasks[0], *tasks[2:]])
    again = [ask("user 0", 1), ask("somebody else", 7)]
    await until(lambda: drawing == page_images.AT_ONCE)
    release.set()
    async with asyncio.timeout(10):
        assert [await one for one in (tasks[1], *again)] == [b"1", b"1", b"7"]
    assert drawing == 0
    assert not images._asked


async def test_pictures_are_kept_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    async def draw(_path: Path, number: int, _width: int, **_limits: Any) -> bytes:
        if number == 13:
            raise DocumentFailed("timeout", "It took too long.")
        drawn.append(number)
        return bytes(number)

    monkeypatch.setattr(page_images, "page_image", draw)
    monkeypatch.setattr(page_images, "KEPT_BYTES", 100)
    images = PageImages(2**29)
    for number in (40, 50, 40, 30, 40, 50, 101, 101, 40):
        assert len(await images.get("ann", Path("x"), Picture("0" * 64, number, 300))) == number
    assert drawn == [40, 50, 30, 50, 101, 101]
    await images.get("ann", Path("x"), Picture("another", 10, 300))
    images.forget("0" * 64)
    assert images._kept == {Picture("another", 10, 300): bytes(10)}
    assert images._kept_bytes == 10
    with pytest.raises(Conflict, match="too long"):
        await images.get("ann", Path("x"), Picture("0" * 64, 13, 300))
