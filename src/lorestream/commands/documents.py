"""``lorestream documents``: list, add, remove, wait; of the server one is logged in to, or of a data directory."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from lorestream.client import Document
from lorestream.commands.account import Account, AsJson, DataDir, InCollection, User, Whose, collection_id
from lorestream.commands.terminal import EXIT_FAILED, EXIT_OK, err, out, print_json, shown
from lorestream.console import files_below
from lorestream.errors import LorestreamError, NotFound

app = typer.Typer(name="documents", help="Your documents: list, add, remove, wait.", no_args_is_help=True)

WAIT_SECONDS = 24 * 3600.0


@app.command("list")
def list_documents(
    words: Annotated[list[str] | None, typer.Argument(help="Only those with all these words in name or title.")] = None,
    collection: InCollection = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    user: User = None,
) -> None:
    """List documents, the newest first."""

    async def run() -> int:
        async with Whose(data_dir, user).opened(documents=True) as account:
            within = await collection_id(account, collection)
            async for document in account.documents.list(collection_id=within, words=" ".join(words or ())):
                _say(document, as_json=as_json)
        return EXIT_OK

    sys.exit(asyncio.run(run()))


@app.command()
def add(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders.", exists=True)],
    collection: Annotated[str | None, typer.Option(help="Into the collection of this name, made if it is new.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until they can be searched.")] = True,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    user: User = None,
) -> None:
    """Add files; what was added stays, whatever ends the command. Exits with 1 where one failed."""

    async def run() -> int:
        async with Whose(data_dir, user).opened(documents=True) as account:
            into = (await account.collection(collection, make=True)).collection_id if collection else None
            return await _add(account, list(files_below(paths)), into, wait=wait, as_json=as_json)

    sys.exit(asyncio.run(run()))


@app.command()
def remove(
    doc_ids: Annotated[list[str], typer.Argument(help="The documents' ids, as the list shows them.")],
    data_dir: DataDir = None,
    user: User = None,
) -> None:
    """Delete documents with everything that was made of them."""

    async def run() -> int:
        failed = False
        async with Whose(data_dir, user).opened(documents=True) as account:
            for doc_id in doc_ids:
                try:
                    await account.documents.delete(doc_id)
                except NotFound as failure:
                    failed = True
                    err.print(f"{shown(doc_id)}: {shown(failure.message)}")
        return EXIT_FAILED if failed else EXIT_OK

    sys.exit(asyncio.run(run()))


@app.command()
def wait(
    doc_ids: Annotated[
        list[str] | None, typer.Argument(help="The documents' ids; none for all that are waited for.")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    user: User = None,
) -> None:
    """Wait until documents can be searched, or have failed. Exits with 1 where one failed."""

    async def run() -> int:
        async with Whose(data_dir, user).opened(documents=True) as account:
            wanted = doc_ids or [one.doc_id async for one in account.documents.list() if not one.settled]
            return await _wait(account, wanted, as_json=as_json)

    sys.exit(asyncio.run(run()))


async def _add(account: Account, paths: list[Path], into: str | None, *, wait: bool, as_json: bool) -> int:
    added, failed = list[Document](), False
    for path in paths:
        try:
            added.append(await account.documents.upload(path, collection_id=into))
        except (LorestreamError, OSError) as failure:
            failed = True
            reason = failure.message if isinstance(failure, LorestreamError) else failure.strerror or "unreadable"
            err.print(f"{shown(str(path))}: {shown(reason)}")
    if not wait:
        for document in added:
            _say(document, as_json=as_json)
        return EXIT_FAILED if failed else EXIT_OK
    code = await _wait(account, [document.doc_id for document in added], as_json=as_json)
    return EXIT_FAILED if failed else code


async def _wait(account: Account, doc_ids: list[str], *, as_json: bool) -> int:
    code = EXIT_OK
    for doc_id in dict.fromkeys(doc_ids):
        document = await account.documents.wait(doc_id, seconds=WAIT_SECONDS)
        _say(document, as_json=as_json)
        code = code if document.status == "ready" else EXIT_FAILED
    return code


def _say(document: Document, *, as_json: bool) -> None:
    """A document as a line: its id first, for programs that take what is before the first blank."""
    if as_json:
        print_json(document)
        return
    state = f"{document.chunks} passages" if document.status == "ready" else document.status
    out.print(f"{document.doc_id}  {shown(document.filename)}  [dim]{state}[/dim]")
    if document.error:
        err.print(f"{shown(document.filename)}: {shown(document.error.message)}")
