"""S05: every route learns who is asking in one and the same way, or is on the list of those that need not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIWebSocketRoute, iter_route_contexts

from lorestream.accounts.caller import current_user
from lorestream.library import Library
from lorestream.main import create_app
from tests.fakes.edge import settings

PUBLIC = {
    "/auth/options",
    "/auth/register",
    "/auth/token",
    "/auth/refresh",
    "/auth/logout",
    "/healthz",
    "/readyz",
    "/metrics",
}


def callables(dependant: Dependant) -> Iterator[object]:
    yield dependant.call
    for below in dependant.dependencies:
        yield from callables(below)


def test_every_published_route_asks_for_the_current_user(tmp_path: Path) -> None:
    app = create_app(Library(settings(tmp_path, model="reader")))
    open_routes = set()
    for route in iter_route_contexts(app.routes):
        if not isinstance(route.original_route, APIRoute | APIWebSocketRoute):
            continue
        if getattr(route, "include_in_schema", True) and current_user not in set(callables(route.dependant)):
            open_routes.add((route.path or "").rstrip("/"))
    assert open_routes <= PUBLIC
    assert {"/auth/register", "/auth/token"} <= open_routes
