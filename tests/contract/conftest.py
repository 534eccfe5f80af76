"""A module that sets ``LOOPS`` runs its asynchronous tests on each of these event loops, instead of the server's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest
import uvloop

from tests.fakes.chat import Upstream, model_of
from tests.fakes.upstream import FakeUpstream, Format

FACTORIES: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def pytest_asyncio_loop_factories(item: pytest.Function) -> dict[str, Callable[[], asyncio.AbstractEventLoop]] | None:
    loops: tuple[str, ...] = getattr(item.module, "LOOPS", ())
    return {name: FACTORIES[name] for name in loops} or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Anthropic's format uses connections as the others do: the server's own loop is enough for it."""
    items[:] = [item for item in items if "[asyncio-anthropic" not in item.name]


@pytest.fixture(params=["ollama", "openai", "anthropic"])
def kind(request: pytest.FixtureRequest) -> Format:
    return cast("Format", request.param)


@pytest.fixture
async def upstream(kind: Format) -> AsyncIterator[Upstream]:
    async with FakeUpstream(kind) as fake:
        yield Upstream(fake, model_of(kind, fake.base_url))
