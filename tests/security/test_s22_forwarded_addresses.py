"""S22: a caller cannot escape the login limit by forging X-Forwarded-For, whatever stands in front."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from tests.fakes.edge import accounts_server, settings
from tests.fakes.nginx import stock_nginx

# What every proxy tutorial shows: the client's own header is kept, and what the proxy saw is added behind it.
APPENDS = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"


async def statuses(client: httpx.AsyncClient, forwarded: list[str], email: str) -> list[int]:
    form = {"username": email, "password": "wrong-one"}
    return [
        (await client.post("/auth/token", data=form, headers={"X-Forwarded-For": value})).status_code
        for value in forwarded
    ]


HUNDRED = [f"203.0.113.{number}" for number in range(100)]


@pytest.mark.parametrize("trusted", [[], ["10.0.0.1"]])
async def test_from_an_untrusted_peer_the_header_changes_nothing(tmp_path: Path, trusted: list[str]) -> None:
    async with accounts_server(tmp_path, config={"forwarded_allow_ips": trusted}) as server:
        answers = await statuses(server.client, HUNDRED, "one@example.com")
        assert answers == [401] * 10 + [429] * 90
        many = [(await statuses(server.client, [value], f"user{value}@example.com"))[0] for value in HUNDRED]
        assert many == [401] * 20 + [429] * 80, "nor at a hundred accounts: the address has thirty in all"


async def test_through_a_real_nginx_only_the_hop_it_saw_counts(tmp_path: Path) -> None:
    async with accounts_server(tmp_path / "data", config={"forwarded_allow_ips": ["127.0.0.1"]}) as server:
        proxy = stock_nginx(tmp_path / "nginx", server.url, extra=APPENDS)
        url = await asyncio.to_thread(proxy.__enter__)
        try:
            # From an address of its own: one that the server trusts may say what it likes.
            transport = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
            async with httpx.AsyncClient(base_url=url, transport=transport) as client:
                answers = await statuses(client, HUNDRED, "one@example.com")
            assert answers == [401] * 10 + [429] * 90
        finally:
            await asyncio.to_thread(proxy.__exit__, None, None, None)


async def test_a_trusted_proxy_tells_its_clients_apart(tmp_path: Path) -> None:
    async with accounts_server(tmp_path, config={"forwarded_allow_ips": ["127.0.0.1"]}) as server:
        forged = await statuses(
            server.client, [f"198.51.100.{number}, 203.0.113.7" for number in range(12)], "one@example.com"
        )
        neighbours = await statuses(
            server.client, [f"2001:db8:1:2::{number:x}" for number in range(12)], "two@example.com"
        )
        assert await statuses(server.client, ["203.0.113.8", "2001:db8:1:3::1"], "one@example.com") == [401, 401]
    assert forged == [401] * 10 + [429] * 2
    assert neighbours == [401] * 10 + [429] * 2


@pytest.mark.parametrize("everybody", ["*", "0.0.0.0/0", "::/0", "127.0.0.1,*"])
def test_trusting_everybody_is_refused_at_the_start(tmp_path: Path, everybody: str) -> None:
    with pytest.raises(ValidationError, match="forged client address"):
        settings(tmp_path, trusted_proxies=everybody)
