"""Cursors of lists and of streams: either one that was given out, or a refusal."""

from __future__ import annotations

from datetime import UTC, datetime

from lorestream.errors import Conflict, InvalidInput
from lorestream.http import decode_cursor, encode_cursor
from lorestream.streaming.sse import parse_cursor

RUN = "0123456789abcdef" * 2
SEEDS = [
    encode_cursor(datetime(2026, 3, 1, 12, 30, 5, 123456, tzinfo=UTC), RUN).encode(),
    f"{RUN}:17".encode(),
    f"{'0' * 32}:1".encode(),
    b"MjAyNi0wMy0wMVQwMDowMDowMCB4",
    b"999999999999:1",
]


def one(data: bytes) -> None:
    """Read a cursor in both ways."""
    text = data.decode("utf-8", "replace")
    try:
        moment, name = decode_cursor(text)
    except InvalidInput:
        pass
    else:
        assert decode_cursor(encode_cursor(moment, name)) == (moment, name)
        moment.astimezone(UTC)
    try:
        after = parse_cursor(RUN, text, None)
    except (InvalidInput, Conflict):
        return
    assert 0 <= after < 10**9
    assert not text or text.startswith(f"{RUN}:")
