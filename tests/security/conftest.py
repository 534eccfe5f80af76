"""One server with three users, for all tests that ask whether one of them reaches another's things."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import _shared, house
from tests.fakes.server import RunningServer
from tests.security.every_route import Tried, tried
from tests.security.people import People, settled

__all__ = ["_shared", "house", "world"]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[tuple[RunningServer, People]]:
    """The server, with settings that nothing else needs, and its users; nobody may change what is Alice's."""
    with settled(tmp_path_factory.mktemp("world") / "data", models_dir, access_token_seconds="3600") as made:
        yield made


@pytest.fixture(scope="session")
def at(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Tried]:
    """A server that one test after another tries things on; none may count on what it left."""
    with tried(tmp_path_factory.mktemp("tried"), models_dir) as made:
        made.settle()
        yield made
        assert made.server.process.poll() is None
        assert "Traceback" not in "".join(made.server.output)
