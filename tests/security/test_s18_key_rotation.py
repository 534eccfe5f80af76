"""S18: keys are rotated in the middle of everybody's work and nobody is logged out; a removed key is worth nothing."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

import httpx
import jwt
import pytest
from sqlalchemy import select

from lorestream.accounts import keyring
from lorestream.accounts.models import User
from lorestream.accounts.tokens import Tokens
from tests.fakes.edge import AccountsServer, accounts_server

SESSIONS, USERS = 100, 4
AT_ONCE = 8


async def rotate(data_dir: Path, *options: str) -> str:
    """As whoever runs the server does it, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LORESTREAM_")}
    command = [sys.executable, "-m", "lorestream", "keys", "rotate", "--data-dir", str(data_dir), *options]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment, cwd=data_dir
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode()


def kid(access: str) -> str:
    name: str = jwt.get_unverified_header(access)["kid"]
    return name


class Tab:
    """A page that asks and refreshes, now here, now there."""

    def __init__(self, workers: list[AccountsServer], access: str, refresh: str) -> None:
        self.workers, self.access, self.cookie = workers, access, refresh
        self.rounds = 0
        self.refused: list[int] = []
        self.kids = [kid(access)]

    async def use(self) -> None:
        answer = await random.choice(self.workers).me(self.access)
        if answer.status_code != 200:
            self.refused.append(answer.status_code)
        answer = await random.choice(self.workers).refresh(self.cookie)
        if answer.status_code != 200:
            self.refused.append(answer.status_code)
            return
        self.access, self.cookie = answer.json()["access_token"], answer.cookies["lorestream_refresh"]
        self.kids.append(kid(self.access))
        self.rounds += 1

    async def work(self, until: asyncio.Event, turn: asyncio.Semaphore) -> None:
        while not until.is_set() and not self.refused:
            async with turn:
                await self.use()


async def open_tabs(workers: list[AccountsServer]) -> list[Tab]:
    tabs = []
    for number in range(USERS):
        assert (await workers[0].register(f"user{number}@example.com")).status_code == 201
    async with workers[0].db.read() as session:
        users = list(await session.scalars(select(User)))
    for user in users:
        for _ in range(SESSIONS // USERS):
            # Not by the password: hashing it a hundred times is no part of this.
            begun = await workers[0].accounts.sessions.begin(user.user_id, user.password_hash or "", "127.0.0.1", "tab")
            tabs.append(Tab(workers, begun.access_token, begun.refresh_token))
    return tabs


async def test_a_hundred_sessions_over_two_workers_outlive_rotations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "LOOK_SECONDS", 0.5)
    monkeypatch.setattr(keyring, "UNKNOWN_KEY_LOOK_SECONDS", 0.1)
    async with asyncio.timeout(110), accounts_server(tmp_path) as one, accounts_server(tmp_path) as two:
        for worker in (one, two):
            worker.client.timeout = httpx.Timeout(60)
        tabs = await open_tabs([one, two])
        before = [tab.access for tab in tabs]
        over, turn = asyncio.Event(), asyncio.Semaphore(AT_ONCE)
        working = [asyncio.create_task(tab.work(over, turn)) for tab in tabs]
        old = {kid(access) for access in before}
        await rotate(tmp_path)
        keyring.rotate(tmp_path, one.clock().timestamp())
        newest = kid_of_newest(tmp_path)
        while not all(tab.kids[-1] == newest or tab.refused for tab in tabs):
            await asyncio.wait(working, timeout=0.1)
        over.set()
        await asyncio.gather(*working)
        assert [tab.refused for tab in tabs if tab.refused] == []
        assert min(tab.rounds for tab in tabs) >= 1
        assert len(old) == 1
        assert newest not in old
        # A token from before is believed as long as it lives.
        for access in before:
            assert (await random.choice([one, two]).me(access)).status_code == 200
        assert await one.events("keys_rotated") == 1
        assert await one.events("refresh_reused") == 0


def kid_of_newest(data_dir: Path) -> str:
    newest = keyring.load_keys(data_dir, 0)[0]
    return kid(Tokens(newest, 600).issue_access("u", "s"))


async def test_a_removed_key_is_worth_nothing_and_pages_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "LOOK_SECONDS", 0.0)
    async with accounts_server(tmp_path) as server:
        access, refresh = await server.tokens()
        assert "older keys are deleted" in await rotate(tmp_path, "--drop-old")
        answer = await server.me(access)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        answer = await server.refresh(refresh)
        assert answer.status_code == 200
        assert (await server.me(answer.json()["access_token"])).status_code == 200


async def test_tabs_that_refresh_around_a_rotation_get_the_same_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "UNKNOWN_KEY_LOOK_SECONDS", 0.05)
    async with accounts_server(tmp_path) as one, accounts_server(tmp_path) as two:
        _, first = await one.tokens()
        second = (await one.refresh(first)).cookies["lorestream_refresh"]
        keyring.rotate(tmp_path, one.clock().timestamp())
        await one.accounts._keyring._look(0)
        assert (await one.refresh(first)).cookies["lorestream_refresh"] == second
        third = (await one.refresh(second)).cookies["lorestream_refresh"]
        # The other worker has not looked yet, and does so before it calls anybody a thief.
        assert (await two.refresh(second)).cookies["lorestream_refresh"] == third
        assert await one.events("refresh_reused") == 0
