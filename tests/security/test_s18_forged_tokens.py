"""S18: every forged access token is refused, whatever it claims about itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest

from lorestream.accounts.tokens import Tokens
from lorestream.errors import Unauthenticated

SECRET = bytes(range(32))
NOW = int(time.time())
TOKENS = Tokens(SECRET, 600, lambda: NOW)
GENUINE = TOKENS.issue_access("u" * 32, "s" * 32)
HEADER = jwt.get_unverified_header(GENUINE)
CLAIMS = jwt.decode(GENUINE, options={"verify_signature": False})
KEY = TOKENS._keys[HEADER["kid"]]


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(
    header: dict[str, Any] | None = None, claims: dict[str, Any] | None = None, key: bytes = KEY, digest: str = "sha256"
) -> str:
    """A token signed with the genuine key, in which these header fields and claims are changed (None removes)."""
    head = {name: value for name, value in {**HEADER, **(header or {})}.items() if value is not None}
    body = {name: value for name, value in {**CLAIMS, **(claims or {})}.items() if value is not None}
    signed = f"{part(head)}.{part(body)}"
    signature = hmac.digest(key, signed.encode(), digest)
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


FORGED = {
    **{f"alg {alg}": forged({"alg": alg}) for alg in ("none", "None", "nOnE", "HS384", "HS512", "RS256", "ES256", "")},
    "none without signature": forged({"alg": "none"}).rsplit(".", 1)[0] + ".",
    "hs384 rightly signed": forged({"alg": "HS384"}, digest="sha384"),
    "no alg": forged({"alg": None}),
    "no kid": forged({"kid": None}),
    "no kid, empty key": forged({"kid": None}, key=b""),
    "unknown kid": forged({"kid": "0" * 16}),
    "unknown kid, empty key": forged({"kid": "0" * 16}, key=b""),
    "kid traversal": forged({"kid": "../../../../dev/null"}, key=b""),
    "kid list": forged({"kid": [HEADER["kid"]]}),
    "kid number": forged({"kid": 1}),
    "crit": forged({"crit": ["exp"]}),
    "other key": forged(key=b"x" * 32),
    "the secret itself": forged(key=SECRET),
    "kid as key": forged(key=HEADER["kid"].encode()),
    "hash as key": forged(key=hashlib.sha256(SECRET).digest()),
    **{f"no {name}": forged(claims={name: None}) for name in CLAIMS},
    **{f"{name} of another type": forged(claims={name: [1]}) for name in CLAIMS},
    "refresh as access": forged(claims={"typ": "refresh"}),
    "typ in capitals": forged(claims={"typ": "ACCESS"}),
    "other audience": forged(claims={"aud": "another-api"}),
    "several audiences": forged(claims={"aud": ["lorestream-api", "another-api"]}),
    "other issuer": forged(claims={"iss": "somebody"}),
    "expired": forged(claims={"exp": NOW - 1}),
    "exp as text": forged(claims={"exp": str(NOW + 600)}),
    "from the future": forged(claims={"iat": NOW + 120, "exp": NOW + 720}),
    "not yet": forged(claims={"nbf": NOW + 1_000_000}),
    "empty": "",
    "dots": "..",
    "two parts": GENUINE.rsplit(".", 1)[0],
    "four parts": GENUINE + ".x",
    "cut": GENUINE[:-4],
    "padded": GENUINE + "=",
    "spaces": f" {GENUINE}",
    "not ascii": GENUINE[:-1] + "é",
    "half a pair": GENUINE[:-1] + chr(0xD800),
    "nested deeply": base64.urlsafe_b64encode(b"[" * 540).decode() + ".e30.e30",
    "very long": "a" * 1_000_000 + ".e30.e30",
    "other claims, old signature": ".".join(
        [GENUINE.split(".")[0], part({**CLAIMS, "sub": "v" * 32}), GENUINE.split(".")[2]]
    ),
}


def test_the_forger_would_succeed_if_nothing_were_wrong() -> None:
    assert TOKENS.check_access(GENUINE) == ("u" * 32, "s" * 32)
    assert TOKENS.check_access(forged()) == ("u" * 32, "s" * 32)
    assert len(GENUINE) < 700


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_refused(name: str) -> None:
    with pytest.raises(Unauthenticated):
        TOKENS.check_access(FORGED[name])


def test_a_token_of_another_server_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        TOKENS.check_access(Tokens(bytes(reversed(SECRET)), 600).issue_access("u" * 32, "s" * 32))
