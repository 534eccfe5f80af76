"""Tokens: signed access tokens, and families of refresh tokens, under a ring of secrets."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jwt
import msgspec
from jwt.types import Options

from lorestream.errors import Unauthenticated

ISSUER = "lorestream"
AUDIENCE = "lorestream-api"
# How far this server's clock may have been set back since a token was issued.
CLOCK_LEEWAY_SECONDS = 60
# Ours have about 450 characters; nothing longer, and nothing in another alphabet, is parsed at all.
MAX_TOKEN_LENGTH = 768
KID = re.compile(r"[0-9a-f]{16}")
TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


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
    """Issues tokens under one secret, and checks those of older ones, too. ``clock`` gives Unix time in seconds."""

    def __init__(
        self,
        secret: bytes,
        access_seconds: int,
        clock: Callable[[], float] = time.time,
        older: Sequence[bytes] = (),
    ) -> None:
        """Derive one key for each purpose, so that no token of one kind can pass for another."""
        ring = (secret, *older)
        signing = [hmac.digest(one, b"lorestream access token v1", "sha256") for one in ring]
        # In the order of the ring: the name of the newest is the first.
        self._keys = {hashlib.sha256(key).hexdigest()[:16]: key for key in signing}
        self._kid = next(iter(self._keys))
        self._chain_keys = [hmac.digest(one, b"lorestream refresh token v1", "sha256") for one in ring]
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

    def is_of_unknown_key(self, token: str) -> bool:
        """Whether the token names a key that is not on this ring."""
        if len(token) > MAX_TOKEN_LENGTH or not TOKEN.fullmatch(token):
            return False
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except jwt.PyJWTError:
            return False
        return isinstance(kid, str) and bool(KID.fullmatch(kid)) and kid not in self._keys

    def new_refresh(self) -> str:
        """The first refresh token of a login: 256 random bits."""
        return secrets.token_urlsafe(32)

    def successors(self, refresh_token: str) -> list[str]:
        """What may replace this refresh token, under each secret, the newest first.

        It follows from the token and the secret, so that two tabs that bring the same token at once get the same
        answer although the server keeps only hashes; the older ones are for those who come after a rotation.
        """
        given = refresh_token.encode("utf-8", "surrogatepass")
        return [hmac.digest(key, given, "sha256").hex() for key in self._chain_keys]


def token_hash(token: str) -> bytes:
    """What the database knows of a refresh token, a key or an invitation (SHA-256: there are 256 bits to guess)."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
