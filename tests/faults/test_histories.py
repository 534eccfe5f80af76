"""Random histories of asking, dropping, resuming, stopping and killing, checked afterwards against the promises.

The rules only act and write down what they saw (in the manner of Jepsen); what the promises say of it is checked at the
end of each history. hypothesis shrinks a failing history to its shortest, and prints how to replay it.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
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
from tests.fakes.server import RunningServer, running_server
from tests.fakes.upstream import FakeUpstream, Finish, Say

T = TypeVar("T")
WORDS = [f"w{n} " for n in range(150)]
QUESTION = "What is the capital of France? Number {}."


class Site:
    """A server that can be killed and started again, its upstream in a thread of its own, and a loop to ask from."""

    def __init__(self, data_dir: Path, models_dir: Path) -> None:
        """Start all of it, with one user and one document."""
        self._paths = (data_dir, models_dir)
        self._stack = ExitStack()
        self._upstream_loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._upstream_loop.run_forever, daemon=True)
        self._thread.start()
        self.fake = self._upstream(_started())
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._start()
        self.headers = self.server.register()
        self.server.upload(self.headers, "geo.txt", GEO)
        self.asked = 0

    def _upstream(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._upstream_loop).result(20)

    def _start(self) -> None:
        started = running_server(*self._paths, model="ollama:tiny:latest", ollama_url=self.fake.url)
        self.server: RunningServer = self._stack.enter_context(started)

    def restart(self) -> None:
        """Kill the server, and start it on the same data."""
        self.server.process.send_signal(signal.SIGKILL)
        self.server.process.wait(10)
        self._stack.close()
        self._start()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a client's work."""
        return self.runner.run(work)

    def close(self) -> None:
        """End everything."""
        self._stack.close()
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
    """What a client knows of one answer."""

    question: str
    run_id: str
    ids: list[str] = field(default_factory=list)
    text: str = ""
    terminals: list[Done | Error] = field(default_factory=list)
    killed: bool = False

    def take(self, stream: Stream) -> None:
        """Note what one connection brought."""
        self.ids += stream.ids
        self.text += stream.text
        self.terminals += [event for event in stream.events if isinstance(event, Done | Error)]


class Histories(RuleBasedStateMachine):
    """One user on one server."""

    site: ClassVar[Site]

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Run] = []
        self.history: list[tuple[Any, ...]] = []
        self.kills = 0

    @rule(blocks=st.integers(1, 6))
    def send(self, blocks: int) -> None:
        self.site.asked += 1
        question = QUESTION.format(self.site.asked)
        self.history.append(("send", question, blocks))
        self.runs.append(self.site.do(self._send(question, blocks)))

    async def _send(self, question: str, blocks: int) -> Run:
        client = Client(self.site.server, self.site.headers)
        async with client.ask(question, on_disconnect="continue") as stream:
            run = Run(question, stream.run_id)
            await self._read(stream, blocks)
        await client.aclose()
        run.take(stream)
        return run

    @staticmethod
    async def _read(stream: Stream, blocks: int) -> None:
        for _ in range(blocks):
            if stream.terminal is None:
                await stream.more()

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), blocks=st.integers(1, 30))
    def resume(self, data: st.DataObject, blocks: int) -> None:
        run = data.draw(st.sampled_from(self.runs))
        self.history.append(("resume", run.question, blocks, self.site.do(self._resume(run, blocks))))

    async def _resume(self, run: Run, blocks: int) -> int:
        client = Client(self.site.server, self.site.headers)
        headers = {"Last-Event-ID": run.ids[-1]} if run.ids else {}
        async with client.stream(f"/runs/{run.run_id}/events", headers=headers) as stream:
            status = stream.response.status_code
            if status == 200:
                await self._read(stream, blocks)
        await client.aclose()
        run.take(stream)
        assert status in ({410} if run.killed else {200, 204})
        assert (status == 204) == bool(run.terminals and not stream.events) or run.killed
        return status

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(self.runs))
        self.history.append(("stop", run.question, self.site.do(self._post(f"/runs/{run.run_id}/stop"))))

    async def _post(self, path: str) -> int:
        client = Client(self.site.server, self.site.headers)
        answer = await client.http.post(path)
        await client.aclose()
        assert answer.status_code == 202
        return answer.status_code

    @precondition(lambda self: self.runs and self.kills < 1)
    @rule()
    def kill(self) -> None:
        self.kills += 1
        self.history.append(("kill",))
        self.site.restart()
        for run in self.runs:
            run.killed = True

    def teardown(self) -> None:
        for run in self.runs:
            if not run.killed:
                self.site.do(self._resume(run, 10_000))
            stored = self.site.do(self._stored(run))
            self._check(run, stored)

    async def _stored(self, run: Run) -> dict[str, Any]:
        client = Client(self.site.server, self.site.headers)
        found: dict[str, Any] = (await client.http.get(f"/runs/{run.run_id}")).raise_for_status().json()
        await client.aclose()
        return found

    def _check(self, run: Run, stored: dict[str, Any]) -> None:
        whole = "".join(WORDS)
        assert stored["question"] == run.question, "P5: the question is kept"
        assert run.ids == [f"{run.run_id}:{n}" for n in range(1, len(run.ids) + 1)], "P1: no gap, no duplicate"
        assert whole.startswith(stored["content"]), "P1"
        if run.terminals:
            assert len(run.terminals) == 1, "P2"
            assert run.text == stored["content"], "P1: what was read is what is stored"
        else:
            assert run.killed, "P2: only the death of the process ends a stream without its event"
            assert stored["status"] in {"interrupted", "done", "stopped"}
            assert run.text.startswith(stored["content"]) or stored["content"].startswith(run.text), "P5"
        asked = [one for one in self.site.fake.requests if "chat" in one.path and run.question.encode() in one.body]
        assert len(asked) <= 1, "P6: never generated twice"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Site]:
    one = Site(tmp_path_factory.mktemp("histories") / "data", models_dir)
    yield one
    one.close()


@pytest.mark.timeout(7200)
def test_random_histories_keep_the_promises(site: Site, soak: bool) -> None:
    Histories.site = site
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=100 if soak else 6,
            stateful_step_count=20 if soak else 10,
            deadline=None,
            print_blob=True,
            phases=[Phase.generate] if not soak else list(Phase),
            suppress_health_check=list(HealthCheck),
        ),
    )
