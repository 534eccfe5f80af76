"""S21: a token in a URL never authenticates, and no token or password is logged."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.fakes.edge import EMAIL, PASSWORD, accounts_server


async def test_only_the_header_counts_and_nothing_secret_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "lorestream")
    caplog.set_level(logging.DEBUG, "uvicorn")
    async with accounts_server(tmp_path) as server:
        access, refresh = await server.tokens()
        for name in ("token", "access_token", "authorization", "bearer", "jwt"):
            answer = await server.client.get("/auth/me", params={name: access})
            assert answer.status_code == 401
            assert (await server.client.post("/auth/refresh", params={name: refresh})).status_code in (200, 401)
        server.client.cookies.clear()
        answer = await server.client.get("/auth/me", headers={"Cookie": f"access_token={access}; token={access}"})
        assert answer.status_code == 401
        answer = await server.client.post("/auth/token", params={"username": EMAIL, "password": PASSWORD})
        assert answer.status_code == 422
        await server.client.post("/auth/register", json={"email": EMAIL, "password": [PASSWORD]})
    logged = [record for record in caplog.records if record.name.startswith(("lorestream", "uvicorn"))]
    for record in logged:
        for secret in (access, refresh, PASSWORD):
            assert secret not in record.getMessage()
