"""``lorestream users``: the accounts of a data directory, also while its server runs; it notices within seconds."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from lorestream.accounts.audit import Audit
from lorestream.accounts.passwords import MAX_PASSWORD_BYTES, Passwords
from lorestream.accounts.users import COMMAND_LINE, Users
from lorestream.accounts.users_store import Account
from lorestream.console import read_settings
from lorestream.db import Database
from lorestream.errors import InvalidInput, StartRefused

T = TypeVar("T")

PAGE = 500

app = typer.Typer(
    name="users",
    help="The accounts of a data directory; its server may run.",
    no_args_is_help=True,
    add_completion=False,
)

Email = Annotated[str, typer.Argument(help="The user's email.")]
DataDir = Annotated[Path | None, typer.Option(help="Where everything is kept.")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin.")]


@app.command("list")
def list_users(
    search: Annotated[str, typer.Argument(help="Only emails that hold this.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list, for programs.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show the accounts, newest first."""

    async def work(users: Users) -> list[Account]:
        found: list[Account] = []
        while page := await users.page(search, PAGE, (found[-1].created_at, found[-1].user_id) if found else None):
            found += page
        return found

    accounts = _with_users(data_dir, work)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in accounts], indent=2, default=lambda moment: moment.isoformat()))
        return
    for one in accounts:
        marks = [mark for mark, given in (("administrator", one.is_admin), ("disabled", one.disabled_at)) if given]
        used = f"{one.last_used_at:%Y-%m-%d %H:%M}" if one.last_used_at else "never"
        typer.echo(f"{one.email}  last used: {used}" + (f"  ({', '.join(marks)})" if marks else ""))


@app.command()
def add(
    email: Email,
    admin: Annotated[bool, typer.Option("--admin", help="Make it an administrator.")] = False,
    password_stdin: FromStdin = False,
    data_dir: DataDir = None,
) -> None:
    """Make an account, with a password that is made up and shown once unless one is given."""
    given = _read_password() if password_stdin else None

    async def work(users: Users) -> str | None:
        return (await users.add(email, given, is_admin=admin, actor=COMMAND_LINE))[1]

    _tell_password(f"{email} can log in now.", _with_users(data_dir, work))


@app.command()
def disable(email: Email, data_dir: DataDir = None) -> None:
    """End whatever a user came by, within seconds, and let them in no more."""
    _change(email, data_dir, disabled=True)
    typer.echo(f"{email} is disabled.")


@app.command()
def enable(email: Email, data_dir: DataDir = None) -> None:
    """Let a disabled user in again."""
    _change(email, data_dir, disabled=False)
    typer.echo(f"{email} can log in again.")


@app.command()
def reset(email: Email, password_stdin: FromStdin = False, data_dir: DataDir = None) -> None:
    """Give a user another password, shown once unless one is given; it ends their logins and API keys."""
    given = _read_password() if password_stdin else None

    async def work(users: Users) -> str | None:
        return await users.reset_password((await users.by_email(email)).user_id, COMMAND_LINE, given)

    _tell_password(f"{email} has another password.", _with_users(data_dir, work))


@app.command()
def admin(
    email: Email,
    revoke: Annotated[bool, typer.Option("--revoke", help="Make it an ordinary user again.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Make a user an administrator."""
    _change(email, data_dir, is_admin=not revoke)
    typer.echo(f"{email} is {'no longer an' if revoke else 'an'} administrator.")


@app.command()
def delete(
    email: Email,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Delete an account; the server removes what it owned, within ten minutes or when it starts next."""
    if not yes:
        typer.confirm(f"Delete {email} with all documents and conversations, for good?", abort=True)

    async def work(users: Users) -> None:
        await users.remove((await users.by_email(email)).user_id, COMMAND_LINE)

    _with_users(data_dir, work)
    typer.echo(f"{email} is deleted. The server removes the documents and conversations, or does when it starts next.")


def _change(email: str, data_dir: Path | None, **values: bool) -> None:
    async def work(users: Users) -> None:
        await users.change((await users.by_email(email)).user_id, values, COMMAND_LINE)

    _with_users(data_dir, work)


def _read_password() -> str:
    password = sys.stdin.readline(MAX_PASSWORD_BYTES + 2).rstrip("\r\n")
    if not password:
        raise InvalidInput("There is no password on stdin.")
    return password


def _tell_password(done: str, made_up: str | None) -> None:
    typer.echo(done)
    if made_up is not None:
        typer.echo(f"The password, shown this once: {made_up}")


def _with_users(data_dir: Path | None, work: Callable[[Users], Awaitable[T]]) -> T:
    """Do something with the accounts of a data directory, whose tables a server of this version has made."""
    settings = read_settings(data_dir=data_dir)

    async def run() -> T:
        database = Database(settings.data_dir / "lorestream.db")
        try:
            if not await asyncio.to_thread(database.is_current):
                raise StartRefused(
                    f"{settings.data_dir.resolve()} holds no database of this version of Lorestream. Set "
                    "LORESTREAM_DATA_DIR to the server's directory, or start this version's server on it once."
                )
            with closing(Passwords()) as passwords:
                return await work(Users(database, passwords, Audit(database), settings.password_min_length))
        finally:
            await database.close()

    return asyncio.run(run())
