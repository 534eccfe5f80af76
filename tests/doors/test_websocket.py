"""``WS /ws/chat`` beyond what every client is put through: its line of questions, its ways in, and its limits."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from lorestream.doors.websocket import MAX_MESSAGE_BYTES, MAX_TURNS
from lorestream.upgraded import MAX_FRAGMENTS
from tests.fakes.nginx import stock_nginx
from tests.fakes.reading import QUESTION
from tests.fakes.upstream import Finish, Hold, Reset, Say
from tests.faults.world import World, world

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]
STOP_SECONDS = 0.5  # promise P3
REVOKED_SECONDS = 5.0


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def at(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("websocket")
    settings = {"write_timeout_seconds": "1", "max_answer_bytes": str(2**24)}
    async with world(folder / "data", models_dir, **settings) as one:
        yield one
        assert "Traceback" not in one.log()
        assert "bearer" not in one.log().lower()


class Chat:
    """One connection, and every message that came over it."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.seen: list[dict[str, Any]] = []

    async def send(self, message: Any = None, **fields: Any) -> None:
        await self.connection.send(json.dumps(fields if message is None else message))

    async def next(self, seconds: float = 10) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            self.seen.append(json.loads(await self.connection.recv()))
        return self.seen[-1]

    async def until(self, *kinds: str) -> dict[str, Any]:
        while (message := await self.next())["type"] not in kinds:
            pass
        return message

    async def ask(self, content: str = QUESTION, **fields: Any) -> dict[str, Any]:
        """Ask, and read to the end of the answer."""
        await self.send(content=content, **fields)
        return await self.until("done", "error")

    async def closed(self, seconds: float = 10) -> int:
        """Read until the server has closed: with which code."""
        with suppress(ConnectionClosed):
            while True:
                await self.next(seconds)
        assert self.connection.close_code is not None
        return self.connection.close_code

    @property
    def text(self) -> str:
        return "".join(message["content"] for message in self.seen if message["type"] == "token")


@asynccontextmanager
async def chatting(at: World, token: str | None = "", url: str = "", **options: Any) -> AsyncIterator[Chat]:
    """A connection, with the world's own token in its header if none is named."""
    shown = token if token != "" else at.client.http.headers["authorization"].removeprefix("Bearer ")
    headers = {"Authorization": f"Bearer {shown}"} if shown else {}
    address = f"{url or at.server.url}/ws/chat".replace("http", "ws", 1)
    headers |= options.pop("headers", {})
    async with connect(address, additional_headers=headers, proxy=None, **options) as connection:
        yield Chat(connection)


def ws_token(at: World) -> str:
    return str(at.client.http.headers["authorization"]).removeprefix("Bearer ")


@asynccontextmanager
async def guest(at: World, email: str, **limits: int) -> AsyncIterator[dict[str, str]]:
    """The headers of another user with limits of their own."""
    headers = await asyncio.to_thread(at.server.register, email)
    found = (await at.client.http.get("/admin/users", params={"q": email})).json()["items"][0]
    answer = await at.client.http.patch(f"/admin/users/{found['user_id']}", json={"limits": limits})
    assert answer.status_code == 200, answer.text
    yield {"token": headers["Authorization"].removeprefix("Bearer "), "user_id": found["user_id"]}


# The answers


async def test_sources_then_tokens_as_they_are_said_then_done(at: World) -> None:
    gate = asyncio.Event()
    at.fake.play(Say("Par"), Hold(gate), Say("is 🦉\u2028"), Finish())
    async with chatting(at) as chat:
        await chat.send(content=QUESTION, k=2)
        assert (await chat.next())["sources"][0]["title"]
        assert await chat.next() == {"type": "token", "content": "Par"}
        gate.set()
        done = await chat.until("done")
        assert (chat.text, done["finish_reason"], done["model"]) == ("Paris 🦉\u2028", "stop", "openai:tiny")
        assert done["usage"]["total_tokens"] == 15
        stored = await at.stored(done["run_id"])
        assert (stored["status"], stored["content"], stored["question"]) == ("done", chat.text, QUESTION)


