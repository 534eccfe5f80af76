"""The npm packages as they are published: through a network that cuts, installed from their tarballs, as documented."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

import lorestream
from tests.conftest import SEED
from tests.fakes.reading import QUESTION
from tests.fakes.upstream import Finish, Hold, Say
from tests.faults.world import World, world

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
PACKAGES = WEB / "packages"
CUTS = 50
ANSWER = ["Paris is ", "the capital ", "of France [1]."]
EXAMPLE_URL = "http://127.0.0.1:8000"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def at(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("npm") / "data", models_dir) as one:
        yield one


def token(at: World) -> str:
    return at.client.http.headers["Authorization"].removeprefix("Bearer ")


async def run(*command: str, cwd: Path, **environment: str) -> str:
    """What a command prints; where it fails, the test does with its complaints."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(120):
            out, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, complaints.decode() + out.decode()
    return out.decode()


class Shears:
    """Passes bytes on, and breaks so many connections with a reset, each after some bytes of the server's."""

    def __init__(self, url: str, cuts: int) -> None:
        self._to = urlsplit(url)
        self._chance = random.Random(SEED)
        self._planned = cuts
        self.cuts = 0
        self._serving: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, until it ends or ``close`` is called."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def close(self) -> None:
        """End what is still open."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._to.hostname, self._to.port)
        sending = asyncio.create_task(self._pass(reader, back, None))
        left = self._chance.randrange(1, 1500) if self.cuts < self._planned else None
        try:
            if await self._pass(there, writer, left):
                self.cuts += 1
                writer.transport.abort()
        finally:
            sending.cancel()
            await asyncio.wait([sending])
            back.close()
            writer.close()

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None) -> bool:
        """Whether it was cut, after ``left`` bytes."""
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data[:left])
                await writer.drain()
                if left is not None and (left := left - len(data)) <= 0:
                    return True
        return False


@asynccontextmanager
async def shears_to(url: str) -> AsyncIterator[tuple[Shears, str]]:
    shears = Shears(url, CUTS)
    async with await asyncio.start_server(shears.accept, "127.0.0.1", 0) as listening:
        try:
            yield shears, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        finally:
            await shears.close()


async def test_an_answer_through_fifty_cuts_at_random_bytes_equals_the_stored_one(at: World) -> None:
    words = [f"w{n} é🦉 " for n in range(1500)]
    at.fake.play(Say(words, pause=0.0005), Finish())
    before = len(at.chats())
    async with shears_to(at.server.url) as (shears, url):
        asked = json.dumps({"url": url, "token": token(at), "question": QUESTION})
        seen = json.loads(await run("node", "tests/packages/cuts.mjs", asked, cwd=WEB))
    assert shears.cuts == CUTS
    stored = (await at.client.http.get(f"/runs/{seen['runId']}")).json()
    assert seen["text"] == seen["folded"] == stored["content"] == "".join(words)
    assert (seen["phase"], stored["status"]) == ("done", "done")
    assert len(at.chats()) == before + 1, "it was asked once"


async def test_a_loop_that_is_left_before_the_first_token_stops_the_model(at: World) -> None:
    at.skip_chats()
    at.fake.play(Hold())
    asked = json.dumps({"url": at.server.url, "token": token(at), "question": QUESTION})
    reading = asyncio.create_task(run("node", "tests/packages/left-early.mjs", asked, cwd=WEB))
    connection = await at.next_chat()
    seen = json.loads(await reading)
    async with asyncio.timeout(5):
        await connection.closed
    assert (seen["phase"], seen["text"]) == ("stopped", "")
    assert (await at.stored(seen["runId"]))["status"] == "stopped"


async def test_a_document_is_sent_found_listed_and_deleted(at: World) -> None:
    asked = json.dumps({"url": at.server.url, "token": token(at)})
    seen = json.loads(await run("node", "tests/packages/documents.mjs", asked, cwd=WEB))
    assert (seen["status"], seen["found"]) == ("ready", "Oslo is the capital of Norway.")
    assert seen["names"] == ["north.txt"]
    assert (seen["gone"]["name"], seen["gone"]["status"]) == ("LorestreamError", 404)
    assert seen["empty"]["status"] == 422
    assert seen["wrong"]["fields"].keys() == {"query.q", "query.k"}


def example(package: str, language: str) -> str:
    """The first example of a package's page, which the page of all clients shows, too."""
    shown = re.findall(rf"```{language}\n(.*?)```", (PACKAGES / package / "README.md").read_text(), re.DOTALL)
    assert shown[0] in (ROOT / "docs" / "clients.md").read_text()
    return str(shown[0])


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """An empty folder with the packages' tarballs installed, without a network; what is in them."""
    folder = tmp_path_factory.mktemp("installed")
    others = [str(WEB / "node_modules" / name) for name in ("eventsource-parser", "react")]
    packing = ("npm", "pack", "--json", "--ignore-scripts", str(PACKAGES / "client"), str(PACKAGES / "react"), *others)
    told = json.loads(await run(*packing, cwd=folder))
    packed: list[dict[str, Any]] = list(told.values()) if isinstance(told, dict) else told
    (folder / "package.json").write_text("{}")
    tarballs = [f"./{one['filename']}" for one in packed]
    quiet = ("--offline", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")
    await run("npm", "install", *quiet, *tarballs, cwd=folder)
    return folder, packed[:2]


async def test_what_is_published_is_what_is_needed(installed: tuple[Path, list[dict[str, Any]]]) -> None:
    for package in installed[1]:
        files = {file["path"] for file in package["files"]}
        assert package["version"] == lorestream.__version__
        assert {"package.json", "README.md", "LICENSE", "dist/index.js", "dist/index.d.ts", "src/index.ts"} <= files
        assert not [name for name in files if ".test." in name or not re.match(r"(dist|src)/|[\w.]+$", name)]


async def test_the_example_in_javascript_runs_from_the_tarball(
    at: World, installed: tuple[Path, list[dict[str, Any]]]
) -> None:
    at.fake.play(Say(ANSWER), Finish())
    (installed[0] / "example.mjs").write_text(example("client", "js").replace(EXAMPLE_URL, at.server.url))
    out = await run("node", "example.mjs", cwd=installed[0], TOKEN=token(at))
    assert "[1] geo" in out
    assert "".join(ANSWER) in out


async def test_the_example_in_react_runs(at: World, tmp_path: Path) -> None:
    at.fake.play(Say(ANSWER), Finish())
    folder = WEB / "node_modules" / ".lorestream" / tmp_path.name  # where the packages are found
    folder.mkdir(parents=True)
    try:
        asked = json.dumps({"folder": str(folder), "question": QUESTION})
        source = example("react", "jsx").replace(EXAMPLE_URL, at.server.url)
        out = json.loads(await run("node", "tests/packages/react-example.mjs", asked, source, cwd=WEB, TOKEN=token(at)))
    finally:
        shutil.rmtree(folder)
    assert out["paragraphs"] == ["".join(ANSWER)]
    assert len(out["titles"]) == 1
