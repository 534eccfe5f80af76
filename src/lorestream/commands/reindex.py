"""``lorestream reindex``: index documents anew with the embedder and the passage sizes of now, with a progress bar.

Beside a running server its worker does the work; without one this process runs the worker. The documents are searched
as they were until each is whole again, and what was marked stays marked, whatever ends the command.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from rich.console import Console
from rich.progress import Progress

from lorestream.documents.queue import ANY
from lorestream.library import Library

EXIT_OK, EXIT_FAILED, EXIT_STOPPED = 0, 1, 130
# Reports of a server's worker do not come here.
LOOK_SECONDS = 0.5


async def reindex_documents(library: Library, *, everything: bool) -> int:
    """Index anew what is indexed in another way than the settings say, or ``everything``; the exit code.

    0 where all of it is done, 1 where some could not be, 130 when stopped. Raises StartRefused.
    """
    err = Console(stderr=True, highlight=False, soft_wrap=True)
    documents = library.documents
    try:
        async with library.beside():
            await documents.reindex(everything=everything)
            total = await documents.waiting_for_reindex()
            with Progress(console=err) as bar, documents.watch(ANY) as news:
                task = bar.add_task("Indexing anew", total=total)
                while left := await documents.waiting_for_reindex():
                    bar.update(task, total=max(total, left), completed=max(0, total - left))
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_SECONDS):
                            await news.wait()
                    news.clear()
                bar.update(task, completed=total)
            failed = await documents.indexed_otherwise()
    except asyncio.CancelledError:
        err.print("Stopped: the rest is indexed anew by the next server, or by this command again.")
        return EXIT_STOPPED
    err.print(f"{total} documents are indexed anew." if total else "Everything is indexed as the settings say.")
    if failed:
        err.print(
            f"{failed} documents are as they were: they could not be indexed anew (the log says why), or the running "
            "server has other settings than this command."
        )
    return EXIT_FAILED if failed else EXIT_OK
