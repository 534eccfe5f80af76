"""The command line: ``serve``, ``ask``, ``doctor``, ``keys``, ``users``, …, each in its own file."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.markup import escape

from lorestream import __version__, documents_command, evaluate_command, keys_command, login_command, users_command
from lorestream.chat_command import chat
from lorestream.client.connection import address
from lorestream.client.login import Login
from lorestream.command_account import AsJson, DataDir, InCollection, Model, Passages, User, Whose
from lorestream.console import EXIT_USAGE, err, read_settings
from lorestream.doctor import examine
from lorestream.errors import LorestreamError
from lorestream.ingest_command import ingest_paths
from lorestream.library import Library
from lorestream.logins import StoredLogin
from lorestream.main import Server, server
from lorestream.reindex_command import reindex_documents
from lorestream.search_command import search
from lorestream.settings import Settings, cache_dir, config_dir, unknown_variables
from lorestream.terminal import EXIT_STOPPED, ask_account, ask_documents, run_told
from lorestream.workers import Workers, until_orphaned

app = typer.Typer(
    name="lorestream",
    help="Chat over your own documents, on your own machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(documents_command.app)
app.add_typer(keys_command.app)
app.add_typer(users_command.app)
for command in (chat, search, login_command.login, login_command.logout, evaluate_command.evaluate):
    app.command()(command)


def main() -> None:
    """Run the command line; a failure is one line for a person and an exit code, never a trace."""
    try:
        app()
    except LorestreamError as failure:
        err.print(f"[red]{escape(failure.message)}[/red]" if err.is_terminal else escape(failure.message))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(EXIT_STOPPED)
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _configure_logging(level: int) -> None:
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for chatty in ("uvicorn", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where everything is kept.")] = None,
    workers: Annotated[int | None, typer.Option(help="Server processes; more than one needs Redis.")] = None,
) -> None:
    """Start the server with its page."""
    _configure_logging(logging.INFO)
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
    _configure_logging(logging.INFO)
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
def ask(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders to ask; without any, your own documents.", exists=True)
    ] = None,
    k: Passages = 4,
    model: Model = None,
    collection: InCollection = None,
    as_json: AsJson = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="Ask the documents kept here; with files, where their index is kept.")
    ] = None,
    user: User = None,
) -> None:
    """Ask your files, which needs no server; or the documents of the server you are logged in to, or of --data-dir.

    Exit codes: 0 answered, 1 failed, 2 usage, 3 not in the documents, 130 stopped by Ctrl-C.
    """
    _configure_logging(logging.ERROR)
    if not question.strip():
        err.print("The question is empty.")
        sys.exit(EXIT_USAGE)
    if paths and (collection or user):
        err.print("Files have no collections and no users.")
        sys.exit(EXIT_USAGE)
    if not paths:
        whose = Whose(data_dir, user, model)
        sys.exit(run_told(ask_account(whose, question, k, collection, as_json=as_json), as_json=as_json))
    library = Library(read_settings(data_dir=data_dir or cache_dir(), model=model))
    sys.exit(run_told(ask_documents(library, question, paths, k, as_json=as_json), as_json=as_json))


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, folders and ZIP files.", exists=True)],
    user: Annotated[str | None, typer.Option(help="Whose documents: an email; needed where there are several.")] = None,
    collection: Annotated[str | None, typer.Option(help="Put them into this collection, made if it is new.")] = None,
    jobs: Annotated[int, typer.Option(help="Files to read at once.", min=1, max=32)] = 4,
    data_dir: Annotated[Path | None, typer.Option(help="Where everything is kept; its server may run.")] = None,
) -> None:
    """Add files to an account's documents and wait until they can be searched; go on where it was stopped."""
    _configure_logging(logging.WARNING)
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
    _configure_logging(logging.ERROR)
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
    _configure_logging(logging.ERROR)
    settings = read_settings()
    with asyncio.Runner() as runner:
        sys.exit(runner.run(examine(settings, unknown_variables())))


@app.command()
def reindex(
    everything: Annotated[bool, typer.Option("--all", help="Also what is indexed as it should be.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where everything is kept; its server may run.")] = None,
) -> None:
    """Index documents anew for another embedder or passage size; they can be searched all the time."""
    _configure_logging(logging.WARNING)
    library = Library(read_settings(data_dir=data_dir))
    with asyncio.Runner() as runner:
        sys.exit(runner.run(reindex_documents(library, everything=everything)))
