"""S02: whatever id of another user is put into whatever field of whatever route, it is an unknown one (promise P9)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.security.matrix import LIKE_AN_ID, Things, description, routes, state
from tests.security.people import settled, try_everything


async def test_every_route_and_every_id(tmp_path: Path, models_dir: Path, measured: Callable[[str], None]) -> None:
    found = routes(description(tmp_path / "schema"))
    with settled(tmp_path / "data", models_dir) as (server, people):
        count, statuses = await try_everything(server, people, found)
        before = state(server.data_dir, people.alice)
        async with httpx.AsyncClient(base_url=server.url) as http:
            await rename_own(http, people.bob)
            assert state(server.data_dir, people.alice) == before
            # Alice herself is served, so that Bob was refused; and a change of hers is seen in the hash.
            for path in (
                "/documents/{document}",
                "/collections/{collection}",
                "/conversations/{conversation}",
                "/runs/{run}",
            ):
                answer = await http.get(path.format(**people.alice.ids), headers=people.alice.headers)
                assert answer.status_code == 200
            await rename_own(http, people.alice)
            assert state(server.data_dir, people.alice) != before
    ids = {(one.where, one.name) for route in found for one in route.ids}
    measured(f"S02: {len(found)} routes x {len(ids)} ids: {count} probes, by status {dict(statuses)}")
    assert len([route for route in found if route.ids]) >= 22
    assert statuses[404] >= 30


async def rename_own(http: httpx.AsyncClient, user: Things) -> None:
    path = f"/conversations/{user.ids['conversation']}"
    (await http.patch(path, json={"title": "renamed"}, headers=user.headers)).raise_for_status()


def test_a_field_that_looks_like_an_id_must_be_known(tmp_path: Path) -> None:
    document: dict[str, Any] = description(tmp_path)
    strange = {"schema": {"type": "string"}, "in": "query", "name": "folder_id"}
    document["paths"]["/documents/"]["get"]["parameters"].append(strange)
    with pytest.raises(AssertionError, match="folder_id"):
        routes(document)
    for name in ("doc_id", "ids", "x-run-id", "collection", "file_uuid", "index"):
        assert LIKE_AN_ID.search(name), name
