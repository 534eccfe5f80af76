"""``lorestream search``: the best passages, without an answer."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from lorestream.client import Passage
from lorestream.commands.account import AsJson, DataDir, InCollection, User, Whose, collection_id
from lorestream.commands.terminal import EXIT_NO_ANSWER, err, out, print_json, shown
from lorestream.console import EXIT_USAGE
from lorestream.errors import NoDocuments


def search(
    query: Annotated[str, typer.Argument(help="A question, or some words.")],
    k: Annotated[int, typer.Option("-k", "--k", help="How many passages at most.", min=1, max=50)] = 10,
    collection: InCollection = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    user: User = None,
) -> None:
    """Find the passages that fit best; no language model is asked."""
    if not query.strip():
        err.print("The query is empty.")
        sys.exit(EXIT_USAGE)
    found = asyncio.run(_search(Whose(data_dir, user), query, k, collection))
    if as_json:
        print_json({"items": found})
    for place, passage in enumerate(found if not as_json else (), 1):
        page = f", page {passage.page}" if passage.page else ""
        out.print(f"[bold]{place}.[/bold] {shown(passage.title)}{page}  [dim]{passage.score:.2f}[/dim]")
        out.print(f"   {shown(' '.join(passage.text.split()))}")
    sys.exit(0 if found else EXIT_NO_ANSWER)


async def _search(whose: Whose, query: str, k: int, collection: str | None) -> list[Passage]:
    async with whose.opened() as account:
        try:
            return await account.search(query, k=k, collection_id=await collection_id(account, collection))
        except NoDocuments as nothing:
            err.print(nothing.message)
            return []
