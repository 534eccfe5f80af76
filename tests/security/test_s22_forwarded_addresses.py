"""S22: a caller cannot escape the login limit by forging X-Forwarded-For."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.edge import EMAIL, AccountsServer, accounts_server

WRONG = {"username": EMAIL, "password": "wrong-one"}


async def statuses(server: AccountsServer, forwarded: list[str]) -> list[int]:
    return [
        (await server.client.post("/auth/token", data=WRONG, headers={"X-Forwarded-For": value})).status_code
        for value in forwarded
    ]


@pytest.mark.parametrize("trusted", [[], ["10.0.0.1"]])
async def test_from_an_untrusted_peer_the_header_changes_nothing(tmp_path: Path, trusted: list[str]) -> None:
    async with accounts_server(tmp_path, config={"forwarded_allow_ips": trusted}) as server:
        answers = await statuses(server, [f"203.0.113.{number}" for number in range(100)])
    assert answers == [401] * 10 + [429] * 90


async def test_through_a_trusted_proxy_only_the_hop_it_saw_counts(tmp_path: Path) -> None:
    async with accounts_server(tmp_path, config={"forwarded_allow_ips": ["127.0.0.1"]}) as server:
        forged = await statuses(server, [f"198.51.100.{number}, 203.0.113.7" for number in range(12)])
        neighbours = await statuses(server, [f"2001:db8:1:2::{number:x}" for number in range(12)])
        assert await statuses(server, ["203.0.113.8"]) == [401]
    assert forged == [401] * 10 + [429] * 2
    assert neighbours == [401] * 10 + [429] * 2
