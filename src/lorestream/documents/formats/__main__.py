"""The child process of ``sandbox``: ``python -m lorestream.documents.formats MODULE PATH MEMORY_BYTES CPU_SECONDS``.

Writes one msgpack ``Outcome`` to its standard output; nothing else that a library prints gets there.
"""

from __future__ import annotations

import importlib
import os
import resource
import sys
from pathlib import Path

import msgspec

from lorestream.documents.parse import DocumentFailed, Outcome, checked

MAX_OPEN_FILES = 64


def limit(memory_bytes: int, cpu_seconds: int) -> None:
    """No more than ``memory_bytes`` above what is in use now, no files written, no core dump, low priority."""
    used_pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    address_space = used_pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    for kind, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, MAX_OPEN_FILES)):
        resource.setrlimit(kind, (most, most))
    os.nice(10)


def read(module: str, path: str, memory_bytes: int, cpu_seconds: int) -> bytes:
    """The encoded outcome of one file."""
    reader = importlib.import_module(f"lorestream.documents.formats.{module}")
    limit(memory_bytes, cpu_seconds)
    try:
        return msgspec.msgpack.encode(Outcome(parsed=checked(reader.parse(Path(path)))))
    except DocumentFailed as failed:
        outcome = Outcome(code=failed.code, message=failed.message)
    except MemoryError:
        outcome = Outcome(code="memory")
    except Exception as error:  # noqa: BLE001 (whatever a parser trips over is the file's fault)
        outcome = Outcome(code="broken", detail=f"{type(error).__name__}: {error}"[:500])
    return msgspec.msgpack.encode(outcome)


if __name__ == "__main__":
    answer = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    content = read(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    with open(answer, "wb") as out:  # noqa: PTH123 (a descriptor)
        out.write(content)
