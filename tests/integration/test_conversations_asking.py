"""Asking in conversations: branches, history, repeated requests, stop and ask again, the line before the model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from lorestream.conversations.models import Place, Question, Request
from lorestream.errors import Busy
from lorestream.library import Library
from lorestream.settings import Settings
from lorestream.streaming.events import Done, Error, Reasoning, Sources, Status, Token
from tests.fakes.reading import QUESTION, Stream, user_of
from tests.fakes.threads import House, Thread, asking, house_of
from tests.fakes.upstream import Fail, Finish, Hold, Say

pytestmark = pytest.mark.asyncio(loop_scope="module")


def said(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The history in a prompt: what stands between the instructions and the question with its passages."""
    return [(message["role"], message["content"]) for message in messages[1:-1]]


def tree(whole: dict[str, Any]) -> list[tuple[str, str | None, str]]:
    """(content, content of the parent, status) of every message, in order."""
    contents = {message["message_id"]: message["content"] for message in whole["messages"]}
    return [
        (message["content"], contents.get(message["parent_id"]), message["status"]) for message in whole["messages"]
    ]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[House]:
    async with house_of(tmp_path_factory.mktemp("house"), models_dir) as started:
        yield started


async def test_an_answer_streams_the_whole_grammar_and_is_stored_with_all_it_says(house: House) -> None:
    async with house.asking() as (fake, _, client):
        fake.play(Say("The passage says so.", reasoning=True), Say(["Par", "is [1]."]), Finish())
        thread = await Thread.begin(client)
        stream = await thread.answer()
        kinds = [type(event) for event in stream.events]
        assert kinds == [Status, Sources, Status, Reasoning, Token, Token, Done]
        done = stream.terminal
        assert isinstance(done, Done)
        assert done.conversation_id == thread.id
        assert done.timings.queue_ms == 0
        question, answer = (await thread.read())["messages"]
        assert (question["role"], question["content"], question["parent_id"]) == ("user", QUESTION, None)
        assert (answer["message_id"], answer["parent_id"]) == (done.message_id, question["message_id"])
        assert (answer["content"], answer["status"], answer["run_id"]) == ("Paris [1].", "done", stream.run_id)
        assert (answer["model"], answer["finish_reason"]) == ("ollama:tiny:latest", "stop")
        assert answer["sources"][0]["n"] == 1
        assert answer["citations"][0]["n"] == 1
        assert answer["timings"]["total_ms"] >= 0
        snapshot = (await client.http.get(f"/runs/{stream.run_id}")).json()
        assert (snapshot["conversation_id"], snapshot["question"]) == (thread.id, QUESTION)
        fake.play(Say("Paris."), Finish())
        terminal = (await thread.answer()).terminal
        assert isinstance(terminal, Done)
        assert (done.uncited, terminal.uncited) == (False, True)
        messages = (await thread.read())["messages"]
        assert [message["uncited"] for message in messages] == [False, False, False, True]


async def test_a_failed_answer_names_its_conversation_and_is_no_history(house: House) -> None:
    async with house.asking() as (fake, _, client):
        fake.play(Fail("boom"))
        thread = await Thread.begin(client)
        error = (await thread.answer()).terminal
        assert isinstance(error, Error)
        assert (error.conversation_id, error.code) == (thread.id, "model_error")
        whole = await thread.read()
        assert whole["messages"][1]["message_id"] == error.message_id
        assert (whole["messages"][1]["status"], whole["messages"][1]["error"]["code"]) == ("failed", "model_error")
        await thread.answer("What is the capital of France, again?")
        assert said(fake.prompts()[-1]) == []
        assert (await thread.read())["messages"][2]["parent_id"] == error.message_id


