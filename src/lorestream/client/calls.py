"""The requests to a server as values, and what their answers mean: shared by both clients, without any I/O."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from lorestream.client import models
from lorestream.client.failures import NotUnderstood
from lorestream.errors import LorestreamError, of_problem

T = TypeVar("T")

# How long a server may take over an ordinary answer, and over an upload's acceptance.
CALL_SECONDS, UPLOAD_SECONDS = 30.0, 300.0
DOCUMENTS_A_PAGE = 100


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request; ``into`` is what its JSON answer is read as. ``more`` are httpx's own names of a request's parts."""

    method: str
    path: str
    into: type[T]
    more: dict[str, Any] = field(default_factory=dict)
    seconds: float = CALL_SECONDS


def result_of(call: Call[T], status: int, body: bytes) -> T:
    """What a server answered. Raises the failure that it tells of, NotUnderstood where it is no answer of ours."""
    if status >= 400:
        raise refusal(status, body)
    if call.into is type(None):
        return None
    try:
        return msgspec.json.decode(body, type=call.into)
    except msgspec.DecodeError:
        raise NotUnderstood from None


def refusal(status: int, body: bytes) -> LorestreamError:
    """The failure in an answer that is none."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    return of_problem(problem if isinstance(problem, dict) else {}, status)


def conversation() -> Call[models.Made]:
    """Begin a conversation, which gets its title from its first question."""
    return Call("POST", "/conversations/", models.Made, {"json": {}})


def question(
    conversation_id: str,
    text: str,
    client_request_id: str,
    k: int,
    doc_ids: Sequence[str] | None,
    collection_id: str | None,
    model: str | None,
) -> Call[None]:
    """Ask in a conversation; the answer goes on without its connection."""
    given = {"doc_ids": list(doc_ids) if doc_ids else None, "collection_id": collection_id, "model": model}
    body = {"question": text, "k": k, "client_request_id": client_request_id, "on_disconnect": "continue"}
    body |= {name: value for name, value in given.items() if value is not None}
    return Call("POST", f"/conversations/{_part(conversation_id)}/questions", type(None), {"json": body})


def events(run_id: str, after: int) -> Call[None]:
    """Read an answer's events on from where they broke off."""
    headers = {"Last-Event-ID": f"{run_id}:{after}"} if after else {}
    return Call("GET", f"/runs/{_part(run_id)}/events", type(None), {"headers": headers})


def stored(run_id: str) -> Call[models.Stored]:
    """What is kept of an answer."""
    return Call("GET", f"/runs/{_part(run_id)}", models.Stored)


def stop(run_id: str) -> Call[models.Stopping]:
    """Stop an answer."""
    return Call("POST", f"/runs/{_part(run_id)}/stop", models.Stopping, seconds=5.0)


def search(text: str, k: int, doc_id: str | None, collection_id: str | None) -> Call[models.Found]:
    """The best passages, without an answer."""
    given = {"q": text, "k": k, "doc_id": doc_id, "collection_id": collection_id}
    return Call("GET", "/search", models.Found, {"params": _given(given)})


def me() -> Call[models.Profile]:
    """Who the caller is; for logins alone."""
    return Call("GET", "/auth/me", models.Profile)


def log_in(email: str, password: str) -> Call[models.AccessToken]:
    """Log in with a password."""
    form = {"username": email, "password": password}
    return Call("POST", "/auth/token", models.AccessToken, {"data": form, "auth": None})


def log_out(cookie: str) -> Call[None]:
    """End a login."""
    return Call("POST", "/auth/logout", type(None), {"headers": {"Cookie": cookie}})


def document(doc_id: str) -> Call[models.Document]:
    """One document."""
    return Call("GET", f"/documents/{_part(doc_id)}", models.Document)


def documents(cursor: str | None, collection_id: str | None, words: str) -> Call[models.Page]:
    """A page of documents, the newest first."""
    given = {"limit": DOCUMENTS_A_PAGE, "cursor": cursor, "collection_id": collection_id, "q": words or None}
    return Call("GET", "/documents/", models.Page, {"params": _given(given)})


def upload(name: str, content: Any, collection_id: str | None) -> Call[models.Document]:
    """Give a file to the documents; it is indexed after the answer."""
    params = _given({"wait": 0, "collection_id": collection_id})
    more = {"params": params, "files": {"file": (name, content)}}
    return Call("POST", "/documents/", models.Document, more, UPLOAD_SECONDS)


def delete_document(doc_id: str) -> Call[None]:
    """Delete a document with everything that was made of it."""
    return Call("DELETE", f"/documents/{_part(doc_id)}", type(None))


def collections() -> Call[models.Collections]:
    """The caller's collections."""
    return Call("GET", "/collections/", models.Collections)


def new_collection(name: str) -> Call[models.Collection]:
    """Make a collection."""
    return Call("POST", "/collections/", models.Collection, {"json": {"name": name}})


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _part(identifier: str) -> str:
    """An id as one part of a path, whatever is in it."""
    return quote(identifier, safe="") or "-"
