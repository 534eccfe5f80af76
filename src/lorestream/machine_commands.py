"""The commands that work on this machine's own data: ``serve``, ``ingest``, ``doctor``, ``keys``, ``users``, …."""

from __future__ import annotations

import asyncio
import importlib
import logging
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from lorestream import __version__, evaluate_command, keys_command, users_command
from lorestream.client.connection import address
from lorestream.client.login import Login
from lorestream.command_account import DataDir, User
from lorestream.console import configure_logging, err, read_settings
from lorestream.doctor import examine
from lorestream.ingest_command import ingest_paths
from lorestream.library import Library
from lorestream.logins import StoredLogin
from lorestream.main import Server, server
from lorestream.reindex_command import reindex_documents
from lorestream.settings import Settings, config_dir, unknown_variables
from lorestream.workers import Workers, until_orphaned

app = typer.Typer(add_completion=False)
app.add_typer(keys_command.app)
app.add_typer(users_command.app)
app.command()(evaluate_command.evaluate)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where everything is kept.")] = None,
    workers: Annotated[int | None, typer.Option(help="Server processes; more than one needs Redis.")] = None,
) -> None:
    """Start the server with its page."""
    configure_logging(logging.INFO)
    settings = read_settings(host=host, port=port, data_dir=data_dir, workers=workers)
    for name in unknown_variables():
        err.print(f"Warning: {name} is not a setting of Lorestream {__version__}; it is ignored.")
    if settings.workers > 1:
        _run(Workers(settings).run())
        return
    running = server(settings)
    running.on_started = lambda: _greet(running, settings)
    _run(running.serve())
    if not running.started:
        sys.exit(3)


@app.command(hidden=True)
def serve_worker(
    listening: Annotated[int, typer.Option(help="The socket to accept connections from.")],
    parent: Annotated[int, typer.Option(help="The socket to the supervisor.")],
    greet: Annotated[bool, typer.Option(help="Print where it listens.")] = False,
) -> None:
    """Serve as one of several workers; started by ``serve --workers``."""
    configure_logging(logging.INFO)
    settings = read_settings()
    running = server(settings)
    running.shares_socket = True
    lifeline = socket.socket(fileno=parent)
    lifeline.setblocking(False)

    async def on_started() -> None:
        if greet:
            await _greet(running, settings)
        watching.append(asyncio.create_task(until_orphaned(lifeline, running.leave)))

    watching: list[asyncio.Task[None]] = []
    running.on_started = on_started
    _run(running.serve([socket.socket(fileno=listening)]))
    if not running.started:
        sys.exit(3)


async def _greet(running: Server, settings: Settings) -> None:
    status = await running.library.catalogue.describe()
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"Lorestream {__version__} is ready: http://{host}:{running.port}")
    print(f"  Language model: {status.name} ({status.why})")
    if status.advice:
        print(f"  {status.advice}")
    print(f"  Documents and accounts are kept in {settings.data_dir.resolve()}", flush=True)
    if not settings.on_loopback:
        err.print(
            "Warning: plain HTTP beyond this machine. Passwords and answers can be read on the way: put a proxy with "
            "HTTPS in front."
        )


def _run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


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
    command = importlib.import_module("lorestream.mcp_command")
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
