"""Families of refresh tokens under random histories and in a thousand tabs: one that lives, or none."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
import uvloop
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import func, select, update

from lorestream.accounts import keyring, store
from lorestream.accounts.audit import Audit
from lorestream.accounts.keyring import Keyring, rotate
from lorestream.accounts.models import AuditEvent, Login, Principal, UsedRefreshToken, User
from lorestream.accounts.sessions import REFRESH_GRACE_SECONDS, Sessions
from lorestream.accounts.tokens import token_hash
from lorestream.db import Database
from lorestream.errors import Unauthenticated
from tests.fakes.edge import Clock, accounts_server
from tests.fakes.edge import settings as edge_settings

T = TypeVar("T")
LIFE, LONGEST = 2_000_000, 5_000_000
GRACE = timedelta(seconds=REFRESH_GRACE_SECONDS)
TABS, SOCKETS = 1000, 100
COOKIE = re.compile(rb"set-cookie: lorestream_refresh=([0-9a-f]+)")


@dataclass
class Family:
    """What the model knows of a login: its tokens in the order in which they were given, and when each was used."""

    user: str
    begun: datetime
    last: datetime
    tokens: list[str]
    accesses: list[str]
    used: list[datetime] = field(default_factory=list)
    ended: bool = False

    def lives(self, now: datetime) -> bool:
        return not self.ended and now < min(
            self.last + timedelta(seconds=LIFE), self.begun + timedelta(seconds=LONGEST)
        )


class Site:
    """The sessions of one data directory at two workers, and a loop to ask them from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.db = Database(folder / "lorestream.db")
        self.db.migrate()
        chosen = edge_settings(folder, refresh_token_seconds=LIFE, session_max_seconds=LONGEST)
        audit = Audit(self.db, self.clock)
        self.rings = [Keyring(folder, 600, lambda: self.clock().timestamp()) for _ in range(2)]
        self.workers = [Sessions(self.db, chosen, ring, audit, self.clock) for ring in self.rings]
        for ring in self.rings:
            self.run(ring.open())
        self.users = itertools.count()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def close(self) -> None:
        self.run(self.db.close())
        self.runner.close()