async def test_the_branch_before_a_question_is_in_its_prompt_without_old_citations(house: House) -> None:
    async with house.asking() as (fake, _, client):
        thread = await Thread.begin(client)
        for text in ("Paris [1].", "Since 987 [1][2].", "It is."):
            fake.play(Say(text), Finish())
            await thread.answer(f"What is the capital of France? ({text})")
        first, second, third = fake.prompts()
        assert said(first) == []
        paris = [("user", "What is the capital of France? (Paris [1].)"), ("assistant", "Paris.")]
        assert said(second) == paris
        assert said(third) == [
            *paris, ("user", "What is the capital of France? (Since 987 [1][2].)"), ("assistant", "Since 987.")
        ]  # fmt: skip
        assert third[-1]["content"].startswith("Question: What is the capital of France? (It is.)")


async def test_regenerating_and_editing_keep_the_earlier_branches(house: House) -> None:
    async with house.asking() as (fake, _, client):
        thread = await Thread.begin(client)
        for text in ("one", "two", "two again", "edited", "root", "last"):
            fake.play(Say(text), Finish())
        one = await thread.answer("capital of France?")
        two = await thread.answer("capital of France, second?")
        again = await thread.regenerate(two)
        assert one.terminal
        assert again.terminal
        await thread.answer("capital of France, edited?", parent_id=one.terminal.message_id)
        await thread.answer("capital of France, root?", parent_id=None)
        await thread.answer("capital of France, last?", parent_id=again.terminal.message_id)
        assert tree(await thread.read()) == [
            ("capital of France?", None, "done"),
            ("one", "capital of France?", "done"),
            ("capital of France, second?", "one", "done"),
            ("two", "capital of France, second?", "done"),
            ("two again", "capital of France, second?", "done"),
            ("capital of France, edited?", "one", "done"),
            ("edited", "capital of France, edited?", "done"),
            ("capital of France, root?", None, "done"),
            ("root", "capital of France, root?", "done"),
            ("capital of France, last?", "two again", "done"),
            ("last", "capital of France, last?", "done"),
        ]
        histories = [[content for role, content in said(prompt) if role == "assistant"] for prompt in fake.prompts()]
        assert histories == [[], ["one"], ["one"], ["one"], [], ["one", "two again"]]
        question_id = (await thread.read())["messages"][0]["message_id"]
        async with thread.post("/questions", {"question": "x", "parent_id": question_id}) as refused:
            assert refused.response.status_code == 404, "a question follows on an answer"


async def test_a_running_answer_can_be_seen_followed_and_has_siblings(house: House) -> None:
    async with house.asking() as (fake, _, client):
        gate = asyncio.Event()
        fake.play(Say("slow "), Hold(gate), Say("end"), Finish())
        fake.play(Say("quick"), Finish())
        thread = await Thread.begin(client)
        async with thread.ask() as slow:
            await slow.until(Token)
            answer = (await thread.read())["messages"][1]
            assert (answer["status"], answer["run_id"]) == ("running", slow.run_id)
            path = f"/messages/{answer['message_id']}/regenerate"
            async with thread.post(path, None) as quick:
                await quick.rest()
            assert quick.text == "quick"
            async with client.stream(f"/runs/{slow.run_id}/events") as other_tab:
                await other_tab.until(Token)
                gate.set()
                await other_tab.rest()
            await slow.rest()
        assert slow.text == other_tab.text == "slow end"
        assert [m["status"] for m in (await thread.read())["messages"]] == ["done"] * 3


async def test_a_question_outlives_its_connection(house: House) -> None:
    async with house.asking() as (fake, _, client):
        gate = asyncio.Event()
        fake.play(Say("before "), Hold(gate), Say("after"), Finish())
        thread = await Thread.begin(client)
        async with thread.ask() as stream:
            await stream.until(Token)
        gate.set()
        async with client.stream(f"/runs/{stream.run_id}/events", headers={"Last-Event-ID": stream.ids[-1]}) as again:
            await again.rest()
        assert stream.text + again.text == "before after"


