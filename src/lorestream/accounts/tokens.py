"""Tokens: the secret key in the data directory, signed access tokens, and chains of refresh tokens."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import jwt
import msgspec
from jwt.types import Options

from lorestream.errors import StartRefused, Unauthenticated

KEY_BYTES = 32
MAX_KEY_FILE_BYTES = 4096
# Of 32 random bytes about 30 differ; a placeholder ("changeme…", zeros) has few.
MIN_DISTINCT_BYTES = 16
ISSUER = "lorestream"
AUDIENCE = "lorestream-api"
# How far this server's clock may have been set back since a token was issued.
CLOCK_LEEWAY_SECONDS = 60
# Ours have about 450 characters; nothing longer, and nothing in another alphabet, is parsed at all.
MAX_TOKEN_LENGTH = 768
TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


def load_or_create_key(path: Path) -> bytes:
    """The server's secret, made on the first start (blocking: call it in a thread).

    Two processes that start together get the same key: it is written to a file of its own and then linked, so that
    a name that exists has its whole content. Raises StartRefused when others may read it, or it is short or not
    random.
    """
    try:
        if not path.exists():
            _create(path)
        others_may_read = os.name == "posix" and path.stat().st_mode & 0o077
        with path.open("rb") as file:
            key = file.read(MAX_KEY_FILE_BYTES)
    except OSError as error:
        raise StartRefused(f"The secret key {path} cannot be read or made: {error.strerror}.") from error
    if others_may_read:
        raise StartRefused(f"The secret key {path} can be read by others; run: chmod 600 {path}")
    if len(key) < KEY_BYTES or len(set(key)) < MIN_DISTINCT_BYTES:
        raise StartRefused(
            f"The secret key {path} is not {KEY_BYTES} random bytes. Restore it from a backup, or delete it "
            "to get a new one (everybody must then log in again)."
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


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    aud: str
    sub: str
    sid: str
    jti: str
    iat: int
    exp: int
    typ: Literal["access"]


class AccessClaims(NamedTuple):
    """Who an access token speaks for."""

    user_id: str
    session_id: str


class Tokens:
    """Issues and checks tokens under one secret. ``clock`` gives Unix time in seconds."""

    def __init__(self, secret: bytes, access_seconds: int, clock: Callable[[], float] = time.time) -> None:
        """Derive one key for each purpose, so that no token of one kind can pass for another."""
        signing = hmac.digest(secret, b"lorestream access token v1", "sha256")
        self._kid = hashlib.sha256(signing).hexdigest()[:16]
        self._keys = {self._kid: signing}
        self._chain_key = hmac.digest(secret, b"lorestream refresh token v1", "sha256")
        self.access_seconds = access_seconds
        self._clock = clock

    def issue_access(self, user_id: str, session_id: str) -> str:
        """A signed token (JWT, HS256) that lives ``access_seconds``."""
        issued = int(self._clock())
        claims = _Claims(
            iss=ISSUER,
            aud=AUDIENCE,
            sub=user_id,
            sid=session_id,
            jti=secrets.token_hex(16),
            iat=issued,
            exp=issued + self.access_seconds,
            typ="access",
        )
        payload = msgspec.structs.asdict(claims)
        return jwt.encode(payload, self._keys[self._kid], algorithm="HS256", headers={"kid": self._kid})

    def check_access(self, token: str) -> AccessClaims:
        """Who the token speaks for. Raises Unauthenticated for anything but a live access token of ours."""
        if len(token) > MAX_TOKEN_LENGTH or not TOKEN.fullmatch(token):
            raise Unauthenticated
        try:
            key = self._keys[jwt.get_unverified_header(token)["kid"]]
            # The times are checked below: strictly at the end, with leeway at the beginning.
            options: Options = {"require": list(_Claims.__struct_fields__), "verify_exp": False, "verify_iat": False}
            decoded = jwt.decode(token, key, algorithms=["HS256"], issuer=ISSUER, audience=AUDIENCE, options=options)
            claims = msgspec.convert(decoded, _Claims)
        except (jwt.PyJWTError, msgspec.ValidationError, KeyError) as error:
            raise Unauthenticated from error
        now = self._clock()
        if now >= claims.exp or claims.iat > now + CLOCK_LEEWAY_SECONDS:
            raise Unauthenticated
        return AccessClaims(claims.sub, claims.sid)

    def new_refresh(self) -> str:
        """The first refresh token of a login: 256 random bits."""
        return secrets.token_urlsafe(32)

    def successor(self, refresh_token: str) -> str:
        """The refresh token that replaces this one.

        It follows from the token and the secret, so that two tabs that bring the same token at once get the same
        answer although the server keeps only hashes.
        """
        return hmac.digest(self._chain_key, refresh_token.encode("utf-8", "surrogatepass"), "sha256").hex()


def refresh_hash(refresh_token: str) -> bytes:
    """What the database knows of a refresh token (SHA-256 suffices: there are 256 bits to guess)."""
    return hashlib.sha256(refresh_token.encode("utf-8", "surrogatepass")).digest()
