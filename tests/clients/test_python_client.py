"""``lorestream.client`` against a real server: through cuts, at most once, stopped when left, and in plain words."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from lorestream.client import (
    Answer,
    AsyncAnswer,
    AsyncClient,
    Client,
    Done,
    Error,
    Event,
    LorestreamError,
    NotUnderstood,
    Status,
    Times,
    Token,
    TookTooLong,
    Unreachable,
    calls,
)
from lorestream.errors import Conflict, InvalidInput, NotFound, Unauthenticated, UpstreamTruncated
from tests.clients.world import At, bad_wire, serving
from tests.conftest import SEED
from tests.fakes.ports import kept_port
from tests.fakes.reading import GEO, QUESTION
from tests.fakes.server import EMAIL, PASSWORD
from tests.fakes.tcp import cable_to
from tests.fakes.upstream import Close, Finish, Hold, Say

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

WORDS = [f"w{n} é🦉\u2028 " for n in range(600)]
STOP_SECONDS = 0.5
CUTS = 25


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def at(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[At]:
    async with serving(tmp_path_factory.mktemp("clients") / "data", models_dir) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def client(at: At) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(at.url, at.token) as one:
        yield one


def whole(events: list[Event], expected: str) -> None:
    assert "".join(event.text for event in events if isinstance(event, Token)) == expected
    assert [type(event).__name__ for event in events].count("Sources") == 1
    assert isinstance(events[-1], Done)
    assert sum(isinstance(event, Done | Error) for event in events) == 1


async def test_fifty_cuts_at_random_bytes_and_both_clients_read_the_same(at: At) -> None:
    at.fake.play(Say(WORDS, pause=0.0005), Finish())
    before, chance = len(at.chats()), random.Random(SEED)
    async with bad_wire(at.url, CUTS, chance) as wire, AsyncClient(wire.url, at.token) as client:
        answer = client.ask(QUESTION)
        events = [event async for event in answer]
        assert wire.left == 0, "it was cut"
        run_id = answer.run_id
        assert run_id
        wire.left = CUTS

        def follow() -> tuple[list[Event], str]:
            with Client(wire.url, at.token) as again, again.follow(run_id) as same:
                return list(same), same.text

        followed, text = await asyncio.to_thread(follow)
        assert wire.left == 0, "it was cut"
    whole(events, "".join(WORDS))
    assert followed == events
    assert text == answer.text
    async with AsyncClient(at.url, at.token) as client:
        assert (await client.call(calls.stored(run_id))).content == text
    assert len(at.chats()) == before + 1, "asked once"


async def test_a_question_whose_answer_never_began_to_arrive_is_asked_once(at: At) -> None:
    at.fake.play(Say(["Pa", "ris"]), Finish())
    before = len(at.chats())
    async with bad_wire(at.url, 3, random.Random(1)) as wire, AsyncClient(wire.url, at.token) as client:
        wire._most = 1  # not even the head of the answer comes through
        result = await client.ask(QUESTION).result()
    assert result.text == "Paris"
    assert wire.left == 0
    assert len(at.chats()) == before + 1


async def test_the_result_is_the_fold_of_the_events_and_goes_on_in_its_conversation(
    at: At, client: AsyncClient
) -> None:
    at.fake.play(Say(["Paris", " [1]."]), Finish(usage=(3, 2)))
    answer = client.ask(QUESTION)
    assert (answer.text, answer.sources, answer.terminal, answer.run_id) == ("", None, None, None)
    result = await answer.result()
    assert (result.text, result.finish_reason, result.model) == ("Paris [1].", "stop", "openai:tiny:latest")
    assert (result.sources[0].text, result.citations[0].n, result.uncited) == (GEO.decode(), 1, False)
    assert result.usage
    assert result.usage.total_tokens == 5
    at.fake.play(Say("Yes."), Finish())
    more = await client.ask("And of France?", conversation_id=result.conversation_id).result()
    assert more.conversation_id == result.conversation_id
    asked = at.chats()[-1].request
    assert asked
    assert b"Paris" in asked.body


async def test_the_same_request_id_is_the_same_answer(at: At, client: AsyncClient) -> None:
    at.fake.play(Say("Paris"), Finish())
    first = await client.ask(QUESTION, client_request_id="mine").result()
    into = first.conversation_id
    again = await client.ask(QUESTION, client_request_id="mine", conversation_id=into).result()
    assert again == first
    with pytest.raises(Conflict):
        await client.ask("Another?", client_request_id="mine", conversation_id=into).result()


@pytest.mark.parametrize("said", ["", "Par"], ids=["before-the-first-token", "in-mid-answer"])
@pytest.mark.parametrize("how", ["stop", "leave", "cancel"])
async def test_the_model_is_let_go_when_an_answer_is_stopped_or_left(
    at: At, client: AsyncClient, how: str, said: str
) -> None:
    at.fake.play(*([Say(said)] if said else []), Hold())
    before, reached, leave = len(at.chats()), asyncio.Event(), asyncio.Event()
    answer = client.ask(QUESTION)

    async def read() -> None:
        async with answer:
            async for event in answer:
                if isinstance(event, Token) or (not said and event == Status("generating")):
                    reached.set()
                    if how == "leave":
                        await leave.wait()
                        return

    async with asyncio.timeout(20):
        reading = asyncio.create_task(read())
        connection = await at.chat(before)
        await reached.wait()
        began = time.monotonic()
        if how == "stop":
            await answer.stop()
        elif how == "leave":
            leave.set()
        else:
            reading.cancel()
        await asyncio.wait([reading])
        assert await connection.closed - began < STOP_SECONDS
    assert answer.text == said
    if how == "stop":
        assert isinstance(answer.terminal, Done)
        assert answer.terminal.finish_reason == "cancelled"


async def test_what_is_left_before_the_server_has_named_it_is_stopped_too(at: At) -> None:
    at.fake.play(Hold())
    before = len(at.chats())
    async with cable_to(at.url) as (cable, url), AsyncClient(url, at.token) as client, asyncio.timeout(20):
        answer = client.ask(QUESTION, conversation_id=await conversation(client))
        cable.deafen()

        async def read() -> None:
            async with answer:
                await anext(answer)

        reading = asyncio.create_task(read())
        connection = await at.chat(before)
        assert answer.run_id is None
        cable.mend()
        began = time.monotonic()
        reading.cancel()
        await asyncio.wait([reading])
        assert await connection.closed - began < STOP_SECONDS
    assert len(at.chats()) == before + 1


async def conversation(client: AsyncClient) -> str:
    return (await client.call(calls.conversation())).conversation_id


async def test_an_answer_that_may_go_on_is_found_again(at: At, client: AsyncClient) -> None:
    gate = asyncio.Event()
    at.fake.play(Say("Par"), Hold(gate), Say("is"), Finish())
    async with client.ask(QUESTION, stop_when_left=False) as answer:
        async for event in answer:
            if isinstance(event, Token):
                break
    gate.set()
    assert answer.run_id
    async with client.follow(answer.run_id) as again:
        assert (await again.result()).text == "Paris"


@pytest.mark.parametrize("leave", [True, False], ids=["left", "stopped"])
async def test_the_client_without_asyncio_is_stopped_from_another_thread_and_when_left(at: At, leave: bool) -> None:
    at.fake.play(Say("Par"), Hold())
    before = len(at.chats())

    def read() -> tuple[float, Answer]:
        began = 0.0
        with Client(at.url, at.token) as client, client.ask(QUESTION) as answer:
            for event in answer:
                if isinstance(event, Token):
                    began = time.monotonic()
                    if leave:
                        break
                    threading.Thread(target=answer.stop).start()
        return began, answer

    async with asyncio.timeout(20):
        began, answer = await asyncio.to_thread(read)
        assert await at.chats()[before].closed - began < STOP_SECONDS
    if not leave:
        assert isinstance(answer.terminal, Done)
        assert answer.terminal.finish_reason == "cancelled"


async def test_a_failed_answer_is_its_last_event_and_the_failure_of_its_result(at: At, client: AsyncClient) -> None:
    for _ in range(2):
        at.fake.play(Say("Par"), Close())
    events = [event async for event in client.ask(QUESTION)]
    assert isinstance(events[-1], Error)
    assert events[-1].code == "upstream_truncated"
    answer = client.ask(QUESTION)
    with pytest.raises(UpstreamTruncated) as failed:
        await answer.result()
    assert failed.value.fields["run_id"] == answer.run_id
    assert (answer.text, failed.value.retryable) == ("Par", True)


async def test_refusals_are_the_failures_that_they_are(at: At, client: AsyncClient) -> None:
    cases: list[tuple[type[LorestreamError], AsyncAnswer]] = [
        (InvalidInput, client.ask("", k=4)),
        (InvalidInput, client.ask(QUESTION, k=11)),
        (InvalidInput, client.ask(QUESTION, model="openai:missing")),
        (NotFound, client.ask(QUESTION, conversation_id="0" * 32)),
        (NotFound, client.ask(QUESTION, conversation_id="../../etc")),
        (NotFound, client.follow("0" * 32)),
    ]
    for kind, answer in cases:
        with pytest.raises(kind):
            await answer.result()
    with pytest.raises(NotFound):
        await client.documents.get("0" * 32)
    with pytest.raises(NotFound):
        await client.collection("none")
    async with AsyncClient(at.url, "not-a-token") as stranger:
        with pytest.raises(Unauthenticated):
            await stranger.ask(QUESTION).result()


async def test_nobody_there_and_somebody_else_there() -> None:
    async with AsyncClient(f"http://127.0.0.1:{kept_port()}", "x") as client:
        for call in (client.ask("?").result(), client.search("?")):
            with pytest.raises(Unreachable, match="Is Lorestream running"):
                await call

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")
        writer.close()

    async with (
        await asyncio.start_server(answer, "127.0.0.1", 0) as listening,
        AsyncClient(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", "x") as client,
    ):
        with pytest.raises(NotUnderstood):
            await client.search("?")


async def test_a_login_renews_its_access_token_by_itself_and_ends(at: At) -> None:
    async with AsyncClient(at.url) as client:
        with pytest.raises(Unauthenticated):
            await client.me()
        with pytest.raises(Unauthenticated):
            await client.log_in(EMAIL, "wrong password")
        await client.log_in(EMAIL, PASSWORD)
        assert (await client.me()).email == EMAIL
        first, refresh = client.login.token, client.login.refresh_token
        client.login._until = 0.0
        assert (await client.me()).email == EMAIL
        assert client.login.token != first
        client.login.token = "not-a-token"
        at.fake.play(Say("Paris"), Finish())
        assert (await client.ask(QUESTION).result()).text == "Paris"
        assert client.login.refresh_token != refresh
        assert not client.http.cookies, "the login alone holds its cookie"
        await client.log_out()
        with pytest.raises(Unauthenticated):
            await client.me()


async def test_documents_are_given_waited_for_searched_and_taken_away(at: At, tmp_path: Path) -> None:
    await asyncio.to_thread(use_documents, at, tmp_path)


def use_documents(at: At, tmp_path: Path) -> None:
    path = tmp_path / "rome.txt"
    path.write_text("Rome is the capital of Italy.")
    with Client(at.url, at.token) as client:
        mine = client.collection("Italy", make=True)
        assert client.collection("Italy").collection_id == mine.collection_id
        given = client.documents.upload(path, collection_id=mine.collection_id)
        ready = client.documents.wait(given.doc_id)
        assert (ready.status, ready.filename, ready.settled) == ("ready", "rome.txt", True)
        assert client.documents.upload(path.read_bytes(), name="other.txt").doc_id == ready.doc_id
        assert [one.doc_id for one in client.documents.list(collection_id=mine.collection_id)] == [ready.doc_id]
        assert [one.doc_id for one in client.documents.list(words="rome")] == [ready.doc_id]
        best = client.search("capital of Italy", k=1, collection_id=mine.collection_id)[0]
        assert (best.doc_id, best.text) == (ready.doc_id, path.read_text())
        client.documents.delete(ready.doc_id)
        with pytest.raises(NotFound):
            client.documents.get(ready.doc_id)
        broken = client.documents.wait(client.documents.upload(b"%PDF-1.7 " + os.urandom(99), name="x.pdf").doc_id)
        assert broken.status == "failed"
        assert broken.error


async def test_waiting_has_an_end(at: At, client: AsyncClient) -> None:
    given = await client.documents.upload(os.urandom(8).hex().encode() * 20_000, name="long.txt")
    if not given.settled:
        with pytest.raises(TookTooLong):
            await client.documents.wait(given.doc_id, seconds=-1)
    await client.documents.delete(given.doc_id)


async def test_a_server_that_goes_away_for_good_is_given_up(at: At, client: AsyncClient) -> None:
    at.fake.play(Say("Par"), Hold())
    async with cable_to(at.url) as (cable, url), AsyncClient(url, at.token, times=Times(patience=0.3)) as far:
        answer = far.ask(QUESTION)
        async for event in answer:
            if isinstance(event, Token):
                cable.cut()
                break
        with pytest.raises(Unreachable) as given_up:
            await answer.result()
    assert answer.run_id
    assert given_up.value.fields["run_id"] == answer.run_id
    assert answer.text == "Par"
    assert await client.stop(answer.run_id)
