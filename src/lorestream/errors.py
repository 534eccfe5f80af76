"""The tree of our failures, and the one shape in which a user meets them.

LorestreamError
├── Refused                 the caller's doing; a real HTTP status before any byte of a stream
│   ├── BadRequest  RequestTimeout  TargetTooLong  HeadTooLarge
│   ├── InvalidInput  NotFound  Unauthenticated  Forbidden  QuotaExceeded  Conflict  Gone
│   └── PayloadTooLarge  UnsupportedType  RateLimited  ShuttingDown  StorageFull  Busy  UploadStalled
├── RunFailed               ends a run; an ``error`` event in a stream, a problem document elsewhere
│   ├── NoDocuments  RetrievalFailed  Rebuilding  ContextTooLong  LimitReached
│   ├── ModelUnavailable  ModelNotFound  ModelAuthFailed  ModelRateLimited
│   ├── ModelError  ModelProtocolError  UpstreamTruncated
│   ├── FirstTokenTimeout  IdleTimeout  TotalTimeout
│   └── Overloaded  Interrupted  Shutdown  Internal
└── StartRefused            the process does not start

Every leaf has a stable ``code`` for machines and a message for a person; the message never holds an
exception's text. The codes, statuses and the status a message keeps are those of docs/design.md, section 4.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

MessageStatus = Literal["failed", "interrupted"]


class LorestreamError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after: int | None = None,
        fields: dict[str, Any] | None = None,
    ) -> None:
        """Keep what a person reads (default: the docstring), seconds to wait, and extra problem members."""
        self.message = message or (type(self).__doc__ or self.title).strip()
        self.retry_after = retry_after
        self.fields = fields or {}
        super().__init__(self.message)


class Refused(LorestreamError):
    """The request cannot be taken."""


class BadRequest(Refused):
    """This is not a request that this server can read."""

    code, title, status = "bad_request", "Bad Request", 400


class RequestTimeout(Refused):
    """The request arrived too slowly."""

    code, title, status, retryable = "request_timeout", "Request timeout", 408, True


class TargetTooLong(Refused):
    """The address of the request is longer than this server takes."""

    code, title, status = "target_too_long", "Address too long", 414


class HeadTooLarge(Refused):
    """The head of the request has more, or larger, fields than this server takes."""

    code, title, status = "head_too_large", "Head too large", 431


class InvalidInput(Refused):
    """The request is not valid."""

    code, title, status = "invalid_input", "Invalid input", 422


class NotFound(Refused):
    """There is nothing here under that name, or it is not yours."""

    code, title, status = "not_found", "Not found", 404


class Unauthenticated(Refused):
    """Please log in: the access token is missing, invalid or expired."""

    code, title, status = "unauthenticated", "Not authenticated", 401


class Forbidden(Refused):
    """You may not do that."""

    code, title, status = "forbidden", "Forbidden", 403


class QuotaExceeded(Refused):
    """You have no room left; delete something first."""

    code, title, status = "quota_exceeded", "Quota exceeded", 403


class Conflict(Refused):
    """That does not fit with what is already there."""

    code, title, status = "conflict", "Conflict", 409


class Gone(Refused):
    """This is no longer kept."""

    code, title, status = "gone", "Gone", 410


class PayloadTooLarge(Refused):
    """The request is larger than this server takes."""

    code, title, status = "too_large", "Too large", 413


class UnsupportedType(Refused):
    """This type of file cannot be read."""

    code, title, status = "unsupported_type", "Unsupported type", 415


class RateLimited(Refused):
    """Too many requests; please wait a moment."""

    code, title, status, retryable = "rate_limited", "Too many requests", 429, True


class ShuttingDown(Refused):
    """The server is shutting down; please try again in a moment."""

    code, title, status, retryable = "shutdown", "Shutting down", 503, True


class UploadStalled(Refused):
    """The upload stopped arriving; please try again."""

    code, title, status, retryable = "upload_stalled", "Upload stalled", 408, True


class StorageFull(Refused):
    """The server's disk is full; nothing was stored."""

    code, title, status = "storage_full", "Insufficient storage", 507


class Busy(Refused):
    """The server is busy; please try again in a moment."""

    code, title, status, retryable = "busy", "Busy", 503, True


class RunFailed(LorestreamError):
    """The answer could not be completed."""

    message_status: ClassVar[MessageStatus] = "failed"


class NoDocuments(RunFailed):
    """No documents found."""

    code, title, status = "no_documents", "No documents", 404


class RetrievalFailed(RunFailed):
    """Searching your documents failed; please try again."""

    code, title, status, retryable = "retrieval_failed", "Retrieval failed", 500, True


class Rebuilding(RunFailed):
    """Part of the search index was damaged and is being rebuilt from your documents; please try again in a moment."""

    code, title, status, retryable = "rebuilding", "Rebuilding the index", 503, True


class ModelUnavailable(RunFailed):
    """The language model cannot be reached; is its server running?"""

    code, title, status, retryable = "model_unavailable", "Model unavailable", 502, True


