"""S17: no default secret; the key is random, private, made once, and refused when it is not."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lorestream.accounts.keyring import load_or_create_key
from lorestream.errors import StartRefused

MAKE = (
    "import sys, pathlib, lorestream.accounts.keyring as ring; "
    "print(ring.load_or_create_key(pathlib.Path(sys.argv[1])).hex())"
)


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_the_first_start_makes_32_random_bytes_that_only_the_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret.key"
    before = os.umask(0)
    try:
        key = load_or_create_key(path)
    finally:
        os.umask(before)
    assert len(key) == 32
    assert path.read_bytes() == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["secret.key"]
    assert load_or_create_key(path) == key
    assert load_or_create_key(tmp_path / "other.key") != key


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKE, str(tmp_path / "secret.key")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    keys = {process.communicate(timeout=60)[0] for process in processes}
    assert keys == {(tmp_path / "secret.key").read_bytes().hex() + "\n"}
    assert [file.name for file in tmp_path.iterdir()] == ["secret.key"]


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 32, b"changeme" * 8, bytes(range(31))])
def test_short_keys_and_placeholders_are_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "secret.key", content)
    with pytest.raises(StartRefused, match="not 32 random bytes"):
        load_or_create_key(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o620])
def test_a_key_that_others_can_reach_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "secret.key", os.urandom(32), mode)
    with pytest.raises(StartRefused, match="chmod 600"):
        load_or_create_key(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.key").mkdir(mode=0o700)
    with pytest.raises(StartRefused, match="cannot be read"):
        load_or_create_key(tmp_path / "secret.key")
    (tmp_path / "file").write_text("")
    with pytest.raises(StartRefused, match="cannot be read"):
        load_or_create_key(tmp_path / "file" / "secret.key")
