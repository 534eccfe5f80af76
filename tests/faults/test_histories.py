"""Random histories of asking, asking again, dropping, resuming, stopping and killing, checked against the promises.

With one worker, and with two over a Redis that is restarted as well. The rules only act and write down what they saw
(in the manner of Jepsen); what the promises say of it is checked at the end of each history. hypothesis shrinks a
failing history to its shortest, and prints how to replay it.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from lorestream.streaming.events import Done, Error
from tests.fakes.reading import GEO, Client, Stream
from tests.fakes.redis import RedisServer, redis_server
from tests.fakes.server import RunningServer, running_server
from tests.fakes.upstream import FakeUpstream, Finish, Say

T = TypeVar("T")
WORDS = [f"w{n} " for n in range(150)]
QUESTION = "What is the capital of France? Number {}."


class Site:
    """Servers that can be killed and started again, their upstream in a thread of its own, and a loop to ask from."""

    def __init__(self, folder: Path, models_dir: Path, workers: int) -> None:
        """Start all of it, with one user and one document; several workers have a Redis."""
        self._folder, self._models_dir = folder, models_dir
        self._stack = ExitStack()
        self._upstream_loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._upstream_loop.run_forever, daemon=True)
        self._thread.start()
        self.fake = self._upstream(_started())
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.redis: RedisServer | None = None
        if workers > 1:
            self.redis = self._stack.enter_context(redis_server(folder / "redis"))
        self._stacks = [ExitStack() for _ in range(workers)]
        self.servers: list[RunningServer] = []
        for stack in self._stacks:
            self.servers.append(self._start(stack))
        self.headers = self.servers[0].register()
        self.servers[0].upload(self.headers, "geo.txt", GEO)
        self.asked = 0

    def _upstream(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._upstream_loop).result(20)

    def _start(self, stack: ExitStack) -> RunningServer:
        shared = {"redis_url": self.redis.url} if self.redis else {}
        limits = {"max_runs_per_user": "1000", "max_streams_per_user": "1000"}
        started = running_server(
            self._folder / "data", self._models_dir,
            model="ollama:tiny:latest", ollama_url=self.fake.url, **limits, **shared,
        )  # fmt: skip
        return stack.enter_context(started)

    def restart(self, number: int) -> None:
        """Kill a server, and start it on the same data."""
        self.servers[number].process.send_signal(signal.SIGKILL)
        self.servers[number].process.wait(10)
        self._stacks[number].close()
        self.servers[number] = self._start(self._stacks[number])

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a client's work."""
        return self.runner.run(work)

    def close(self) -> None:
        """End everything."""
        for stack in (*self._stacks, self._stack):
            stack.close()
        self.runner.close()
        self._upstream(self.fake.stop())
        self._upstream_loop.call_soon_threadsafe(self._upstream_loop.stop)
        self._thread.join(10)
        self._upstream_loop.close()


async def _started() -> FakeUpstream:
    fake = await FakeUpstream("ollama").start()
    fake.play(Say(WORDS, pause=0.004), Finish(), always=True)
    return fake


@dataclass
class Run:
    """What a client knows of one answer, and what happened to those who serve it."""

    question: str
    path: str
    worker: int
    run_id: str = ""
    ids: list[str] = field(default_factory=list)
    text: str = ""
    terminals: list[Done | Error] = field(default_factory=list)
    killed: bool = False
    lost: bool = False

    @property
    def body(self) -> dict[str, str]:
        """The request that asks for it, however often."""
        return {"question": self.question, "client_request_id": self.path}

    def take(self, stream: Stream) -> None:
        """Note what one connection brought."""
        self.ids += stream.ids
        self.text += stream.text
        self.terminals += [event for event in stream.events if isinstance(event, Done | Error)]


