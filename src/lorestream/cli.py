"""The command line. Every command is in a file of its own; those of this machine are loaded when they are called."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup
from typer.main import get_command

from lorestream import __version__
from lorestream.commands import documents, login
from lorestream.commands.ask import ask
from lorestream.commands.chat import chat
from lorestream.commands.search import search
from lorestream.commands.terminal import EXIT_STOPPED
from lorestream.console import err
from lorestream.errors import LorestreamError

# The commands that work on this machine's own data, by the file that is loaded where one of them is called: what it
# brings along may take seconds.
OF_THIS_MACHINE = {
    "serve": "serve",
    "serve-worker": "serve",
    "keys": "keys",
    "users": "users",
    **dict.fromkeys(("evaluate", "ingest", "mcp", "doctor", "reindex"), "machine"),
}


class _Commands(TyperGroup):
    """The commands that ask an account, and after them those of this machine."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *OF_THIS_MACHINE]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in OF_THIS_MACHINE:
            return super().get_command(ctx, cmd_name)
        loaded: Any = get_command(importlib.import_module(f"lorestream.commands.{OF_THIS_MACHINE[cmd_name]}").app)
        return loaded if loaded.name == cmd_name else loaded.get_command(ctx, cmd_name)


app = typer.Typer(
    name="lorestream",
    help="Chat over your own documents, on your own machine.",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (ask, chat, search, login.login, login.logout):
    app.command()(command)
app.add_typer(documents.app)


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


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
