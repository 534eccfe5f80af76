"""Plain text in any common encoding."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from charset_normalizer import from_bytes

from lorestream.documents.parse import Parsed

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD_BYTES, _SAMPLE_BYTES = 4096, 256 * 1024
# Letters and signs of Windows-1252 as Western European languages use them; signs never stand inside a word.
_WESTERN = re.compile(r"[\x00-\x7fÄÖÜäöüßÀ-ÃÅ-ÏÑ-ÕØ-ÛàâãåæçèéêëìíîïñóôõòøùúûáœŒŸ\xa0¡¿«»“”‘’„‚–—…•·€£§©®°²³ºª´×±½¼¾%]*")
_SIGN_IN_WORD = re.compile(r"[a-z][¡¿«»„‚•€£§©®°²³ºª×±½¼¾][a-z]")


def parse(path: Path) -> Parsed:
    """The text as it is, with LF as the end of a line."""
    return Parsed(normalise(decode(path.read_bytes())))


def normalise(text: str) -> str:
    """Every end of a line as LF."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def decode(data: bytes) -> str:
    """Text of unknown encoding: by its mark, as UTF-16 or UTF-8, as Windows-1252, else by statistics."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    if unmarked := _unmarked_utf16(data[:_HEAD_BYTES]):
        return data.decode(unmarked, "replace")
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass
    return _damaged_utf8(data) or _western(data) or _guess(data)


def _unmarked_utf16(head: bytes) -> str | None:
    """By the zero bytes of ASCII characters, which are all on one side."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if min(even, odd) > 0 or max(even, odd) < max(1, len(head) // 8):
        return None
    return "utf-16-le" if odd else "utf-16-be"


def _damaged_utf8(data: bytes) -> str | None:
    """UTF-8 with a few bad bytes, such as a file that was cut off."""
    text = data.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    foreign = len(text) - len(text.encode("ascii", "ignore"))
    return text if bad * 10 < foreign else None


def _western(data: bytes) -> str | None:
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return None
    return text if _WESTERN.fullmatch(text) and not _SIGN_IN_WORD.search(text) else None


def _guess(data: bytes) -> str:
    best = from_bytes(data[:_SAMPLE_BYTES]).best()
    return data.decode(best.encoding if best else "cp1252", "replace")
