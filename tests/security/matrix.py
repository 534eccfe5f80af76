"""Every route × every field that names something: what the API's own description says there is to be probed.

A field that looks like the name of a thing and is in neither list below fails the tests, so that no route can come
without its probes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import httpx

from lorestream.http import decode_cursor, encode_cursor
from lorestream.library import Library
from lorestream.main import create_app
from tests.fakes.edge import settings

Where = Literal["path", "query", "header", "body"]
# The fields that name a thing of one owner, by the kind of thing.
KINDS = {
    "doc_id": "document",
    "doc_ids": "document",
    "collection_id": "collection",
    "batch_id": "batch",
    "conversation_id": "conversation",
    "message_id": "answer",
    "parent_id": "answer",
    "run_id": "run",
    "last-event-id": "event",
    "session_id": "login",
    "key_id": "key",
    "user_id": "user",
    "invitation_id": "invitation",
    "client_request_id": "request",
    "cursor": "cursor",
    "chat_id": "chat",
    "id": "chat",
}
# They choose nothing of anybody's by themselves: with a foreign value they mean what they mean with a fresh one.
HARMLESS = {"request", "cursor", "chat"}
# What looks like a name of somebody's and is none, such as a number within a document or a field of OAuth2's login.
NO_IDS = {"chunk_index", "number", "client_id", "invitation", "model"}
LIKE_AN_ID = re.compile(r"(?:^|[_-])(?:ids?|uuid|guid|cursor|ref|slug|handle|hash|index|collection)$", re.IGNORECASE)
SAMPLES: dict[str, Any] = {
    "question": "What is the capital of France?",
    "q": "capital",
    "query": "What is the capital of France?",
    "rating": "up",
    "scopes": ["read"],
}
HEX = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Field:
    """One input of a route."""

    where: Where
    name: str
    schema: Mapping[str, Any]
    required: bool
    within: str = ""  # the member of the body that it is a member of

    @property
    def kind(self) -> str | None:
        return KINDS.get(self.name)

    @property
    def is_list(self) -> bool:
        return self.schema.get("type") == "array"


@dataclass(frozen=True)
class Route:
    """One operation of the API."""

    method: str
    path: str
    fields: tuple[Field, ...]
    media_type: str | None

    @property
    def ids(self) -> list[Field]:
        return [one for one in self.fields if one.kind]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def description(folder: Path) -> dict[str, Any]:
    """The OpenAPI document of the application as it is."""
    return create_app(Library(settings(folder, model="reader"))).openapi()


def routes(document: Mapping[str, Any]) -> list[Route]:
    """Every operation with its inputs. Fails on a field that looks like an id and is not known."""
    found = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            inputs = [_parameter(document, one) for one in operation.get("parameters", [])]
            content: dict[str, Any] = operation.get("requestBody", {}).get("content", {})
            media_type = next(iter(content), None)
            if media_type:
                inputs += _members(document, _resolved(document, content[media_type]["schema"]))
            found.append(Route(method.upper(), path, tuple(inputs), media_type))
    strange = {
        f"{route} {one.where}:{one.name}"
        for route in found
        for one in route.fields
        if not one.kind and one.name not in NO_IDS and (one.where == "path" or LIKE_AN_ID.search(one.name))
    }
    assert not strange, f"fields that look like ids; say in tests/security/matrix.py what they name: {strange}"
    return found


def _parameter(document: Mapping[str, Any], one: Mapping[str, Any]) -> Field:
    name = one["name"].lower() if one["in"] == "header" else one["name"]
    return Field(one["in"], name, _resolved(document, one["schema"]), bool(one.get("required")))


def _members(document: Mapping[str, Any], schema: Mapping[str, Any], within: str = "") -> list[Field]:
    required, found = schema.get("required", []), []
    for name, unresolved in schema.get("properties", {}).items():
        member = _resolved(document, unresolved)
        found.append(Field("body", name, member, name in required, within))
        if not within:
            found += _members(document, member, name)
    return found


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema without references, and without the ``null`` that it may also be."""
    if "$ref" in schema:
        return _resolved(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            first: dict[str, Any] = next((one for one in schema[union] if one.get("type") != "null"), {})
            return _resolved(document, first)
    return schema


def sample(one: Field) -> Any:
    """A valid value."""
    if one.name in SAMPLES:
        return SAMPLES[one.name]
    schema = one.schema
    if "examples" in schema:
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "integer" | "number":
            return max(schema.get("minimum", 0), 0)
        case "boolean":
            return False
        case "array":
            return []
        case "object":
            return {}
    return "x" * max(schema.get("minLength", 1), 1)


@dataclass
class Things:
    """What one user has, by kind; ``requests`` are the client_request_ids of their questions."""

    email: str
    headers: dict[str, str]
    user_id: str
    ids: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


def unknown(like: Things) -> dict[str, str]:
    """Names in the form of this user's, of what is nowhere."""
    ids = {kind: uuid4().hex for kind in KINDS.values()}
    moment, _ = decode_cursor(like.ids["cursor"])
    return ids | {"event": f"{uuid4().hex}:1", "cursor": encode_cursor(moment, uuid4().hex)}


@dataclass(frozen=True)
class Probe:
    """One request with foreign values in some of a route's ids, and what the others are."""

    route: Route
    foreign: tuple[Field, ...]
    mixed: bool = False  # lists hold an own one, too

    def __str__(self) -> str:
        return f"{self.route} with a foreign {', '.join(one.name for one in self.foreign)}"

    def request(self, own: Things, others: Mapping[str, str]) -> dict[str, Any]:
        """The arguments for an HTTP client."""
        path, query, headers = self.route.path, {}, dict(own.headers)
        body: dict[str, Any] = {}
        for one in self.route.fields:
            if one not in self.foreign and not one.required:
                continue
            value = self._value(one, own, others)
            if one.where == "path":
                path = path.replace("{" + one.name + "}", str(value))
            elif one.where == "query":
                query[one.name] = value
            elif one.where == "header":
                headers[one.name] = str(value)
            else:
                (body.setdefault(one.within, {}) if one.within else body)[one.name] = value
        made: dict[str, Any] = {"method": self.route.method, "url": path, "params": query, "headers": headers}
        if self.route.media_type:
            made["data" if "form" in self.route.media_type else "json"] = body
        return made

    def _value(self, one: Field, own: Things, others: Mapping[str, str]) -> Any:
        if one.kind is None:
            return sample(one)
        ours = own.ids.get(one.kind, "")
        if one not in self.foreign:
            return [ours] if one.is_list else ours
        theirs = others[one.kind]
        if one.is_list:
            return [ours, theirs] if self.mixed else [theirs]
        return theirs


def probes(route: Route) -> Iterator[Probe]:
    """Every combination of own and foreign ids with at least one foreign; lists also with both."""
    yield from (Probe(route, (one,)) for one in route.ids if one.kind in HARMLESS)
    ids = [one for one in route.ids if one.kind not in HARMLESS]
    for size in range(1, len(ids) + 1):
        for chosen in itertools.combinations(ids, size):
            yield Probe(route, chosen)
            if any(one.is_list for one in chosen):
                yield Probe(route, chosen, mixed=True)


def expected(probe: Probe) -> int:
    """The one status that a foreign and an unknown id both get."""
    kinds = {one.kind for one in probe.foreign}
    if probe.route.path.startswith("/admin/"):
        return 403
    if "{chat_id}" in probe.route.path:  # nothing is being written in a chat of that name
        return 204 if probe.route.method == "GET" else 202
    if kinds <= HARMLESS:
        return 200
    if probe.route.path == "/query/stream/" or probe.route.path.startswith("/rag/"):
        return 404 if "event" in kinds else 200  # an event stream whose one event is no_documents
    if kinds == {"event"}:
        return 409  # a cursor of another run than the caller's own
    return 404


def refusal_of(answer: httpx.Response) -> dict[str, Any]:
    """What a refusal says, in our own shape or in OpenAI's."""
    body: dict[str, Any] = answer.json()
    return body.get("error") or body


def shape(answer: httpx.Response) -> tuple[int, str, str]:
    """What an answer tells: its status, type and body, without the names of its own."""
    body = HEX.sub("H", re.sub(r'"instance": ?"[^"]*"', "", answer.text))
    return answer.status_code, answer.headers.get("content-type", ""), body


def state(data_dir: Path, owner: Things) -> str:
    """A hash of every row that names this owner or anything of theirs, and of their files."""
    # What a client calls its chat is its own affair: another user's may be called the same.
    names = [owner.user_id, *(value.partition(":")[0] for kind, value in owner.ids.items() if kind != "chat")]
    digest = hashlib.sha256()
    with closing(sqlite3.connect(f"file:{data_dir / 'lorestream.db'}?mode=ro", uri=True)) as database:
        for table in _tables(database):
            rows = [repr(row) for row in database.execute(f'SELECT * FROM "{table}"')]
            mine = sorted(row for row in rows if any(name in row for name in names))
            digest.update(json.dumps([table, mine]).encode())
    for file in sorted((data_dir / "files").iterdir()):
        if file.name in names:
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _tables(database: sqlite3.Connection) -> list[str]:
    """The tables that hold values: neither full-text indexes nor what SQLite keeps for them."""
    found = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    virtual = [name for name, sql in found if "VIRTUAL" in sql.upper()[:20]]
    return [name for name, _ in found if not any(name.startswith(one) for one in virtual) and name != "audit_events"]
