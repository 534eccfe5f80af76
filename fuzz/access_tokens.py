"""Access tokens: whatever was not issued, with all that it says, is Unauthenticated."""

from __future__ import annotations

from lorestream.accounts.tokens import Tokens
from lorestream.errors import Unauthenticated

NOW = 1_800_000_000
TOKENS = Tokens(bytes(range(32)), 600, lambda: NOW, [bytes(range(1, 33))])
GENUINE = TOKENS.issue_access("u" * 32, "s" * 32)
OLDER = Tokens(bytes(range(1, 33)), 600, lambda: NOW).issue_access("u" * 32, "s" * 32)
SEEDS = [GENUINE.encode(), OLDER.encode(), GENUINE[:-1].encode(), b"eyJhbGciOiJub25lIn0.e30.", b"..", b"a.b.c"]


def one(data: bytes) -> None:
    """Check a token."""
    token = data.decode("utf-8", "surrogateescape")
    try:
        claims = TOKENS.check_access(token)
    except Unauthenticated:
        assert token not in {GENUINE, OLDER}
    else:
        assert claims == ("u" * 32, "s" * 32), "nobody else was ever issued one"
