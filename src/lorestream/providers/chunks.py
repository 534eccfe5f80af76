"""From the bytes of a streamed answer to its chunks: lines, JSON objects, well-formed text. No I/O."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from lorestream.errors import ModelProtocolError

log = logging.getLogger(__name__)
T = TypeVar("T")

LINE_BYTES = 256 * 1024  # of one line, and of one event
_SURROGATE = re.compile("[\ud800-\udfff]")


class LineSplitter:
    """Bytes in, lines out: split at LF only, whatever else a text may call a line end."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that ``data`` completes, without LF and one CR before it.

        Raises ModelProtocolError after the lines before one that is longer than LINE_BYTES.
        """
        *lines, rest = data.split(b"\n")
        if lines and self._rest:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest.clear()
        for line in lines:
            if len(line) > LINE_BYTES:
                raise ModelProtocolError
            yield line[:-1] if line.endswith(b"\r") else line
        self._rest += rest
        if len(self._rest) > LINE_BYTES:
            raise ModelProtocolError


class EventParser:
    """Server-sent events to the text of their ``data`` fields; all other fields and comments mean nothing to us."""

    def __init__(self) -> None:
        self._lines = LineSplitter()
        self._data: list[bytes] = []
        self._size = 0
        self._first = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The data of the events that ``data`` completes, in order.

        Raises ModelProtocolError, after the events before it, for an event that is larger than LINE_BYTES.
        """
        for line in self._lines.feed(data):
            if self._first:
                self._first = False
                line = line.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901
            if not line:
                if self._data:
                    yield self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                    self._data.clear()
                    self._size = 0
            elif line.startswith(b"data:"):
                self._append(line[6:] if line[5:6] == b" " else line[5:])
            elif line == b"data":
                self._append(b"")

    def _append(self, value: bytes) -> None:
        self._size += len(value) + 1
        if self._size > LINE_BYTES:
            raise ModelProtocolError
        self._data.append(value)


class TextMender:
    """Makes the text of chunks well-formed: pairs of surrogates split over two chunks join, lone halves are replaced.

    Only servers that cut strings in UTF-16 units send such halves; all other text passes as it is.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """The text to show now; a high surrogate at its end is held back."""
        if not self._held and (text.isascii() or not _SURROGATE.search(text)):
            return text
        text, self._held = self._held + text, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def flush(self) -> str:
        """What is left at the end."""
        held, self._held = self._held, ""
        return "\ufffd" if held else ""


def decode_chunk(line: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """One JSON object of an answer. Raises ModelProtocolError.

    msgspec refuses the escapes of lone surrogates, the standard library does not: it is the slow second try.
    """
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        if b"\\ud" not in line.lower():
            raise ValueError
        return msgspec.convert(json.loads(line), type=decoder.type)
    except (ValueError, RecursionError):
        log.warning("the language model's server sent a chunk of %d bytes that is not valid", len(line))
        raise ModelProtocolError from None
