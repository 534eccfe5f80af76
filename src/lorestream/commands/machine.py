"""The commands that work on this machine's own data with all that a server has: ``ingest``, ``doctor``, …."""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from lorestream.client.connection import address
from lorestream.client.login import Login
from lorestream.commands.account import DataDir, User
from lorestream.commands.doctor import examine
from lorestream.commands.evaluate import evaluate
from lorestream.commands.ingest import ingest_paths
from lorestream.commands.logins import StoredLogin
from lorestream.commands.reindex import reindex_documents
from lorestream.console import configure_logging, read_settings
from lorestream.library import Library
from lorestream.settings import config_dir, unknown_variables

app = typer.Typer(add_completion=False)
app.command()(evaluate)


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, folders and ZIP files.", exists=True)],
    user: Annotated[str | None, typer.Option(help="Whose documents: an email; needed where there are several.")] = None,
    collection: Annotated[str | None, typer.Option(help="Put them into this collection, made if it is new.")] = None,
    jobs: Annotated[int, typer.Option(help="Files to read at once.", min=1, max=32)] = 4,
    data_dir: Annotated[Path | None, typer.Option(help="Where everything is kept; its server may run.")] = None,
) -> None:
    """Add files to an account's documents and wait until they can be searched; go on where it was stopped."""
    configure_logging(logging.WARNING)
    library = Library(read_settings(data_dir=data_dir))
    with asyncio.Runner() as runner:
        sys.exit(runner.run(ingest_paths(library, paths, user, collection, jobs)))


@app.command()
def mcp(
    data_dir: DataDir = None,
    user: User = None,
    url: Annotated[str | None, typer.Option(envvar="LORESTREAM_URL", help="Another server; with its token.")] = None,
    token: Annotated[str, typer.Option(envvar="LORESTREAM_TOKEN", help="API key for it.", show_default=False)] = "",
) -> None:
    """Serve your documents to a program that speaks MCP, over stdin and stdout."""
    configure_logging(logging.ERROR)
    # Not with the others: the SDK takes a second to load.
    command = importlib.import_module("lorestream.commands.mcp")
    with asyncio.Runner() as runner:
        if data_dir:
            runner.run(command.serve_library(Library(read_settings(data_dir=data_dir)), user))
        else:
            runner.run(command.serve_for(Login(address(url), token) if url else StoredLogin.read(config_dir())))


@app.command()
def doctor() -> None:
    """Check this installation: versions, paths, models, and one question asked end to end."""
    configure_logging(logging.ERROR)
    settings = read_settings()
    with asyncio.Runner() as runner:
        sys.exit(runner.run(examine(settings, unknown_variables())))


@app.command()
def reindex(
    everything: Annotated[bool, typer.Option("--all", help="Also what is indexed as it should be.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where everything is kept; its server may run.")] = None,
) -> None:
    """Index documents anew for another embedder or passage size; they can be searched all the time."""
    configure_logging(logging.WARNING)
    library = Library(read_settings(data_dir=data_dir))
    with asyncio.Runner() as runner:
        sys.exit(runner.run(reindex_documents(library, everything=everything)))
