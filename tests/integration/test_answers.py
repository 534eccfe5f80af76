"""Questions to a real server over real sockets, the model being a scripted Ollama or OpenAI-compatible server."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from lorestream.streaming.events import Done, Error, Sources, Token
from tests.fakes.reading import GEO, QUESTION, Client, Stream, user_of
from tests.fakes.server import RunningServer, started_server
from tests.fakes.upstream import Close, Connection, Fail, FakeUpstream, Finish, Hold, Raw, Reset, Say, Step

pytestmark = pytest.mark.asyncio(loop_scope="module")
BOUND_SECONDS = 0.5  # promise P3
FORMATS = ("ollama", "openai")


KINDS = {
    **{kind: {"model": f"{kind}:tiny:latest"} for kind in FORMATS},
    "impatient": {"model": "openai:tiny:latest", "first_token_timeout_seconds": "0.5", "idle_timeout_seconds": "0.5"},
}


Asked = tuple[FakeUpstream, RunningServer, Client]


class Servers:
    """A server of each kind for all tests of this file, with its model and a user who has one document."""

    def __init__(self, folder: Path, models_dir: Path, stack: AsyncExitStack) -> None:
        self._folder, self._models_dir, self._stack = folder, models_dir, stack
        self._started: dict[str, Asked] = {}

    async def of(self, kind: str) -> Asked:
        """The one of this kind, started when it is first asked for; its model has heard nothing yet."""
        if kind not in self._started:
            fake = await self._stack.enter_async_context(FakeUpstream())
            settings = {"ollama_url": fake.url, "openai_base_url": f"{fake.url}/v1", **KINDS[kind]}
            starting = started_server(self._folder / kind, self._models_dir, **settings)
            server = await self._stack.enter_async_context(starting)
            client = await self._stack.enter_async_context(user_of(server))
            await asyncio.to_thread(server.upload, dict(client.http.headers), "geo.txt", GEO)
            self._started[kind] = fake, server, client
        self._started[kind][0].connections.clear()
        return self._started[kind]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[Servers]:
    async with AsyncExitStack() as stack:
        yield Servers(tmp_path_factory.mktemp("answers"), models_dir, stack)


async def chat(fake: FakeUpstream, index: int = 0) -> Connection:
    """The ``index``-th generation that was asked of the upstream."""
    for number in itertools.count():
        connection = await fake.connection(number, seconds=10)
        assert connection.request
        if "chat" in connection.request.path:
            index -= 1
        if index < 0:
            return connection
    raise AssertionError


async def settled(client: Client, run_id: str) -> dict[str, Any]:
    """The stored run once it has ended."""
    async with client.stream(f"/runs/{run_id}/events") as stream:
        await stream.rest(5)
    stored: dict[str, Any] = (await client.http.get(f"/runs/{run_id}")).json()
    return stored


@pytest.mark.parametrize("kind", FORMATS)
async def test_sources_come_first_then_the_tokens_as_they_are_said_then_done(servers: Servers, kind: str) -> None:
    fake, _, client = await servers.of(kind)
    gates = [asyncio.Event() for _ in range(3)]
    fake.play(Hold(gates[0]), Say("Par"), Hold(gates[1]), Say("is 🦉"), Hold(gates[2]), Say("."), Finish())
    async with client.ask() as stream:
        headers = stream.response.headers
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["cache-control"] == "no-cache, no-transform"
        assert headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in headers
        await stream.until(Sources)
        assert not stream.text, "the sources are there before the model has said a word"
        for gate, said in zip(gates, ("Par", "Paris 🦉", "Paris 🦉."), strict=True):
            gate.set()
            while stream.text != said:
                await stream.until(Token, len([e for e in stream.events if isinstance(e, Token)]) + 1)
        await stream.rest()
    assert stream.raw.startswith(b"retry: 2000\nid: ")
    assert stream.ids == [f"{stream.run_id}:{n}" for n in range(1, len(stream.events) + 1)]
    done = stream.terminal
    assert isinstance(done, Done)
    assert (done.model, done.finish_reason) == (f"{kind}:tiny:latest", "stop")
    assert done.usage
    (source,) = stream.sources.sources
    assert (source.n, source.text, source.start, source.end) == (1, GEO.decode(), 0, len(GEO))
    asked = (await chat(fake)).request
    assert asked
    assert GEO.decode() in asked.body.decode()
    stored = (await client.http.get(f"/runs/{stream.run_id}")).json()
    assert (stored["status"], stored["content"], stored["question"]) == ("done", stream.text, QUESTION)


async def test_the_answer_that_is_not_streamed_is_the_fold_of_the_one_that_is(servers: Servers) -> None:
    _, _, client = await servers.of("ollama")
    streamed = await client.answer()
    whole = (await client.http.post("/query/", json={"question": QUESTION})).json()
    assert whole["answer"] == streamed.text
    assert whole["citations"][0]["n"] == 1
    assert whole["finish_reason"] == "stop"
    assert whole["sources"][0]["doc_id"] == streamed.sources.sources[0].doc_id


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("said", ["", "Par"], ids=["before-first-token", "mid-stream"])
@pytest.mark.parametrize("how", ["stop", "disconnect"])
async def test_the_upstream_is_closed_within_the_bound(servers: Servers, kind: str, said: str, how: str) -> None:
    fake, _, client = await servers.of(kind)
    fake.play(*([Say(said)] if said else []), Hold())
    async with client.ask() as stream:
        await stream.until(Token if said else Sources)
        connection = await chat(fake)
        began = time.monotonic()
        if how == "stop":
            answer = await client.stop(stream.run_id)
            assert (answer.status_code, answer.json()["stopping"]) == (202, True)
            await stream.rest(1)
    async with asyncio.timeout(2):
        closed = await connection.closed
    assert closed - began < BOUND_SECONDS
    if how == "stop":
        assert isinstance(stream.terminal, Done)
        assert stream.terminal.finish_reason == "cancelled"
        again = await client.stop(stream.run_id)
        assert (again.status_code, again.json()["stopping"]) == (202, False)
    stored = await settled(client, stream.run_id)
    assert (stored["status"], stored["content"], stored["question"]) == ("stopped", said, QUESTION)


async def test_stop_works_while_the_upstream_has_not_even_sent_headers(servers: Servers) -> None:
    fake, _, client = await servers.of("ollama")
    fake.play(before=(Hold(),))
    async with client.ask() as stream:
        await stream.until(Sources)
        connection = await chat(fake)
        began = time.monotonic()
        await client.stop(stream.run_id)
        await stream.rest(1)
    assert await connection.closed - began < BOUND_SECONDS


BREAKS: dict[str, tuple[dict[str, Any], tuple[Step, ...], str, str]] = {
    "refused-key": ({"status": 401}, (), "model_auth", ""),
    "no-such-model": ({"status": 404}, (), "model_not_found", ""),
    "limited": ({"status": 429, "headers": {"Retry-After": "7"}}, (), "model_rate_limited", ""),
    "html-502": ({"status": 502, "content_type": "text/html"}, (Raw(b"<html>"),), "model_unavailable", ""),
    "error-in-200": ({}, (Say("Par"), Fail("boom")), "model_error", "Par"),
    "silence-later": ({}, (Say("Par"), Hold()), "idle_timeout", "Par"),
    "reset": ({}, (Say("Par"), Reset()), "upstream_truncated", "Par"),
    "eof-without-end": ({}, (Say("Par"), Close()), "upstream_truncated", "Par"),
    "not-json": ({}, (Say("Par"), Raw(b"data: {nonsense\n\n")), "model_protocol", "Par"),
    "silence-first": ({}, (Hold(),), "first_token_timeout", ""),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_an_upstream_that_breaks_ends_in_one_error_and_the_prefix_is_kept(servers: Servers, name: str) -> None:
    answer, steps, code, prefix = BREAKS[name]
    fake, _, client = await servers.of("impatient")
    fake.play(*steps, **answer)
    stream = await client.answer()
    error = stream.terminal
    assert isinstance(error, Error)
    assert error.code == code
    assert "boom" not in error.message
    assert "<html>" not in error.message
    assert stream.text == prefix
    assert sum(isinstance(event, Done | Error) for event in stream.events) == 1
    stored = (await client.http.get(f"/runs/{stream.run_id}")).json()
    assert stored["content"] == prefix
    assert stored["error"]["code"] == code
    assert stored["status"] == (
        "interrupted" if prefix and code in {"idle_timeout", "upstream_truncated"} else "failed"
    )
    if code == "model_rate_limited":
        assert error.retry_after == 7


async def test_a_failure_of_the_answer_that_is_not_streamed_has_the_status_of_its_code(servers: Servers) -> None:
    fake, _, client = await servers.of("ollama")
    fake.play(status=429, headers={"Retry-After": "70"})
    answer = await client.http.post("/query/", json={"question": QUESTION})
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "70"
    assert answer.json()["code"] == "model_rate_limited"


async def test_a_dropped_reader_of_a_resumable_run_comes_back_and_misses_nothing(servers: Servers) -> None:
    fake, _, client = await servers.of("ollama")
    gate = asyncio.Event()
    words = [f"w{n} " for n in range(200)]
    fake.play(Say(words[:100]), Hold(gate), Say(words[100:]), Finish())
    async with client.ask(on_disconnect="continue") as stream:
        await stream.until(Token, 30)
    gate.set()
    seen, last = stream.text, stream.ids[-1]
    async with client.stream(f"/runs/{stream.run_id}/events", headers={"Last-Event-ID": last}) as again:
        assert again.run_id == stream.run_id
        await again.rest()
    assert seen + again.text == "".join(words)
    assert isinstance(again.terminal, Done)
    stored = (await client.http.get(f"/runs/{stream.run_id}")).json()
    assert stored["content"] == "".join(words)
    chats = [one for one in fake.connections if one.request and "chat" in one.request.path]
    assert len(chats) == 1, "never generated twice"


async def test_the_cursor_of_a_resume_is_checked(servers: Servers) -> None:
    _, _, client = await servers.of("ollama")
    done = await client.answer()
    other = await client.answer()

    async def status(path: str, cursor: str | None = None) -> int:
        headers = {"Last-Event-ID": cursor} if cursor else {}
        return (await client.http.get(path, headers=headers)).status_code

    events = f"/runs/{done.run_id}/events"
    assert await status(events) == 200
    assert await status(events, done.ids[-1]) == 204
    assert await status(f"{events}?after={len(done.ids)}") == 204
    assert await status(f"{events}?after=2", done.ids[-1]) == 204, "the header wins"
    assert await status(events, other.ids[0]) == 409
    assert await status(events, f"{done.run_id}:99999") == 409
    assert await status(events, "garbage") == 422
    assert await status(events, "x" * 10_000) == 422
    assert await status(f"{events}?after=-1") == 422
    assert await status(f"/runs/{'0' * 32}/events") == 404
    assert await status("/runs/not-a-run/events") == 404
    assert await status("/query/stream/", f"{done.run_id}:1") == 422, "a question is still needed"
    async with client.ask(question="again?") as asked:
        await asked.rest()
    resumed = await client.http.get(
        "/query/stream/", params={"question": "again?"}, headers={"Last-Event-ID": asked.ids[-1]}
    )
    assert resumed.status_code == 204, "an EventSource that reconnects does not ask again"


async def test_ten_readers_of_one_answer_get_the_same_events(servers: Servers) -> None:
    fake, _, client = await servers.of("ollama")
    gate = asyncio.Event()
    fake.play(Say("a"), Hold(gate), Say([f" {n}" for n in range(100)]), Finish())
    async with client.ask(on_disconnect="continue") as first:
        await first.until(Token)

        async def follow() -> Stream:
            async with client.stream(f"/runs/{first.run_id}/events") as stream:
                await stream.until(Token)
                await stream.rest()
            return stream

        following = [asyncio.create_task(follow()) for _ in range(9)]
        gate.set()
        await first.rest()
        streams = [first, *await asyncio.gather(*following)]
    assert len({tuple(stream.ids) for stream in streams}) == 1
    assert {stream.text for stream in streams} == {first.text}


async def test_nobody_sees_another_users_documents_sources_or_runs(servers: Servers) -> None:
    fake, server, alice = await servers.of("ollama")
    async with user_of(server, "b@example.com") as bob:
        gate = asyncio.Event()
        fake.play(Say("secret"), Hold(gate), Finish())
        doc_id = (await alice.http.get("/documents/")).json()["items"][0]["doc_id"]
        async with alice.ask() as stream:
            await stream.until(Token)
            unknown = "0" * 32
            for path in ("/runs/{}/events", "/runs/{}"):
                theirs, none = await bob.http.get(path.format(stream.run_id)), await bob.http.get(path.format(unknown))
                assert (theirs.status_code, none.status_code) == (404, 404)
                assert theirs.json() | {"instance": ""} == none.json() | {"instance": ""}
            assert (await bob.stop(stream.run_id)).status_code == 404
            gate.set()
            await stream.rest()
        assert isinstance(stream.terminal, Done)
        assert stream.terminal.finish_reason == "stop", "a stranger cannot stop it"
        assert (await bob.http.get("/documents/")).json()["items"] == []
        for params in ({}, {"doc_id": doc_id}, {"doc_id": "0" * 32}):
            answer = await bob.answer(**params)
            (error,) = answer.events
            assert isinstance(error, Error)
            assert (error.code, error.message) == ("no_documents", "No documents found.")
        refused = await bob.http.post("/query/", json={"question": QUESTION, "doc_id": doc_id})
        assert (refused.status_code, refused.json()["code"]) == (404, "no_documents")


async def test_a_question_that_the_documents_do_not_answer_never_reaches_the_model(servers: Servers) -> None:
    fake, _, client = await servers.of("ollama")
    stream = await client.answer("How do I bake sourdough bread at home?")
    assert stream.sources.sources == []
    assert stream.text == "I don't know based on the provided data."
    assert isinstance(stream.terminal, Done)
    assert stream.terminal.finish_reason == "no_context"
    assert not [one for one in fake.requests if "chat" in one.path]


@pytest.mark.parametrize(
    "params",
    [{}, {"question": ""}, {"question": "   "}, {"question": "x" * 501}, {"question": "x", "k": "0"},
     {"question": "x", "k": "11"}, {"question": "x", "k": "many"}, {"question": "x", "on_disconnect": "explode"}],
)  # fmt: skip
async def test_bad_questions_are_refused_before_the_stream(servers: Servers, params: dict[str, str]) -> None:
    _, _, client = await servers.of("ollama")
    answer = await client.http.get("/query/stream/", params=params)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"]


async def test_the_31st_question_of_a_minute_is_told_when_to_come_back(tmp_path: Path, models_dir: Path) -> None:
    async with (
        started_server(tmp_path / "data", models_dir, query_rate="30/minute") as server,
        user_of(server) as client,
    ):
        for _ in range(30):
            assert (await client.answer()).terminal
        refused = await client.http.get("/query/stream/", params={"question": QUESTION})
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.json()["retryable"] is True
        assert (await client.http.get("/query/stream/", params={"question": ""})).status_code == 422


async def test_every_path_of_the_contract_needs_a_login_and_takes_no_token_from_the_url(
    servers: Servers,
) -> None:
    _, server, client = await servers.of("ollama")
    token = client.http.headers["authorization"].removeprefix("Bearer ")
    async with httpx.AsyncClient(base_url=server.url) as nobody:
        for path in ("/query/stream/?question=x", "/runs/x", "/runs/x/events", "/documents/", "/models", "/auth/me"):
            separator = "&" if "?" in path else "?"
            for suffix in ("", f"{separator}token={token}", f"{separator}access_token={token}"):
                answer = await nobody.get(path + suffix)
                assert answer.status_code == 401, path
                assert answer.headers["www-authenticate"] == "Bearer"
