"""Bytes of an event stream into its messages (WHATWG HTML, section 9.2.6), without any I/O.

Lines end at LF alone, with or without a CR before it, as our server ends them; what is no whole line yet is kept.
"""

from __future__ import annotations

from collections.abc import Iterator

from lorestream.client.failures import NotUnderstood

# An event of ours has at most 64 KiB.
MAX_BYTES = 1024 * 1024
BOM = b"\xef\xbb\xbf"


class Frames:
    """The messages of one connection: give it what was read, take what is complete."""

    def __init__(self) -> None:
        """Begin at the beginning of a stream."""
        self._rest = b""
        self._first = True
        self._id = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, read: bytes) -> Iterator[tuple[str, bytes]]:
        """The id and the data of every message that is complete now. Raises NotUnderstood for one without an end."""
        *lines, self._rest = (self._rest + read).split(b"\n")
        for line in lines:
            if self._first:
                line, self._first = line.removeprefix(BOM), False  # noqa: PLW2901
            if message := self._line(line.removesuffix(b"\r")):
                yield message
        if len(self._rest) + self._size > MAX_BYTES:
            raise NotUnderstood

    def _line(self, line: bytes) -> tuple[str, bytes] | None:
        if not line:
            data, self._data, self._size = self._data, [], 0
            return (self._id, b"\n".join(data)) if data else None
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value)
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        return None
