"""What goes wrong on a client's side; what the server refuses or reports are the leaves of ``lorestream.errors``."""

from __future__ import annotations

from lorestream.errors import LorestreamError


class ClientFailed(LorestreamError):
    """The server could not be used."""


class Unreachable(ClientFailed):
    """The server cannot be reached, or the connection to it was lost and did not come back in time."""

    code, title, status, retryable = "unreachable", "Server unreachable", 503, True


class TookTooLong(ClientFailed):
    """What was waited for did not happen in time."""

    code, title, status, retryable = "took_too_long", "Took too long", 504, True


class NotUnderstood(ClientFailed):
    """What answers at this address does not speak as a Lorestream server does."""

    code, title, status = "not_understood", "Not understood", 502