@pytest.mark.fault(32)
async def test_eight_submits_of_one_request_are_one_generation(house: House) -> None:
    async with house.asking() as (fake, _, client):
        gate = asyncio.Event()
        fake.play(Say("once"), Hold(gate), Say(" only"), Finish())
        thread = await Thread.begin(client)

        async def submit() -> Stream:
            async with thread.ask(client_request_id="click") as stream:
                await stream.until(Token)
                gate.set()
                await stream.rest()
            return stream

        streams = await asyncio.gather(*[submit() for _ in range(6)])
        streams += [await thread.answer(client_request_id="click") for _ in range(2)]
        assert len({stream.run_id for stream in streams}) == 1
        assert {stream.text for stream in streams} == {"once only"}
        assert len({tuple(stream.ids) for stream in streams}) == 1, "each from the start"
        assert len(fake.chats) == 1
        assert len((await thread.read())["messages"]) == 2


@pytest.mark.fault(32)
async def test_a_request_id_stands_for_one_request(tmp_path: Path, models_dir: Path) -> None:
    async with asking(tmp_path, models_dir, log_retention_seconds="0.3") as (fake, server, client):
        thread, other = await Thread.begin(client), await Thread.begin(client)
        stream = await thread.answer(client_request_id="a")
        assert stream.terminal
        regenerate = f"/messages/{stream.terminal.message_id}/regenerate"
        for at, path, body in (
            (thread, "/questions", {"question": "Another?", "client_request_id": "a"}),
            (thread, "/questions", {"question": QUESTION, "k": 3, "client_request_id": "a"}),
            (other, "/questions", {"question": QUESTION, "client_request_id": "a"}),
            (thread, regenerate, {"client_request_id": "a"}),
        ):
            refused = await client.http.post(f"{at.path}{path}", json=body)
            assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
            assert "message_id" not in refused.json()
        async with asyncio.timeout(10):
            while (await client.http.get(f"/runs/{stream.run_id}/events")).status_code != 410:
                pass
        gone = await client.http.post(f"{thread.path}/questions", json={"question": QUESTION, "client_request_id": "a"})
        assert gone.status_code == 409
        assert gone.json()["message_id"] == stream.terminal.message_id
        assert len(fake.chats) == 1
        async with user_of(server, "b@example.com") as bob:
            theirs = await (await Thread.begin(bob)).answer(client_request_id="a")
            assert theirs.run_id != stream.run_id
        again = await thread.regenerate(stream, client_request_id="b")
        assert again.run_id != stream.run_id


async def test_stop_then_ask_again_at_once(request: pytest.FixtureRequest, house: House) -> None:
    """Every answer is complete, and the next prompt holds all of the partial one that was seen."""
    async with house.asking() as (fake, _, client):
        for n in range(50 if request.config.getoption("--soak") else 10):
            thread = await Thread.begin(client)
            fake.play(Say([f"w{n}-{i} " for i in range(40)]), Hold())
            fake.play(Say([f"full {n}", " answer"]), Finish())
            async with thread.ask() as partial:
                await partial.until(Token, 1 + n % 40)
                assert (await client.stop(partial.run_id)).status_code == 202
                complete = await thread.answer("What is the capital of France, again?")
                await partial.rest(2)
            assert complete.text == f"full {n} answer"
            assert isinstance(complete.terminal, Done)
            assert complete.terminal.finish_reason == "stop"
            assert said(fake.prompts()[-1]) == [("user", QUESTION), ("assistant", partial.text.strip())]
            stored = (await thread.read())["messages"]
            assert [m["status"] for m in stored] == ["done", "stopped", "done", "done"]
            assert stored[1]["content"] == partial.text


async def test_a_model_can_be_chosen_among_those_listed(house: House) -> None:
    async with house.asking() as (fake, _, client):
        thread = await Thread.begin(client)
        stream = await thread.answer(model="reader")
        assert isinstance(stream.terminal, Done)
        assert stream.terminal.model == "reader"
        assert fake.chats == []
        again = await thread.regenerate(stream, model="ollama:tiny:latest")
        assert isinstance(again.terminal, Done)
        assert again.terminal.model == "ollama:tiny:latest"


