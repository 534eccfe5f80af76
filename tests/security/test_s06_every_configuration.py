"""S06: no setting that has to do with accounts turns the check of ownership off; under each, S02 holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from lorestream.settings import Settings
from tests.fakes.redis import redis_server
from tests.fakes.server import running_server
from tests.security.matrix import description, routes
from tests.security.people import PLAIN, People, log_in_again, settle, try_everything

# One profile for each way to register, each with another of the settings that decide who may ask what.
OTHERS: list[dict[str, str]] = [
    {"allowed_hosts": "127.0.0.1,chat.example"},
    {"trusted_proxies": "127.0.0.1", "access_token_seconds": "30"},
    {"password_min_length": "64", "refresh_token_seconds": "600"},
]


@pytest.mark.timeout(300)
async def test_ownership_is_checked_under_every_configuration(
    tmp_path: Path, models_dir: Path, measured: Callable[[str], None]
) -> None:
    found, total = routes(description(tmp_path / "schema")), 0
    ways = get_args(Settings.model_fields["registration"].annotation)
    assert len(ways) <= len(OTHERS)
    profiles = [{"registration": way, **others} for way, others in zip(ways, OTHERS, strict=False)]
    with redis_server(tmp_path / "redis") as redis:
        profiles[-1]["redis_url"] = redis.url
        people: People | None = None
        for profile in profiles:
            with running_server(tmp_path / "data", models_dir, **PLAIN, **profile) as server:
                if people is None:  # the first profile lets everybody register
                    people = settle(server)
                else:
                    log_in_again(server, people)
                count, statuses = await try_everything(server, people, found)
                assert statuses[404] >= 30
                total += count
    measured(f"S06: {len(profiles)} configurations, {total} probes")
