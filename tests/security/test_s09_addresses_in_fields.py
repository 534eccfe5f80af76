"""S09: nothing is ever fetched from an address that a user names: there is no such feature, and no field is one."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.fakes import files
from tests.fakes.server import RunningServer
from tests.security.listener import Listener, listening
from tests.security.matrix import Field, Probe, Route, Things, description, routes
from tests.security.people import People

# Spellings of this machine, and of schemes beside http; {port} is the listener's.
SPELLINGS = [
    "http://127.0.0.1:{port}/", "HTTP://LOCALHOST:{port}/", "http://localhost.:{port}/", "http://127.1:{port}/",
    "http://127.0.1:{port}/", "http://0:{port}/", "http://0.0.0.0:{port}/", "http://2130706433:{port}/",
    "http://0x7f000001:{port}/", "http://0x7f.0.0.1:{port}/", "http://0177.0.0.1:{port}/", "http://017700000001:{port}/",
    "http://[::1]:{port}/", "http://[::]:{port}/", "http://[::ffff:127.0.0.1]:{port}/", "http://[::ffff:7f00:1]:{port}/",
    "http://[::ffff:a9fe:a9fe]/", "http://[64:ff9b::7f00:1]:{port}/", "http://[2002:7f00:1::]:{port}/",
    "http://169.254.169.254/latest/meta-data/", "http://１２７.０.０.１:{port}/", "http://①②⑦.⓪.⓪.①:{port}/",
    "http://%31%32%37.0.0.1:{port}/", "http://example.com@127.0.0.1:{port}/", "http://127.0.0.1:{port}#@example.com/",
    "http://example.com#@127.0.0.1:{port}/", "http:\\\\127.0.0.1:{port}\\", "http:/127.0.0.1:{port}/",
    "//127.0.0.1:{port}/", "\\\\127.0.0.1@{port}\\share", "https://127.0.0.1:{port}/", "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_GET", "dict://127.0.0.1:{port}/info", "ldap://127.0.0.1:{port}/",
    "redis://127.0.0.1:{port}/", "ollama:http://127.0.0.1:{port}", "openai:http://127.0.0.1:{port}/v1",
    "file:///etc/passwd", "jar:http://127.0.0.1:{port}/!/x",
]  # fmt: skip
AT_ONCE = 8
SEARCHING = (
    "/questions",
    "/regenerate",
    "/query/",
    "/query/stream/",
    "/completions",
    "/stream",
    "/stream-with-sources",
    "/chat",
)


def test_the_table_has_forty_addresses() -> None:
    assert len(SPELLINGS) == len(set(SPELLINGS)) == 40


def takes_text(one: Field) -> bool:
    schema = one.schema["items"] if one.is_list else one.schema
    return schema.get("type") == "string" and "enum" not in schema and one.where != "path"


def requests(route: Route, own: Things, urls: list[str]) -> list[dict[str, Any]]:
    """Each address in each text of a route, everything else being valid.

    Where each request is answered by a whole search, a fourth of the addresses in each text, another one in the next.
    """
    made, step = [], 4 if route.path.endswith(SEARCHING) else 1
    for number, one in enumerate(filter(takes_text, route.fields)):
        for url in urls[number % step :: step]:
            request = Probe(route, ()).request(own, {})
            place = {"query": "params", "header": "headers"}.get(one.where, "data" if "data" in request else "json")
            value = url.encode("ascii", "replace").decode() if one.where == "header" else url
            request[place] = {**request.get(place, {}), one.name: [value] if one.is_list else value}
            made.append(request)
    return made


async def test_no_field_of_any_route_makes_the_server_connect(
    world: tuple[RunningServer, People], tmp_path: Path, measured: Callable[[str], None]
) -> None:
    server, people = world
    async with listening() as outside, httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        urls = [spelling.replace("{port}", str(outside.port)) for spelling in SPELLINGS]
        # A logout would end the login that all the others need.
        found = [route for route in routes(description(tmp_path)) if not route.path.startswith("/auth/logout")]
        asked = [request for route in found for request in requests(route, people.bob, urls)]
        room = asyncio.Semaphore(AT_ONCE)

        async def ask(request: dict[str, Any]) -> None:
            async with room:
                answer = await http.request(**request)
            assert answer.status_code < 500, f"{request}: {answer.text[:300]}"

        await asyncio.gather(*map(ask, asked))
        await documents_that_point_outside(http, people.bob, outside)
        assert outside.hits == []
    fields = {(route.method, route.path, one.name) for route in found for one in route.fields if takes_text(one)}
    measured(f"S09: {len(urls)} addresses x {len(fields)} fields: {len(asked)} requests, 0 connections")
    assert len(asked) > 40 * 10


async def documents_that_point_outside(http: httpx.AsyncClient, bob: Things, outside: Listener) -> None:
    """Every format's own way to name something elsewhere."""
    url, archive = outside.url, io.BytesIO()
    entity = f'<!DOCTYPE d [<!ENTITY x SYSTEM "{url}/entity"><!ENTITY % p SYSTEM "{url}/dtd"> %p;]>'
    body = f'<w:document xmlns:w="{files.W}"><w:body>{files.paragraph("Text &x; here.")}</w:body></w:document>'
    link = f'<Relationships><Relationship Id="r1" Target="{url}/template" TargetMode="External"/></Relationships>'
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("word/document.xml", entity + body)
        made.writestr("word/_rels/document.xml.rels", link)
    page = (
        f"<!DOCTYPE html SYSTEM '{url}/dtd'><base href='{url}/'><link rel=stylesheet href='{url}/css'>"
        f"<meta http-equiv=refresh content='0;url={url}/'><p>Some text of a page.<img src='{url}/img'>"
        f"<iframe src='{url}/frame'></iframe><xi:include href='{url}/xi'/><a href='{url}/next'>next page</a></p>"
    )
    markdown = f"# Title\n\n![x]({url}/img)\n\n[ref]: {url}/ref\n\n<img src='{url}/html'>\n"
    for name, content in [
        ("pointing.docx", archive.getvalue()),
        ("pointing.html", page.encode()),
        ("pointing.md", markdown.encode()),
        ("pointing.pdf", files.pdf([["See the annex."]], title=f"{url}/title")),
    ]:
        answer = await http.post(
            "/documents/", params={"wait": 30}, files={"file": (name, content)}, headers=bob.headers
        )
        assert answer.status_code == 201, answer.text
        assert answer.json()["status"] in {"ready", "failed"}
