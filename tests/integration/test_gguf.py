"""An embedded language model: llama.cpp as a child that is waited for, restarted, shared, ended; files from a hub."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from lorestream.conversations.models import Question
from lorestream.errors import ModelNotFound, ModelUnavailable, StartRefused
from lorestream.library import Library
from lorestream.ops.health import LoopWatch, readyz
from lorestream.providers.gguf import GgufModel
from lorestream.streaming.events import Done, Fold
from tests.fakes.chat import HOW, PROMPT, collect, finish_of
from tests.fakes.edge import settings
from tests.fakes.hub import Hub
from tests.fakes.llama import write_model

pytestmark = pytest.mark.timeout(90)
SHORT = replace(HOW, max_output_tokens=4, first_token_seconds=40)
FILE = "q4/tiny-q4.gguf"


@pytest.fixture(scope="module")
def weights(model_file: Path) -> bytes:
    return model_file.read_bytes()


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def model_of(spec: str | Path, folder: Path, **more: Any) -> GgufModel:
    return GgufModel(f"gguf:{spec}", folder / "models", **{"context_tokens": 1024, "at_once": 1, **more})


@pytest.fixture
async def model(model_file: Path, tmp_path: Path) -> AsyncIterator[GgufModel]:
    made = model_of(model_file, tmp_path)
    await made.open()
    yield made
    await made.close()


def children(pid: int | None = None) -> list[psutil.Process]:
    """The processes that hold a model, of this process or another one."""
    return [one for one in psutil.Process(pid).children() if any("gguf_child" in part for part in one.cmdline())]


async def until(true: Any, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 (of another process)
            await asyncio.sleep(0.02)


async def answer(model: GgufModel) -> None:
    deltas, failure = await collect(model.stream(PROMPT, SHORT), 45)
    assert failure is None
    assert finish_of(deltas).usage is not None


async def test_the_start_does_not_wait_and_questions_do(model_file: Path, tmp_path: Path) -> None:
    model = model_of(model_file, tmp_path)
    began = time.monotonic()
    await model.open()
    assert time.monotonic() - began < 1
    assert model.name == "gguf:tiny.gguf"
    assert "is being loaded" in model.note[0]
    _, failure = await collect(model.stream(PROMPT, replace(SHORT, first_token_seconds=0.01)))
    assert isinstance(failure, ModelUnavailable)
    assert "is being loaded" in failure.message
    assert failure.retryable
    assert failure.retry_after
    await answer(model)
    assert model.note == ("", "")
    (child,) = children()
    await model.close()
    assert not child.is_running()


async def test_it_is_started_again_when_it_dies_and_cannot_be_asked_without_its_key(model: GgufModel) -> None:
    await answer(model)
    (child,) = children()
    written = json.loads(next(model._shared.parent.glob(".gguf-*.json")).read_text())
    assert next(model._shared.parent.glob(".gguf-*.json")).stat().st_mode & 0o777 == 0o600
    assert written["key"] not in " ".join(child.cmdline() + list(child.environ().values()))
    reader, writer = await asyncio.open_connection("127.0.0.1", int(written["address"].rpartition(":")[2]))
    writer.write(b"GET /v1/models HTTP/1.0\r\n\r\n")
    assert b" 401 " in await reader.readline()
    writer.close()
    child.kill()
    await until(lambda: model.phase == "failed")
    _, failure = await collect(model.stream(PROMPT, SHORT))
    assert isinstance(failure, ModelUnavailable)
    assert "started again" in failure.message
    await until(lambda: model.phase == "ready")
    await answer(model)


async def test_workers_share_one_and_the_next_takes_over(model: GgufModel, model_file: Path, tmp_path: Path) -> None:
    await answer(model)
    second = model_of(model_file, tmp_path)
    await second.open()
    await answer(second)
    assert len(children()) == 1
    await model.close()
    await until(lambda: second.phase != "ready")
    await until(lambda: second.phase == "ready")
    await answer(second)
    assert len(children()) == 1
    await second.close()
    assert not list((tmp_path / "models").glob(".gguf-*.json"))


PARENT = """
import asyncio, sys
from pathlib import Path
from lorestream.providers.gguf import GgufModel

async def main():
    model = GgufModel(sys.argv[1], Path(sys.argv[2]), context_tokens=1024, at_once=1)
    await model.open()
    while model.phase != "ready":
        await asyncio.sleep(0.02)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_it_ends_with_its_parent_however_that_ends(model_file: Path, tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, f"gguf:{model_file}", str(tmp_path / "models")), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout
    assert await asyncio.wait_for(parent.stdout.readline(), 40) == b"ready\n"
    (child,) = children(parent.pid)
    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()
    await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 5)


