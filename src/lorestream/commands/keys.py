"""``lorestream keys``: the secrets under which the server signs. It may run meanwhile: this touches files alone."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from lorestream.accounts import keyring
from lorestream.accounts.audit import Audit
from lorestream.console import err, read_settings
from lorestream.db import Database
from lorestream.errors import LorestreamError

app = typer.Typer(
    name="keys", help="The secret keys under which logins are signed.", no_args_is_help=True, add_completion=False
)


@app.callback()
def _group() -> None:
    """Make ``rotate`` a command of a group, though it is the only one."""


@app.command()
def rotate(
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Delete the older keys at once: somebody may know one.")
    ] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where everything is kept.")] = None,
) -> None:
    """Sign with a new key from now on; nobody is logged out, and servers that run notice by themselves."""
    directory = read_settings(data_dir=data_dir).data_dir
    path = keyring.rotate(directory, time.time(), drop_older=drop_old)
    asyncio.run(_note(Database(directory / "lorestream.db"), dropped=drop_old))
    typer.echo(f"Logins are signed under {path} from now on.")
    if drop_old:
        typer.echo("The older keys are deleted; pages get new tokens by themselves.")
    else:
        typer.echo("The older keys are deleted by the server as soon as no token of theirs is alive.")


async def _note(database: Database, *, dropped: bool) -> None:
    """Put it into the audit log; a database that cannot take it is no reason to keep a key that may be known."""
    try:
        if await asyncio.to_thread(database.is_current):
            await Audit(database).record("keys_rotated", user_id=None, dropped_older=dropped)
    except LorestreamError as failure:
        err.print(f"Warning: the audit log does not tell of it. {failure.message}")
    finally:
        await database.close()
