"""What both formats of streamed answers promise: the same deltas wherever the network cuts their bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lorestream.errors import RunFailed
from lorestream.providers.base import Delta
from lorestream.providers.upstream import Decoder


def read(decoder: Decoder, content_type: str, pieces: Iterable[bytes]) -> tuple[str, str, object, str]:
    """Text, reasoning, finish and failure of one answer."""
    out: list[Delta] = []
    failure = ""
    try:
        decoder.begin(content_type)
        for piece in pieces:
            decoder.feed(piece, out)
            if decoder.finished:
                break
        else:
            decoder.end(out)
    except RunFailed as failed:
        failure = failed.code
    finish = next((delta.finish for delta in out if delta.finish), None)
    return "".join(one.text for one in out), "".join(one.reasoning for one in out), finish, failure


def same_however_cut(data: bytes, make: Callable[[], Decoder], content_type: str) -> None:
    """The first byte says how the rest is cut."""
    step, body = (data[0] if data else 0) % 61 + 1, data[1:]
    whole = read(make(), content_type, [body])
    cut = read(make(), content_type, (body[start : start + step] for start in range(0, len(body), step)))
    assert whole == cut, (whole, cut)
    for text in whole[:2]:
        text.encode()  # no half of a surrogate pair comes through
