"""Administration over HTTP and by the command line: users, invitations, the audit log, and the last administrator."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.reading import GEO
from tests.fakes.server import PASSWORD, RunningServer, running_server

ROOT = "root@example.com"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[RunningServer]:
    """One server for all tests of this file, where whoever is not the first must be invited."""
    folder = tmp_path_factory.mktemp("administration")
    with running_server(folder / "data", models_dir, registration="invite") as started:
        started.register(ROOT)
        yield started


@pytest.fixture
def root(server: RunningServer) -> Iterator[httpx.Client]:
    """The first administrator."""
    with httpx.Client(base_url=server.url, headers=server.log_in(ROOT), timeout=30) as client:
        yield client


def add(root: httpx.Client, email: str, **values: Any) -> dict[str, Any]:
    made = root.post("/admin/users", json={"email": email, "password": PASSWORD, **values})
    assert made.status_code == 201, made.text
    user: dict[str, Any] = made.json()["user"]
    return user


def events(root: httpx.Client, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = root.get("/admin/events", params=params).raise_for_status().json()["items"]
    return found


def can_log_in(server: RunningServer, email: str, password: str = PASSWORD) -> bool:
    return httpx.post(f"{server.url}/auth/token", data={"username": email, "password": password}).is_success


def test_a_user_is_added_with_a_password_that_is_shown_once(server: RunningServer, root: httpx.Client) -> None:
    made = root.post("/admin/users", json={"email": " Ann@Example.com "})
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    assert made.json()["user"]["email"] == "ann@example.com"
    assert can_log_in(server, "ann@example.com", made.json()["password"])
    assert root.post("/admin/users", json={"email": "ann@example.com"}).status_code == 409
    given = root.post("/admin/users", json={"email": "given@example.com", "password": PASSWORD, "is_admin": True})
    assert (given.json()["password"], given.json()["user"]["is_admin"]) == (None, True)
    for wrong in ({"email": "x"}, {"email": "y@example.com", "password": "short"}, {"email": None}, {}):
        assert root.post("/admin/users", json=wrong).status_code == 422
    assert [event["kind"] for event in events(root, user_id=made.json()["user"]["user_id"])] == ["login", "user_added"]


def test_the_list_shows_what_each_user_has_and_can_be_searched(server: RunningServer, root: httpx.Client) -> None:
    users = [add(root, f"list{number}@example.com") for number in range(5)]
    server.upload(server.log_in("list3@example.com"), "geo.txt", GEO)
    found: list[dict[str, Any]] = []
    cursor = None
    while cursor or not found:
        page = root.get("/admin/users", params={"q": "LIST", "limit": 2, **({"cursor": cursor} if cursor else {})})
        found += page.json()["items"]
        cursor = page.json()["next_cursor"]
    assert [one["user_id"] for one in found] == [one["user_id"] for one in reversed(users)]
    having = {one["email"]: (one["documents"], one["stored_bytes"], one["last_used_at"] is None) for one in found}
    assert having["list3@example.com"] == (1, len(GEO), False)
    assert having["list2@example.com"] == (0, 0, True)
    assert root.get("/admin/users", params={"q": "%"}).json()["items"] == []


def test_administration_is_for_administrators_and_unknown_ids_are_404(
    server: RunningServer, root: httpx.Client
) -> None:
    add(root, "plain@example.com")
    routes = json.loads((Path(__file__).parents[2] / "wire/openapi.json").read_text())["paths"]
    tried = 0
    with httpx.Client(base_url=server.url, headers=server.log_in("plain@example.com")) as plain:
        for path, operations in routes.items():
            for method in operations if path.startswith("/admin/") else ():
                url = path.replace("{user_id}", "0" * 32).replace("{invitation_id}", "0" * 32)
                assert plain.request(method, url, json={"email": "z@example.com"}).status_code == 403, path
                if url != path:
                    assert root.request(method, url, json={}).status_code == 404, path
                tried += 1
    assert tried >= 9
    assert not can_log_in(server, "z@example.com")


def test_a_disabled_user_is_out_and_an_enabled_one_logs_in_again(server: RunningServer, root: httpx.Client) -> None:
    user = add(root, "out@example.com")
    login = server.log_in("out@example.com")
    key = httpx.post(f"{server.url}/auth/keys", json={"name": "k", "scopes": ["read"]}, headers=login).json()["key"]
    program = {"Authorization": f"Bearer {key}"}
    changed = root.patch(f"/admin/users/{user['user_id']}", json={"disabled": True}).json()
    assert changed["disabled_at"] is not None
    assert not can_log_in(server, "out@example.com")
    for headers in (login, program):
        assert httpx.get(f"{server.url}/documents/", headers=headers).status_code == 401
    assert root.patch(f"/admin/users/{user['user_id']}", json={"disabled": False}).json()["disabled_at"] is None
    assert can_log_in(server, "out@example.com")
    assert httpx.get(f"{server.url}/documents/", headers=login).status_code == 401, "the old login stays ended"
    assert httpx.get(f"{server.url}/documents/", headers=program).status_code == 200
    kinds = [event["kind"] for event in events(root, user_id=user["user_id"])]
    assert kinds[1:3] == ["user_enabled", "login_failed"]
    assert kinds[3] == "user_disabled"


def test_a_reset_ends_logins_and_keys(server: RunningServer, root: httpx.Client) -> None:
    user = add(root, "forgot@example.com")
    login = server.log_in("forgot@example.com")
    key = httpx.post(f"{server.url}/auth/keys", json={"name": "k", "scopes": ["read"]}, headers=login).json()["key"]
    password = root.post(f"/admin/users/{user['user_id']}/reset-password").json()["password"]
    assert can_log_in(server, "forgot@example.com", password)
    assert not can_log_in(server, "forgot@example.com")
    for headers in (login, {"Authorization": f"Bearer {key}"}):
        assert httpx.get(f"{server.url}/documents/", headers=headers).status_code == 401


def test_limits_of_a_user_are_named_and_bounded(server: RunningServer, root: httpx.Client) -> None:
    user = add(root, "limited@example.com")
    path = f"/admin/users/{user['user_id']}"
    wrong: Any
    for wrong in ({"coffee": 1}, {"documents": -1}, {"documents": 2**60}, {"documents": "x"}, {"documents": None}, []):
        assert root.patch(path, json={"limits": wrong}).status_code == 422, wrong
    assert root.patch(path, json={"limits": {"documents": 1, "tokens_per_day": 0}}).json()["limits"] == {
        "documents": 1,
        "tokens_per_day": 0,
    }
    login = server.log_in("limited@example.com")
    shown = httpx.get(f"{server.url}/auth/limits", headers=login).json()["items"]
    assert {one["name"]: one["limit"] for one in shown}["documents"] == 1
    server.upload(login, "geo.txt", GEO)
    files = {"file": ("other.txt", b"Rome is the capital of Italy.")}
    assert httpx.post(f"{server.url}/documents/", files=files, headers=login, timeout=60).status_code == 403
    assert root.patch(path, json={"limits": None}).json()["limits"] is None
    assert root.patch(path, json={"is_admin": None}).status_code == 422


def test_an_invitation_lets_one_person_in_once(server: RunningServer, root: httpx.Client) -> None:
    def register(email: str, code: str | None) -> int:
        body = {"email": email, "password": PASSWORD, **({"invitation": code} if code else {})}
        return httpx.post(f"{server.url}/auth/register", json=body).status_code

    made = root.post("/admin/invitations", json={"email": "Guest@example.com", "expires_in_days": 1})
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    code = made.json()["code"]
    assert len(code) == 43
    assert register("guest@example.com", None) == 403
    assert register("guest@example.com", "x" * 43) == 403
    assert register("somebody@example.com", code) == 403
    assert register("guest@example.com", code) == 201
    assert register("guest2@example.com", code) == 403
    used = next(one for one in root.get("/admin/invitations").json()["items"] if one["email"] == "guest@example.com")
    assert used["used_at"] is not None
    assert "code" not in used
    assert root.delete(f"/admin/invitations/{used['invitation_id']}").status_code == 404
    for ending in ("revoked", "expired"):
        other = root.post("/admin/invitations", json={}).json()
        if ending == "revoked":
            assert root.delete(f"/admin/invitations/{other['invitation_id']}").status_code == 204
        else:
            with closing(sqlite3.connect(server.data_dir / "lorestream.db")) as database, database:
                database.execute("UPDATE invitations SET expires_at = '2020-01-01' WHERE used_at IS NULL")
        assert register("late@example.com", other["code"]) == 403


def test_of_many_who_bring_the_same_invitation_one_gets_in(server: RunningServer, root: httpx.Client) -> None:
    code = root.post("/admin/invitations", json={}).json()["code"]
    bodies = [{"email": f"race{n}@example.com", "password": PASSWORD, "invitation": code} for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: httpx.post(f"{server.url}/auth/register", json=body, timeout=60), bodies))
    assert sorted(answer.status_code for answer in answers) == [201] + [403] * 7


def test_the_last_administrator_stays_whatever_happens_at_the_same_time(
    server: RunningServer, root: httpx.Client
) -> None:
    mine = root.get("/auth/me").json()["user_id"]
    for one in root.get("/admin/users", params={"limit": 100}).json()["items"]:
        if one["is_admin"] and one["user_id"] != mine:
            assert root.patch(f"/admin/users/{one['user_id']}", json={"is_admin": False}).status_code == 200
    last = f"/admin/users/{mine}"
    assert root.patch(last, json={"disabled": True}).status_code == 409
    assert root.patch(last, json={"is_admin": False, "limits": {"documents": 3}}).status_code == 409
    assert root.get("/admin/users", params={"q": ROOT}).json()["items"][0]["limits"] is None, "all of it or nothing"
    assert root.delete(last).status_code == 409
    assert root.post("/auth/delete-account", json={"password": PASSWORD}).status_code == 409
    others = [add(root, f"second{number}@example.com", is_admin=True)["user_id"] for number in range(3)]
    ways: list[tuple[str, str, Any]] = [
        ("PATCH", f"/admin/users/{others[0]}", {"disabled": True}),
        ("PATCH", f"/admin/users/{others[1]}", {"is_admin": False}),
        ("DELETE", f"/admin/users/{others[2]}", None),
        ("PATCH", last, {"disabled": False, "is_admin": False}),
    ]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda way: root.request(way[0], way[1], json=way[2]), ways))
    # Whoever came last of the four was the last one, or was no administrator any more when it was their turn.
    assert {answer.status_code for answer in answers} <= {200, 204, 403, 409}
    with closing(sqlite3.connect(server.data_dir / "lorestream.db")) as database:
        left = database.execute("SELECT user_id FROM users WHERE is_admin AND disabled_at IS NULL").fetchall()
    assert len(left) >= 1
    with closing(sqlite3.connect(server.data_dir / "lorestream.db")) as database, database:
        database.execute("UPDATE users SET is_admin = 1 WHERE email = ?", (ROOT,))


def test_the_audit_log_is_filtered_and_paged_and_holds_no_secret(server: RunningServer, root: httpx.Client) -> None:
    user = add(root, "audited@example.com")
    password = root.post(f"/admin/users/{user['user_id']}/reset-password").json()["password"]
    code = root.post("/admin/invitations", json={}).json()["code"]
    mine = root.get("/auth/me").json()["user_id"]
    reset = events(root, kind="password_reset", limit=1)[0]
    assert (reset["user_id"], reset["actor_id"], reset["ip"]) == (user["user_id"], mine, "127.0.0.1")
    assert (reset["email"], reset["actor_email"]) == ("audited@example.com", ROOT)
    assert {event["kind"] for event in events(root, user_id=user["user_id"])} == {"password_reset", "user_added"}
    assert root.get("/admin/events", params={"kind": "coffee"}).status_code == 422
    paged: list[dict[str, Any]] = []
    cursor = None
    while cursor or not paged:
        page = root.get("/admin/events", params={"limit": 7, **({"cursor": cursor} if cursor else {})}).json()
        paged += page["items"]
        cursor = page["next_cursor"]
    assert [event["event_id"] for event in paged[:50]] == [event["event_id"] for event in events(root, limit=50)]
    assert len({event["event_id"] for event in paged}) == len(paged)
    # The emails are those of the accounts, not of the log, which outlives them.
    logged = json.dumps([{**event, "email": None, "actor_email": None} for event in paged])
    for secret in (password, code, PASSWORD, "audited@example.com"):
        assert secret not in logged


def command(server: RunningServer, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lorestream", "users", *arguments, "--data-dir", str(server.data_dir)],
        input=stdin, capture_output=True, text=True, timeout=60, check=False, cwd=server.data_dir,
    )  # fmt: skip


@pytest.mark.timeout(300)
def test_the_command_line_looks_after_users_while_the_server_runs(
    server: RunningServer, root: httpx.Client, tmp_path: Path
) -> None:
    email = "shell@example.com"
    added = command(server, "add", email)
    assert added.returncode == 0, added.stderr
    made_up = added.stdout.split("shown this once: ")[1].strip()
    assert can_log_in(server, email, made_up)
    reset = command(server, "reset", email, "--password-stdin", stdin=PASSWORD + "\n")
    assert (reset.returncode, "shown" in reset.stdout) == (0, False)
    assert can_log_in(server, email)
    assert not can_log_in(server, email, made_up)
    for arguments, is_admin, disabled in (
        (["admin", email], True, False),
        (["admin", email, "--revoke"], False, False),
        (["disable", email], False, True),
        (["enable", email], False, False),
    ):
        done = command(server, *arguments)
        assert done.returncode == 0, done.stderr
        one = root.get("/admin/users", params={"q": email}).json()["items"][0]
        assert (one["is_admin"], one["disabled_at"] is not None) == (is_admin, disabled)
    listed = json.loads(command(server, "list", "shell", "--json").stdout)
    assert [(one["email"], one["is_admin"], one["disabled_at"]) for one in listed] == [(email, False, None)]
    user_id = listed[0]["user_id"]
    assert {event["details"].get("by") for event in events(root, kind="user_disabled", user_id=user_id)} == {
        "command line"
    }
    assert command(server, "delete", email, "--yes").returncode == 0
    unknown = command(server, "disable", email)
    assert (unknown.returncode, unknown.stderr) == (1, f"There is no user with the email {email}.\n")
    assert command(server, "add", ROOT).returncode == 1
    weak = command(server, "add", "weak@example.com", "--password-stdin", stdin="short\n")
    assert (weak.returncode, "at least 8" in weak.stderr) == (1, True)
    empty = subprocess.run(
        [sys.executable, "-m", "lorestream", "users", "list", "--data-dir", str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (empty.returncode, "holds no database of this version" in empty.stderr) == (1, True)
    assert not list(tmp_path.iterdir()), "nothing is made where there is nothing"
