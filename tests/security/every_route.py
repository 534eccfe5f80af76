"""One server and one user of it, to whom anything may be done: for tests that try something on every route."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.files import zipped
from tests.fakes.server import RunningServer, running_server
from tests.security.matrix import Field, Route, description, routes, sample

GEO = b"# Geography\n\nParis is the capital of France."
ARCHIVE = zipped({"geo.md": GEO})


@dataclass
class Tried:
    """The server, what it describes, and its user. ``canary`` is in its environment and in a file beside its data."""

    server: RunningServer
    document: dict[str, Any]
    canary: str
    http: httpx.Client
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def routes(self) -> list[Route]:
        return routes(self.document)

    @property
    def outside(self) -> Path:
        """A file that is none of the server's business."""
        return self.server.data_dir.parent / "outside.txt"

    def revive(self) -> None:
        """Make what some routes end as if nothing had been: logging in again and again is limited."""
        with closing(sqlite3.connect(self.server.data_dir / "lorestream.db", timeout=10)) as database, database:
            database.execute("UPDATE logins SET revoked_at = NULL")

    def settle(self) -> None:
        """Have a document and an answer in a conversation again: some routes delete them."""
        if "conversation" in self.ids and self.http.get(f"/conversations/{self.ids['conversation']}").is_success:
            return
        document = self.server.upload(dict(self.http.headers), "geo.md", GEO)
        named = self.http.post("/collections/", json={"name": secrets.token_hex(8)}).raise_for_status().json()
        batch = self.http.post("/batches/", json={}).raise_for_status().json()
        # Nobody waits for its files: following it ends at once.
        self.http.post(f"/batches/{batch['batch_id']}/cancel").raise_for_status()
        made = self.http.post("/conversations/", json={}).raise_for_status().json()
        where = f"/conversations/{made['conversation_id']}"
        self.http.post(f"{where}/questions", json={"question": "What is the capital of France?"}).raise_for_status()
        answer = self.http.get(where).raise_for_status().json()["messages"][-1]
        self.ids = {
            "document": str(document["doc_id"]),
            "collection": named["collection_id"],
            "batch": batch["batch_id"],
            "conversation": made["conversation_id"],
            "answer": answer["message_id"],
            "run": answer["run_id"],
        }

    def request(
        self, route: Route, values: Mapping[str, Any] | None = None, *, again: bool = True, **others: Any
    ) -> httpx.Response:
        """A valid request to a route with its ids, these fields replaced, and other arguments of the client's.

        What it ended or deleted is made again, and a dead login revived, unless it is not to be tried ``again``.
        """
        values = values or {}
        path = route.path
        query: dict[str, Any] = {}
        headers: dict[str, Any] = {}
        body: dict[str, Any] = {}
        for one in route.fields:
            if one.name not in values and not one.required:
                continue
            value = values.get(one.name, self.ids.get(one.kind or "", None) or sample(one))
            if one.where == "path":
                path = path.replace("{" + one.name + "}", str(value))
            else:
                at = body.setdefault(one.within, {}) if one.within else body
                {"query": query, "header": headers, "body": at}[one.where][one.name] = value
        made: dict[str, Any] = {"params": query, "headers": headers}
        if route.media_type == "multipart/form-data":
            made["files"] = {"file": ("geo.zip", ARCHIVE) if "archives" in path else ("geo.md", GEO)}
        elif route.media_type:
            made["data" if "form" in route.media_type else "json"] = body
        answer = self.http.request(route.method, path, **{**made, **others})
        if answer.status_code == 401 and again:
            self.revive()
            answer = self.http.request(route.method, path, **{**made, **others})
        if route.method == "DELETE" and answer.is_success:
            self.settle()
        return answer


def texts(route: Route) -> list[Field]:
    """The fields that take any text."""
    return [one for one in route.fields if one.schema.get("type") == "string" and "enum" not in one.schema]


@contextmanager
def tried(folder: Path, models_dir: Path, **settings: str) -> Iterator[Tried]:
    """Start the server and register its user."""
    canary = secrets.token_hex(16)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "outside.txt").write_text(f"outside {canary}")
    plain = {"reader_words_per_second": "0", "relevance_floor": "0", "access_token_seconds": "3600"}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CANARY_OF_THE_ENVIRONMENT", canary)
        with (
            running_server(folder / "data", models_dir, **plain, **settings) as server,
            httpx.Client(base_url=server.url, timeout=30) as http,
        ):
            http.headers.update(server.register())
            yield Tried(server, description(folder / "described"), canary, http)
