"""MCP over streamable HTTP and stdio, with the official client: tools, progress, cancelling, resources, refusals."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import MCPError

from lorestream.accounts.models import Principal
from lorestream.accounts.users import COMMAND_LINE
from lorestream.client.login import Login
from lorestream.commands.mcp import serve_for, serve_library
from lorestream.documents.models import Document
from lorestream.doors.mcp_tools import RESOURCE_CHARACTERS, RESOURCES_PER_PAGE, SCHEME, Services, build
from lorestream.errors import NotFound, StartRefused
from lorestream.library import Library
from tests.doors.drivers.mcp import connected
from tests.fakes.edge import settings
from tests.fakes.reading import user_of
from tests.fakes.upstream import Finish, Hold, Say
from tests.faults.world import World, world

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]
STOP_SECONDS = 0.5
MODES = ("auto", "legacy")
QUESTION = "What is the capital of France?"
CALL = {
    "jsonrpc": "2.0",
    "id": 7,
    "method": "tools/call",
    "params": {"name": "ask", "arguments": {"question": QUESTION}},
}
ACCEPT = {"Accept": "application/json, text/event-stream"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("mcp") / "data", models_dir) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def at(shared: World) -> World:
    shared.skip_chats()
    return shared


def token(at: World) -> str:
    return at.client.http.headers["Authorization"].removeprefix("Bearer ")


async def key(at: World, *scopes: str) -> str:
    made = await at.client.http.post("/auth/keys", json={"name": "a program", "scopes": list(scopes)})
    return str(made.raise_for_status().json()["key"])


def said(result: Any) -> str:
    return str(result.content[0].text)


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_finds_both_tools_searches_asks_and_reads_a_document(at: World, mode: str) -> None:
    at.fake.play(Say(["Paris", " [1]."]), Finish())
    async with asyncio.timeout(60), connected(at.server.url, token(at), mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"search", "ask"}
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools.values())
        assert tools["ask"].input_schema["required"] == ["question"]
        found = await client.call_tool("search", {"query": "capital of France", "k": 3, "unknown": 1})
        (item,) = found.structured_content["items"]
        assert item["text"] in said(found)
        answer = await client.call_tool("ask", {"question": QUESTION})
        assert said(answer).startswith("Paris [1].\n\nSources:\n[1] geo (lorestream://documents/")
        about = answer.structured_content
        assert (about["answer"], about["finish_reason"], about["uncited"]) == ("Paris [1].", "stop", False)
        assert about["sources"][0]["doc_id"] == item["doc_id"]
        (listed,) = (await client.list_resources()).resources
        assert (listed.name, listed.uri) == ("geo.txt", SCHEME + item["doc_id"])
        (template,) = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == SCHEME + "{doc_id}{?start}"
        (text,) = (await client.read_resource(f"{listed.uri}?start=6")).contents
        assert text.model_dump()["text"].startswith("is the capital of France")
    assert (await at.client.http.get(f"/runs/{about['run_id']}")).json()["status"] == "done"


@pytest.mark.parametrize("mode", MODES)
async def test_progress_is_told_while_an_answer_is_written_and_cancelling_reaches_the_model(
    at: World, mode: str
) -> None:
    at.fake.play(Say("Paris"), Hold())
    writing, told = asyncio.Event(), []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        assert total is None
        told.append((progress, message))
        if progress:
            writing.set()

    async with asyncio.timeout(60), connected(at.server.url, token(at), mode=mode) as client:
        asking = asyncio.create_task(client.call_tool("ask", {"question": QUESTION}, progress_callback=note))
        upstream = await at.next_chat()
        await writing.wait()
        asking.cancel()
        async with asyncio.timeout(STOP_SECONDS):
            await asyncio.shield(upstream.closed)
        with suppress(asyncio.CancelledError):
            await asking
        assert told[0] == (0.0, "Searching")
        assert told[-1] == (5.0, "Writing")
        assert (await client.call_tool("search", {"query": "France"})).structured_content["items"]


async def test_a_broken_connection_stops_the_run(at: World) -> None:
    at.fake.play(Hold())
    async with httpx.AsyncClient(base_url=at.server.url, headers=at.client.http.headers) as leaving:
        asking = asyncio.create_task(leaving.post("/mcp", json=CALL, headers=ACCEPT))
        upstream = await at.next_chat()
        asking.cancel()
    async with asyncio.timeout(STOP_SECONDS):
        await upstream.closed


async def test_nobody_cancels_for_another_and_only_in_the_session_that_is_named(at: World) -> None:
    at.fake.play(Hold())
    http, session = at.client.http, {**ACCEPT, "Mcp-Session-Id": "ab" * 16}
    asking = asyncio.create_task(http.post("/mcp", json=CALL, headers=session))
    upstream = await at.next_chat()
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
    async with user_of(at.server, "other@example.com") as other:
        assert (await other.http.post("/mcp", json=cancel, headers=session)).status_code == 202
    for elsewhere in (ACCEPT, {**ACCEPT, "Mcp-Session-Id": "cd" * 16}, {**ACCEPT, "Mcp-Session-Id": "x"}):
        assert (await http.post("/mcp", json=cancel, headers=elsewhere)).status_code == 202
    assert not upstream.closed.done()
    assert (await http.post("/mcp", json=cancel, headers=session)).status_code == 202
    async with asyncio.timeout(STOP_SECONDS):
        await asyncio.shield(upstream.closed)
    assert '"finish_reason":"cancelled"' in (await asking).text.replace('": "', '":"')


@pytest.mark.parametrize("mode", MODES)
async def test_a_foreign_document_is_an_unknown_one(at: World, mode: str) -> None:
    doc_id = (await at.client.http.get("/documents/")).json()["items"][0]["doc_id"]
    async with user_of(at.server, "other@example.com") as other:
        theirs = other.http.headers["Authorization"].removeprefix("Bearer ")
    refusals = []
    async with asyncio.timeout(60), connected(at.server.url, theirs, mode=mode) as client:
        assert (await client.list_resources()).resources == []
        for one in (doc_id, "0" * 32):
            with pytest.raises(MCPError) as refused:
                await client.read_resource(SCHEME + one)
            searched = await client.call_tool("search", {"query": "capital", "doc_ids": [one]})
            asked = await client.call_tool("ask", {"question": QUESTION, "doc_ids": [one]})
            assert searched.is_error
            assert asked.is_error
            refusals.append((refused.value.error.message, said(searched), said(asked)))
    assert refusals[0] == refusals[1] == ("There is no such document.", *["no_documents: No documents found."] * 2)


async def test_who_may_not_is_told_so(at: World) -> None:
    reading, managing = await key(at, "read"), await key(at, "documents")
    async with httpx.AsyncClient(base_url=at.server.url, headers=ACCEPT) as http:
        for credentials in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic dGVzdDp0ZXN0"}):
            for method in ("POST", "DELETE"):
                refused = await http.request(method, "/mcp", json=CALL, headers=credentials)
                assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
                assert refused.json()["code"] == "unauthenticated"
        without = await http.post("/mcp", json=CALL, headers={"Authorization": f"Bearer {managing}"})
        assert (without.status_code, without.json()["code"]) == (403, "forbidden")
    async with asyncio.timeout(60), connected(at.server.url, reading) as client:
        assert not (await client.call_tool("search", {"query": "capital"})).is_error
        asked = await client.call_tool("ask", {"question": QUESTION})
        assert (asked.is_error, asked.structured_content["code"]) == (True, "forbidden")
    assert len(at.chats()) == at._seen


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "nothing to search": ("search", {}, "query: Field required"),
    "a blank query": ("search", {"query": " "}, "not white space"),
    "a long query": ("search", {"query": "x" * 501}, "at most 500 characters"),
    "too many passages": ("search", {"query": "x", "k": 51}, "k: Input should be less than or equal to 50"),
    "a blank question": ("ask", {"question": "\n"}, "not white space"),
    "a long question": ("ask", {"question": "x" * 4001}, "at most 4000 characters"),
    "half an emoji": ("ask", {"question": "cut \ud83e"}, "valid string"),
    "a strange collection": ("ask", {"question": "x", "collection_id": 5}, "collection_id"),
    "a missing model": ("ask", {"question": "x", "model": "openai:missing"}, "no model named"),
}


async def test_bad_arguments_are_a_result_that_says_what_is_wrong(at: World) -> None:
    async with asyncio.timeout(60), connected(at.server.url, token(at), mode="legacy") as client:
        for name, (tool, arguments, reason) in BAD.items():
            if name == "half an emoji":  # which the client itself cannot spell
                continue
            result = await client.call_tool(tool, arguments)
            assert (result.is_error, result.structured_content["code"]) == (True, "invalid_input"), name
            assert reason in said(result), name
        with pytest.raises(MCPError, match="no such tool"):
            await client.call_tool("delete_everything", {})
        for uri in ("file:///etc/passwd", SCHEME + "x?start=a", SCHEME + "../x", SCHEME + "x" * 200, "nonsense"):
            with pytest.raises(MCPError, match="no such document"):
                await client.read_resource(uri)
        with pytest.raises(MCPError, match="not one that this list gave"):
            await client.list_resources(cursor="nonsense")


async def test_what_is_no_message_is_refused_and_breaks_nothing(at: World) -> None:
    http = at.client.http
    raw = json.dumps({**CALL, "params": {"name": "ask", "arguments": BAD["half an emoji"][1]}})
    bodies = [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 100_000, b'{"jsonrpc":"2.0","id":1}', raw.encode()]
    for body in bodies:
        for version in ({}, {"MCP-Protocol-Version": "2026-07-28"}, {"MCP-Protocol-Version": "nonsense"}):
            answer = await http.post(
                "/mcp", content=body, headers={**ACCEPT, "Content-Type": "application/json", **version}
            )
            assert answer.status_code < 500, (body[:40], answer.text)
    assert (await http.post("/mcp", content=b"x" * 1_100_000)).status_code == 413
    refused = await http.get("/mcp", headers=ACCEPT)
    assert (refused.status_code, refused.headers["allow"]) == (405, "DELETE, POST")
    assert (await http.delete("/mcp")).status_code == 204
    assert (await http.post("/mcp", json=CALL, headers={**ACCEPT, "Host": "evil.example"})).status_code == 400
    assert "Traceback" not in at.log()


@dataclass
class Shelf:
    """Documents as the resources see them."""

    documents: list[Document]
    content: str = ""

    async def page(self, _owner: str, limit: int, after: tuple[datetime, str] | None, _only: Any) -> list[Document]:
        older = [one for one in self.documents if after is None or (one.created_at, one.doc_id) < after]
        return older[:limit]

    async def text(self, _owner: str, doc_id: str) -> tuple[None, list[str], list[Any]]:
        if doc_id == "broken":
            raise RuntimeError("secret of the inside")
        if doc_id != "long":
            raise NotFound("There is no such document.")
        return None, [self.content[:10], self.content[10:]], []


@asynccontextmanager
async def over(shelf: Shelf) -> AsyncIterator[Client]:
    owner = Principal("me", "me@example.com", "")
    services = Services(cast("Any", None), cast("Any", shelf), cast("Any", None))
    async with Client(build(services, lambda _: owner, lambda _: None)) as client:
        yield client


async def test_many_documents_are_listed_page_by_page_and_a_long_one_is_read_piece_by_piece() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    first = Document(
        "0", "me", "0.txt", "0", "text/plain", 1, "", None, 1, "ready", 1.0, None, None, None, at
    )  # fmt: skip
    names = [f"{number:04}" for number in range(2 * RESOURCES_PER_PAGE + 1)]
    many = [replace(first, doc_id=name, created_at=at - timedelta(days=int(name))) for name in names]
    content = "".join(chr(33 + number % 90) for number in range(RESOURCE_CHARACTERS + 500))
    async with over(Shelf(many, content)) as client:
        found, cursor = [], None
        for size in (RESOURCES_PER_PAGE, RESOURCES_PER_PAGE, 1):
            page = await client.list_resources(cursor=cursor)
            assert len(page.resources) == size
            found += [one.uri.removeprefix(SCHEME) for one in page.resources]
            cursor = page.next_cursor
        assert (found, cursor) == (names, None)
        text, more = (one.model_dump() for one in (await client.read_resource(SCHEME + "long")).contents)
        assert more["uri"] == f"{SCHEME}long?start={RESOURCE_CHARACTERS}"
        (rest,) = (await client.read_resource(more["uri"])).contents
        assert text["text"] + rest.model_dump()["text"] == content


async def test_what_fails_inside_is_told_without_its_inside() -> None:
    async with over(Shelf([])) as client:
        failed = await client.call_tool("search", {"query": "x"})
        assert said(failed) == "internal: Something went wrong on the server."
        with pytest.raises(MCPError) as broken:
            await client.read_resource(SCHEME + "broken")
        assert "secret" not in str(broken.value)


def command(*arguments: str, **environment: str) -> StdioServerParameters:
    named = {f"LORESTREAM_{name.upper()}": value for name, value in environment.items()}
    return StdioServerParameters(command=sys.executable, args=["-m", "lorestream", "mcp", *arguments], env=named)


async def test_over_stdio_for_a_server_with_progress_and_cancelling(at: World) -> None:
    at.fake.play(Say(["Paris", " [1]."]), Finish())
    at.fake.play(Say("Par"), Hold())
    speaking = stdio_client(command(url=at.server.url, token=await key(at, "read", "ask")))
    told: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with asyncio.timeout(100), Client(speaking, mode="legacy") as client:
        answer = await client.call_tool("ask", {"question": QUESTION}, progress_callback=note)
        assert answer.structured_content["answer"] == "Paris [1]."
        assert told[0] == (0.0, None, "Searching")
        (listed,) = (await client.list_resources()).resources
        assert (await client.read_resource(listed.uri)).contents
        await at.next_chat()
        asking = asyncio.create_task(client.call_tool("ask", {"question": QUESTION}))
        upstream = await at.next_chat()
        asking.cancel()
        async with asyncio.timeout(STOP_SECONDS):
            await asyncio.shield(upstream.closed)
        with suppress(asyncio.CancelledError):
            await asking


async def test_over_stdio_for_a_data_directory(tmp_path: Path, models_dir: Path) -> None:
    (tmp_path / "models").symlink_to(models_dir, target_is_directory=True)
    (tmp_path / "geo.txt").write_text("Paris is the capital of France.")
    library = Library(settings(tmp_path, model="reader", reader_words_per_second=0))
    await library.open()
    try:
        account, _ = await library.users.add("me@example.com", "a password of mine", is_admin=False, actor=COMMAND_LINE)
        document, _ = await library.documents.add_path(account.user_id, tmp_path / "geo.txt")
        await library.documents.ingestor.ingest(document.doc_id)
    finally:
        await library.close()
    speaking = stdio_client(command("--data-dir", str(tmp_path), model="reader", reader_words_per_second="0"))
    async with asyncio.timeout(100), Client(speaking, mode="legacy") as client:
        answer = await client.call_tool("ask", {"question": QUESTION})
        assert "Paris is the capital of France." in answer.structured_content["answer"]
        assert [one.name for one in (await client.list_resources()).resources] == ["geo.txt"]


async def test_over_stdio_what_cannot_begin_says_why(at: World, models_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="refuses the token"):
        await serve_for(Login(at.server.url, "nonsense"))
    with pytest.raises(StartRefused, match="is it running"):
        await serve_for(Login("http://127.0.0.1:1", "nonsense"))
    with pytest.raises(StartRefused, match="Another Lorestream is using"):
        await serve_library(Library(settings(at.server.data_dir, model="reader")), None)
    (tmp_path / "models").symlink_to(models_dir, target_is_directory=True)
    with pytest.raises(StartRefused, match="no account"):
        await serve_library(Library(settings(tmp_path, model="reader")), None)
