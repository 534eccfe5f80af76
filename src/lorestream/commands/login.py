"""``lorestream login`` and ``logout``: the server that ``ask``, ``chat``, ``search`` and ``documents`` go to."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from lorestream.client import AsyncClient, Unreachable
from lorestream.client.calls import documents
from lorestream.client.connection import address
from lorestream.commands.account import AsJson
from lorestream.commands.logins import Kept, StoredLogin
from lorestream.commands.terminal import print_json
from lorestream.console import err
from lorestream.errors import StartRefused
from lorestream.settings import config_dir


def login(
    url: Annotated[str, typer.Argument(help="The server's address, such as http://127.0.0.1:8000.")],
    email: Annotated[str | None, typer.Option(help="Log in with the password of this account.")] = None,
    api_key: Annotated[bool, typer.Option("--api-key", help="Log in with an API key, which is asked for.")] = False,
    as_json: AsJson = False,
) -> None:
    """Log in to a server: by password, or by an API key. A secret is typed unseen, or read from a pipe."""
    kept = StoredLogin(config_dir(), Kept(address(url)))
    if not api_key and email is None:
        email = _typed("Email", hidden=False)
    secret = _typed("API key" if api_key else "Password", hidden=True)
    asyncio.run(_log_in(kept, None if api_key else email, secret))
    if as_json:
        print_json({"url": kept.url, "email": None if api_key else email})
    else:
        err.print(f"Logged in to {kept.url}.")


def logout(as_json: AsJson = False) -> None:
    """Log out: the login ends at the server, and is forgotten here."""
    kept = StoredLogin.read(config_dir())
    asyncio.run(_log_out(kept))
    if as_json:
        print_json({"url": kept.url})
    else:
        err.print(f"Logged out of {kept.url}.")


async def _log_in(kept: StoredLogin, email: str | None, secret: str) -> None:
    async with AsyncClient(kept.url, login=kept) as client:
        if email is not None:
            await client.log_in(email, secret)
            return
        kept.token = secret
        await client.call(documents(None, None, ""))  # what every key can do that is of use here
        kept.save()


async def _log_out(kept: StoredLogin) -> None:
    try:
        async with AsyncClient(kept.url, login=kept) as client:
            await client.log_out()
    except Unreachable:
        err.print("The server cannot be reached: this login goes on there until it is ended in its settings.")
    kept.delete()


def _typed(what: str, *, hidden: bool) -> str:
    """What is typed, or the next line of a pipe. Raises StartRefused for nothing."""
    if sys.stdin.isatty():
        text = str(typer.prompt(what, hide_input=hidden, err=True))
    else:
        text = sys.stdin.readline().rstrip("\n")
    if not text.strip():
        raise StartRefused(f"{what}: nothing was given.")
    return text
