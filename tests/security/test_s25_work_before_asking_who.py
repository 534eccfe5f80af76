"""S25: without a token no route does anything: no row, no file, no connection to anybody."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil

import lorestream
from tests.security.every_route import GEO, Tried, tried
from tests.security.listener import Listener, listening
from tests.security.matrix import Route, refusal_of

# Whoever is not logged in may ask for these, and what is sent to them here is refused.
PUBLIC = {
    "GET /auth/options": 200,
    "POST /auth/register": 422,
    "POST /auth/token": 401,
    "POST /auth/refresh": 401,
    "POST /auth/logout": 204,
    "GET /healthz": 200,
    "GET /readyz": 200,
    "GET /metrics": 200,
}
FAILED_LOGINS = "audit_events"


def rows(data_dir: Path) -> str:
    """A hash of the whole database, but for the note of the one failed login."""
    with closing(sqlite3.connect(f"file:{data_dir / 'lorestream.db'}?mode=ro", uri=True)) as database:
        dump = (line for line in database.iterdump() if f'INSERT INTO "{FAILED_LOGINS}"' not in line)
        return hashlib.sha256("\n".join(dump).encode()).hexdigest()


def files(data_dir: Path) -> dict[str, int]:
    """Every file of the server's but the database's own, with its size."""
    found = (path for path in data_dir.rglob("*") if path.is_file() and not path.name.startswith("lorestream.db"))
    return {str(path.relative_to(data_dir)): path.stat().st_size for path in found}


def bodies(at: Tried, route: Route) -> Iterator[dict[str, Any]]:
    yield {}
    if str(route) == "POST /documents/":
        yield {"files": {"file": ("big.txt", b"x" * 5_000_000)}}
        yield {"files": {"file": ("geo.md", GEO)}, "headers": {"Authorization": "Bearer x"}}
    for credentials in ("Bearer", "Bearer x", "Bearer lsk_x", "Basic dGVzdDp0ZXN0", f"Bearer {'a.' * 3000}"):
        yield {"headers": {"Authorization": credentials}}


async def test_without_a_token_nothing_is_done(tmp_path: Path, models_dir: Path) -> None:
    async with listening() as upstream:
        settings = {"model": "openai:tiny", "openai_base_url": f"{upstream.url}/v1", "ollama_url": upstream.url}
        await asyncio.to_thread(_try_without_a_token, tmp_path, models_dir, settings, upstream)


def _try_without_a_token(folder: Path, models_dir: Path, settings: dict[str, str], upstream: Listener) -> None:
    with tried(folder, models_dir, **settings) as at:
        at_the_start = len(upstream.hits)  # whether the model is there
        _nothing_is_done(at)
        assert len(upstream.hits) == at_the_start


def _nothing_is_done(at: Tried) -> None:
    data_dir, process = at.server.data_dir, psutil.Process(at.server.process.pid)
    document = at.server.upload(dict(at.http.headers), "geo.md", GEO)
    made = at.http.post("/conversations/", json={}).raise_for_status().json()
    at.ids = {"document": str(document["doc_id"]), "conversation": made["conversation_id"]}
    del at.http.headers["Authorization"]
    before, files_before, children = rows(data_dir), files(data_dir), len(process.children(recursive=True))
    for route in at.routes:
        for body in bodies(at, route):
            answer = at.request(route, again=False, **body)
            wanted = PUBLIC.get(str(route), 401)
            assert answer.status_code == wanted, (str(route), answer.status_code, answer.text[:200])
            if wanted == 401 and str(route) not in PUBLIC:
                assert answer.headers["www-authenticate"] == "Bearer"
                assert refusal_of(answer)["code"] in {"unauthenticated", "invalid_api_key"}
    assert rows(data_dir) == before
    assert files(data_dir) == files_before
    assert len(process.children(recursive=True)) == children
    outbound = [
        one for one in process.net_connections() if one.raddr and one.laddr.port != httpx.URL(at.server.url).port
    ]
    assert not outbound


def test_no_model_brings_code_along() -> None:
    """Nothing here loads what a request names, and nothing loads code with a model."""
    root = Path(lorestream.__file__).parent
    for source in root.rglob("*.py"):
        text = source.read_text()
        for word in ("trust_remote_code", "import pickle", "yaml.load", "torch.load", "allow_pickle=True", "marshal"):
            assert word not in text, (source, word)