async def test_a_conversation_bound_to_documents_searches_those_alone(house: House) -> None:
    async with house.asking() as (_, server, client):
        text = b"Rome is the capital of Italy. Paris is mentioned here as the capital of France, too."
        rome = await asyncio.to_thread(server.upload, dict(client.http.headers), "rome.txt", text)
        geo = (await client.http.get("/documents/")).json()["items"][1]["doc_id"]
        thread = await Thread.begin(client, doc_ids=[rome["doc_id"]])
        bound = await thread.answer()
        assert {source.doc_id for source in bound.sources.sources} == {rome["doc_id"]}
        narrowed = await thread.answer("What is the capital of France, then?", doc_ids=[geo])
        assert {source.doc_id for source in narrowed.sources.sources} == {geo}
        again = await thread.regenerate(narrowed)
        assert {source.doc_id for source in again.sources.sources} == {geo}
        unbound = await client.http.patch(thread.path, json={"doc_ids": None})
        assert unbound.json()["doc_ids"] is None
        free = await thread.answer("What is the capital of France, after all?")
        assert {source.doc_id for source in free.sources.sources} == {geo, rome["doc_id"]}
        await client.http.patch(thread.path, json={"doc_ids": [rome["doc_id"]]})
        await client.http.delete(f"/documents/{rome['doc_id']}")
        left = (await thread.answer()).terminal
        assert isinstance(left, Error)
        assert left.code == "no_documents"


async def test_a_conversation_in_a_collection_searches_that_alone_and_says_when_it_is_gone(
    tmp_path: Path, models_dir: Path
) -> None:
    async with asking(tmp_path, models_dir, model="reader", relevance_floor="0") as (_, server, client):
        http = client.http
        geo = (await http.get("/documents/")).json()["items"][0]["doc_id"]
        text = b"Rome is the capital of Italy. Paris is mentioned here as the capital of France, too."
        rome = (await asyncio.to_thread(server.upload, dict(http.headers), "rome.txt", text))["doc_id"]
        named = (await http.post("/collections/", json={"name": "Italy"})).json()["collection_id"]

        async def found(stream: Stream) -> set[str]:
            return {source.doc_id for source in stream.sources.sources}

        thread = await Thread.begin(client, collection_id=named)
        empty = (await thread.answer()).terminal
        assert isinstance(empty, Error)
        assert empty.code == "no_documents"
        await http.post(f"/collections/{named}/documents", json={"doc_ids": [rome]})
        first = await thread.answer("And what is the capital of France?")
        assert await found(first) == await found(await thread.regenerate(first)) == {rome}
        both = (await thread.answer(doc_ids=[geo], collection_id=named)).terminal
        assert isinstance(both, Error)
        assert both.code == "no_documents"
        assert await found(await thread.answer("The capital of France?", doc_ids=[geo])) == {geo}
        free = await Thread.begin(client)
        narrowed = await free.answer("The capital of France?", collection_id=named, client_request_id="once")
        assert await found(narrowed) == {rome}
        repeated = {"question": "The capital of France?", "client_request_id": "once"}
        assert (await http.post(f"{free.path}/questions", json=repeated)).status_code == 409
        assert (await thread.read())["collection_id"] == named

        assert (await http.delete(f"/collections/{named}")).status_code == 204
        gone = await http.post(f"{thread.path}/questions", json={"question": "And now?"})
        assert (gone.status_code, gone.json()["code"]) == (404, "not_found")
        assert "no longer exists" in gone.json()["message"]
        answer = (await free.read())["messages"][-1]["message_id"]
        assert (await http.post(f"{free.path}/messages/{answer}/regenerate")).status_code == 404
        assert (await http.patch(thread.path, json={"collection_id": named})).status_code == 404
        unbound = await http.patch(thread.path, json={"collection_id": None})
        assert (unbound.status_code, unbound.json()["collection_id"]) == (200, None)
        assert await found(await thread.answer("What is the capital of France, after all?")) == {geo, rome}


