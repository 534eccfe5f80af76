"""The golden streams of the doors that tell a run event by event, against the run itself and its clients' types."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lorestream.streaming import sse
from lorestream.streaming.events import Done, Error, Event, Sources, Token
from ollama import ChatResponse

STREAMS = Path(__file__).parents[2] / "wire" / "streams"
NAMES = [path.stem for path in sorted(STREAMS.glob("*.sse"))]


def run(name: str) -> dict[bytes, Event]:
    """The events of a run by their numbers."""
    found = re.findall(rb"id: (.*)\n(data: .*)\n\n", (STREAMS / f"{name}.sse").read_bytes())
    return {number: sse.decode(data) for number, data in found}


def objects(door: str, name: str) -> list[dict[str, Any]]:
    raw = (STREAMS / door / f"{name}.sse").read_bytes()
    assert raw.isascii()
    assert raw.startswith(sse.RETRY + b"data: ")
    return [json.loads(data) for data in re.findall(rb"data: (.*)\n\n", raw)]


@pytest.mark.parametrize("name", [path.stem for path in sorted(STREAMS.glob("*.sse"))])
@pytest.mark.parametrize("door", ["rag", "rag_with_sources"])
def test_a_golden_stream_tells_what_the_run_tells(door: str, name: str) -> None:
    raw = (STREAMS / door / f"{name}.sse").read_bytes()
    assert raw.isascii()
    assert raw.startswith(sse.RETRY)
    told = {number: json.loads(data) for number, data in re.findall(rb"id: (.*)\ndata: (.*)\n\n", raw)}
    assert told.keys() <= run(name).keys(), "every event has the number that it has in the run"
    assert list(told) == [number for number in run(name) if number in told]
    for number, event in run(name).items():
        match event:
            case Token(text):
                assert told[number] == {"token": text}
            case Error(message):
                assert told[number] == {"error": message}
            case Sources(sources) if door == "rag_with_sources":
                for shown, source in zip(told[number]["sources"], sources, strict=True):
                    page = "N/A" if source.page is None else source.page
                    assert shown == {"content": source.text[:150] + "...", "source": source.title, "page": page}
    *before, last = told.values()
    assert "error" in last or last == {"done": True}
    assert not any("error" in event or "done" in event for event in before)


@pytest.mark.parametrize("name", NAMES)
def test_chat_tells_the_text_and_how_it_ended(name: str) -> None:
    *tokens, last = objects("chat", name)
    events = run(name).values()
    assert tokens == [{"token": event.text} for event in events if isinstance(event, Token)]
    match list(events)[-1]:
        case Done() as done:
            assert last == {"done": True, "finish_reason": done.finish_reason}
        case Error(message):
            assert last == {"error": message}


@pytest.mark.parametrize("name", NAMES)
def test_ollamas_own_client_reads_its_chat_objects(name: str) -> None:
    *tokens, last = objects("chat_ollama", name)
    text = "".join(ChatResponse.model_validate(one, strict=True).message.content or "" for one in tokens)
    assert text == "".join(event.text for event in run(name).values() if isinstance(event, Token))
    match list(run(name).values())[-1]:
        case Done() as done:
            whole = ChatResponse.model_validate(last)
            assert (whole.done, whole.done_reason) == (True, done.finish_reason)
            counted = (done.usage.prompt_tokens, done.usage.completion_tokens) if done.usage else (None, None)
            assert (whole.prompt_eval_count, whole.eval_count) == counted
            assert whole.total_duration == done.timings.total_ms * 1_000_000
        case Error(message):
            assert last == {"error": message}
