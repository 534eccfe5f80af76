"""Generate wire/: the API's description, the events' schema and golden streams, which both sides' tests read.

``--check`` writes nothing and fails when a file differs from what the code says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from lorestream.doors import ai_sdk, chat, rag, websocket
from lorestream.doors.openai_answers import Chunks
from lorestream.doors.translate import Encode
from lorestream.errors import NoDocuments, UpstreamTruncated
from lorestream.library import Library
from lorestream.main import create_app
from lorestream.providers.base import NO_ANSWER
from lorestream.settings import Settings
from lorestream.streaming import sse
from lorestream.streaming.events import (
    Citation,
    Done,
    Event,
    FinishReason,
    Reasoning,
    Source,
    Sources,
    Status,
    Timings,
    Token,
    Usage,
    error_event,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
# Every other door by name: the suffix of its streams, and how it tells a run's events from the first to the last.
DOORS: dict[str, tuple[str, Callable[[list[Event]], bytes]]] = {
    "websocket": (".jsonl", lambda events: _lines(websocket.encode(event, RUN_ID) for event in events)),
    "rag": (".sse", lambda events: _numbered(rag.answer, events)),
    "rag_with_sources": (".sse", lambda events: _numbered(rag.answer_with_sources, events)),
    "chat": (".sse", lambda events: sse.RETRY + _encoded(chat.answer, events)),
    "chat_ollama": (".sse", lambda events: sse.RETRY + _encoded(chat.ollama("tiny", lambda: NOON), events)),
    "openai": (".sse", lambda events: b"".join(map(_chunks().encode, events))),
    "ai_sdk": (".sse", lambda events: _told(ai_sdk.Telling(RUN_ID, MESSAGE_ID), events)),
}
WIRE = Path(__file__).parent.parent / "wire"
RUN_ID = "0123456789abcdef0123456789abcdef"
MESSAGE_ID = "fedcba9876543210fedcba9876543210"
PARIS = Source(
    n=1,
    doc_id="00112233445566778899aabbccddeeff",
    chunk_index=0,
    text="Paris is the capital of France.",
    distance=0.2345,
    score=1.0,
    title="geo",
    page=None,
    start=0,
    end=31,
)
TABLE = Source(
    2, "ffeeddccbbaa99887766554433221100", 7, "Zürich – 日本語 – 🦉\u2028|", 0.61, 0.42, "atlas", 12, 900, 921
)


def _done(
    reason: FinishReason, citations: list[Citation], usage: Usage | None = None, *, uncited: bool = False
) -> Done:
    return Done("ollama:llama3.2:3b", reason, usage, Timings(0, 12, 140, 910), citations, uncited, None, MESSAGE_ID)


def _lines(messages: Iterable[str]) -> bytes:
    return b"".join(f"{message}\n".encode("ascii") for message in messages if message)


def _chunks() -> Chunks:
    return Chunks(RUN_ID, "lorestream", include_usage=True, created=1_700_000_000)


def _told(telling: ai_sdk.Telling, events: list[Event]) -> bytes:
    return telling.start() + b"".join(map(telling.event, events))


def streams() -> dict[str, list[Event]]:
    """Every kind of stream by name: the events, in order."""
    answer = [Token("Paris"), Token(" is"), Token(" the"), Token(" capital"), Token(" [1].")]
    cited = [Citation(1, 0, 25, 0.67)]
    odd = ["Zürich", " 日本", "語 ", "🦉", "\u2028", "\r\n", "\u0085", '"\\', "</script>", "\x00", "e\u0301"]
    return {
        "answer": [Sources([PARIS, TABLE]), *answer, _done("stop", cited, Usage(210, 6, 216))],
        "length": [Sources([PARIS]), *answer[:3], _done("length", [], Usage(210, 3, 213), uncited=True)],
        "cancelled": [Sources([PARIS]), *answer[:2], _done("cancelled", [], uncited=True)],
        "cancelled-before-sources": [Sources([]), _done("cancelled", [])],
        "no-context": [Sources([]), Token(NO_ANSWER), _done("no_context", [])],
        "no-documents": [error_event(NoDocuments("No documents found."), MESSAGE_ID)],
        "truncated": [Sources([PARIS]), *answer[:3], error_event(UpstreamTruncated(), MESSAGE_ID)],
        "unicode": [Sources([TABLE]), *map(Token, odd), _done("stop", [], uncited=True)],
        "narrated": [
            Status("queued", 2),
            Status("queued", 1),
            Status("retrieving"),
            Sources([PARIS]),
            Status("generating"),
            Reasoning("The passage names the capital."),
            *answer,
            _done("stop", cited),
        ],
    }


def golden(events: list[Event]) -> bytes:
    """A whole stream as a client receives it, with a heartbeat before its last event."""
    frames = [sse.frame(RUN_ID, seq, event) for seq, event in enumerate(events, 1)]
    return sse.RETRY + b"".join(frames[:-1]) + sse.HEARTBEAT + frames[-1]


def _encoded(encode: Encode, events: list[Event]) -> bytes:
    """What a door tells that has a word for each event by itself."""
    return b"".join(map(encode, events))


def _numbered(encode: Encode, events: list[Event]) -> bytes:
    """What a door that can be resumed tells: each event with the number that it has in the run."""
    told = ((seq, encode(event)) for seq, event in enumerate(events, 1))
    return sse.RETRY + b"".join(f"id: {RUN_ID}:{seq}\n".encode() + said for seq, said in told if said)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def files() -> dict[Path, bytes]:
    """Every generated file and its content."""
    made = {WIRE / "streams" / f"{name}.sse": golden(events) for name, events in streams().items()}
    for door, (suffix, told) in DOORS.items():
        made |= {WIRE / "streams" / door / f"{name}{suffix}": told(events) for name, events in streams().items()}
    made[WIRE / "events.schema.json"] = _json(msgspec.json.schema(Event))
    made[WIRE / "openapi.json"] = _json(create_app(Library(Settings(_env_file=None))).openapi())
    return made


def main() -> int:
    """Write the files, or name those that are not as the code says."""
    wanted = files()
    found = {path for path in WIRE.rglob("*") if path.is_file()}
    if "--check" in sys.argv[1:]:
        stale = [path for path in wanted | dict.fromkeys(found) if not _same(path, wanted.get(path))]
        for path in stale:
            print(f"{path.relative_to(WIRE.parent)} is not what the code says; run `make wire`", file=sys.stderr)
        return bool(stale)
    for path in found - set(wanted):
        path.unlink()
    for path, content in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return 0


def _same(path: Path, content: bytes | None) -> bool:
    return content is not None and path.is_file() and path.read_bytes() == content


if __name__ == "__main__":
    sys.exit(main())
