"""The Vercel AI SDK's door: its own reader and schema, resume by chat, Stop, one answer for one request, bad input."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from lorestream.streaming import sse
from lorestream.streaming.events import Done, Error, Fold
from tests.doors.client import WEB
from tests.fakes.reading import user_of
from tests.fakes.upstream import Finish, Hold, Say
from tests.faults.world import World, world

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]
STREAMS = WEB.parent / "wire" / "streams"
STOP_SECONDS = 0.5
QUESTION = "What is the capital of France?"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("ai") / "data", models_dir, max_runs_per_user="40") as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def at(shared: World) -> World:
    shared.skip_chats()
    return shared


def message(text: str, role: str = "user", name: str = "m1") -> dict[str, Any]:
    return {"id": name, "role": role, "parts": [{"type": "text", "text": text}]}


def body(chat: str, *messages: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"id": chat, "messages": list(messages or [message(QUESTION)]), "trigger": "submit-message", **others}


def parts(raw: str) -> list[dict[str, Any]]:
    """The parts of a whole stream, which must have come to its end."""
    lines = [line.removeprefix("data: ") for line in raw.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def text(found: list[dict[str, Any]]) -> str:
    return "".join(part["delta"] for part in found if part["type"] == "text-delta")


async def node(script: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *("node", str(WEB / "tests" / "doors" / script), *arguments), cwd=WEB, stdout=asyncio.subprocess.PIPE
    )


async def read_until(lines: AsyncIterator[str], wanted: str) -> None:
    async with asyncio.timeout(10):
        async for line in lines:
            if wanted in line:
                return
    raise AssertionError(f"the stream ended without {wanted}")


async def test_the_sdks_own_reader_takes_every_golden_stream_and_adds_it_up_alike() -> None:
    process = await node("ai_golden.mjs", str(STREAMS / "ai_sdk"))
    out, _ = await process.communicate()
    read = json.loads(out)
    for path in STREAMS.glob("*.sse"):
        fold = Fold()
        for block in path.read_bytes().split(b"\n\n"):
            if b"data: " in block:
                fold.add(sse.decode(block))
        found = read.pop(path.stem)
        assert (found["text"], found["reasoning"]) == (fold.answer, fold.reasoning), path.stem
        assert [one["lorestream"]["n"] for one in found["sources"]] == [one.n for one in fold.sources or []]
        match fold.terminal:
            case Done(finish_reason=reason, citations=citations):
                assert found["wrong"] == ""
                assert found["metadata"]["finish_reason"] == reason
                assert len(found["metadata"]["citations"]) == len(citations)
                assert found["last"] == ("abort" if reason == "cancelled" else "finish")
            case Error(code=code, message=said):
                assert (found["wrong"], found["metadata"]["error"]["code"]) == (said, code)
    assert not read


async def test_use_chat_asks_on_is_reloaded_in_mid_answer_and_has_nothing_to_resume_afterwards(at: World) -> None:
    gate = asyncio.Event()
    at.fake.play(Say(["Paris", " [1]."]), Finish())
    at.fake.play(Say("Ber"), Hold(gate), Say("lin [1]."), Finish())
    token = at.client.http.headers["Authorization"].removeprefix("Bearer ")
    process = await node("ai_reload.mjs", json.dumps({"url": at.server.url, "token": token}))
    assert process.stdout
    async with asyncio.timeout(30):
        assert await process.stdout.readline() == b"resumed\n"
        gate.set()
        seen = json.loads(await process.stdout.read())
        await process.wait()
    assert seen["answered"] == [QUESTION, "Paris [1]."]
    assert seen["phases"] == ["retrieving", "generating"] * 2
    assert (seen["last"], seen["roles"]) == ("Berlin [1].", ["user", "assistant"] * 2)
    assert (seen["status"], seen["afterwards"]) == ("ready", ["ready", 0])
    assert seen["metadata"]["citations"][0]["n"] == 1
    await at.next_chat()
    second = (await at.next_chat()).request
    assert second
    said = [(one["role"], one["content"]) for one in second.json["messages"]]
    assert said[1:3] == [("user", QUESTION), ("assistant", "Paris.")]


async def test_the_same_request_is_asked_once_while_its_answer_is_written_and_again_afterwards(at: World) -> None:
    gate = asyncio.Event()
    at.fake.play(Hold(gate), Say("Paris."), Finish())
    at.fake.play(Say("Paris again."), Finish())
    at.fake.play(Say("Paris anew."), Finish())
    http, asked = at.client.http, body("twice")

    async def begun() -> httpx.Response:
        return await http.send(http.build_request("POST", "/ai-sdk/chat", json=asked), stream=True)

    answers = list(await asyncio.gather(begun(), begun()))
    await at.next_chat()
    answers.append(await begun())
    assert len({one.headers["x-run-id"] for one in answers}) == 1
    assert answers[0].headers["x-vercel-ai-ui-message-stream"] == "v1"
    nothing = await http.get("/ai-sdk/chat/nothing/stream")
    assert (nothing.status_code, nothing.content) == (204, b"")
    gate.set()
    assert [text(parts((await one.aread()).decode())) for one in answers] == ["Paris."] * 3
    assert len(at.chats()) == at._seen
    assert text(parts((await http.post("/ai-sdk/chat", json=asked)).text)) == "Paris again."
    again = body("twice", trigger="regenerate-message", messageId="gone")
    assert text(parts((await http.post("/ai-sdk/chat", json=again)).text)) == "Paris anew."


async def test_stop_before_the_first_token_reaches_the_model_and_another_users_stop_does_not(at: World) -> None:
    at.fake.play(Hold())
    http = at.client.http
    asking = asyncio.create_task(http.post("/ai-sdk/chat", json=body("to stop")))
    upstream = await at.next_chat()
    async with user_of(at.server, "other@example.com") as other:
        assert (await other.http.get("/ai-sdk/chat/to stop/stream")).status_code == 204
        answer = await other.http.post("/ai-sdk/chat/to stop/stop")
        assert (answer.status_code, answer.json()) == (202, {"stopping": 0})
    assert not upstream.closed.done()
    began = time.monotonic()
    assert (await http.post("/ai-sdk/chat/to stop/stop")).json() == {"stopping": 1}
    async with asyncio.timeout(STOP_SECONDS):
        await asyncio.shield(upstream.closed)
    found = parts((await asking).text)
    assert time.monotonic() - began < 2
    assert [part["type"] for part in found[-2:]] == ["message-metadata", "abort"]
    assert found[-2]["messageMetadata"]["finish_reason"] == "cancelled"
    assert (await http.post("/ai-sdk/chat/to stop/stop")).json() == {"stopping": 0}


async def test_stop_reaches_a_question_that_is_still_on_its_way(at: World) -> None:
    at.fake.play(Hold(), always=True)
    try:
        async with asyncio.timeout(20):
            stopping = asyncio.create_task(at.client.http.post("/ai-sdk/chat/at once/stop"))
            found = parts((await at.client.http.post("/ai-sdk/chat", json=body("at once"))).text)
    finally:
        at.fake._always = None
    assert found[-1]["type"] == "abort"
    assert (await stopping).json() == {"stopping": 1}


@pytest.mark.parametrize("on_disconnect", ["continue", "cancel"])
async def test_who_leaves_can_come_back_unless_leaving_was_to_be_the_end(at: World, on_disconnect: str) -> None:
    gate, http = asyncio.Event(), at.client.http
    at.fake.play(Say("Par"), Hold(gate), Say("is."), Finish())
    asked = body(f"left {on_disconnect}", on_disconnect=on_disconnect)
    async with http.stream("POST", "/ai-sdk/chat", json=asked) as answer:
        await read_until(answer.aiter_lines(), "text-delta")
    upstream = await at.next_chat()
    if on_disconnect == "cancel":
        async with asyncio.timeout(STOP_SECONDS):
            await asyncio.shield(upstream.closed)
        return
    resuming = asyncio.create_task(http.get("/ai-sdk/chat/left continue/stream"))
    await asyncio.wait([resuming], timeout=0.05)
    gate.set()
    found = parts((await resuming).text)
    assert (found[0]["type"], text(found)) == ("start", "Paris.")


async def test_a_model_that_fails_is_told_as_an_error_with_its_code(at: World) -> None:
    at.fake.play(Say("Par"), Finish(reason=None, end_mark=False))
    found = parts((await at.client.http.post("/ai-sdk/chat", json=body("fails"))).text)
    await at.next_chat()
    assert [part["type"] for part in found[-3:]] == ["message-metadata", "error", "finish"]
    assert found[-3]["messageMetadata"]["error"]["code"] == "upstream_truncated"
    assert found[-1]["finishReason"] == "error"


async def test_what_the_door_does_not_know_is_passed_over_and_never_sent_on(at: World) -> None:
    at.fake.play(Say("Paris."), Finish())
    strange = {"type": "tool-x", "toolCallId": "1", "state": "output-available", "text": "no text of the message"}
    said = {**message("It is Paris.", "assistant", "m2"), "metadata": {"a": 1}}
    said["parts"] += [strange, {"type": "source-document", "sourceId": "1", "title": "x", "mediaType": "text/plain"}]
    asked = body("open", message("wish", "system"), message("a"), said, message(QUESTION, name="m3"))
    asked |= {"tools": [{"a": 1}], "n": 9, "best_of": 9, "logprobs": True, "base_url": "http://127.0.0.1:1"}
    answer = await at.client.http.post("/ai-sdk/chat", json=asked)
    assert text(parts(answer.text)) == "Paris."
    upstream = (await at.next_chat()).request
    assert upstream
    assert not {"tools", "n", "best_of", "logprobs", "base_url"} & upstream.json.keys()
    assert "no text of the message" not in upstream.body.decode()
    assert "wish" in upstream.json["messages"][0]["content"]
    assert upstream.json["messages"][0]["content"].startswith("You answer questions about the user's own documents")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no question": (body("x", message("It is.", "assistant")), "last message must be the user's"),
    "blank": (body("x", message("  \n")), "last message must be the user's"),
    "a file": (
        body("x", {"id": "1", "role": "user", "parts": [{"type": "file", "mediaType": "image/png", "url": "data:,"}]}),
        "upload them as documents",
    ),
    "too long": (body("x", message("x" * 4001)), "4000 characters"),
    "instructions": (body("x", message("x" * 4001, "system"), message(QUESTION)), "4000 characters"),
    "no messages": ({"id": "x", "messages": []}, "body.messages"),
    "too many messages": (body("x", *[message(QUESTION)] * 1001), "body.messages"),
    "too many parts": (body("x", {"role": "user", "parts": [{"type": "text"}] * 1001}), "parts"),
    "no chat": ({"messages": [message(QUESTION)]}, "body.id"),
    "a long name": (body("x" * 129), "body.id"),
    "a strange role": (body("x", message(QUESTION, "tool")), "role"),
    "a model that is not there": (body("x", model="openai:missing"), "no model named"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_asked_is_refused_before_the_stream_with_its_reason(at: World, name: str) -> None:
    asked, reason = REFUSED[name]
    answer = await at.client.http.post("/ai-sdk/chat", json=asked)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert reason in answer.json()["message"]


@pytest.mark.parametrize("scope", [{"doc_ids": ["0" * 32]}, {"collection_id": "0" * 32}])
async def test_a_document_or_collection_that_is_not_ones_own_is_404(at: World, scope: dict[str, Any]) -> None:
    answer = await at.client.http.post("/ai-sdk/chat", json=body("x", **scope))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_half_an_emoji_in_the_history_is_replaced(at: World) -> None:
    at.fake.play(Say("Paris."), Finish())
    raw = json.dumps(body("half \ud83e", message("cut \ud83e", "user"), message(QUESTION)))
    answer = await at.client.http.post("/ai-sdk/chat", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    upstream = (await at.next_chat()).request
    assert upstream
    assert "cut \ufffd" in upstream.json["messages"][-1]["content"]


async def test_a_chats_name_is_bounded_and_its_routes_need_a_login(at: World) -> None:
    assert (await at.client.http.get(f"/ai-sdk/chat/{'x' * 129}/stream")).status_code == 422
    async with httpx.AsyncClient(base_url=at.server.url) as nobody:
        for method, path in (
            ("GET", "/ai-sdk/chat/x/stream"),
            ("POST", "/ai-sdk/chat/x/stop"),
            ("POST", "/ai-sdk/chat"),
        ):
            assert (await nobody.request(method, path, json=None)).status_code == 401
