"""S28: who has an account here cannot be told by status, body, headers or time, neither at login nor by registering."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from lorestream.accounts.audit import Audit
from lorestream.accounts.invitations import Invitations
from lorestream.accounts.models import User
from tests.fakes.edge import EMAIL, PASSWORD, AccountsServer, accounts_server

LOGINS, TRIES, TOLERANCE = 200, 5, 0.10
DISABLED, UNKNOWN = "disabled@example.com", "nobody@example.com"
VARYING = ("x-request-id", "date")

Ask = Callable[[], Awaitable[httpx.Response]]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AccountsServer]:
    async with accounts_server(tmp_path) as server:
        yield server


async def interleaved(asks: dict[str, Ask], times: int) -> tuple[dict[str, list[float]], dict[str, httpx.Response]]:
    """Ask so often in all, in an order that changes; the milliseconds that each took, and its last answer."""
    taken: dict[str, list[float]] = {name: [] for name in asks}
    answers: dict[str, httpx.Response] = {}
    for _ in range(times // len(asks)):
        for name in random.sample(list(asks), len(asks)):
            began = time.perf_counter()
            answers[name] = await asks[name]()
            taken[name].append(1000 * (time.perf_counter() - began))
    return taken, answers


def medians_of(taken: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(each) for name, each in taken.items()}


def agree(medians: dict[str, float]) -> bool:
    return max(medians.values()) <= (1 + TOLERANCE) * min(medians.values())


async def medians_that_agree(asks: dict[str, Ask], times: int) -> tuple[dict[str, float], dict[str, httpx.Response]]:
    """Repeated until the medians, of one time or of all times so far, agree: the machine does other things as well."""
    everything: dict[str, list[float]] = {name: [] for name in asks}
    for _ in range(TRIES):
        taken, answers = await interleaved(asks, times)
        for name, each in taken.items():
            everything[name] += each
        for medians in (medians_of(taken), medians_of(everything)):
            if agree(medians):
                return medians, answers
    raise AssertionError(f"the medians of {TRIES} times {times} differ: {medians_of(everything)}")


def shown(answer: httpx.Response) -> tuple[Any, ...]:
    """Everything by which two answers could be told apart."""
    headers = sorted(item for item in answer.headers.items() if item[0] not in VARYING)
    return answer.status_code, headers, {**answer.json(), "instance": ""}


def all_the_same(answers: dict[str, httpx.Response]) -> tuple[Any, ...]:
    first, *others = map(shown, answers.values())
    for other in others:
        assert other == first
    return first


def told(medians: dict[str, float]) -> str:
    return ", ".join(f"{name} {median:.1f} ms" for name, median in medians.items())


async def test_a_login_that_fails_takes_as_long_for_every_reason(
    tmp_path: Path, measured: Callable[[str], None]
) -> None:
    async with accounts_server(tmp_path) as server:
        for email in (EMAIL, DISABLED):
            assert (await server.register(email)).status_code == 201
        async with server.db.write() as session:
            await session.execute(update(User).where(User.email == DISABLED).values(disabled_at=server.clock()))
        server.accounts.throttle._backoff._max_keys = 0  # forget every failure: this is about time
        asks: dict[str, Ask] = {
            "known": lambda: server.log_in(EMAIL, "wrong-one"),
            "unknown": lambda: server.log_in(UNKNOWN, "wrong-one"),
            "disabled": lambda: server.log_in(DISABLED, PASSWORD),
        }
        medians, answers = await medians_that_agree(asks, LOGINS)
        assert all_the_same(answers)[0] == 401
    measured(f"{LOGINS} interleaved logins that fail, medians: {told(medians)}")


async def test_waiting_after_failures_is_the_same_with_and_without_an_account(tmp_path: Path) -> None:
    seen = {}
    for number, email in enumerate((EMAIL, UNKNOWN)):
        async with accounts_server(tmp_path / str(number)) as server:
            await server.register(EMAIL)
            answers = [await server.log_in(email, "wrong-one") for _ in range(14)]
            seen[email] = [(answer.status_code, answer.headers.get("retry-after")) for answer in answers]
    assert seen[EMAIL] == seen[UNKNOWN]
    assert seen[EMAIL][-1][0] == 429


@pytest.mark.parametrize("mode", ["invite", "closed"])
async def test_who_may_not_register_learns_nothing(tmp_path: Path, mode: str, measured: Callable[[str], None]) -> None:
    async with accounts_server(tmp_path, registration=mode) as server:
        assert (await server.register()).status_code == 201

        def asking(email: str, code: str) -> Ask:
            async def ask() -> httpx.Response:
                server.clock.advance(10)  # past the limit of attempts
                body = {"email": email, "password": PASSWORD, "invitation": code}
                return await server.client.post("/auth/register", json=body)

            return ask

        asks = {"taken": asking(EMAIL, "x" * 43), "free": asking(UNKNOWN, "x" * 43)}
        medians, answers = await medians_that_agree(asks, 100)
        assert all_the_same(answers)[0] == 403
    measured(f"registering where it is {mode}, medians: {told(medians)}")


async def test_who_may_register_learns_what_is_taken_at_the_price_of_a_registration(tmp_path: Path) -> None:
    async with accounts_server(tmp_path) as server:
        assert (await server.register()).status_code == 201
        numbers = iter(range(1000))

        async def free() -> httpx.Response:
            server.clock.advance(10)
            return await server.register(f"user{next(numbers)}@example.com")

        async def taken() -> httpx.Response:
            server.clock.advance(10)
            return await server.register()

        for _ in range(TRIES):
            times, answers = await interleaved({"taken": taken, "free": free}, 30)
            medians = medians_of(times)
            if medians["taken"] > 0.5 * medians["free"]:
                break
        assert medians["taken"] > 0.5 * medians["free"], medians
        assert (answers["taken"].status_code, answers["free"].status_code) == (409, 201)
        many = [await server.register() for _ in range(30)]
        assert {answer.status_code for answer in many} == {409, 429}


async def test_an_invitation_for_one_address_tells_nothing_of_another(tmp_path: Path) -> None:
    async with accounts_server(tmp_path, registration="invite") as server:
        made = (await server.register()).json()
        service = Invitations(server.db, Audit(server.db, server.clock), server.clock)
        _, code = await service.create(made["user_id"], "guest@example.com", 7)
        answers = {
            email: await server.client.post(
                "/auth/register", json={"email": email, "password": PASSWORD, "invitation": code}
            )
            for email in (EMAIL, UNKNOWN)
        }
        assert all_the_same(answers)[0] == 403


async def test_a_wrong_current_password_is_answered_as_whoever_asks_is_known(server: AccountsServer) -> None:
    access, _ = await server.tokens()
    body = {"current_password": "wrong-one", "new_password": "another good one"}
    headers = {"Authorization": f"Bearer {access}"}
    first = await server.client.post("/auth/password", json=body, headers=headers)
    assert (first.status_code, first.json()["errors"][0]["field"]) == (422, "body.current_password")
    async with server.db.write() as session:
        await session.execute(update(User).values(disabled_at=server.clock()))
    disabled = await server.client.post("/auth/password", json=body, headers=headers)
    unknown = await server.client.post("/auth/password", json=body, headers={"Authorization": "Bearer x"})
    assert shown(disabled) == shown(unknown)
    assert disabled.status_code == 401
