"""The key ring: the secrets in the data directory, of which the newest signs and the others are still believed.

``secret.key`` is the first; each later one has the time at which it was made in its name (Unix seconds), so that every
process of the data directory, and a restored backup, agree on which is the newest and when each was replaced.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from lorestream.accounts.tokens import AccessClaims, Tokens
from lorestream.errors import Conflict, NotFound, StartRefused, Unauthenticated

log = logging.getLogger(__name__)

FIRST_KEY = "secret.key"
KEY_NAME = re.compile(r"secret(?:-([0-9]{1,12}))?\.key")
KEY_BYTES = 32
MAX_KEY_FILE_BYTES = 4096
# Of 32 random bytes about 30 differ; a placeholder ("changeme…", zeros) has few.
MIN_DISTINCT_BYTES = 16
# The longest life that the settings allow an access token, and time for every server to notice its key's successor.
KEEP_SECONDS = 3600 + 300
MAX_KEYS = 100
# How long a server may sign with a key that has a successor, and how often a token of an unknown key makes it look.
LOOK_SECONDS = 3.0
UNKNOWN_KEY_LOOK_SECONDS = 1.0


def load_or_create_key(path: Path) -> bytes:
    """One secret, made if it is not there (blocking: call it in a thread).

    Two processes that start together get the same key: it is written to a file of its own and then linked, so that
    a name that exists has its whole content. Raises StartRefused when others may read it, or it is short or not
    random.
    """
    key = _read_key(path)
    if key is None:
        try:
            _create(path)
        except OSError as error:
            raise StartRefused(f"The secret key {path} cannot be made: {error.strerror}.") from error
        key = _read_key(path)
    if key is None:
        raise StartRefused(f"The secret key {path} vanished while it was being made.")
    return key


def load_keys(directory: Path, now: float) -> list[bytes]:
    """The secrets of a data directory, newest first; the first one is made if there is none (blocking).

    Those that were replaced so long ago that no token of theirs can be alive at ``now`` (Unix seconds) are deleted.
    Raises StartRefused as ``load_or_create_key``.
    """
    keys, replaced = [], now
    for made, path in _key_files(directory):
        if replaced + KEEP_SECONDS < now:
            path.unlink(missing_ok=True)
        elif (key := _read_key(path)) is not None:
            keys.append(key)
        replaced = made
    return keys or [load_or_create_key(directory / FIRST_KEY)]


def rotate(directory: Path, now: float, *, drop_older: bool = False) -> Path:
    """Add a key, with which every server of the data directory signs within LOOK_SECONDS (blocking).

    With ``drop_older`` the others are deleted at once, for a key that others may know: their access tokens are worth
    nothing then, and pages get new ones by their refresh cookies. Raises NotFound where there is no key yet, Conflict
    after too many rotations within the life of a token, StartRefused when the directory cannot be written.
    """
    before = _key_files(directory)
    if not before:
        raise NotFound(f"There is no secret key in {directory.resolve()}; Lorestream makes one at its first start.")
    if len(before) >= MAX_KEYS and not drop_older:
        raise Conflict(f"{len(before)} keys are still in use; wait an hour, or drop the older ones.")
    path = directory / f"secret-{max(int(now), before[0][0] + 1)}.key"
    load_or_create_key(path)
    for _, older in before if drop_older else []:
        older.unlink(missing_ok=True)
    return path


def _key_files(directory: Path) -> list[tuple[int, Path]]:
    """When each key was made and its file, newest first."""
    if not directory.is_dir():
        return []
    named = ((KEY_NAME.fullmatch(path.name), path) for path in directory.iterdir())
    return sorted(((int(name[1] or 0), path) for name, path in named if name), reverse=True)


def _read_key(path: Path) -> bytes | None:
    """None when there is no such file, such as one that a sibling has just deleted."""
    try:
        others_may_read = os.name == "posix" and path.stat().st_mode & 0o077
        with path.open("rb") as file:
            key = file.read(MAX_KEY_FILE_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartRefused(f"The secret key {path} cannot be read: {error.strerror}.") from error
    if others_may_read:
        raise StartRefused(f"The secret key {path} can be read by others; run: chmod 600 {path}")
    if len(key) < KEY_BYTES or len(set(key)) < MIN_DISTINCT_BYTES:
        raise StartRefused(
            f"The secret key {path} is not {KEY_BYTES} random bytes. Restore it from a backup, or delete it "
            "to get a new one."
        )
    return key


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(descriptor)
        path.hardlink_to(draft)
    except FileExistsError:
        pass  # a sibling was faster; its key counts
    finally:
        draft.unlink()


class Keyring:
    """The tokens of a data directory, under whatever keys it holds at the moment. ``open`` before the first use.

    ``clock`` gives Unix time in seconds.
    """

    def __init__(self, directory: Path, access_seconds: int, clock: Callable[[], float] = time.time) -> None:
        """No I/O."""
        self._directory = directory
        self._access_seconds = access_seconds
        self._clock = clock
        self._keys: list[bytes] = []
        self._tokens: Tokens | None = None
        self._looking = asyncio.Lock()
        self._looked = 0.0
        self._complaint = ""

    async def open(self) -> None:
        """Read the keys, or make the first one. Raises StartRefused when one of them is not safe."""
        self._take(await asyncio.to_thread(load_keys, self._directory, self._clock()))
        self._looked = time.monotonic()

    async def issue_access(self, user_id: str, session_id: str) -> str:
        """An access token under the newest key."""
        return (await self.tokens()).issue_access(user_id, session_id)

    async def check_access(self, token: str) -> AccessClaims:
        """Who the token speaks for. Raises Unauthenticated, also when its key was removed."""
        tokens = await self.tokens()
        try:
            return tokens.check_access(token)
        except Unauthenticated:
            if not tokens.is_of_unknown_key(token):
                raise
        await self._look(UNKNOWN_KEY_LOOK_SECONDS)
        return self._opened.check_access(token)

    async def tokens(self) -> Tokens:
        """The tokens under the present keys, as read at most LOOK_SECONDS ago."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            await self._look(0)
        return self._opened

    async def newest_tokens(self) -> Tokens:
        """The tokens under the keys as read after this call, which may wait UNKNOWN_KEY_LOOK_SECONDS for it."""
        await self._look(UNKNOWN_KEY_LOOK_SECONDS)
        return self._opened

    @property
    def _opened(self) -> Tokens:
        if self._tokens is None:
            raise RuntimeError("Keyring.open() was not awaited")
        return self._tokens

    def _take(self, keys: list[bytes]) -> None:
        if keys != self._keys:
            self._keys = keys
            self._tokens = Tokens(keys[0], self._access_seconds, self._clock, keys[1:])

    async def _look(self, apart_seconds: float) -> None:
        """Read the keys again, at least so long after the last time; all who ask meanwhile share one reading."""
        asked = time.monotonic()
        async with self._looking:
            if self._looked >= asked:
                return
            await asyncio.sleep(max(0.0, self._looked + apart_seconds - asked))
            self._looked = time.monotonic()
            try:
                self._take(await asyncio.to_thread(load_keys, self._directory, self._clock()))
                self._complaint = ""
            except (StartRefused, OSError) as error:
                # A server that runs goes on with the keys that it has, and says once why it may not start again.
                if str(error) != self._complaint:
                    log.warning("the key ring could not be read again: %s", error)
                self._complaint = str(error)
