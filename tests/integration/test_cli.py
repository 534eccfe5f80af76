"""The command line as a user runs it: in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lorestream import __version__
from tests.fakes.llama import write_model
from tests.fakes.reading import GEO, QUESTION
from tests.fakes.server import running_server
from tests.fakes.upstream import FakeUpstream, Hold, Say


@pytest.fixture
def home(tmp_path: Path, models_dir: Path) -> Path:
    """A user's empty home with one document; the embedding model is there already."""
    cache = tmp_path / "cache" / "lorestream" / "ask"
    cache.mkdir(parents=True)
    (cache / "models").symlink_to(models_dir, target_is_directory=True)
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "geo.txt").write_bytes(GEO)
    return tmp_path


def environment(home: Path, **settings: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LORESTREAM_")}
    named = {f"LORESTREAM_{name.upper()}": value for name, value in settings.items()}
    return {**clean, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), **named}


def run(home: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lorestream", *arguments]
    env = environment(home, **{"model": "reader", **settings})
    return subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_ask_indexes_answers_and_shows_its_sources(home: Path) -> None:
    first = run(home, "ask", QUESTION, "papers")
    assert first.returncode == 0, first.stderr
    assert "[1] geo" in first.stdout
    assert "“Paris is the capital of France.” [1]" in first.stdout
    assert "1/1" in first.stderr
    again = run(home, "ask", QUESTION, "papers/geo.txt")
    assert again.stdout == first.stdout
    assert not list(home.glob("data")), "nothing is put where the user happens to be"


def test_ask_says_which_files_it_could_not_read(home: Path) -> None:
    (home / "papers" / "empty.txt").touch()
    (home / "papers" / "tune.mp3").write_bytes(b"ID3")
    answer = run(home, "ask", QUESTION, "papers")
    assert answer.returncode == 0
    assert "empty.txt" in answer.stderr
    assert "tune.mp3" in answer.stderr
    (home / "papers" / "geo.txt").unlink()
    nothing = run(home, "ask", QUESTION, "papers")
    assert nothing.returncode == 1
    assert "could be read" in nothing.stderr


def test_a_missing_file_or_an_empty_question_is_a_usage_error(home: Path) -> None:
    assert run(home, "ask", QUESTION, "nowhere.txt").returncode == 2
    assert run(home, "ask", "  ", "papers").returncode == 2


@asynccontextmanager
async def asking(home: Path, fake: FakeUpstream) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lorestream", "ask", QUESTION, "papers",
        cwd=home, env=environment(home, model="ollama:tiny:latest", ollama_url=fake.url),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_ctrl_c_stops_the_answer_and_keeps_what_came(home: Path) -> None:
    async with FakeUpstream("ollama") as fake:
        fake.play(Say("Paris, so far"), Hold())
        async with asking(home, fake) as process, asyncio.timeout(30):
            assert process.stdout
            shown = b""
            while b"so far" not in shown:
                shown += await process.stdout.read(1000)
            process.send_signal(signal.SIGINT)
            rest, _ = await process.communicate()
            assert process.returncode == 130
            assert b"stopped" in rest
            assert await (await fake.connection(0)).closed


def test_doctor_asks_one_question_end_to_end(home: Path, models_dir: Path) -> None:
    (home / "data").mkdir()
    (home / "data" / "models").symlink_to(models_dir, target_is_directory=True)
    found = run(home, "doctor", nonsense="1")
    assert found.returncode == 0, found.stdout
    assert "LORESTREAM_NONSENSE is not a setting" in found.stdout
    assert "Paris is the capital of France." in found.stdout
    assert list((home / "data").iterdir()) == [home / "data" / "models"], "the user's data is not touched"


def test_doctor_fails_when_the_model_cannot_answer(home: Path) -> None:
    found = run(home, "doctor", model="ollama:none", ollama_url="http://127.0.0.1:9")
    assert found.returncode == 1
    assert "wrong" in found.stdout
    assert "Traceback" not in found.stdout + found.stderr


@pytest.fixture
def data(home: Path, models_dir: Path) -> Path:
    """The data directory of ``home``, with the embedding model in it."""
    (home / "data").mkdir()
    (home / "data" / "models").symlink_to(models_dir, target_is_directory=True)
    return home / "data"


@pytest.mark.usefixtures("data")
def test_doctor_asks_an_embedded_model_and_fetches_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    write_model(home / "tiny.gguf")
    found = run(home, "doctor", model="gguf:tiny.gguf", max_output_tokens="8")
    assert found.returncode == 0, found.stdout
    assert f"{home / 'tiny.gguf'}, 0.0 GiB" in found.stdout
    assert "answered by gguf:tiny.gguf" in found.stdout
    missing = run(home, "doctor", model="gguf:hf:ann/tiny/tiny.gguf")
    assert missing.returncode == 0, missing.stdout
    assert "is fetched at the first start" in missing.stdout
    assert "answered by reader" in missing.stdout


@pytest.mark.usefixtures("data")
def test_doctor_names_what_a_model_of_langchain_cannot(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "own").mkdir()
    (home / "own" / "my_models.py").write_text(
        "from langchain_core.language_models.fake_chat_models import GenericFakeChatModel\n"
        "chat = GenericFakeChatModel(messages=iter(['Paris is the capital of France. [1]']))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(home / "own"))
    found = run(home, "doctor", model="langchain:my_models:chat")
    assert found.returncode == 0, found.stdout
    assert "answered by langchain:my_models:chat" in found.stdout
    assert "after Stop its request runs on" in found.stdout


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ({"model": "gguf:none.gguf"}, 1, "none.gguf cannot be read"),
        ({"model": "langchain:nowhere:chat"}, 1, "no Python module 'nowhere'"),
        ({"port": "99999"}, 2, "LORESTREAM_PORT"),
        ({"model": "gpt-4o"}, 2, "LORESTREAM_MODEL"),
        ({"trusted_proxies": "*"}, 2, "LORESTREAM_TRUSTED_PROXIES"),
        ({"data_dir": "/proc/nowhere"}, 1, "/proc/nowhere"),
    ],
)
def test_serve_refuses_settings_that_cannot_work_in_words(
    home: Path, settings: dict[str, str], code: int, said: str
) -> None:
    refused = run(home, "serve", **settings)
    assert refused.returncode == code
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_data_directory_has_one_server(home: Path, models_dir: Path) -> None:
    with running_server(home / "data", models_dir):
        refused = run(home, "serve", data_dir=str(home / "data"), port="0")
    assert refused.returncode == 1
    assert "Another Lorestream is using" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_damaged_database_is_refused_and_left_as_it_is(home: Path, models_dir: Path) -> None:
    with running_server(home / "data", models_dir) as server:
        server.register()
        assert server.stop() == 0
    file = home / "data" / "lorestream.db"
    damaged = b"x" * 4096 + file.read_bytes()[4096:]
    file.write_bytes(damaged)
    refused = run(home, "serve", data_dir=str(home / "data"), port="0")
    assert refused.returncode == 1
    assert "lorestream.db" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert file.read_bytes() == damaged


def test_the_version(home: Path) -> None:
    assert run(home, "--version").stdout.strip() == __version__