class ModelNotFound(RunFailed):
    """The language model's server does not have this model."""

    code, title, status = "model_not_found", "Model not found", 502


class ModelAuthFailed(RunFailed):
    """The language model's server refused our credentials."""

    code, title, status = "model_auth", "Model authentication failed", 502


class ModelRateLimited(RunFailed):
    """The language model's server is limiting requests; please wait a moment."""

    code, title, status, retryable = "model_rate_limited", "Model rate limited", 503, True


class ModelError(RunFailed):
    """The language model's server reported an error."""

    code, title, status, retryable = "model_error", "Model error", 502, True


class ModelProtocolError(RunFailed):
    """The language model's server sent something that cannot be understood."""

    code, title, status = "model_protocol", "Model protocol error", 502


class UpstreamTruncated(RunFailed):
    """The language model's connection broke in mid-answer; what came is kept."""

    code, title, status, retryable = "upstream_truncated", "Answer cut off", 502, True
    message_status = "interrupted"


class FirstTokenTimeout(RunFailed):
    """The language model did not begin to answer in time."""

    code, title, status, retryable = "first_token_timeout", "No first token", 504, True


class IdleTimeout(RunFailed):
    """The language model fell silent in mid-answer; what came is kept."""

    code, title, status, retryable = "idle_timeout", "Model fell silent", 504, True
    message_status = "interrupted"


class TotalTimeout(RunFailed):
    """The answer took longer than the server allows; what came is kept."""

    code, title, status, retryable = "total_timeout", "Answer took too long", 504, True
    message_status = "interrupted"


class ContextTooLong(RunFailed):
    """The question and its passages do not fit into the language model's context."""

    code, title, status = "context_too_long", "Context too long", 422


class LimitReached(RunFailed):
    """The answer grew beyond the server's limit and was cut; what came is kept."""

    code, title, status = "limit", "Limit reached", 422
    message_status = "interrupted"


class Overloaded(RunFailed):
    """Too many answers are being written right now; please wait a moment."""

    code, title, status, retryable = "overloaded", "Overloaded", 503, True


class Interrupted(RunFailed):
    """The server stopped while this answer was being written; what came is kept."""

    code, title, status, retryable = "interrupted", "Interrupted", 500, True
    message_status = "interrupted"


class Shutdown(RunFailed):
    """The server was shut down while this answer was being written; what came is kept."""

    code, title, status, retryable = "shutdown", "Shut down", 503, True
    message_status = "interrupted"


class Internal(RunFailed):
    """Something went wrong on the server."""

    code, title, status, retryable = "internal", "Internal error", 500, True


class StartRefused(LorestreamError):
    """Lorestream cannot start with these settings."""

    code, title = "start_refused", "Cannot start"


# What to_problem writes of itself; everything else are its ``fields``.
PROBLEM_MEMBERS = frozenset(
    ("type", "title", "status", "detail", "code", "message", "retryable", "retry_after", "instance")
)


def to_problem(error: LorestreamError, instance: str | None = None) -> dict[str, Any]:
    """The RFC 9457 problem document of a failure: the same code, message and retryable as its event.

    ``instance`` is the request id, so that a user can name it to whoever runs the server.
    """
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable,
        **error.fields,
    }
    if error.retry_after is not None:
        problem["retry_after"] = error.retry_after
    if instance:
        problem["instance"] = instance
    return problem


def of_problem(problem: dict[str, Any], status: int) -> LorestreamError:
    """The failure that a problem document tells of, for clients: the inverse of ``to_problem``.

    A code that is not of this tree, or a document that is none, is a Refused with what there is.
    """
    code, message, retry_after = problem.get("code"), problem.get("message"), problem.get("retry_after")
    fields = {name: value for name, value in problem.items() if name not in PROBLEM_MEMBERS}
    kinds = (leaf for leaf in (*_leaves(Refused), *_leaves(RunFailed)) if "code" in vars(leaf))
    kind = next((leaf for leaf in kinds if leaf.code == code), Refused)
    text = message if isinstance(message, str) else f"The server answered with the status {status}."
    made = kind(text, retry_after=retry_after if isinstance(retry_after, int) else None, fields=fields)
    if kind is Refused:
        known = {"status": status, "retryable": problem.get("retryable") is True, "title": "Refused"}
        vars(made).update(known, code=code if isinstance(code, str) else f"http_{status}")
    return made


def _leaves(root: type[LorestreamError]) -> list[type[LorestreamError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _leaves(child))]


def failure(code: str, message: str, retry_after: int | None, fields: dict[str, Any]) -> RunFailed:
    """The failure that an ``error`` event told of, so that a door without a stream can answer with its status."""
    kind = next((leaf for leaf in _leaves(RunFailed) if leaf.code == code), Internal)
    made = kind(message, retry_after=retry_after, fields=fields)
    assert isinstance(made, RunFailed)
    return made
