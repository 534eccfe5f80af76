"""S28: an unknown email and a wrong password cannot be told apart, by the answer or by its time."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import httpx

from tests.fakes.edge import EMAIL, accounts_server

ROUNDS = 60


async def test_the_same_answer_after_the_same_time(tmp_path: Path) -> None:
    async with accounts_server(tmp_path) as server:
        await server.register()
        server.accounts.throttle._backoff._max_keys = 0  # forget every failure: this is about time
        times: dict[str, list[float]] = {EMAIL: [], "nobody@example.com": []}
        answers: dict[str, httpx.Response] = {}
        for _ in range(ROUNDS):
            for email, taken in times.items():
                began = time.perf_counter()
                answers[email] = await server.log_in(email, "wrong-one")
                taken.append(time.perf_counter() - began)
    known, unknown = answers.values()
    assert known.status_code == unknown.status_code == 401
    varying = ("x-request-id", "date")
    assert [item for item in known.headers.items() if item[0] not in varying] == [
        item for item in unknown.headers.items() if item[0] not in varying
    ]
    assert {**known.json(), "instance": ""} == {**unknown.json(), "instance": ""}
    # The fastest tenth: on a busy machine everything else is the machine's noise.
    fast = {email: statistics.mean(sorted(taken)[: ROUNDS // 10]) for email, taken in times.items()}
    assert 0.8 < fast[EMAIL] / fast["nobody@example.com"] < 1.25, fast
