"""Which passwords an account may have, in the spirit of NIST SP 800-63B-4, section 3.1.1.2.

A least length, and nothing that an attacker tries first; no rules about kinds of characters. See
docs/decisions/0006-passwords.md for the list of common passwords.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import pairwise
from pathlib import Path

from lorestream.accounts.emails import invalid_field
from lorestream.accounts.passwords import MAX_PASSWORD_BYTES, as_bytes

ADVISED_LENGTH = 15  # what NIST asks of passwords that stand alone
COMMON_PASSWORDS = Path(__file__).with_name("common_passwords.txt")
PRODUCT = "lorestream"


@cache
def common_passwords() -> frozenset[str]:
    """The 3 000 commonest passwords of at least eight characters, in lower case (reads a file the first time)."""
    return frozenset(COMMON_PASSWORDS.read_text("utf-8").split())


def check_new_password(password: str, email: str, least: int, field: str = "password") -> None:
    """Refuse a password that is too short or easily guessed; ``email`` is the user's, ``least`` in characters.

    Raises InvalidInput, naming ``field``.
    """
    if len(unicodedata.normalize("NFC", password)) < least:
        raise invalid_field(field, f"needs at least {least} characters")
    if len(as_bytes(password)) > MAX_PASSWORD_BYTES:
        raise invalid_field(field, f"may have at most {MAX_PASSWORD_BYTES} bytes")
    if reason := _why_guessable(unicodedata.normalize("NFC", password).casefold(), email.casefold()):
        raise invalid_field(field, reason)


def _why_guessable(folded: str, email: str) -> str | None:
    if folded in common_passwords():
        return "is one of the most common ones, which are tried first; choose another"
    if folded in (email, email.partition("@")[0]):
        return "must not be your email"
    if folded == PRODUCT:
        return "must not be the name of this program"
    if len({ord(after) - ord(before) for before, after in pairwise(folded)}) == 1:
        return "is one character repeated, or a row such as 12345678; choose another"
    return None