async def test_what_came_before_on_the_connection_is_given_along_and_capped(at: World) -> None:
    at.skip_chats()
    async with chatting(at) as chat:
        for number in range(MAX_TURNS + 2):
            at.fake.play(Say(f"answer {number}"), Finish())
            assert (await chat.ask(f"{QUESTION} ({number})"))["type"] == "done"
    asked = [one.request.json["messages"] for one in at.chats()[-MAX_TURNS - 2 :] if one.request]
    assert len(asked[0]) == 2
    assert [message["content"] for message in asked[1][1:3]] == [f"{QUESTION} (0)", "answer 0"]
    assert len(asked[-1]) == 2 + 2 * MAX_TURNS
    assert asked[-1][1]["content"] == f"{QUESTION} (1)"


async def test_two_connections_know_nothing_of_each_other(at: World) -> None:
    async with chatting(at) as one, chatting(at) as other:
        await one.ask(f"{QUESTION} Ada asks.")
        at.skip_chats()
        await other.ask()
    request = (await at.next_chat()).request
    assert request
    assert "Ada" not in request.body.decode()


async def test_a_question_waits_for_the_one_before_and_a_third_is_refused(at: World) -> None:
    gate = asyncio.Event()
    at.fake.play(Say("one"), Hold(gate), Finish())
    at.fake.play(Say("two"), Finish())
    async with chatting(at) as chat:
        await chat.send(content=f"First: {QUESTION}")
        await chat.until("token")
        await chat.send(content=f"Second: {QUESTION}")
        await chat.send(content=f"Third: {QUESTION}")
        refused = await chat.next()
        assert (refused["type"], refused["code"], refused["run_id"]) == ("error", "busy", None)
        gate.set()
        first, second = await chat.until("done"), await chat.until("done")
        assert first["run_id"] != second["run_id"]
        assert chat.text == "onetwo"


@pytest.mark.parametrize("said", ["", "Par"], ids=["before-the-first-token", "mid-answer"])
async def test_stop_closes_the_model_within_the_bound_and_the_next_question_is_answered(at: World, said: str) -> None:
    at.skip_chats()
    at.fake.play(*([Say(said)] if said else []), Hold())
    async with chatting(at) as chat:
        await chat.send(content=QUESTION)
        model = await at.next_chat()
        if said:
            await chat.until("token")
        began = time.monotonic()
        await chat.send(type="stop")
        await chat.send(content=f"And now? {QUESTION}")  # at once, as a person does
        done = await chat.until("done", "error")
        assert await model.closed - began < STOP_SECONDS
        assert (done["finish_reason"], chat.text) == ("cancelled", said)
        stored = await at.stored(done["run_id"])
        assert (stored["status"], stored["content"], stored["question"]) == ("stopped", said, QUESTION)
        assert (await chat.until("done", "error"))["finish_reason"] == "stop"


async def test_stop_is_for_everything_that_was_asked_before_it(at: World) -> None:
    at.skip_chats()
    at.fake.play(Say("a"), Hold())
    async with chatting(at) as chat:
        await chat.send(content=f"First: {QUESTION}")
        await chat.until("token")
        for message in ({"content": f"Second: {QUESTION}"}, {"type": "stop"}, {"type": "stop"}):
            await chat.send(message)
        ends = [await chat.until("done", "error") for _ in range(2)]
        assert [end["finish_reason"] for end in ends] == ["cancelled", "cancelled"]
        assert (await at.stored(ends[1]["run_id"]))["question"] == f"Second: {QUESTION}"
        assert len(at.chats()) <= at._seen + 1, "the second was stopped before its model was asked"
        assert (await chat.ask())["finish_reason"] == "stop"


async def test_a_run_ends_with_its_connection(at: World) -> None:
    at.skip_chats()
    at.fake.play(Say("a"), Hold())
    async with chatting(at) as chat:
        await chat.send(content=QUESTION)
        await chat.until("token")
        model = await at.next_chat()
        began = time.monotonic()
        chat.connection.transport.abort()
    async with asyncio.timeout(5):
        assert await model.closed - began < STOP_SECONDS


