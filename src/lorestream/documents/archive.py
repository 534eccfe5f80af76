"""ZIP files of documents: the directory read entry by entry, each file unpacked within what it claims to be.

Written against PKWARE's APPNOTE.TXT 6.3.10 and not with ``zipfile``, which builds an object for each of a million
entries before anything can be counted. Nothing that an archive says of itself is believed: what it claims is bounded
before anything is unpacked, and unpacking ends where the claim ends. Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import hashlib
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from lorestream.documents.parse import HEAD_BYTES, DocumentFailed
from lorestream.documents.upload import Upload, clean_filename, disk_errors
from lorestream.errors import InvalidInput, PayloadTooLarge, UnsupportedType

# Real documents pack 5 to 60 to one; deflate reaches 1030.
MAX_RATIO, RATIO_FROM_BYTES = 200, 4 * 1024 * 1024
# All files of an archive together, as a multiple of the largest single upload.
MAX_TOTAL_UPLOADS = 16
BLOCK_BYTES = 256 * 1024
STORED, DEFLATED = 0, 8
ENCRYPTED_FLAG, DIRECTORY_ATTRIBUTE = 0x1, 0x10
NESTED = {".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".cab", ".iso"}
LITTER = {"thumbs.db", "desktop.ini", "__macosx"}

_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_SEPARATORS = re.compile(r"[/\\]+")


class Entry(NamedTuple):
    """One file of an archive, as its directory describes it; ``offset`` is that of its local header in the file."""

    name: str
    method: int
    encrypted: bool
    packed: int
    size: int
    crc: int
    offset: int

    @property
    def filename(self) -> str:
        """Its name as a document's: the last part of its path, whatever the path."""
        return clean_filename(self.name)


def inspect(path: Path, *, max_entries: int, max_bytes: int) -> int:
    """How many files an archive holds, of which each may become a document.

    Raises UnsupportedType (no ZIP file), InvalidInput (damaged, encrypted, nothing in it) and PayloadTooLarge: more
    entries than ``max_entries``, or more bytes than MAX_TOTAL_UPLOADS times ``max_bytes``.
    """
    count = encrypted = total = packed = seen = 0
    try:
        with path.open("rb") as file:
            for entry in _entries(file):
                seen += 1
                if seen > max_entries:
                    raise PayloadTooLarge(f"The archive holds more than the {max_entries} files this server unpacks.")
                packed += entry.packed + _LOCAL.size if entry.name else 0
                if _is_document(entry):
                    count, total, encrypted = count + 1, total + entry.size, encrypted + entry.encrypted
    except DocumentFailed as failure:
        raise InvalidInput(failure.message) from failure
    if packed > path.stat().st_size:
        raise InvalidInput("The archive is damaged: its entries overlap.")
    if not count:
        raise InvalidInput("There is no file in this archive.")
    if encrypted == count:
        raise InvalidInput("The archive is encrypted. Unpack it, or pack it again without a password.")
    if total > MAX_TOTAL_UPLOADS * max_bytes:
        limit = MAX_TOTAL_UPLOADS * max_bytes
        raise PayloadTooLarge(f"The files of the archive are larger than {limit} bytes together.")
    return count


def documents_of(file: IO[bytes]) -> Iterator[Entry]:
    """The files of an archive in the order of its directory; folders, links, hidden files and litter are left out.

    Raises DocumentFailed (``broken``) where the directory is damaged.
    """
    return (entry for entry in _entries(file) if _is_document(entry))


def unpack(file: IO[bytes], entry: Entry, target: Path, max_bytes: int) -> Upload:
    """Unpack one file to ``target``, not yet synced to the disk.

    Raises DocumentFailed (``empty``, ``encrypted``, ``broken``), PayloadTooLarge, UnsupportedType, StorageFull. What
    was written until then is left at ``target``.
    """
    _check(entry, max_bytes)
    _seek_content(file, entry)
    digest, head, size, crc = hashlib.sha256(), b"", 0, 0
    with disk_errors(), target.open("wb") as out:
        for piece in _inflated(file, entry):
            size += len(piece)
            if size > entry.size:
                raise _broken()
            digest.update(piece)
            crc = zlib.crc32(piece, crc)
            head = head if len(head) >= HEAD_BYTES else (head + piece)[:HEAD_BYTES]
            out.write(piece)
    if size != entry.size or crc != entry.crc:
        raise _broken()
    return Upload(target, entry.filename, head, size, digest.hexdigest())


def _seek_content(file: IO[bytes], entry: Entry) -> None:
    try:
        file.seek(entry.offset)
    except (OverflowError, ValueError, OSError) as error:
        raise _broken() from error
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size or not header.startswith(b"PK\x03\x04"):
        raise _broken()
    *_, name_bytes, extra_bytes = _LOCAL.unpack(header)
    file.seek(name_bytes + extra_bytes, 1)


