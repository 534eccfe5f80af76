"""What the refusals of language-model servers mean, by their status and the start of their text."""

from __future__ import annotations

import email.utils
import math
import time

from lorestream.errors import (
    ContextTooLong,
    ModelAuthFailed,
    ModelError,
    ModelNotFound,
    ModelProtocolError,
    ModelRateLimited,
    ModelUnavailable,
    RunFailed,
)

MAX_RETRY_AFTER = 3600
OVERLOADED = 529  # Anthropic's own
BUSY = "The language model's server is overloaded; please ask again in a moment."

_TOO_LONG = (b"exceed_context_size", b"context_length_exceeded", b"context length", b"context size", b"context window",
             b"prompt is too long", b"exceed context limit")  # fmt: skip
_UNKNOWN = (b"does not exist", b"not found", b"not_found", b"unknown model", b"invalid model")


def failure_of(status: int, body: bytes, retry_after: str | None = None, key_setting: str = "its key") -> RunFailed:
    """The failure that an HTTP status and the start of its body stand for; its text is ours, never the server's.

    ``key_setting`` is what to check where the server refused the credentials.
    """
    kind = reported_failure(body)
    if status in {401, 403}:
        return ModelAuthFailed(f"The language model's server refused our credentials; check {key_setting}.")
    if status == 429:
        return ModelRateLimited(retry_after=seconds_to_wait(retry_after))
    if isinstance(kind, ContextTooLong) and status in {400, 413, 422, 500}:
        return kind
    if status == 404 or (status == 400 and isinstance(kind, ModelNotFound)):
        return ModelNotFound()
    if status == OVERLOADED:
        return ModelUnavailable(BUSY, retry_after=seconds_to_wait(retry_after))
    if status >= 500:
        return ModelUnavailable(
            f"The language model's server is not able to answer (HTTP {status}).",
            retry_after=seconds_to_wait(retry_after) if status == 503 else None,
        )
    if status >= 400:
        return ModelError(f"The language model's server did not accept the request (HTTP {status}).")
    return ModelProtocolError(
        f"The language model's server answered HTTP {status}, which is never followed; "
        "set its final address in the settings."
    )


def reported_failure(body: bytes) -> RunFailed:
    """The failure that an error text of a server stands for, whatever its status was."""
    text = body.lower()
    if any(mark in text for mark in _TOO_LONG):
        return ContextTooLong()
    if b"model" in text and any(mark in text for mark in _UNKNOWN):
        return ModelNotFound()
    return ModelError()


def seconds_to_wait(retry_after: str | None) -> int | None:
    """``Retry-After`` (RFC 9110, seconds or a date) in whole seconds from 0 to 3600; None if absent or unreadable."""
    value = (retry_after or "").strip()
    if value.isascii() and value.isdigit():
        return min(int(value[:9]), MAX_RETRY_AFTER)
    try:
        moment = email.utils.parsedate_to_datetime(value)
        return min(max(0, math.ceil(moment.timestamp() - time.time())), MAX_RETRY_AFTER)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
