"""What a process and all that it starts take of memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def memory_of(process_id: int) -> Iterator[dict[str, int]]:
    """The largest resident memory of a process and of each kind of its descendants, by command, in bytes."""
    largest: dict[str, int] = {}
    over = threading.Event()

    def look() -> None:
        root = psutil.Process(process_id)
        while not over.wait(0.05):
            for one in (root, *root.children(recursive=True)):
                try:
                    name = " ".join(one.cmdline()[1:4])
                    largest[name] = max(largest.get(name, 0), one.memory_info().rss)
                except psutil.Error:
                    continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield largest
    finally:
        over.set()
        thread.join()