class Families(RuleBasedStateMachine):
    """Logs in, refreshes with any token ever given, lets time pass, logs out, revokes and rotates keys."""

    site: ClassVar[Site]
    families = Bundle("families")

    def __init__(self) -> None:
        super().__init__()
        # Past the life of the keys of histories before: they are deleted at the next look.
        self.site.clock.advance(2 * keyring.KEEP_SECONDS)
        self.site.run(self.site.rings[0].newest_tokens())
        self.known: list[Family] = []
        self.reuses = 0
        self.before = self.events()

    @property
    def now(self) -> datetime:
        return self.site.clock()

    def events(self) -> int:
        async def count() -> int:
            async with self.site.db.read() as session:
                found = select(func.count()).select_from(AuditEvent).where(AuditEvent.kind == "refresh_reused")
                return await session.scalar(found) or 0

        return self.site.run(count())

    @rule(target=families, worker=st.integers(0, 1))
    def log_in(self, worker: int) -> Family:
        user = f"{next(self.site.users):032x}"

        async def begin() -> Any:
            row = User(user_id=user, email=user, password_hash="x", is_admin=False, created_at=self.site.clock())
            async with self.site.db.write() as session:
                await store.add(session, row)
            return await self.site.workers[worker].begin(user, "x", "127.0.0.1", "test")

        issued = self.site.run(begin())
        family = Family(user, self.now, self.now, [issued.refresh_token], [issued.access_token])
        self.known.append(family)
        return family

    @rule(family=families, which=st.integers(-4, -1), worker=st.integers(0, 1), tabs=st.sampled_from([1, 1, 1, 3]))
    def refresh(self, family: Family, which: int, worker: int, tabs: int) -> None:
        """With the token given last, or one before it; here or in several tabs at once."""
        place = max(0, len(family.tokens) + which)
        answers = self.site.run(self._refresh(worker, family.tokens[place], tabs))
        is_present = place == len(family.tokens) - 1
        is_repeated = place == len(family.tokens) - 2 and family.used[place] >= self.now - GRACE
        if not family.lives(self.now):
            assert answers == [None] * tabs, "a dead family never lives again"
        elif is_present or is_repeated:
            [successor] = {issued.refresh_token for issued in answers}
            if is_present:
                assert successor not in family.tokens
                family.tokens.append(successor)
                family.used.append(self.now)
                family.last = self.now
            assert successor == family.tokens[-1]
            family.accesses.append(answers[0].access_token)
        else:
            assert answers == [None] * tabs
            family.ended = True
            self.reuses += 1

    async def _refresh(self, worker: int, token: str, tabs: int) -> list[Any]:
        async def one(number: int) -> Any:
            try:
                return await self.site.workers[(worker + number) % 2].refresh(token)
            except Unauthenticated:
                return None

        async with asyncio.timeout(60):
            return await asyncio.gather(*(one(number) for number in range(tabs)))

    @rule(token=st.text(max_size=50))
    def guess(self, token: str) -> None:
        assert self.site.run(self._refresh(0, token, 1)) == [None]

    @rule(seconds=st.sampled_from([0.5, 9.5, 10, 10.5, 700, 4000, LIFE / 3, LIFE]))
    def let_time_pass(self, seconds: float) -> None:
        self.site.clock.advance(seconds)

    @rule(family=families, place=st.integers(0, 100), by_access=st.booleans())
    def log_out(self, family: Family, place: int, by_access: bool) -> None:
        tokens = (family.accesses[-1], None) if by_access else (None, family.tokens[place % len(family.tokens)])
        is_worthless = by_access and not self.site.run(self._is_accepted(family.accesses[-1]))
        self.site.run(self.site.workers[0].logout(*tokens))
        family.ended = family.ended or not is_worthless

    @rule(family=families)
    def log_out_everywhere(self, family: Family) -> None:
        self.site.run(self.site.workers[1].logout_everywhere(Principal(family.user, "", "")))
        family.ended = True

    @rule(at_once=st.booleans())
    def rotate_keys(self, at_once: bool) -> None:
        rotate(self.site.folder, self.now.timestamp())
        if at_once:
            self.site.run(self.site.rings[0].newest_tokens())

    @rule(family=families)
    def disable_for_a_moment(self, family: Family) -> None:
        """Nothing of a disabled user's lives; enabled again, they go on where they were."""

        async def put(when: Any) -> None:
            async with self.site.db.write() as session:
                await session.execute(update(User).where(User.user_id == family.user).values(disabled_at=when))

        self.site.run(put(self.site.clock()))
        assert self.site.run(self._refresh(0, family.tokens[-1], 1)) == [None]
        self.site.run(put(None))

    async def _is_accepted(self, access: str) -> bool:
        try:
            claims = await self.site.rings[0].check_access(access)
        except Unauthenticated:
            return False
        async with self.site.db.read() as session:
            return await store.principal_of(session, claims.session_id, self.site.clock()) is not None

    @invariant()
    def at_most_one_token_of_a_family_lives(self) -> None:
        async def stored() -> dict[str, Login]:
            users = [family.user for family in self.known]
            async with self.site.db.read() as session:
                return {
                    one.user_id: one for one in await session.scalars(select(Login).where(Login.user_id.in_(users)))
                }

        found = self.site.run(stored()) if self.known else {}
        for family in self.known:
            if login := found.get(family.user):
                lives = login.revoked_at is None and login.expires_at > self.site.clock()
                assert lives == family.lives(self.now)
                assert login.refresh_hash == token_hash(family.tokens[-1])
            else:
                assert not family.lives(self.now)

    @invariant()
    def every_theft_is_audited_once(self) -> None:
        assert self.events() - self.before == self.reuses

    def teardown(self) -> None:
        """No access token outlives its family."""
        for family in self.known:
            if not family.lives(self.now):
                assert not self.site.run(self._is_accepted(family.accesses[-1]))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(keyring, "LOOK_SECONDS", 0.0)  # the clock is moved by days, and the keys go with it
    monkeypatch.setattr(keyring, "UNKNOWN_KEY_LOOK_SECONDS", 0.0)
    one = Site(tmp_path)
    yield one
    one.close()


@pytest.mark.timeout(3600)
def test_random_histories_leave_one_living_token_or_none(site: Site, soak: bool) -> None:
    Families.site = site
    run_state_machine_as_test(
        Families,
        settings=settings(
            max_examples=400 if soak else 15,
            stateful_step_count=40 if soak else 20,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


async def refresh_often(port: int, token: str, times: int) -> list[bytes]:
    """The heads of the answers to so many refreshes, one after the other on one connection."""
    request = (
        f"POST /auth/refresh HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: lorestream_refresh={token}\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heads = []
    try:
        for _ in range(times):
            writer.write(request)
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            length = re.search(rb"content-length: (\d+)", heads[-1])
            assert length
            await reader.readexactly(int(length[1]))
    finally:
        writer.close()
    return heads


async def test_a_thousand_tabs_at_two_workers_get_one_successor(
    tmp_path: Path, measured: Callable[[str], None]
) -> None:
    async with asyncio.timeout(110), accounts_server(tmp_path) as one, accounts_server(tmp_path) as two:
        _, token = await one.tokens()
        ports = [int(server.url.rpartition(":")[2]) for server in (one, two)]
        asked = [refresh_often(ports[number % 2], token, TABS // SOCKETS) for number in range(SOCKETS)]
        heads = list(itertools.chain.from_iterable(await asyncio.gather(*asked)))
        assert {head.split(b" ", 2)[1] for head in heads} == {b"200"}
        successors = {cookie[1].decode() for head in heads for cookie in COOKIE.finditer(head)}
        assert (len(heads), len(successors)) == (TABS, 1)
        async with one.db.read() as session:
            assert await session.scalar(select(func.count()).select_from(Login)) == 1
            assert await session.scalar(select(func.count()).select_from(UsedRefreshToken)) == 1
        assert (await two.refresh(successors.pop())).status_code == 200
        assert await one.events("refresh_reused") == 0
    measured(
        f"{TABS} parallel refreshes of one token, {SOCKETS} at a time, at 2 workers: all 200, 1 distinct successor, "
        "1 living token"
    )