async def test_whoever_asks_and_leaves_at_once_leaves_nothing_running(at: World) -> None:
    for _ in range(5):
        async with chatting(at) as chat:
            await chat.send(content="asked and left")
            chat.connection.transport.abort()
    async with asyncio.timeout(10):
        while True:
            limits = (await at.client.http.get("/auth/limits")).json()["items"]
            if not next(one["used"] for one in limits if one["name"] == "running_answers"):
                break


async def test_an_answer_that_breaks_is_an_error_that_names_its_run_and_the_chat_goes_on(at: World) -> None:
    at.fake.play(Say("Par"), Reset())
    async with chatting(at) as chat:
        error = await chat.ask()
        assert (error["type"], error["code"], error["retryable"]) == ("error", "upstream_truncated", True)
        assert (await at.stored(error["run_id"]))["content"] == "Par"
        assert (await chat.ask())["type"] == "done"


# What is sent


BAD: dict[str, Any] = {
    "no JSON": "{",
    "a list": "[]",
    "a number": "1",
    "deep": "[" * 30_000,
    "an unknown type": '{"type": "dance"}',
    "a type that is none": '{"type": {"a": 1}, "content": "x"}',
    "nothing asked": "{}",
    "blank": '{"content": "  "}',
    "too long": json.dumps({"content": "x" * 4001}),
    "too many passages": '{"content": "x", "k": 11}',
    "half of a character": '{"content": "\\ud800"}',
    "an unknown field": '{"content": "x", "base_url": "http://evil"}',
    "a number for a text": '{"content": 1}',
    "a model that is not offered": '{"content": "x", "model": "openai:missing"}',
    "logging in again": '{"type": "auth", "token": "x"}',
}


async def test_what_cannot_be_read_is_refused_by_name_and_the_chat_goes_on(at: World) -> None:
    async with chatting(at) as chat:
        for name, sent in BAD.items():
            await chat.connection.send(sent)
            error = await chat.next()
            assert (error["type"], error["code"], error["run_id"]) == ("error", "invalid_input", None), name
            assert "Traceback" not in error["message"]
        await chat.connection.send(json.dumps({"content": QUESTION}).encode())  # bytes do as well
        assert (await chat.until("done", "error"))["type"] == "done"


async def test_a_foreign_and_an_unknown_document_or_collection_give_the_same(at: World) -> None:
    mine = (await at.client.http.get("/documents/")).json()["items"][0]["doc_id"]
    named = (await at.client.http.post("/collections/", json={"name": "mine"})).json()["collection_id"]
    async with guest(at, "eve@example.com") as eve:
        await asyncio.to_thread(
            at.server.upload, {"Authorization": f"Bearer {eve['token']}"}, "own.txt", b"Rome is in Italy."
        )
        async with chatting(at, eve["token"]) as chat:
            for fields in ({"doc_ids": [mine]}, {"doc_ids": ["0" * 32]}):
                assert (await chat.ask(**fields))["code"] == "no_documents"
            errors = [await chat.ask(collection_id=one) for one in (named, "0" * 32)]
            assert len({(error["code"], error["message"]) for error in errors}) == 1


async def test_messages_too_large_or_of_too_many_pieces_end_the_connection(at: World) -> None:
    async with chatting(at) as chat:
        await chat.connection.send("x" * (MAX_MESSAGE_BYTES + 1))
        assert await chat.closed() == 1009
    async with chatting(at) as chat:
        frames = [Frame(Opcode.TEXT, b"{", fin=False), *[Frame(Opcode.CONT, b"", fin=False)] * (MAX_FRAGMENTS + 1)]
        chat.connection.transport.write(b"".join(frame.serialize(mask=True) for frame in frames))
        assert await chat.closed() == 1006
    async with chatting(at) as chat:
        chat.connection.transport.write(Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=True))
        assert await chat.closed() == 1007
    async with chatting(at) as chat:
        assert (await chat.ask())["type"] == "done"


# Who is asking


