"""Servers for tests of the HTTP edge: any application, or just the accounts, on a real socket in the test's loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import func, select

from lorestream.accounts.audit import Audit
from lorestream.accounts.invitations import Invitations
from lorestream.accounts.keys import Keys
from lorestream.accounts.keys_routes import router as keys_router
from lorestream.accounts.models import AuditEvent
from lorestream.accounts.quotas import Quotas
from lorestream.accounts.routes import router
from lorestream.accounts.service import Accounts
from lorestream.db import Database
from lorestream.http import install_error_handlers
from lorestream.limits import RateLimiter
from lorestream.middleware import BodyLimit, RequestContext, add_slash_twins
from lorestream.settings import Settings

EMAIL, PASSWORD = "test@example.com", "secret123"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(app: Any, **config: Any) -> AsyncIterator[str]:
    """Serve an ASGI application on a free port of 127.0.0.1; gives its URL."""
    # With the protocol named: asyncio sets TCP_NODELAY only then, and without it every answer takes 40 ms longer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = _Server(uvicorn.Config(app, **{"http": "httptools", "log_config": None, "access_log": False, **config}))
    task = asyncio.create_task(server.serve([listener]))
    async with asyncio.timeout(10):
        await asyncio.wait([task, up := asyncio.create_task(server.is_up.wait())], return_when="FIRST_COMPLETED")
        up.cancel()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        async with asyncio.timeout(10):
            await task


class Clock:
    """The time of day, moved by hand."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass
class AccountsServer:
    """The account endpoints behind the whole edge kit."""

    url: str
    accounts: Accounts
    db: Database
    clock: Clock
    client: httpx.AsyncClient

    async def register(self, email: str = EMAIL, password: str = PASSWORD) -> httpx.Response:
        return await self.client.post("/auth/register", json={"email": email, "password": password})

    async def log_in(self, email: str = EMAIL, password: str = PASSWORD) -> httpx.Response:
        return await self.client.post("/auth/token", data={"username": email, "password": password})

    async def tokens(self, email: str = EMAIL) -> tuple[str, str]:
        """Register and log in: the access token and the refresh token."""
        assert (await self.register(email)).status_code == 201
        answer = await self.log_in(email)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"], answer.cookies["lorestream_refresh"]

    async def me(self, access_token: str) -> httpx.Response:
        return await self.client.get("/auth/me", headers={"Authorization": f"Bearer {access_token}"})

    async def events(self, kind: str) -> int:
        """How many of this kind the audit log holds."""
        async with self.db.read() as session:
            counted = select(func.count()).select_from(AuditEvent).where(AuditEvent.kind == kind)
            return await session.scalar(counted) or 0

    async def refresh(self, refresh_token: str, **headers: str) -> httpx.Response:
        """Refresh with exactly this cookie, whatever the client has stored."""
        self.client.cookies.clear()
        return await self.client.post(
            "/auth/refresh", headers={"Cookie": f"lorestream_refresh={refresh_token}", **headers}
        )


def settings(data_dir: Path, **values: Any) -> Settings:
    """Settings that come from nowhere but here."""
    return Settings(_env_file=None, data_dir=data_dir, **values)


@asynccontextmanager
async def accounts_server(
    data_dir: Path, *, config: dict[str, Any] | None = None, **values: Any
) -> AsyncIterator[AccountsServer]:
    """Serve the accounts of a data directory, with a clock that stands still until it is moved."""
    chosen = settings(data_dir, **{"user_rate": "0/minute", **values})
    clock, database = Clock(), Database(data_dir / "lorestream.db")
    await asyncio.to_thread(data_dir.mkdir, exist_ok=True)
    await asyncio.to_thread(database.migrate)
    audit = Audit(database, clock)
    limiter = RateLimiter(lambda: clock().timestamp())
    accounts = Accounts(database, chosen, limiter, audit, Invitations(database, audit, clock), clock)
    await accounts.open()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        keys = Keys(database, Audit(database, clock), clock)
        yield {"accounts": accounts, "keys": keys, "quotas": Quotas(database, chosen, limiter, clock)}
        await keys.close()

    app = FastAPI(lifespan=lifespan, redirect_slashes=False)
    install_error_handlers(app)
    app.include_router(router)
    app.include_router(keys_router)
    add_slash_twins(app)
    app.add_middleware(BodyLimit, max_upload_bytes=1, upload_paths=())
    app.add_middleware(RequestContext)
    try:
        async with served(app, **(config or {})) as url, httpx.AsyncClient(base_url=url) as client:
            yield AccountsServer(url, accounts, database, clock, client)
    finally:
        await accounts.close()
        await database.close()
