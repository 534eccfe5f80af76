"""The bytes of an event stream."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorestream.errors import Conflict, InvalidInput
from lorestream.streaming import sse
from lorestream.streaming.events import Done, Error, Event, Reasoning, Source, Sources, Status, Timings, Token

RUN = "ab" * 16
EVENTS: list[Event] = [
    Status("retrieving"),
    Status("queued", 3),
    Sources([Source(1, "d", 0, "Ünïcode\u2028\n", 0.25, 1.0, 'a "title"', None, 0, 9)]),
    Reasoning("hm"),
    Token("x"),
    Done("m", "stop", None, Timings(0, 1, 2, 3), [], False, None, "id"),
    Error("No documents found.", "no_documents", False, "id"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_a_frame_has_an_id_line_one_line_of_ascii_json_and_a_blank_line(event: Event) -> None:
    block = sse.frame(RUN, 7, event)
    assert block.isascii()
    assert b"\r" not in block
    first, second, *rest = block.decode().split("\n")
    assert first == f"id: {RUN}:7"
    assert rest == ["", ""]
    data = json.loads(second.removeprefix("data: "))
    assert data["type"] == type(event).__name__.lower()
    assert "seq" not in data
    assert sse.decode(block) == event


@given(st.text(min_size=1))
def test_any_text_survives_a_frame(text: str) -> None:
    block = sse.frame(RUN, 1, Token(text))
    assert block.count(b"\n") == 3
    assert sse.decode(block) == Token(text)


@pytest.mark.parametrize("text", ["\u2028", "\u2029", "\u0085", "\r\n", "\x0b\x0c", "🦉", '"\\', "\x00"])
def test_line_breaks_of_every_kind_stay_inside_the_json(text: str) -> None:
    block = sse.frame(RUN, 1, Token(text))
    assert len(block.decode().splitlines()) == 3
    assert sse.decode(block) == Token(text)


def test_the_heartbeat_is_a_comment_with_a_single_line_feed() -> None:
    assert sse.HEARTBEAT == b": hb\n"


@given(st.text(min_size=1, max_size=30000))
def test_a_huge_token_is_split_and_loses_nothing(text: str) -> None:
    pieces = list(sse.split_token(text))
    assert "".join(pieces) == text
    assert all(len(piece.encode()) <= sse.MAX_TOKEN_BYTES for piece in pieces)
    assert all(len(sse.frame(RUN, 10**6, Token(piece))) < 64 * 1024 for piece in pieces)


@pytest.mark.parametrize(
    ("header", "after", "cursor"),
    [(None, None, 0), (None, 5, 5), (f"{RUN}:9", None, 9), (f"{RUN}:9", 5, 9), ("", 4, 4)],
)
def test_the_header_wins_over_the_parameter(header: str | None, after: int | None, cursor: int) -> None:
    assert sse.parse_cursor(RUN, header, after) == cursor


@pytest.mark.parametrize("header", ["x", f"{RUN}:", f"{RUN}:-1", f"{RUN}:1x", f"{RUN}:" + "9" * 50, f"{RUN}:٣"])
def test_a_malformed_cursor_is_invalid(header: str) -> None:
    with pytest.raises(InvalidInput):
        sse.parse_cursor(RUN, header, None)


def test_a_cursor_of_another_run_is_a_conflict() -> None:
    with pytest.raises(Conflict):
        sse.parse_cursor(RUN, "cd" * 16 + ":1", None)


def test_events_have_no_other_fields_than_the_contract_names() -> None:
    schema = msgspec.json.schema(Event)["$defs"]
    assert set(schema["Token"]["properties"]) == {"type", "text"}
    assert set(schema["Sources"]["properties"]) == {"type", "sources"}
    source = {"n", "doc_id", "chunk_index", "text", "distance", "score", "title", "page", "start", "end"}
    assert set(schema["Source"]["properties"]) == source
    done = {
        "type",
        "model",
        "finish_reason",
        "usage",
        "timings",
        "citations",
        "uncited",
        "conversation_id",
        "message_id",
    }
    assert set(schema["Done"]["properties"]) == done
