"""What every test may use: the embedding model, built once, and a real server with it."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from lorestream.providers.minilm import MiniLM
from tests.fakes.server import RunningServer, running_server

for name in [name for name in os.environ if name.startswith("LORESTREAM_")]:
    del os.environ[name]

# One for all processes of a run, so that they find the same tests.
SEED = int(os.environ.setdefault("TEST_SEED", str(random.SystemRandom().randrange(2**32))))


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every test on the event loop that the server runs on."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--screenshots docs`` makes the browser tests renew the pictures of the documentation."""
    parser.addoption("--soak", action="store_true", help="the long counts of the fault suite (make soak)")
    parser.addoption("--screenshots", type=Path, help="folder to put pictures of the page into")
    parser.addoption("--pdfs", type=Path, help="folder of PDFs whose words are looked for in their boxes")


@pytest.fixture
def screenshots(request: pytest.FixtureRequest) -> Path | None:
    """Where pictures go, if they are wanted."""
    folder: Path | None = request.config.getoption("--screenshots")
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def pdfs(request: pytest.FixtureRequest) -> Path | None:
    """A folder of PDFs of one's own, if there is one."""
    folder: Path | None = request.config.getoption("--pdfs")
    return folder


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Put a line into the table at the end of the test run."""
    return lambda line: request.node.user_properties.append(("measured", line))


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> bool:
    """Whether the long counts are wanted."""
    return bool(request.config.getoption("--soak"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests measured."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    lines = [line for one in reports if one.when == "call" for name, line in one.user_properties if name == "measured"]
    if lines:
        terminalreporter.section(f"measured (seed {SEED})")
        for line in lines:
            terminalreporter.write_line(str(line))


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the embedding model's graph, built once for the whole run."""
    directory = tmp_path_factory.mktemp("models")

    async def build() -> None:
        embedder = MiniLM(directory)
        await embedder.embed_query("ready?")
        await embedder.close()

    asyncio.run(build())
    return directory


@pytest.fixture
def reader_server(tmp_path: Path, models_dir: Path) -> Iterator[RunningServer]:
    """A server that answers with the built-in reader."""
    with running_server(tmp_path / "data", models_dir) as server:
        yield server