async def test_a_library_answers_with_it_and_says_how_far_it_is(
    model_file: Path, tmp_path: Path, models_dir: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "models").symlink_to(models_dir, target_is_directory=True)
    library = Library(settings(tmp_path / "data", model=f"gguf:{model_file}", max_output_tokens=4))
    await library.open()
    try:
        owner = await library.accounts.local_user()
        asked = Question("What is the capital of France?", retrieve=False)
        started = await library.answers.start(owner.user_id, asked, door="test", on_disconnect="cancel")
        fold = Fold()
        async with asyncio.timeout(40):
            async for event in started.reader.events():
                fold.add(event)
        assert isinstance(fold.terminal, Done)
        assert (fold.terminal.model, fold.terminal.finish_reason) == ("gguf:tiny.gguf", "length")
        ready = await readyz(library.runs, LoopWatch(), library.catalogue)
        assert ready == {"status": "ready", "language_model": "ready"}
        listed = await library.catalogue.models()
        assert [one.name for one in listed] == ["gguf:tiny.gguf", "reader"]
        assert str(model_file.parent) not in str(listed), "where it lies is nobody's business"
        assert library.catalogue.at_once == 2
        (child,) = children()
    finally:
        await library.close()
    assert not child.is_running()


# Files that are not there, or no model


async def test_what_cannot_be_a_model_is_refused_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StartRefused, match="cannot be read \\(No such file"):
        await model_of(tmp_path / "none.gguf", tmp_path).open()
    (tmp_path / "text.gguf").write_text("not a model")
    with pytest.raises(StartRefused, match="not a GGUF file"):
        await model_of(tmp_path / "text.gguf", tmp_path).open()
    for spec in ("hf:owner/model.gguf", "hf:../../etc/passwd.gguf", "hf:owner/repo/../x.gguf", "hf:owner/repo/x.bin"):
        with pytest.raises(StartRefused, match="is not gguf:hf:OWNER/REPO/FILE"):
            model_of(spec, tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(StartRefused, match="pip install xllamacpp huggingface_hub"):
        await model_of(tmp_path / "text.gguf", tmp_path).open()


@pytest.fixture
def half(model_file: Path, tmp_path: Path) -> Path:
    path = tmp_path / "half.gguf"
    path.write_bytes(model_file.read_bytes()[:5000])
    return path


async def test_a_damaged_model_is_named(half: Path, tmp_path: Path) -> None:
    model = model_of(half, tmp_path)
    await model.open()
    await until(lambda: model.phase == "failed")
    _, failure = await collect(model.stream(PROMPT, SHORT))
    await model.close()
    assert isinstance(failure, ModelUnavailable)
    assert "llama.cpp cannot load half.gguf" in failure.message


# The hub


@pytest.fixture
async def hub(weights: bytes, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    async with Hub({f"ann/tiny/{FILE}": weights}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_canary")
        yield hub


async def test_a_file_of_the_hub_is_fetched_once(hub: Hub, tmp_path: Path) -> None:
    model = model_of(f"hf:ann/tiny/{FILE}", tmp_path)
    assert not model.fetched
    await model.open()
    await until(lambda: model.phase == "fetching")
    _, failure = await collect(model.stream(PROMPT, SHORT))
    assert isinstance(failure, ModelUnavailable)
    assert "is being fetched" in failure.message
    await until(lambda: model.phase == "ready")
    await answer(model)
    await model.close()
    assert model.path == tmp_path / "models/gguf/ann/tiny" / FILE
    assert model.path.is_file()
    asked = len(hub.requests)
    assert asked >= 2
    assert not any("hf_canary" in str(headers) for headers in hub.requests), "no token of this machine is sent"
    again = model_of(f"hf:ann/tiny/{FILE}", tmp_path)
    await again.open()
    await answer(again)
    await again.close()
    assert len(hub.requests) == asked, "what is here is never asked for"


async def test_a_download_that_was_cut_off_goes_on(hub: Hub, weights: bytes, tmp_path: Path) -> None:
    # The hub's client keeps what came in pieces of 10 MiB.
    hub.files[f"ann/tiny/{FILE}"] = weights + bytes(12 * 2**20)
    hub.cut_after = 11 * 2**20
    model = model_of(f"hf:ann/tiny/{FILE}", tmp_path)
    await model.open()
    await until(lambda: hub.served >= 11 * 2**20)
    hub.cut_after = None
    await until(lambda: model.phase == "ready")
    await answer(model)
    await model.close()
    assert any(offset >= 10 * 2**20 for offset in hub.offsets), hub.offsets


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("hf:ann/tiny/other.gguf", "There is no ann/tiny/other.gguf at"),
        ("hf:ann/gated/x.gguf", "is given to those who log in"),
    ],
)
async def test_what_the_hub_does_not_give_is_named(hub: Hub, tmp_path: Path, spec: str, words: str) -> None:
    model = model_of(spec, tmp_path)
    await model.open()
    await until(lambda: model.phase == "failed")
    _, failure = await collect(model.stream(PROMPT, SHORT))
    await model.close()
    assert isinstance(failure, ModelNotFound)
    assert words in failure.message
    assert words in model.note[0]


async def test_a_file_for_which_there_is_no_space_is_not_begun(hub: Hub, tmp_path: Path) -> None:
    hub.files["ann/tiny/huge.gguf"] = b"GGUF"
    hub.sizes["ann/tiny/huge.gguf"] = 2**60
    model = model_of("hf:ann/tiny/huge.gguf", tmp_path)
    await model.open()
    await until(lambda: model.phase == "failed")
    assert "no space left for ann/tiny/huge.gguf" in model.note[0]
    await model.close()
