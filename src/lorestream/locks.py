"""Locks between processes, on files (flock(2)): held until the file is closed, however its process ends."""

from __future__ import annotations

import fcntl
from typing import IO


def locked(file: IO[bytes], kind: int) -> bool:
    """Whether the file could be locked without waiting; ``kind`` is fcntl.LOCK_EX or fcntl.LOCK_SH."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
