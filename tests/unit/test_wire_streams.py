"""The golden streams keep the grammar of the contract; the page's tests read the same files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lorestream.streaming import sse
from lorestream.streaming.events import Fold

WIRE = Path(__file__).parents[2] / "wire" / "streams"
STREAMS = sorted(WIRE.glob("*.sse"))
GRAMMAR = re.compile(r"(status )*(sources (status |reasoning |token )*(done|error)|error)")
BASE_CONTRACT = re.compile(r"(sources (token )*(done|error)|error)")


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_golden_stream_keeps_framing_and_grammar(path: Path) -> None:
    raw = path.read_bytes()
    assert raw.isascii()
    assert b"\r" not in raw
    assert raw.startswith(sse.RETRY)
    ids = [int(match) for match in re.findall(rb"^id: [0-9a-f]{32}:(\d+)$", raw, re.MULTILINE)]
    assert ids == list(range(1, len(ids) + 1))
    events = [sse.decode(block) for block in raw.split(b"\n\n") if b"data: " in block]
    names = " ".join(type(event).__name__.lower() for event in events)
    assert (GRAMMAR if path.stem == "narrated" else BASE_CONTRACT).fullmatch(names), names
    fold = Fold()
    for event in events:
        fold.add(event)
    assert fold.terminal is events[-1]


def test_there_are_golden_streams() -> None:
    assert len(STREAMS) >= 9


@pytest.mark.parametrize("path", sorted((WIRE / "websocket").glob("*.jsonl")), ids=lambda path: path.stem)
def test_a_golden_stream_of_the_websocket_has_one_end_and_only_its_types(path: Path) -> None:
    messages = [json.loads(line) for line in path.read_bytes().splitlines()]
    kinds = [message["type"] for message in messages]
    assert set(kinds) <= {"sources", "token", "done", "error"}
    assert [kind in {"done", "error"} for kind in kinds] == [False] * (len(kinds) - 1) + [True]
    assert messages[-1]["run_id"]
    assert all(message["content"] for message in messages if message["type"] == "token")
