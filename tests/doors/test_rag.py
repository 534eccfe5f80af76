"""``/rag/stream`` and ``/rag/stream-with-sources``: what the front ends of LangChain tutorials read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from playwright.async_api import Page

from lorestream.doors.rag import STOPPED
from tests.doors.house import House
from tests.e2e.page import browsing
from tests.fakes.reading import QUESTION
from tests.fakes.tcp import cable_to
from tests.fakes.upstream import Fail, Finish, Hold, Say

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]
PATHS = ("/rag/stream", "/rag/stream-with-sources")
BOUND_SECONDS = 0.5  # promise P3


@dataclass
class Told:
    """What was read so far of one of the streams."""

    response: httpx.Response
    events: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    @property
    def run_id(self) -> str:
        return self.response.headers["x-run-id"]

    @property
    def text(self) -> str:
        return "".join(event.get("token", "") for event in self.events)

    def feed(self, line: str) -> None:
        if line.startswith("id: "):
            self.ids.append(line[4:])
        elif line.startswith("data: "):
            self.events.append(json.loads(line[6:]))

    async def until(self, name: str) -> None:
        async with asyncio.timeout(10):
            while not any(name in event for event in self.events):
                self.feed(await anext(self._lines))

    async def rest(self) -> None:
        async with asyncio.timeout(10):
            async for line in self._lines:
                self.feed(line)

    def __post_init__(self) -> None:
        self._lines = self.response.aiter_lines()


@asynccontextmanager
async def asked(house: House, method: str, path: str, last_event_id: str = "", **more: str) -> AsyncIterator[Told]:
    given = {"query": QUESTION, **more}
    how: dict[str, Any] = {"params": given} if method == "GET" else {"json": given}
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    async with house.client.http.stream(method, path, headers=headers, **how) as response:
        yield Told(response)


async def read(house: House, method: str, path: str, **more: str) -> Told:
    async with asked(house, method, path, **more) as told:
        assert told.response.status_code == 200, await told.response.aread()
        await told.rest()
    return told


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_answer_comes_as_the_tutorials_have_it(house: House, method: str) -> None:
    house.fake.play(Say(["Par", "is ☕"]), Finish(), always=True)
    plain = await read(house, method, "/rag/stream")
    assert plain.events == [{"token": "Par"}, {"token": "is ☕"}, {"done": True}]
    sourced = await read(house, method, "/rag/stream-with-sources")
    retrieving, sources, *rest = sourced.events
    assert retrieving == {"status": "retrieving"}
    assert sources == {"sources": [{"content": "Paris is the capital of France....", "source": "geo", "page": "N/A"}]}
    assert rest == [{"status": "generating"}, *plain.events]
    assert sourced.ids == [f"{sourced.run_id}:{number}" for number in range(1, 7)]
    stored = (await house.client.http.get(f"/runs/{sourced.run_id}")).json()
    assert (stored["content"], stored["question"]) == ("Paris ☕", QUESTION)


@pytest.mark.parametrize("path", PATHS)
async def test_what_fails_is_told_and_the_stream_ends(house: House, path: str) -> None:
    for method in ("GET", "POST"):
        nothing = await read(house, method, path, doc_id="0" * 32)
        assert nothing.events[-1] == {"error": "No documents found."}
    house.fake.play(Say("Par"), Fail("boom"))
    broken = await read(house, "GET", path)
    assert broken.text == "Par"
    assert "language model's server reported an error" in broken.events[-1]["error"]
    async with asked(house, "GET", path, last_event_id=broken.ids[-1]) as again:
        assert again.response.status_code == 204, "an EventSource comes no more"


@pytest.mark.parametrize(
    "wrong",
    [{"query": ""}, {"query": " "}, {"query": "x" * 4001}, {"k": "0"}, {"k": "11"}, {"doc_id": "x" * 65},
     {"on_disconnect": "explode"}],
)  # fmt: skip
@pytest.mark.parametrize("path", PATHS)
async def test_bad_questions_are_refused_before_the_stream(house: House, path: str, wrong: dict[str, str]) -> None:
    for method in ("GET", "POST"):
        async with asked(house, method, path, **wrong) as told:
            problem = json.loads(await told.response.aread())
            assert (told.response.status_code, problem["code"]) == (422, "invalid_input")
            assert problem["errors"][0]["field"].endswith(next(iter(wrong)))


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/rag/stream"), ("POST", "/rag/stream"), ("POST", "/rag/stream-with-sources")]
)
async def test_leaving_ends_the_answer(house: House, method: str, path: str) -> None:
    number = len(house.fake.chats)
    house.fake.play(Say("Par"), Hold())
    async with asked(house, method, path) as told:
        await told.until("token")
    left = asyncio.get_running_loop().time()
    async with asyncio.timeout(10):
        await (await house.fake.chat(number)).closed
    assert asyncio.get_running_loop().time() - left < BOUND_SECONDS
    # An EventSource that comes back by itself does not take the piece for the whole.
    async with asked(house, "GET", path, last_event_id=told.ids[-1]) as again:
        await again.rest()
    assert again.events == [{"error": STOPPED}]


async def test_an_answer_with_sources_goes_on_for_whoever_comes_back(house: House) -> None:
    number, gate = len(house.fake.chats), asyncio.Event()
    house.fake.play(Say("Par"), Hold(gate), Say("is."), Finish())
    async with asked(house, "GET", "/rag/stream-with-sources") as told:
        await told.until("token")
    async with asked(house, "GET", "/rag/stream-with-sources", last_event_id=told.ids[-1]) as again:
        gate.set()
        await again.rest()
    assert [*told.events, *again.events][-3:] == [{"token": "Par"}, {"token": "is."}, {"done": True}]
    assert told.ids + again.ids == [f"{told.run_id}:{number}" for number in range(1, 7)]
    assert len(house.fake.chats) == number + 1, "never generated twice"


async def test_a_stop_before_the_first_token_ends_the_stream_and_leaves_the_model(house: House) -> None:
    number = len(house.fake.chats)
    house.fake.play(Hold())
    async with asked(house, "GET", "/rag/stream-with-sources") as told:
        chat = await house.fake.chat(number)
        assert (await house.client.stop(told.run_id)).json()["stopping"]
        stopped = asyncio.get_running_loop().time()
        await told.rest()
        async with asyncio.timeout(10):
            await chat.closed
    assert asyncio.get_running_loop().time() - stopped < BOUND_SECONDS
    assert (told.text, told.events[-1]) == ("", {"done": True})


# A tutorial's page, which also notes how often it was connected.
PAGE = """async ({ticket, query}) => {
  window.seen = {text: "", ids: [], opened: 0, end: ""};
  const es = new EventSource("/rag/stream-with-sources?" + new URLSearchParams({query, ticket}));
  es.onopen = () => { seen.opened += 1; };
  es.onmessage = ({data, lastEventId}) => {
    const event = JSON.parse(data);
    seen.ids.push(lastEventId);
    seen.text += event.token ?? "";
    if (event.error) seen.end = event.error;
    if (event.done) seen.end = "done";
  };
  es.onerror = () => { if (es.readyState === EventSource.CLOSED) seen.end += ", closed by itself"; };
}"""


SEEN = """([opened, text, end]) => new Promise((resolve) => {
  const look = () => seen.opened === opened && seen.text.includes(text) && seen.end.includes(end)
    ? resolve(seen) : setTimeout(look, 20);
  look();
})"""


async def until(page: Page, opened: int, text: str, end: str) -> dict[str, Any]:
    """What the page has seen once it has been connected so often, and seen this text and this end."""
    async with asyncio.timeout(15):
        seen: dict[str, Any] = await page.evaluate(SEEN, [opened, text, end])
    return seen


async def test_a_browsers_event_source_goes_on_by_itself_after_a_cut(house: House) -> None:
    number, gate = len(house.fake.chats), asyncio.Event()
    words = [f"w{one} " for one in range(60)]
    house.fake.play(Say(words[:20]), Hold(gate), Say(words[20:40], together=True), Say(words[40:]), Finish())
    async with cable_to(house.server.url) as (cable, url), browsing() as page:
        await page.goto(f"{url}/healthz")  # any page of the server's own, without the web app
        await page.evaluate(PAGE, {"ticket": await house.ticket(), "query": QUESTION})
        await until(page, 1, words[19], "")
        cable.cut()
        cable.mend()
        gate.set()
        # It is not closed by the page: the server's 204 keeps it from asking again.
        seen = await until(page, 2, "", "closed by itself")
    assert (seen["text"], seen["end"]) == ("".join(words), "done, closed by itself")
    run_id = seen["ids"][0].partition(":")[0]
    assert seen["ids"] == [f"{run_id}:{one}" for one in range(1, len(seen["ids"]) + 1)], "nothing lost, nothing twice"
    assert len(house.fake.chats) == number + 1, "asked once"
