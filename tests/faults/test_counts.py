"""What must hold every time, counted: a few in the suite, many with ``--soak`` (`make soak`)."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from lorestream.streaming.events import Done, Sources, Token
from tests.conftest import SEED
from tests.fakes.reading import Client, Stream
from tests.fakes.upstream import Connection, FakeUpstream, Finish, Hold, Say
from tests.faults.world import World, world

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(3600)]

WORDS = [f"w{n} é🦉 " for n in range(2000)]
DROPS = 200


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def at(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("counts") / "data", models_dir) as one:
        yield one
        assert "Traceback" not in one.log()


async def read_some(client: Client, run_id: str, last: str, size: int) -> Stream:
    """Resume after ``last`` and take ``size`` bytes, wherever that cuts an event."""
    async with client.stream(f"/runs/{run_id}/events", headers={"Last-Event-ID": last}) as stream:
        taken = b""
        async with asyncio.timeout(20):
            async for data in stream._bytes:
                taken += data
                if len(taken) >= size:
                    break
        stream.feed(taken[:size])
    return stream


async def read_through_drops(clients: Sequence[Client], chance: random.Random) -> int:
    """One answer through DROPS cuts at random bytes, each time at one of the workers; how many cuts there were."""
    async with clients[0].ask(on_disconnect="continue") as first:
        await first.until(Sources)
    ids, text, terminal, drops = list(first.ids), first.text, first.terminal, 0
    while terminal is None:
        size = chance.randrange(1, 900) if drops < DROPS else 10**9  # DROPS parts of 900 are less than the answer
        part = await read_some(chance.choice(clients), first.run_id, ids[-1], size)
        drops += 1
        ids, text, terminal = ids + part.ids, text + part.text, part.terminal
    assert isinstance(terminal, Done)
    assert drops >= DROPS
    assert ids == [f"{first.run_id}:{n}" for n in range(1, len(ids) + 1)]
    stored = (await chance.choice(clients).http.get(f"/runs/{first.run_id}")).json()
    assert text == stored["content"] == "".join(WORDS)
    return drops


async def read_many_through_drops(fake: FakeUpstream, clients: Sequence[Client], count: int) -> str:
    """Several answers, two at once; what to say of it."""
    chance = random.Random(SEED)
    fake.play(Say(WORDS, pause=0.0005), Finish(), always=True)
    before = len([one for one in fake.requests if "chat" in one.path])
    drops: list[int] = []
    for _ in range(count // 2):
        drops += await asyncio.gather(*(read_through_drops(clients, chance) for _ in range(2)))
    assert len([one for one in fake.requests if "chat" in one.path]) == before + count
    return (
        f"{count} answers of {len(WORDS)} tokens at {len(clients)} worker(s), each through {min(drops)} to "
        f"{max(drops)} cuts at random bytes: equal to the stored answer byte for byte, asked once"
    )


async def test_answers_are_whole_through_two_hundred_cuts_at_random_bytes(
    at: World, soak: bool, measured: Callable[[str], None]
) -> None:
    measured(await read_many_through_drops(at.fake, [at.client], 50 if soak else 2))
    at.fake.play(always=True)


async def stop_once(
    asked: Client, stopping: Client, connected: Callable[[], Awaitable[Connection]], said: str
) -> float:
    """Ask at one worker, stop at the same or another; the seconds until the upstream was closed."""
    async with asked.ask() as stream:
        connection = await connected()
        if said:
            await stream.until(Token)
        began = time.monotonic()
        await stopping.stop(stream.run_id)
        async with asyncio.timeout(1):
            took = await connection.closed - began
        await stream.rest(1)
    assert isinstance(stream.terminal, Done)
    assert stream.terminal.finish_reason == "cancelled"
    assert stream.text == said
    return took


def told_of_stops(took: list[float], what: str, said: str) -> str:
    """The bound of promise P3 kept every time, and how long it took."""
    assert max(took) < 0.5
    took = sorted(took)
    return (
        f"{len(took)} {what} {'in mid-answer' if said else 'before the first token'}: upstream closed after "
        f"p50 {statistics.median(took) * 1000:.1f} ms, p99 {took[int(len(took) * 0.99)] * 1000:.1f} ms"
    )


@pytest.mark.parametrize("said", ["", "Par"], ids=["before-the-first-token", "in-mid-answer"])
async def test_stop_closes_the_upstream_every_time(
    at: World, said: str, soak: bool, measured: Callable[[str], None]
) -> None:
    took = []
    for _ in range(100 if soak else 10):
        at.skip_chats()
        at.fake.play(*([Say(said)] if said else []), Hold())
        took.append(await stop_once(at.client, at.client, at.next_chat, said))
    measured(told_of_stops(took, "stops", said))


async def test_a_stopped_answer_is_part_of_the_next_question(
    at: World, soak: bool, measured: Callable[[str], None]
) -> None:
    count = 50 if soak else 5
    conversation = (await at.client.http.post("/conversations/", json={})).json()["conversation_id"]
    path = f"/conversations/{conversation}/questions"
    for number in range(count):
        at.skip_chats()
        partial = f"Partial{number}"
        at.fake.play(Say(partial), Hold())
        async with at.client.http.stream("POST", path, json={"question": "What is the capital of France?"}) as response:
            assert response.status_code == 200, await response.aread()
            stream = Stream(response)
            await stream.until(Token)
            await at.client.stop(stream.run_id)
            at.fake.play(Say(["Pa", "ris"]), Finish())
            again = {"question": "And of which country is Paris the capital?"}
            async with at.client.http.stream("POST", path, json=again) as second:
                assert second.status_code == 200, await second.aread()
                complete = Stream(second)
                await complete.rest()
        assert isinstance(complete.terminal, Done)
        assert complete.text == "Paris"
        request = at.chats()[-1].request
        assert request
        assert partial in request.body.decode()
    measured(f"{count} times Stop and at once another question: every answer complete, the partial in its prompt")