async def test_a_token_is_shown_by_header_protocol_or_first_message(at: World) -> None:
    token = ws_token(at)
    made = await at.client.http.post("/auth/keys", json={"name": "a program", "scopes": ["ask"]})
    for shown in (token, made.json()["key"]):
        async with chatting(at, shown) as chat:
            assert chat.connection.subprotocol is None
            assert (await chat.ask())["type"] == "done"
        async with chatting(at, None, subprotocols=["lorestream", f"bearer.{shown}"]) as chat:
            assert chat.connection.subprotocol == "lorestream"
            assert (await chat.ask())["type"] == "done"
        async with chatting(at, None) as chat:
            await chat.send(type="auth", token=shown)
            assert (await chat.ask())["type"] == "done"


async def test_without_a_good_token_there_is_one_error_and_the_end(at: World) -> None:
    origin = {"headers": {"Origin": "https://evil.example"}}
    ways: list[tuple[dict[str, Any], Any]] = [
        ({"token": "wrong"}, None),
        ({"token": "lsk_" + "a" * 43}, None),
        ({"token": None, "subprotocols": ["lorestream", "bearer.wrong"]}, None),
        ({"token": None, **origin}, {"type": "auth", "token": "wrong"}),
        ({"token": None, **origin}, {"content": QUESTION}),
        ({"token": None}, {"type": "stop"}),
    ]
    chats = len(at.chats())
    for way, first in ways:
        async with chatting(at, **way) as chat:
            if first:
                await chat.send(first)
            assert (await chat.next())["code"] == "unauthenticated"
            assert await chat.closed() == 4401
    async with chatting(at, None) as chat:
        await chat.send([])
        assert await chat.closed() == 4422
    assert len(at.chats()) == chats


async def test_an_api_key_needs_the_scope_to_ask(at: World) -> None:
    made = await at.client.http.post("/auth/keys", json={"name": "a reader", "scopes": ["read", "documents"]})
    async with chatting(at, made.json()["key"]) as chat:
        assert (await chat.next())["code"] == "forbidden"
        assert await chat.closed() == 4403


async def test_silence_instead_of_a_token_and_a_login_that_ends_close_within_five_seconds(at: World) -> None:
    clock = asyncio.get_running_loop().time

    async def silent() -> None:
        async with chatting(at, None) as chat:
            began = clock()
            assert (await chat.next())["code"] == "unauthenticated"
            assert await chat.closed() == 4401
            assert clock() - began < REVOKED_SECONDS + 1

    async def revoked() -> None:
        async with guest(at, "mallory@example.com") as user, chatting(at, user["token"]) as chat:
            await asyncio.to_thread(
                at.server.upload, {"Authorization": f"Bearer {user['token']}"}, "own.txt", b"Paris is in France."
            )
            at.skip_chats()
            at.fake.play(Say("a"), Hold())
            await chat.send(content=QUESTION)
            await chat.until("token")
            model = await at.next_chat()
            headers = {"Authorization": f"Bearer {user['token']}"}
            assert (await at.client.http.post("/auth/logout-everywhere", headers=headers)).status_code == 204
            began = clock()
            assert (await chat.until("error"))["code"] == "unauthenticated"
            assert await chat.closed() == 4401
            assert clock() - began < REVOKED_SECONDS
            await model.closed

    await asyncio.gather(silent(), revoked())


async def test_a_login_that_has_ended_asks_nothing_more(at: World) -> None:
    async with guest(at, "trudy@example.com") as user, chatting(at, user["token"]) as chat:
        assert (await chat.ask())["code"] == "no_documents"
        chats = len(at.chats())
        disabled = await at.client.http.patch(f"/admin/users/{user['user_id']}", json={"disabled": True})
        assert disabled.status_code == 200
        assert (await chat.ask())["code"] == "unauthenticated"
        assert await chat.closed() == 4401
        assert len(at.chats()) == chats


# Limits


