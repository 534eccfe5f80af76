"""The API's own description: what every operation may answer instead of what it is for."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "A refusal or a failure (RFC 9457): ``code`` for machines, ``message`` for a person.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "message", "retryable"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "code": {"type": "string", "pattern": "^[a-z_]+$"},
        "message": {"type": "string"},
        "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
        "retry_after": {"type": "integer", "minimum": 0, "description": "Seconds to wait; also in Retry-After."},
        "instance": {"type": "string", "description": "The request's id, also in X-Request-Id."},
        "errors": {
            "description": "What is wrong with the request.",
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "reason"],
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
    },
}
# FastAPI's own, which nothing of ours answers with.
UNUSED = ("HTTPValidationError", "ValidationError")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses`` of a route: what it may refuse with, besides what ``describe_problems`` knows by itself."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def describe_problems(app: FastAPI) -> None:
    """Let the description name the refusals that follow from an operation's shape.

    Those of the connection itself (408, 414, 431) are HTTP's and not named.
    """
    build = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = build()
            for path in described["paths"].values():
                for operation in path.values():
                    _describe(operation)
            schemas = described.setdefault("components", {}).setdefault("schemas", {})
            for name in UNUSED:
                schemas.pop(name, None)
            schemas["Problem"] = PROBLEM
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


def _describe(operation: dict[str, Any]) -> None:
    parameters = operation.get("parameters", [])
    statuses = {400, 503}
    if "security" in operation:
        statuses |= {401, 403, 429}
    if any(parameter["in"] == "path" for parameter in parameters):
        statuses.add(404)
    if "requestBody" in operation:
        statuses.add(413)
    responses = operation["responses"]
    responses.pop("422", None)
    # A door that tells of a bad request itself does so as its clients expect it.
    if (parameters or "requestBody" in operation) and "400" not in responses:
        statuses.add(422)
    for status, response in problems(*statuses).items():
        responses.setdefault(str(status), response)
    operation["responses"] = dict(sorted(responses.items()))
