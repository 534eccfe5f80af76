"""A language model of our own: a GGUF file, served by llama.cpp in a child process and asked like any OpenAI server.

``gguf:PATH``, or ``gguf:hf:OWNER/REPO/FILE``, which is fetched once into the data directory. The child is started at
once and waited for by questions only; it is started again when it dies, and ends with its parent, however that ends.
All workers of a data directory share one child: the worker that holds a lock keeps it and writes down where it listens
(mode 0600), the others read that, and the next one takes over when it is gone.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import importlib.util
import logging
import os
import re
import secrets
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from lorestream.errors import ModelNotFound, ModelUnavailable, StartRefused
from lorestream.locks import locked
from lorestream.providers.base import Delta, Generation, Prompt
from lorestream.providers.gguf_messages import State, Task
from lorestream.providers.openai import OpenAIModel
from lorestream.providers.upstream import Endpoint

log = logging.getLogger(__name__)

HUB_FORM = re.compile(
    r"gguf:hf:([\w-][\w.-]{0,95}/[\w-][\w.-]{0,95})/((?:[\w-][\w.-]{0,199}/){0,4}[\w-][\w.-]{0,195}\.gguf)"
)
PART = re.compile(r"-00001-of-(\d{5})\.gguf$")
MAX_PARTS = 100
# Answers at once. Each has a context of its own, whose memory is taken at the start.
MAX_SLOTS = 2
LOOK_SECONDS = 0.5
RESTART_SECONDS, LONGEST_RESTART_SECONDS, STEADY_SECONDS = 1.0, 60.0, 60.0
END_SECONDS = 3.0
RETRY_SECONDS = 10
LINE_BYTES = 64 * 1024


class GgufModel:
    """The embedded model; a ``ChatModel`` that is opened and closed with the library."""

    def __init__(self, spec: str, models: Path, *, context_tokens: int, at_once: int) -> None:
        """``models`` is where files are fetched to. Nothing is started yet. Raises StartRefused for another form."""
        self._repository, files = "", [""]
        if spec.startswith("gguf:hf:"):
            self._repository, files = _on_hub(spec)
            self._folder = models / "gguf" / self._repository
            self.path = self._folder / files[0]
        else:
            self._folder = models
            self.path = Path(spec.removeprefix("gguf:")).expanduser()
        self._files = files
        self._context_tokens = context_tokens
        self.slots = max(1, min(at_once, MAX_SLOTS))
        shared = f"{self.path.resolve()} {context_tokens} {self.slots}"
        self._shared = models / f".gguf-{hashlib.sha256(shared.encode()).hexdigest()[:16]}"
        self._state = State("starting")
        self._changed = asyncio.Event()
        self._model: OpenAIModel | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """``gguf:`` and the file's name; never its folder, which is nobody's business."""
        return f"gguf:{self.path.name}"

    @property
    def fetched(self) -> bool:
        """Whether the file is here."""
        return self.path.exists()

    @property
    def phase(self) -> str:
        """One word of ``State.phase``."""
        return self._state.phase

    @property
    def readiness(self) -> str:
        """``ready``, or what is going on."""
        match self._state:
            case State(phase="ready"):
                return "ready"
            case State(phase="failed", message=message):
                return message
            case State(phase="fetching", percent=percent):
                return f"{self.path.name} is being fetched ({percent} %)"
            case _:
                return f"{self.path.name} is being loaded"

    @property
    def note(self) -> tuple[str, str]:
        """What is the matter, and what to do about it; two empty strings where it is ready."""
        if self._state.phase == "ready":
            return "", ""
        return self.readiness, "" if self._state.phase == "failed" else "Questions wait for it, or are told so."

    def check(self) -> None:
        """Raise StartRefused, with what to do, where what is needed is not here (blocking)."""
        packages = ["xllamacpp", "huggingface_hub"]
        if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
            raise StartRefused(
                f"{self.name} needs {' and '.join(missing)}. `make run` installs it; otherwise run: "
                f"{sys.executable} -m pip install {' '.join(missing)}"
            )
        if self._repository and not self.path.exists():
            return
        try:
            with self.path.open("rb") as file:
                magic = file.read(4)
        except OSError as error:
            raise StartRefused(
                f"The model {self.path} cannot be read ({os.strerror(error.errno or 0)}); set LORESTREAM_MODEL=gguf: "
                "to the path of a GGUF file."
            ) from None
        if magic != b"GGUF":
            raise StartRefused(f"{self.path} is not a GGUF file.")

    async def open(self) -> None:
        """Start the child, or find that of another worker; nothing is waited for. Raises StartRefused."""
        await asyncio.to_thread(self.check)
        await asyncio.to_thread(self._shared.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
        self._keeping = asyncio.create_task(self._hold(), name="gguf")

    async def close(self) -> None:
        """End the child, if it is ours."""
        if self._keeping:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])

    async def stream(self, prompt: Prompt, how: Generation) -> AsyncGenerator[list[Delta], None]:
        """Stream one answer (see ``ChatModel``); while the model is loaded this waits, as long as a first token may."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + how.first_token_seconds
        model = await self._ready(deadline)
        left = replace(how, first_token_seconds=max(0.1, deadline - loop.time()))
        async with aclosing(model.stream(prompt, left)) as batches:
            async for batch in batches:
                yield batch

    async def _ready(self, deadline: float) -> OpenAIModel:
        """The model once it can be asked. Raises ModelUnavailable with what is going on instead."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while self._state.phase in {"starting", "loading"}:
                    await self._changed.wait()
        if self._state.final:
            raise ModelNotFound(self._state.message)
        if self._model is None:
            raise ModelUnavailable(f"The language model is not there yet: {self.readiness}.", retry_after=RETRY_SECONDS)
        return self._model

    def _set(self, state: State) -> None:
        if state != self._state:
            self._state = state
            ready = state.phase == "ready"
            self._model = OpenAIModel(self.path.name, Endpoint(f"{state.address}/v1", state.key)) if ready else None
            before, self._changed = self._changed, asyncio.Event()
            before.set()

    async def _hold(self) -> None:
        """Keep the child, or follow the worker that does until it is gone."""
        with self._shared.with_suffix(".lock").open("ab") as lock:
            while not await asyncio.to_thread(locked, lock, fcntl.LOCK_EX):
                self._set(await asyncio.to_thread(self._read))
                await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._keep()
            finally:
                self._shared.with_suffix(".json").unlink(missing_ok=True)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        delay = RESTART_SECONDS
        while not self._state.final:
            began = loop.time()
            await self._pass_on(State("starting"))
            try:
                ended = f"llama.cpp ended with code {await self._run()}"
            except OSError as error:
                ended = f"llama.cpp could not be started ({os.strerror(error.errno or 0)})"
            if loop.time() - began > STEADY_SECONDS:
                delay = RESTART_SECONDS
            if self._state.phase != "failed":
                await self._pass_on(State("failed", message=f"{ended}; it is started again"))
            if not self._state.final:
                log.warning("%s: %s (in %g s)", self.name, self._state.message, delay)
                await asyncio.sleep(delay)
                delay = min(2 * delay, LONGEST_RESTART_SECONDS)
        log.error("%s: %s", self.name, self._state.message)
        await asyncio.Event().wait()  # the lock is kept: another worker would fail alike

    async def _run(self) -> int:
        """One life of the child, whose code it gives."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lorestream.providers.gguf_child"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
            start_new_session=True,  # a Ctrl-C is the server's, which ends it in its own time
        )
        try:
            assert process.stdin
            assert process.stdout
            key = secrets.token_urlsafe(32)
            process.stdin.write(msgspec.json.encode(self._task(key)) + b"\n")
            with suppress(ConnectionError):
                await process.stdin.drain()
            async for line in process.stdout:
                with suppress(msgspec.DecodeError):
                    await self._heard(msgspec.json.decode(line, type=State), key)
            return await process.wait()
        finally:
            await _end(process)

    async def _heard(self, state: State, key: str) -> None:
        if state.phase == "ready":
            state.key = key
            log.info("%s is ready", self.name)
        await self._pass_on(state)

    def _task(self, key: str) -> Task:
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return Task(
            parent=os.getpid(),
            path=str(self.path.absolute()),
            key=key,
            context_tokens=self._context_tokens,
            slots=self.slots,
            threads=max(1, usable - 1),  # one is the server's
            repository=self._repository,
            files=self._files,
            folder=str(self._folder.absolute()),
        )

    async def _pass_on(self, state: State) -> None:
        """Take a state, and write it down for the other workers."""
        self._set(state)
        try:
            await asyncio.to_thread(self._write, msgspec.json.encode(state))
        except OSError as error:
            log.warning("other workers cannot be told of %s: %s", self.name, os.strerror(error.errno or 0))

    def _write(self, data: bytes) -> None:
        made = self._shared.with_suffix(".new")
        made.unlink(missing_ok=True)
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        made.replace(self._shared.with_suffix(".json"))

    def _read(self) -> State:
        try:
            return msgspec.json.decode(self._shared.with_suffix(".json").read_bytes(), type=State)
        except (OSError, msgspec.DecodeError):
            return State("starting")


def _on_hub(spec: str) -> tuple[str, list[str]]:
    """The repository, and the file with its further parts, if its name says that there are some."""
    found = HUB_FORM.fullmatch(spec)
    if found is None:
        raise StartRefused(f"{spec!r} is not gguf:hf:OWNER/REPO/FILE.gguf.")
    repository, first = found[1], found[2]
    parts = PART.search(first)
    count = min(int(parts[1]), MAX_PARTS) if parts else 1
    return repository, [first, *(first.replace("-00001-of-", f"-{n:05}-of-") for n in range(2, count + 1))]


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
