"""Email addresses: the one form in which they are stored and compared, and which ones an account may have."""

from __future__ import annotations

import re
import unicodedata

from lorestream.errors import InvalidInput

MAX_EMAIL_LENGTH = 254  # RFC 5321, as corrected by erratum 1690
EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@.]{1,63}(\.[^\s@.]{1,63}){0,20}")
LOCAL_EMAIL = "local@localhost"


def normalise_email(email: str) -> str:
    """The form in which emails are compared: NFC, lower case, no white space around it."""
    return unicodedata.normalize("NFC", email.strip().lower())


def valid_email(email: str) -> str:
    """The normalised address. Raises InvalidInput for what is none, and for the command line's own."""
    normalised = normalise_email(email)
    if len(normalised) > MAX_EMAIL_LENGTH or not (normalised.isprintable() and EMAIL.fullmatch(normalised)):
        raise invalid_field("email", "is not an email address such as name@example.com")
    if normalised == LOCAL_EMAIL:
        raise invalid_field("email", "is reserved for the command line")
    return normalised


def invalid_field(field: str, reason: str) -> InvalidInput:
    """The refusal of one field of a body, in the shape of every other refused field."""
    return InvalidInput(f"The {field} {reason}.", fields={"errors": [{"field": f"body.{field}", "reason": reason}]})
