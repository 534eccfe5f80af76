"""``/chat`` and ``/chat/stream`` in all their forms."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any

import httpx
import pytest

from lorestream.conversations.prompt import INSTRUCTIONS
from lorestream.providers.reader import ALONE
from tests.doors.house import House
from tests.fakes.reading import QUESTION
from tests.fakes.upstream import Fail, Finish, Hold, Reset, Say

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]
STREAMS = ("/chat/stream", "/api/v1/chat/stream")
BOUND_SECONDS = 0.5  # promise P3
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello?"},
    {"role": "assistant", "content": "Good day."},
    {"role": "user", "content": QUESTION},
]


@pytest.fixture(autouse=True)
def _ends_as_it_began(house: House) -> None:
    """Answers are scripted one by one; whatever a test before has set for all is over."""
    house.fake.play(Say(["Par", "is ☕"]), Finish(usage=(210, 6)), always=True)


async def events(house: House, path: str, body: Any, **params: str) -> list[dict[str, Any]]:
    answer = await house.client.http.post(path, json=body, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


async def test_a_question_is_answered_as_one_object(house: House) -> None:
    answer = (await house.client.http.post("/chat", json={"question": QUESTION})).json()
    assert (answer["answer"], answer["finish_reason"], answer["model"]) == ("Paris ☕", "stop", "ollama:tiny:latest")
    assert answer["sources"][0]["text"] == "Paris is the capital of France."
    assert answer["usage"]["total_tokens"] == 216
    other = (await house.client.http.post("/query/", json={"question": QUESTION})).json()
    assert answer.keys() == other.keys()


@pytest.mark.parametrize("path", STREAMS)
async def test_a_question_is_answered_as_plain_text(house: House, path: str) -> None:
    gate = asyncio.Event()
    house.fake.play(Say("Par"), Hold(gate), Say("is ☕"), Finish())
    async with house.client.http.stream("POST", path, json={"question": QUESTION}) as response:
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert response.headers["x-accel-buffering"] == "no"
        pieces = response.aiter_text()
        async with asyncio.timeout(10):
            assert await anext(pieces) == "Par", "as it is written"
            gate.set()
            assert "".join([piece async for piece in pieces]) == "is ☕"
    stored = (await house.client.http.get(f"/runs/{response.headers['x-run-id']}")).json()
    assert (stored["content"], stored["status"]) == ("Paris ☕", "done")


async def test_what_fails_before_the_first_word_has_its_status(house: House) -> None:
    async def refused(**body: Any) -> httpx.Response:
        answer = await house.client.http.post("/chat/stream", json={"question": QUESTION, **body})
        assert answer.headers["content-type"] == "application/problem+json"
        return answer

    house.fake.play(status=429, headers={"Retry-After": "70"})
    limited = await refused()
    assert (limited.status_code, limited.headers["retry-after"]) == (503, "70")
    assert limited.json()["code"] == "model_rate_limited"
    assert limited.json()["run_id"]
    house.fake.play(Fail("boom"))
    assert (await refused()).json()["code"] == "model_error"
    assert (await refused(model="nothing")).status_code == 422
    async with httpx.AsyncClient(base_url=house.server.url) as stranger:
        for path in ("/chat", *STREAMS):
            assert (await stranger.post(path, json={"question": QUESTION})).status_code == 401


@pytest.mark.parametrize("ending", [Fail("boom"), Reset()])
async def test_what_fails_later_breaks_the_text_off(house: House, ending: Fail | Reset) -> None:
    house.fake.play(Say("Par"), ending)
    async with house.client.http.stream("POST", "/chat/stream", json={"question": QUESTION}) as response:
        assert response.status_code == 200
        with pytest.raises(httpx.TransportError):  # its end would look like the answer's
            await response.aread()
    stored = (await house.client.http.get(f"/runs/{response.headers['x-run-id']}")).json()
    assert stored["content"] == "Par"
    assert stored["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [("/chat", {"question": QUESTION}), ("/chat", MESSAGES), ("/chat/stream", {"question": QUESTION}),
     ("/chat/stream", {"messages": MESSAGES})],
)  # fmt: skip
async def test_leaving_before_the_first_word_ends_the_answer(house: House, path: str, body: Any) -> None:
    number = len(house.fake.chats)
    house.fake.play(Hold())
    asking = asyncio.create_task(house.client.http.post(path, json=body))
    chat = await house.fake.chat(number)
    left = asyncio.get_running_loop().time()
    asking.cancel()
    async with asyncio.timeout(10):
        await chat.closed
    assert asyncio.get_running_loop().time() - left < BOUND_SECONDS


@pytest.mark.parametrize("path", STREAMS)
async def test_messages_are_a_question_about_the_documents_with_its_history(house: House, path: str) -> None:
    told = await events(house, path, {"messages": MESSAGES, "model": "tiny", "max_tokens": 7})
    assert told == [{"token": "Par"}, {"token": "is ☕"}, {"done": True, "finish_reason": "stop"}]
    sent = house.fake.chats[-1].json
    assert sent["options"]["num_predict"] == 7
    system, asked, answered, question = (message["content"] for message in sent["messages"])
    assert system.startswith(INSTRUCTIONS[:60])
    assert system.endswith("Be brief.")
    assert (asked, answered) == ("Hello?", "Good day.")
    assert question.startswith(f"Question: {QUESTION}")
    assert "Paris is the capital of France." in question


async def test_an_error_is_an_event_and_the_last_one(house: House) -> None:
    house.fake.play(Say("Par"), Fail("boom"))
    token, error = await events(house, "/chat/stream", {"messages": MESSAGES})
    assert token == {"token": "Par"}
    assert "language model's server reported an error" in error["error"]
    house.fake.play(Fail("boom"))
    assert "reported an error" in (await events(house, "/chat", MESSAGES))[0]["error"]


@pytest.mark.parametrize("name", ["", "tiny", "tiny:latest", "ollama:tiny:latest"])
async def test_a_bare_list_is_answered_by_the_model_alone_as_ollama_would(house: House, name: str) -> None:
    first, second, last = await events(house, "/chat", MESSAGES, **({"model": name} if name else {}))
    assert first["message"] == {"role": "assistant", "content": "Par"}
    assert second["message"]["content"] == "is ☕"
    assert [one["done"] for one in (first, second, last)] == [False, False, True]
    assert {one["model"] for one in (first, second, last)} == {name or "ollama:tiny:latest"}
    assert datetime.fromisoformat(first["created_at"]).tzinfo
    assert (last["message"]["content"], last["done_reason"]) == ("", "stop")
    assert (last["prompt_eval_count"], last["eval_count"]) == (210, 6)
    assert house.fake.chats[-1].json["messages"] == MESSAGES, "nothing of the documents"


async def test_the_reader_alone_says_that_there_is_no_model(house: House) -> None:
    told = await events(house, "/chat", MESSAGES, model="reader")
    assert "".join(one["message"]["content"] for one in told) == ALONE


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "body.question"), ([], "body"), (5, "body"), ("x", "body"), (None, "body"), ({"question": " "}, "question"),
     ({"question": "x" * 4001}, "question"), ({"question": "x", "n": 2}, "body.n"), ([{"role": "user"}], "0.content"),
     ([{"role": "tool", "content": "x"}], "0.role"), ([{"role": "user", "content": "x", "images": []}], "0.images"),
     ([{"role": "user", "content": "x" * 32_001}], "0.content"), ([{"role": "user", "content": 5}], "0.content"),
     ([{"role": "user", "content": "x"}] * 201, "body"), ([{"role": "user", "content": "\ud800"}], "0.content")],
)  # fmt: skip
async def test_what_is_no_chat_is_refused_and_says_where(house: House, body: Any, field: str) -> None:
    answer = await house.client.http.post(
        "/chat", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input"), answer.text
    assert answer.json()["errors"][0]["field"].endswith(field)


@pytest.mark.parametrize(
    ("body", "word"),
    [({}, "either a question or messages"), ({"question": "x", "messages": MESSAGES}, "either a question or messages"),
     ([], "body"), ({"messages": []}, "body.messages"), ({"question": "x", "max_tokens": 0}, "max_tokens"),
     ({"messages": MESSAGES, "n": 2}, "body.n"), ({"question": "x", "model": ""}, "body.model"),
     ({"messages": MESSAGES[:3]}, "last message must be the user's"),
     ({"messages": [{"role": "user", "content": "x" * 4001}]}, "may have 4000 characters")],
)  # fmt: skip
async def test_what_is_no_chat_to_stream_is_refused_and_says_why(house: House, body: Any, word: str) -> None:
    for path in STREAMS:
        answer = await house.client.http.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input"), answer.text
        assert word in answer.json()["message"]


async def test_nothing_to_search_is_said_in_the_form_that_was_asked_for(house: House) -> None:
    headers = await asyncio.to_thread(house.server.register, "nobody@example.com")
    for path in ("/chat", "/chat/stream"):
        answer = await house.browser.post(path, json={"question": QUESTION}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "no_documents")
    answer = await house.browser.post("/chat/stream", json={"messages": MESSAGES}, headers=headers)
    assert 'data: {"error":"No documents found."}' in answer.text
    alone = await house.browser.post("/chat", json=MESSAGES, headers=headers)
    assert '"done":true' in alone.text, "which needs none"
