"""One user never meets another's documents: a foreign id and an unknown one are the same answer (promise P9)."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from lorestream.errors import NoDocuments
from lorestream.retrieval.search import Retrieval
from lorestream.retrieval.spaces import Embedders
from tests.fakes.documents import ALICE, BOB, Desk, client, desk

SECRET = b"# Diary\n\nThe treasure of Alice lies under the old oak.\n"
UNKNOWN = "0" * 32
REQUESTS = [
    ("GET", "/documents/{}"),
    ("DELETE", "/documents/{}"),
    ("POST", "/documents/{}/retry"),
    ("GET", "/documents/{}/file"),
    ("GET", "/documents/{}/text"),
    ("GET", "/documents/{}/chunks/0"),
]


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
async def bob(at: Desk) -> AsyncIterator[httpx.AsyncClient]:
    async with client(at, BOB) as made:
        yield made


def body(answer: httpx.Response) -> dict[str, object]:
    """The problem without the request's own id."""
    problem: dict[str, object] = answer.json()
    problem.pop("instance", None)
    return problem


@pytest.mark.parametrize(("method", "path"), REQUESTS)
async def test_a_foreign_document_is_an_unknown_one(at: Desk, bob: httpx.AsyncClient, method: str, path: str) -> None:
    doc_id = await at.indexed(ALICE, "diary.md", SECRET)
    before = await at.left_over()
    foreign = await bob.request(method, path.format(doc_id))
    unknown = await bob.request(method, path.format(UNKNOWN))
    assert foreign.status_code == unknown.status_code == 404
    assert body(foreign) == body(unknown)
    assert b"treasure" not in foreign.content
    assert await at.left_over() == before
    assert (await at.documents.get(ALICE, doc_id)).status == "ready"


@pytest.mark.parametrize(("method", "path"), [*REQUESTS, ("GET", "/documents/"), ("POST", "/documents/")])
async def test_without_a_login_there_is_nothing(at: Desk, bob: httpx.AsyncClient, method: str, path: str) -> None:
    doc_id = await at.indexed(ALICE, "diary.md", SECRET)
    before = await at.left_over()
    bob.headers.pop("X-User")
    assert (await bob.request(method, path.format(doc_id))).status_code == 401
    assert await at.left_over() == before


async def test_lists_and_searches_are_ones_own(at: Desk, bob: httpx.AsyncClient) -> None:
    doc_id = await at.indexed(ALICE, "diary.md", SECRET)
    assert (await bob.get("/documents/")).json() == {"items": [], "next_cursor": None}
    with pytest.raises(NoDocuments):
        await at.retrieval.search(BOB, "Where does the treasure lie?", 4)
    own = await at.indexed(BOB, "own.md", b"# Mine\n\nBob has no treasure at all.\n")
    everything = Retrieval(at.db, at.index, Embedders(at.embedder), 0.0)
    found = await everything.search(BOB, "Where does the treasure of Alice lie?", 10)
    assert {passage.doc_id for passage in found} == {own}
    with pytest.raises(NoDocuments):
        await at.retrieval.search(BOB, "Where does the treasure lie?", 4, [doc_id])


async def test_the_same_bytes_are_not_shared(at: Desk) -> None:
    """Whether somebody else has a file cannot be found out by uploading it."""
    alices = await at.indexed(ALICE, "diary.md", SECRET)
    bobs = await at.indexed(BOB, "diary.md", SECRET)
    assert alices != bobs
    await at.documents.delete(BOB, bobs)
    assert (await at.documents.file(ALICE, alices))[1].read_bytes() == SECRET
    assert await at.retrieval.search(ALICE, "Where does the treasure of Alice lie?", 4)


@pytest.mark.parametrize(
    "name",
    [
        "../../x.md",
        "/etc/x.md",
        "..\\..\\x.md",
        "a\x00b.md",
        "x" * 300 + ".md",
        "a\u202ecod.md",
        "a\r\nX: y.md",
        'a";b=.md',
    ],
)
async def test_a_file_name_is_never_a_path_or_a_header(at: Desk, name: str) -> None:
    outside = {path.name for path in at.settings.data_dir.parent.iterdir()}
    async with client(at) as http:
        answer = await http.post("/documents/?wait=0", files={"file": (name, SECRET)})
        assert answer.status_code == 202
        doc_id = answer.json()["doc_id"]
        original = await http.get(f"/documents/{doc_id}/file")
    assert [path.name for path in at.documents.files.iterdir()] == [doc_id]
    assert {path.name for path in at.settings.data_dir.parent.iterdir()} == outside
    assert original.content == SECRET
    assert "x" not in original.headers
    assert "\n" not in original.headers["content-disposition"]