async def test_the_line_before_the_model_is_shown_and_its_end_reached(tmp_path: Path, models_dir: Path) -> None:
    settings = {"model_concurrency": "1", "max_queued_runs": "1", "max_runs_per_user": "3"}
    async with asking(tmp_path, models_dir, **settings) as (fake, _, client):
        gate = asyncio.Event()
        fake.play(Say("first"), Hold(gate), Finish())
        fake.play(Say("second"), Finish())
        thread = await Thread.begin(client)
        async with thread.ask() as first:
            await first.until(Token)
            async with thread.ask() as second:
                await second.until(Status, 2)
                assert second.events[-1] == Status("queued", 1)
                assert len(fake.chats) == 1
                full = await client.http.post(f"{thread.path}/questions", json={"question": QUESTION})
                assert (full.status_code, full.json()["code"]) == (503, "overloaded")
                assert int(full.headers["retry-after"]) >= 1
                gate.set()
                await second.rest()
            await first.rest()
        assert second.text == "second"
        assert isinstance(second.terminal, Done)
        assert second.terminal.timings.queue_ms is not None
        assert len((await thread.read())["messages"]) == 4, "what was refused was not stored"


@pytest.mark.parametrize("how", ["stop", "delete"])
async def test_whoever_leaves_the_line_gives_his_place_back(tmp_path: Path, models_dir: Path, how: str) -> None:
    async with asking(tmp_path, models_dir, model_concurrency="1", max_runs_per_user="2") as (fake, _, client):
        fake.play(Say("first"), Hold())
        first, second = await Thread.begin(client), await Thread.begin(client)
        async with first.ask() as one, second.ask() as two:
            await one.until(Token)
            await two.until(Status, 2)
            refused = await client.http.post(f"{second.path}/questions", json={"question": QUESTION})
            assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
            if how == "stop":
                await client.stop(two.run_id)
            else:
                await client.http.delete(second.path)
            await two.rest(2)
            assert isinstance(two.terminal, Done)
            assert two.terminal.finish_reason == "cancelled"
            await client.stop(one.run_id)
            await one.rest(2)
        assert (await first.answer("What is the capital of France, now?")).text
        assert len(fake.chats) == 2


async def test_a_run_that_cannot_begin_leaves_no_answer_running(
    tmp_path: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").symlink_to(models_dir)
    library = Library(Settings(data_dir=tmp_path, model="reader"))
    await library.open()
    try:
        conversation = await library.conversations.create("alice", "", None)

        async def refuse(_run_id: str) -> None:
            raise Busy

        monkeypatch.setattr(library.runs.log, "create", refuse)
        place, request = Place(conversation.conversation_id, newest=True), Request("a", "hash")
        with pytest.raises(Busy):
            await library.conversations.ask("alice", place, Question("What?"), request, "continue")
        _, (question, answer) = await library.conversations.get("alice", conversation.conversation_id)
        assert (question.content, answer.status) == ("What?", "failed")
        assert answer.error is not None
        assert library.admission.load("reader") == (0, 0)
    finally:
        await library.close()


@pytest.mark.fault(35)
async def test_open_streams_of_one_user_are_limited_and_the_last_is_refused_before_it_is_stored(
    tmp_path: Path, models_dir: Path
) -> None:
    async with (
        asking(tmp_path, models_dir, max_streams_per_user="2") as (fake, server, client),
        user_of(server, "b@example.com") as bob,
    ):
        fake.play(Say("first"), Hold())
        thread = await Thread.begin(client)
        async with thread.ask() as one:
            await one.until(Token)
            async with client.stream(f"/runs/{one.run_id}/events") as other_tab:
                await other_tab.until(Token)
                for method, path in (
                    ("POST", f"{thread.path}/questions"),
                    ("GET", f"/query/stream/?question={QUESTION}"),
                    ("GET", f"/runs/{one.run_id}/events"),
                ):
                    body = {"question": QUESTION} if method == "POST" else None
                    refused = await client.http.request(method, path, json=body)
                    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
                assert len((await thread.read())["messages"]) == 2
                async with (await Thread.begin(bob)).ask() as theirs:
                    await theirs.rest()
                await client.stop(one.run_id)
                await other_tab.rest(2)
            await one.rest(2)
        for _ in range(3):  # more often than there are seats
            assert (await thread.answer()).terminal
