"""``lorestream serve``, and the processes that it starts for several workers."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from lorestream import __version__
from lorestream.console import configure_logging, err, read_settings
from lorestream.main import Server, server
from lorestream.settings import Settings, unknown_variables
from lorestream.workers import Workers, until_orphaned

app = typer.Typer(add_completion=False)


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