def _check(entry: Entry, max_bytes: int) -> None:
    if entry.encrypted:
        raise DocumentFailed("encrypted", "The file is encrypted in its archive.")
    if PurePosixPath(entry.filename).suffix.lower() in NESTED:
        raise UnsupportedType("Archives inside of an archive are not unpacked.")
    if entry.method not in (STORED, DEFLATED):
        raise UnsupportedType("The file is packed with another method than Deflate.")
    if not entry.size:
        raise DocumentFailed("empty", "The file is empty.")
    if entry.size > max_bytes:
        raise PayloadTooLarge(f"The file is larger than the {max_bytes} bytes this server takes.")
    if entry.size > RATIO_FROM_BYTES and entry.size > MAX_RATIO * entry.packed:
        raise PayloadTooLarge(f"The file is packed more than {MAX_RATIO} to one.")


def _inflated(file: IO[bytes], entry: Entry) -> Iterator[bytes]:
    """The file's bytes in pieces of at most BLOCK_BYTES, whatever they were packed from."""
    left = entry.packed
    inflate = zlib.decompressobj(-zlib.MAX_WBITS) if entry.method == DEFLATED else None
    while left:
        packed = file.read(min(left, BLOCK_BYTES))
        if not packed:
            raise _broken()
        left -= len(packed)
        if inflate is None:
            yield packed
            continue
        while packed and not inflate.eof:
            try:
                piece = inflate.decompress(packed, BLOCK_BYTES)
            except zlib.error as error:
                raise _broken() from error
            if piece:
                yield piece
            packed = inflate.unconsumed_tail
    if inflate is not None:
        if piece := inflate.flush():
            yield piece
        if not inflate.eof:
            raise _broken()


def _entries(file: IO[bytes]) -> Iterator[Entry]:
    start, size, shift = _directory(file)
    end = start + size
    while start < end:
        file.seek(start)
        header = file.read(_CENTRAL.size)
        if len(header) < _CENTRAL.size or not header.startswith(b"PK\x01\x02"):
            raise _broken_archive()
        found = _CENTRAL.unpack(header)
        made_by, flags, method = found[1] >> 8, found[3], found[4]
        crc, packed, size_, name_bytes, extra_bytes, comment_bytes = found[7:13]
        attributes, offset = found[15], found[16]
        name, extra = file.read(name_bytes), file.read(extra_bytes)
        start += _CENTRAL.size + name_bytes + extra_bytes + comment_bytes
        size_, packed, offset = _wide(extra, size_, packed, offset)
        is_folder = name.endswith((b"/", b"\\")) or attributes & DIRECTORY_ATTRIBUTE
        is_link = made_by == 3 and stat.S_ISLNK(attributes >> 16)  # made by Unix
        text = "" if is_folder or is_link else _text(name)
        yield Entry(text, method, bool(flags & ENCRYPTED_FLAG), packed, size_, crc, offset + shift)


def _directory(file: IO[bytes]) -> tuple[int, int, int]:
    """Where the directory starts, its bytes, and by how much all offsets are shifted (something stands before)."""
    length = file.seek(0, 2)
    tail_at = max(0, length - _END.size - 0xFFFF)
    file.seek(tail_at)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise UnsupportedType("This is not a ZIP file.")
    *_, size, offset, _ = _END.unpack_from(tail, at)
    end = tail_at + at
    if end >= _LOCATOR.size:
        file.seek(end - _LOCATOR.size)
        mark, _, at_64, _ = _LOCATOR.unpack(file.read(_LOCATOR.size))
        if mark == b"PK\x06\x07":
            end, size, offset = _directory_64(file, at_64, end - _LOCATOR.size)
    shift = end - size - offset
    if shift < 0:
        raise _broken_archive()
    return offset + shift, size, shift


def _directory_64(file: IO[bytes], at: int, latest: int) -> tuple[int, int, int]:
    if at > latest - _END_64.size:
        raise _broken_archive()
    file.seek(at)
    found = _END_64.unpack(file.read(_END_64.size))
    if found[0] != b"PK\x06\x06":
        raise _broken_archive()
    return at, found[8], found[9]


def _wide(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """The numbers that stand in the ZIP64 field where they are too large for 32 bits."""
    values = [size, packed, offset]
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            wide = list(struct.unpack_from(f"<{min(length, len(extra) - 4) // 8}Q", extra, 4))
            values = [wide.pop(0) if value == 0xFFFFFFFF and wide else value for value in values]
            break
        extra = extra[4 + length :]
    return values[0], values[1], values[2]


def _text(name: bytes) -> str:
    """A name as it was meant: many programs write UTF-8 without saying so; what is none is code page 437."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp437")


def _is_document(entry: Entry) -> bool:
    parts = [part for part in _SEPARATORS.split(entry.name) if part not in ("", ".", "..")]
    hidden = any(part.startswith((".", "~$")) or part.lower() in LITTER for part in parts)
    return bool(parts) and not hidden


def _broken() -> DocumentFailed:
    return DocumentFailed("broken", "The file is damaged in its archive.")


def _broken_archive() -> DocumentFailed:
    return DocumentFailed("broken", "The archive is damaged.")
