"""The key ring: which key signs, which are believed, when an old one is deleted, and how a server notices."""

from __future__ import annotations

import asyncio
import logging
import stat
from pathlib import Path

import jwt
import pytest

from lorestream.accounts import keyring
from lorestream.accounts.keyring import KEEP_SECONDS, MAX_KEYS, Keyring, load_keys, rotate
from lorestream.errors import Conflict, NotFound, StartRefused, Unauthenticated
from lorestream.settings import Settings

NOW = 1_770_000_000.0


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    load_keys(tmp_path, NOW)
    return tmp_path


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers look at every use."""
    monkeypatch.setattr(keyring, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(keyring, "UNKNOWN_KEY_LOOK_SECONDS", 0.0)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def kid(token: str) -> str:
    name: str = jwt.get_unverified_header(token)["kid"]
    return name


def test_the_newest_comes_first_and_each_file_is_the_owners_alone(directory: Path) -> None:
    [first] = load_keys(directory, NOW)
    made = [rotate(directory, NOW + seconds) for seconds in (0, 10, 10, 5)]
    assert [path.name for path in made] == [f"secret-{int(NOW) + after}.key" for after in (0, 10, 11, 12)]
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    keys = load_keys(directory, NOW)
    assert len(set(keys)) == 5
    assert [keys[0], keys[-1]] == [made[-1].read_bytes(), first]


def test_a_key_is_kept_as_long_as_a_token_of_it_may_live(directory: Path) -> None:
    assert Settings.model_fields["access_token_seconds"].metadata[1].le <= KEEP_SECONDS - 300
    rotate(directory, NOW)
    rotate(directory, NOW + 100)
    assert len(load_keys(directory, NOW + KEEP_SECONDS)) == 3
    assert len(load_keys(directory, NOW + KEEP_SECONDS + 1)) == 2
    assert names(directory) == [f"secret-{int(NOW)}.key", f"secret-{int(NOW) + 100}.key"]
    assert len(load_keys(directory, NOW + 1e9)) == 1
    assert names(directory) == [f"secret-{int(NOW) + 100}.key"]


def test_a_leaked_key_goes_at_once(directory: Path) -> None:
    rotate(directory, NOW)
    kept = rotate(directory, NOW + 1, drop_older=True)
    assert names(directory) == [kept.name]


def test_rotating_is_refused_where_there_is_nothing_or_too_much(tmp_path: Path, directory: Path) -> None:
    with pytest.raises(NotFound, match="no secret key"):
        rotate(tmp_path / "elsewhere", NOW)
    assert not (tmp_path / "elsewhere").exists()
    for number in range(MAX_KEYS - 1):
        rotate(directory, NOW + number)
    with pytest.raises(Conflict):
        rotate(directory, NOW)
    rotate(directory, NOW, drop_older=True)
    assert len(names(directory)) == 1


def test_other_files_are_no_keys(directory: Path) -> None:
    for name in ("secret-.key", "secret-1.key.bak", "secret-x.key", ".secret.key.ab", "secret-1234567890123.key"):
        (directory / name).write_bytes(b"?")
    assert len(load_keys(directory, NOW)) == 1


def test_any_key_that_is_not_safe_is_refused(directory: Path) -> None:
    rotate(directory, NOW).chmod(0o640)
    with pytest.raises(StartRefused, match="chmod 600"):
        load_keys(directory, NOW)


@pytest.mark.usefixtures("impatient")
async def test_every_server_of_the_directory_notices_a_rotation_and_a_removal(directory: Path) -> None:
    one, two = Keyring(directory, 600, lambda: NOW), Keyring(directory, 600, lambda: NOW)
    for ring in (one, two):
        await ring.open()
    old = await one.issue_access("u", "s")
    rotate(directory, NOW)
    new = await one.issue_access("u", "s")
    assert kid(new) != kid(old)
    for token in (old, new):
        assert await two.check_access(token) == ("u", "s")
    (directory / "secret.key").unlink()
    for ring in (one, two):
        assert await ring.check_access(new) == ("u", "s")
        with pytest.raises(Unauthenticated):
            await ring.check_access(old)


async def test_a_token_of_an_unknown_key_makes_a_server_look_and_many_share_one_look(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def counted(where: Path, now: float) -> list[bytes]:
        nonlocal looks
        looks += 1
        return load_keys(where, now)

    monkeypatch.setattr(keyring, "load_keys", counted)
    monkeypatch.setattr(keyring, "LOOK_SECONDS", 1e6)
    monkeypatch.setattr(keyring, "UNKNOWN_KEY_LOOK_SECONDS", 0.05)
    ring, sibling = Keyring(directory, 600, lambda: NOW), Keyring(directory, 600, lambda: NOW)
    await ring.open()
    rotate(directory, NOW)
    await sibling.open()
    new, looks = await sibling.issue_access("u", "s"), 0
    async with asyncio.timeout(30):
        found = await asyncio.gather(*(ring.check_access(new) for _ in range(100)))
    assert found == [("u", "s")] * 100
    assert looks == 1
    await ring.check_access(new)
    assert looks == 1


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_runs_goes_on_with_its_keys_and_says_once_what_is_wrong(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "lorestream")
    ring = Keyring(directory, 600, lambda: NOW)
    await ring.open()
    token = await ring.issue_access("u", "s")
    (directory / "secret.key").chmod(0o644)
    for _ in range(3):
        assert await ring.check_access(token) == ("u", "s")
    assert [record.getMessage().count("chmod 600") for record in caplog.records] == [1]