async def test_a_user_has_so_many_connections_and_so_many_questions_a_minute(at: World) -> None:
    async with guest(at, "greedy@example.com", open_streams=1, requests_per_minute=6) as user:
        async with chatting(at, user["token"]) as chat:
            # Whose seat is whose is settled once the first connection has been answered something.
            await chat.send(type="nothing")
            assert (await chat.next())["code"] == "invalid_input"
            async with chatting(at, user["token"]) as second:
                refused = await second.next()
                assert (refused["code"], refused["retry_after"] > 0) == ("rate_limited", True)
                assert await second.closed() == 4429
            codes = [(await chat.ask())["code"] for _ in range(6)]
            assert codes[0] == "no_documents"
            assert codes[-1] == "rate_limited"
            assert chat.seen[-1]["retry_after"] > 0
            await chat.send(type="stop")  # never too many
        async with guest(at, "greedy@example.com", open_streams=1), chatting(at, user["token"]) as again:
            assert (await again.ask())["code"] == "no_documents", "the seat was given back"


async def test_a_client_that_does_not_read_is_cut_off_and_its_answer_stopped(at: World) -> None:
    at.skip_chats()
    before = at.rss()
    # More than the kernel takes for a client that reads nothing.
    at.fake.play(Say([f"word{n} " * 60 for n in range(10_000)], together=True), Hold())
    host, _, port = at.server.url.removeprefix("http://").partition(":")
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.connect((host, int(port)))
    small.setblocking(False)
    async with chatting(at, max_queue=1, sock=small) as chat:
        await chat.send(content=QUESTION)
        async with asyncio.timeout(20):
            await (await at.next_chat()).closed
            while "did not read for 1 seconds" not in at.log():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert at.rss() - before < 64 * 1024 * 1024


async def test_pings_are_answered_but_not_for_a_client_that_does_not_read(at: World) -> None:
    async with chatting(at) as chat:
        async with asyncio.timeout(5):
            await (await chat.connection.ping())
        chat.connection.transport.pause_reading()
        flood = Frame(Opcode.PING, b"x" * 125).serialize(mask=True) * 1000
        async with asyncio.timeout(20):
            while not chat.connection.transport.is_closing():
                chat.connection.transport.write(flood)
                await asyncio.sleep(0)
                if chat.connection.transport.get_write_buffer_size() > 10_000_000:
                    break  # the server takes no more


async def test_a_strange_host_is_refused_before_there_is_a_connection(at: World) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with chatting(at, headers={"Host": "evil.example"}):
            pass
    assert refused.value.response.status_code == 400
    assert json.loads(refused.value.response.body)["code"] == "bad_request"


# Around it


async def test_through_a_stock_nginx(at: World, tmp_path: Path) -> None:
    location = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
    gate = asyncio.Event()
    at.skip_chats()
    at.fake.play(Say("Par"), Hold(gate), Say("is"), Hold())
    with stock_nginx(tmp_path, at.server.url, location) as proxy:
        async with chatting(at, url=proxy) as chat:
            await chat.send(content=QUESTION)
            await chat.until("token")
            assert chat.text == "Par"
            gate.set()
            await chat.until("token")
            model = await at.next_chat()
            began = time.monotonic()
            await chat.send(type="stop")
            assert (await chat.until("done"))["finish_reason"] == "cancelled"
            assert await model.closed - began < STOP_SECONDS


async def test_a_server_that_is_asked_to_leave_lets_answers_end_first(
    tmp_path_factory: pytest.TempPathFactory, models_dir: Path
) -> None:
    gate = asyncio.Event()
    folder = tmp_path_factory.mktemp("draining") / "data"
    async with world(folder, models_dir) as at, chatting(at) as idle, chatting(at) as chat:
        at.fake.play(Say("Par"), Hold(gate), Say("is"), Finish())
        await chat.send(content=QUESTION)
        await chat.until("token")
        leaving = asyncio.create_task(asyncio.to_thread(at.server.stop))
        async with asyncio.timeout(10):
            while (await at.client.http.get("/readyz")).status_code == 200:
                pass
        assert (await idle.ask())["code"] == "shutdown"
        gate.set()
        assert (await chat.until("done"))["finish_reason"] == "stop"
        assert chat.text == "Paris"
        assert [await chat.closed(), await idle.closed()] == [1012, 1012]
        assert await leaving == 0
