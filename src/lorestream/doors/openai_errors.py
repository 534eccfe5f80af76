"""How failures are told under ``/v1/``: in OpenAI's shape, by the codes of its own where it has one for the case.

The shape is that of https://platform.openai.com/docs/guides/error-codes: ``{"error": {message, type, param, code}}``.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from lorestream.doors.translate import data_line
from lorestream.errors import InvalidInput, LorestreamError, NotFound, failure
from lorestream.http import refusal_headers
from lorestream.streaming.events import Error

# What the official clients, and what is built on them, look for; every other code is ours.
CODES = {
    "unauthenticated": "invalid_api_key",
    "rate_limited": "rate_limit_exceeded",
    "context_too_long": "context_length_exceeded",
}
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class NoSuchModel(NotFound):
    """There is no such model here."""

    code, title = "model_not_found", "Model not found"


class OpenAIError(BaseModel):
    """What went wrong: ``message`` for a person, ``code`` for machines, ``param`` the field that is to blame."""

    message: str
    type: str
    param: str | None
    code: str


class Refusal(BaseModel):
    """A refusal or a failure."""

    error: OpenAIError


# For ``responses`` of a route: every operation below /v1/ may be refused with one of these.
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal} for status in (400, 401, 403, 404, 413, 429, 500, 502, 503, 504)
}


def unusable(param: str, reason: str) -> InvalidInput:
    """The refusal of a field that holds what this server does not do."""
    return InvalidInput(reason, fields={"errors": [{"field": f"body.{param}", "reason": reason}]})


def refused(error: LorestreamError) -> Response:
    """A failure as the whole answer. What will fail again is marked, because the clients try again by themselves."""
    headers = refusal_headers(error)
    if not error.retryable:
        headers["X-Should-Retry"] = "false"
    body = json.dumps(_told(error))  # escapes lone surrogates, which are not UTF-8
    return Response(body, _status(error), headers, "application/json")


def broken(error: Error) -> bytes:
    """The failure of a run whose answer is being streamed: the frame at which the clients raise."""
    return data_line(_told(failure(error.code, error.message, error.retry_after, {})))


def _told(error: LorestreamError) -> dict[str, Any]:
    status = _status(error)
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    blamed = [one["field"].removeprefix("body.") for one in error.fields.get("errors", ())]
    code = CODES.get(error.code, error.code)
    return {"error": {"message": error.message, "type": kind, "param": blamed[0] if blamed else None, "code": code}}


def _status(error: LorestreamError) -> int:
    """OpenAI's clients know a bad request by 400 alone."""
    return 400 if error.status == 422 else error.status
