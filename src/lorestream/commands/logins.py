"""The server that the command line is logged in to: one file of the user's, which nobody else can read."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec

from lorestream.client.login import Login
from lorestream.client.models import AccessToken
from lorestream.errors import StartRefused

FILE = "login.json"
NOT_LOGGED_IN = "You are not logged in to a server: lorestream login URL. Or name a folder of this machine: --data-dir."


class Kept(msgspec.Struct):
    """What the file holds: an API key, or a login's tokens; ``until`` (Unix time) is when its access token ends."""

    url: str
    token: str = ""
    refresh_token: str = ""
    until: float = 0.0


class StoredLogin(Login):
    """A login that is kept in a file, and renewed by one process at a time: a refresh token is good for one renewal."""

    def __init__(self, folder: Path, kept: Kept) -> None:
        """Take what was read, or is to be written by ``save``."""
        super().__init__(kept.url, kept.token, kept.refresh_token)
        self._file = folder / FILE
        self._ends = kept.until
        self._expire()

    @classmethod
    def read(cls, folder: Path) -> StoredLogin:
        """The login kept in this folder. Raises StartRefused where there is none."""
        try:
            return cls(folder, msgspec.json.decode((folder / FILE).read_bytes(), type=Kept))
        except FileNotFoundError:
            raise StartRefused(NOT_LOGGED_IN) from None
        except (OSError, msgspec.DecodeError) as error:
            raise StartRefused(f"{folder / FILE} cannot be read; log in again: lorestream login URL") from error

    def take(self, issued: AccessToken, response: httpx.Response) -> None:
        """Keep what a renewal gave."""
        super().take(issued, response)
        self._ends = time.time() + issued.expires_in
        self.save()

    def save(self) -> None:
        """Write the file (0600) whole or not at all. Raises StartRefused where that is not possible."""
        kept = Kept(self.url, self.token, self.refresh_token, self._ends)
        part = self._file.with_name(f"{FILE}.{secrets.token_hex(8)}")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(msgspec.json.encode(kept))
            part.replace(self._file)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StartRefused(f"{self._file} cannot be written ({os.strerror(error.errno or 0)}).") from error

    def delete(self) -> None:
        """Forget the login."""
        self.forget()
        self._file.unlink(missing_ok=True)

    @contextmanager
    def renewing(self) -> Iterator[None]:
        """Alone among all commands, with what the last of them left."""
        with self._file.with_name(".login.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = StoredLogin.read(self._file.parent)
            if kept.url != self.url:  # whose tokens are none of this server's business
                raise StartRefused(f"You have logged in to {kept.url} meanwhile; begin this command again.")
            self.token, self.refresh_token, self._ends = kept.token, kept.refresh_token, kept._ends  # noqa: SLF001
            self._expire()
            yield

    def _expire(self) -> None:
        if self.refresh_token:
            self.expires_in(self._ends - time.time())
