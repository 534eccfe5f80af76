"""Server-sent events: how an event becomes bytes, once, and how a cursor is written (docs/design.md, section 4).

One ``data:`` line of ASCII JSON, LF only, no ``event:`` name; the sequence number is in the ``id:`` field alone. ASCII
keeps U+2028, U+0085 and their kin, at which some clients split lines, out of the stream.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii

import msgspec

from lorestream.errors import Conflict, InvalidInput
from lorestream.streaming.events import Event, Token

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}
# One LF only: a blank line after a comment makes several client libraries emit an event without data.
HEARTBEAT = b": hb\n"
HEARTBEAT_SECONDS = 10.0
RETRY = b"retry: 2000\n"
MAX_TOKEN_BYTES = 16 * 1024
# A character is at most 12 bytes in ASCII JSON (a surrogate pair of escapes).
MAX_TOKEN_CHARACTERS = MAX_TOKEN_BYTES // 4
_TOKEN = b'data: {"type":"token","text":'
_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
CURSOR = re.compile(r"([0-9a-f]{32}):(\d{1,9})", re.ASCII)


def frame(run_id: str, seq: int, event: Event) -> bytes:
    """One event as the bytes that every reader gets."""
    if type(event) is Token:  # the hot path: one of these for every token
        return f'id: {run_id}:{seq}\ndata: {{"type":"token","text":{encode_basestring_ascii(event.text)}}}\n\n'.encode()
    data = json.dumps(msgspec.to_builtins(event), separators=(",", ":"))
    return f"id: {run_id}:{seq}\ndata: {data}\n\n".encode("ascii")


def decode(block: bytes) -> Event:
    """The event of one frame: the inverse of ``frame``."""
    return _DECODER.decode(block[block.index(b"data: ") + 6 :])


def token_text(block: bytes) -> bytes | None:
    """The text of a token's frame as it stands there, a JSON string; None for every other event."""
    at = block.find(_TOKEN)
    return None if at < 0 else block[at + len(_TOKEN) : block.rindex(b"}")]


def split_token(text: str) -> Iterator[str]:
    """A token in pieces that keep their event small; nearly always the token itself."""
    for start in range(0, len(text), MAX_TOKEN_CHARACTERS):
        yield text[start : start + MAX_TOKEN_CHARACTERS]


def parse_cursor(run_id: str, last_event_id: str | None, after: int | None) -> int:
    """The sequence number after which a reader goes on; the header wins over the parameter.

    Raises InvalidInput for a malformed cursor and Conflict for a cursor of another run.
    """
    if not last_event_id:
        return after or 0
    match = CURSOR.fullmatch(last_event_id)
    if not match:
        raise InvalidInput("Last-Event-ID is not a cursor of the form <run_id>:<seq>.")
    if match[1] != run_id:
        raise Conflict("Last-Event-ID is a cursor of another run.")
    return int(match[2])