class Histories(RuleBasedStateMachine):
    """One user of all servers."""

    site: ClassVar[Site]

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Run] = []
        self.history: list[tuple[Any, ...]] = []
        self.troubles = 0

    @asynccontextmanager
    async def _client(self, number: int) -> AsyncIterator[Client]:
        client = Client(self.site.servers[number % len(self.site.servers)], self.site.headers)
        try:
            yield client
        finally:
            await client.aclose()

    @rule(worker=st.integers(0, 1), blocks=st.integers(1, 6))
    def send(self, worker: int, blocks: int) -> None:
        self.site.asked += 1
        question = QUESTION.format(self.site.asked)
        self.history.append(("send", worker, question, blocks))
        self.runs.append(self.site.do(self._send(worker % len(self.site.servers), question, blocks)))

    async def _send(self, worker: int, question: str, blocks: int) -> Run:
        async with self._client(worker) as client:
            created = (await client.http.post("/conversations/", json={})).raise_for_status().json()
            run = Run(question, f"/conversations/{created['conversation_id']}/questions", worker)
            async with client.http.stream("POST", run.path, json=run.body) as response:
                assert response.status_code == 200, await response.aread()
                stream = Stream(response)
                run.run_id = stream.run_id
                await self._read(stream, blocks)
        run.take(stream)
        return run

    @staticmethod
    async def _read(stream: Stream, blocks: int) -> None:
        for _ in range(blocks):
            if stream.terminal is None:
                try:
                    await stream.more()
                except StopAsyncIteration:
                    return

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), worker=st.integers(0, 1))
    def send_again(self, data: st.DataObject, worker: int) -> None:
        run = data.draw(st.sampled_from(self.runs))
        self.history.append(("send again", worker, run.question, self.site.do(self._send_again(run, worker))))

    async def _send_again(self, run: Run, worker: int) -> int:
        async with self._client(worker) as client, client.http.stream("POST", run.path, json=run.body) as response:
            assert response.status_code in ({200, 409, 503} if run.killed or run.lost else {200})
            if response.status_code == 200:
                assert response.headers["x-run-id"] == run.run_id, "P6: the same request is the same run"
            return response.status_code

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), worker=st.integers(0, 1), blocks=st.integers(1, 30))
    def resume(self, data: st.DataObject, worker: int, blocks: int) -> None:
        run = data.draw(st.sampled_from(self.runs))
        self.history.append(("resume", worker, run.question, blocks, self.site.do(self._resume(run, worker, blocks))))

    async def _resume(self, run: Run, worker: int, blocks: int) -> int:
        headers = {"Last-Event-ID": run.ids[-1]} if run.ids else {}
        async with (
            self._client(worker) as client,
            client.stream(f"/runs/{run.run_id}/events", headers=headers) as stream,
        ):
            status = stream.response.status_code
            if status == 200:
                await self._read(stream, blocks)
        run.take(stream)
        if not (run.killed or run.lost):
            assert status in {200, 204}
        elif self.site.redis is None:
            assert status == 410
        else:
            assert status in {200, 204, 409, 410, 503}  # 409: ahead of what a dead worker had passed on
        assert status != 204 or run.terminals
        return status

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), worker=st.integers(0, 1))
    def stop(self, data: st.DataObject, worker: int) -> None:
        run = data.draw(st.sampled_from(self.runs))
        self.history.append(("stop", worker, run.question, self.site.do(self._stop(run, worker))))

    async def _stop(self, run: Run, worker: int) -> int:
        async with self._client(worker) as client:
            status = (await client.stop(run.run_id)).status_code
        assert status in ({202, 503} if run.lost else {202})
        return status

    @precondition(lambda self: self.runs and self.troubles < 1)
    @rule(worker=st.integers(0, 1))
    def kill_a_worker(self, worker: int) -> None:
        self.troubles += 1
        worker %= len(self.site.servers)
        self.history.append(("kill", worker))
        self.site.restart(worker)
        for run in self.runs:
            run.killed = run.killed or run.worker == worker

    @precondition(lambda self: self.runs and self.site.redis and self.troubles < 1)
    @rule()
    def restart_redis(self) -> None:
        self.troubles += 1
        self.history.append(("restart redis",))
        assert self.site.redis
        self.site.redis.kill()
        self.site.redis.start()
        for run in self.runs:
            run.lost = True

    def teardown(self) -> None:
        for run in self.runs:
            stored = self.site.do(self._settled(run))
            self.site.do(self._resume(run, run.worker, 10_000))
            self._check(run, stored)

    async def _settled(self, run: Run) -> dict[str, Any]:
        began = time.monotonic()
        while True:
            async with self._client(run.worker + 1) as client:
                found: dict[str, Any] = (await client.http.get(f"/runs/{run.run_id}")).raise_for_status().json()
            if found["status"] != "running":
                return found
            assert time.monotonic() - began < 15, "P5: what a dead process left ends within 15 s"
            await asyncio.sleep(0.05)

    def _check(self, run: Run, stored: dict[str, Any]) -> None:
        told = f"{run}\n{stored}\n{self.history}"
        assert stored["question"] == run.question, "P5: the question is kept"
        assert run.ids == [f"{run.run_id}:{n}" for n in range(1, len(run.ids) + 1)], f"P1: no gap or duplicate: {told}"
        assert "".join(WORDS).startswith(stored["content"]), f"P1: {told}"
        assert len(run.terminals) <= 1, f"P2: {told}"
        if run.terminals and not run.killed:
            assert run.text == stored["content"], f"P1: what was read is what is stored: {told}"
        elif not run.terminals:
            assert run.killed or run.lost, f"P2: only a lost log ends a stream without its event: {told}"
        short, long = sorted((run.text, stored["content"]), key=len)
        assert long.startswith(short), f"P1: {told}"
        asked = [one for one in self.site.fake.requests if "chat" in one.path and run.question.encode() in one.body]
        assert len(asked) <= 1, f"P6: never generated twice: {told}"


@pytest.fixture(scope="module", params=[1, 2], ids=["one-worker", "two-workers-and-redis"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Site]:
    one = Site(tmp_path_factory.mktemp("histories"), models_dir, request.param)
    yield one
    one.close()


@pytest.mark.timeout(7200)
def test_random_histories_keep_the_promises(site: Site, soak: bool) -> None:
    Histories.site = site
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=50 if soak else 3,
            stateful_step_count=20 if soak else 10,
            deadline=None,
            print_blob=True,
            phases=[Phase.generate] if not soak else list(Phase),
            suppress_health_check=list(HealthCheck),
        ),
    )
