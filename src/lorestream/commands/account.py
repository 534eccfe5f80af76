"""Whose documents a command is about: an account of the server that one is logged in to, or of a data directory."""

from __future__ import annotations

import importlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from lorestream.client import AsyncAnswer, AsyncClient
from lorestream.commands.logins import StoredLogin
from lorestream.console import configure_logging, read_settings
from lorestream.settings import config_dir

if TYPE_CHECKING:
    from lorestream.commands.local_account import LocalAccount, LocalAnswer

Account: TypeAlias = "AsyncClient | LocalAccount"
Answer: TypeAlias = "AsyncAnswer | LocalAnswer"

DataDir = Annotated[
    Path | None, typer.Option(help="A data directory of this machine, in place of the server you are logged in to.")
]
User = Annotated[str | None, typer.Option(help="With --data-dir, whose: an email; needed where there are several.")]
InCollection = Annotated[str | None, typer.Option(help="Only in the collection of this name.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs, in place of text for people.")]
Model = Annotated[str | None, typer.Option(help="Language model, such as ollama:llama3.2.")]
Passages = Annotated[int, typer.Option("-k", "--k", help="How many passages to use.", min=1, max=10)]


@dataclass(frozen=True, slots=True)
class Whose:
    """What the options of a command say: a data directory with its user, or neither."""

    data_dir: Path | None
    user: str | None = None
    model: str | None = None

    @property
    def asked_model(self) -> str | None:
        """The model that a question names: of a server; one's own library is set to it."""
        return None if self.data_dir else self.model

    @asynccontextmanager
    async def opened(self, *, documents: bool = False) -> AsyncIterator[Account]:
        """The account. For ``documents`` a server may run on the data directory; they are indexed meanwhile.

        Raises StartRefused, NotFound and InvalidInput where it cannot be had.
        """
        if self.data_dir is None:
            login = StoredLogin.read(config_dir())
            async with AsyncClient(login.url, login=login) as client:
                yield client
            return
        # Only here: a library takes seconds to load, and a server is asked without one.
        configure_logging(logging.ERROR)
        local = importlib.import_module("lorestream.commands.local_account")
        library = local.Library(read_settings(data_dir=self.data_dir, model=self.model))
        if documents:
            async with library.beside():
                yield local.LocalAccount(library, (await library.users.meant(self.user)).user_id)
            return
        await library.open()
        try:
            yield local.LocalAccount(library, (await library.users.meant(self.user)).user_id)
        finally:
            await library.close()


async def collection_id(account: Account, name: str | None) -> str | None:
    """The id of a collection by its name. Raises NotFound."""
    return None if name is None else (await account.collection(name)).collection_id
