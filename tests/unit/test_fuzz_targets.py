"""Every fuzz target for a moment: its seeds, and what becomes of them by chance; and the engine itself."""

from __future__ import annotations

import importlib
import random
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import fuzz
import pytest

from tests.conftest import SEED

ROOT = Path(__file__).parents[2]
SECONDS = 1.0


def mutated(chance: random.Random, seeds: list[bytes]) -> bytes:
    """A seed with some of it changed, cut, doubled, or put into another."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 8)):
        at, length = chance.randint(0, len(data)), chance.randint(0, 16)
        match chance.randrange(5):
            case 0:
                data[at : at + length] = chance.randbytes(length)
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length] * chance.randint(1, 50)
            case 3:
                other = chance.choice(seeds)
                data[at:at] = other[chance.randint(0, len(other)) :][: length * 4]
            case _:
                data[at : at + 1] = chance.choice(
                    [b"\0", b"\xff", b"\r\n", b'"', b"[1]", b"\xf0\x9f\xa6\x89", b"\\ud83e"]
                )
    return bytes(data)


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_a_target_finds_nothing_in_a_moment(name: str) -> None:
    target: ModuleType = importlib.import_module(f"fuzz.{name}")
    chance, end = random.Random(SEED), time.monotonic() + SECONDS
    for seed in target.SEEDS:
        target.one(seed)
        target.one(b"")
    while time.monotonic() < end:
        data = mutated(chance, target.SEEDS)
        try:
            target.one(data)
        except Exception as error:
            raise AssertionError(f"{name} fails on {data!r}") from error


def test_every_module_with_seeds_is_a_target() -> None:
    modules = {path.stem for path in (ROOT / "fuzz").glob("*.py") if "SEEDS = " in path.read_text()}
    assert modules == set(fuzz.TARGETS)


def test_the_engine_runs(tmp_path: Path) -> None:
    pytest.importorskip("atheris")  # only for some platforms
    command = [sys.executable, "-m", "fuzz", "--seconds", "1", "--folder", str(tmp_path), "cursors"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout
    assert "cursors         ok" in done.stdout


def test_the_engine_reports_what_it_finds(tmp_path: Path) -> None:
    """A target that fails on an input fails the run, and the input is kept."""
    pytest.importorskip("atheris")
    (tmp_path / "fuzz").mkdir()
    for name in ("__init__.py", "__main__.py", "engine.py"):
        (tmp_path / "fuzz" / name).write_text((ROOT / "fuzz" / name).read_text())
    (tmp_path / "fuzz" / "broken.py").write_text("SEEDS = [b'x']\ndef one(data):\n    assert data != b'x'\n")
    command = [sys.executable, "-m", "fuzz", "--seconds", "5", "--folder", "found", "broken"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 1, done.stdout
    assert "FAILED" in done.stdout
    assert [path.read_bytes() for path in (tmp_path / "found" / "broken").glob("crash-*")] == [b"x"]
