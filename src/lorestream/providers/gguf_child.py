"""The process that holds an embedded language model: llama.cpp serving one GGUF file on a free port of 127.0.0.1.

Started by ``gguf`` as ``python -m lorestream.providers.gguf_child``. The first line of stdin is its ``Task``; the end
of stdin, or of its parent, is its own. Stdout carries ``State`` lines and nothing else.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import huggingface_hub
import msgspec
import xllamacpp
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm as hub_bar

from lorestream.providers.gguf_messages import State, Task

NICENESS = 5  # event streams of the server come first
PROMPT_CACHE_MIB = 256
PR_SET_PDEATHSIG = 1  # prctl(2)
_OUT = os.dup(sys.stdout.fileno())


class Failed(Exception):
    """It cannot be had; ``final``: and trying again does not help."""

    def __init__(self, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.final = final


def main() -> None:
    """Do the task on stdin until the parent is gone."""
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is not for the parent
    _end_with(task.parent)
    os.nice(NICENESS)
    try:
        if task.repository and not Path(task.path).exists():
            _fetch(task)
        _tell(State("loading"))
        server = _serve(task)
    except Failed as failure:
        _tell(State("failed", message=str(failure), final=failure.final))
        return
    _tell(State("ready", address=server.listening_address))
    signal.pause()


def _end_with(parent: int) -> None:
    """End this process when its parent ends: told by the kernel where it can, else by the end of stdin.

    While a model is loaded no Python runs here, so that only the kernel would notice.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        os._exit(0)

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def _serve(task: Task) -> Any:
    """Load the model and listen (blocking; the interpreter stands still meanwhile)."""
    params = xllamacpp.CommonParams()
    params.model.path = task.path
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [task.key]
    params.n_parallel = task.slots
    params.n_ctx = task.context_tokens * task.slots
    params.n_predict = -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = task.threads
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.endpoint_slots = params.ui = False
    params.cors_origins = ""
    params.offline = True
    params.verbosity = 0
    try:
        return xllamacpp.Server(params)
    except RuntimeError:
        name = Path(task.path).name
        raise Failed(
            f"llama.cpp cannot load {name}: it is damaged, of a kind that this version does not know, or too large for "
            "the memory of this machine (a smaller LORESTREAM_CONTEXT_TOKENS needs less).",
            final=False,
        ) from None


def _fetch(task: Task) -> None:
    """Download the file, with its further parts; a download that was cut off goes on. Raises Failed."""
    _tell(State("fetching"))
    where = f"{task.repository}/{task.files[0]}"
    try:
        for name in task.files:
            _download(task, name)
    except GatedRepoError:
        raise Failed(
            f"{where} is given to those who log in: fetch it yourself and set gguf:PATH.", final=True
        ) from None
    except (RepositoryNotFoundError, EntryNotFoundError) as error:
        if isinstance(error, LocalEntryNotFoundError):
            raise Failed(f"{where} cannot be fetched: no connection to {_hub()}.", final=False) from None
        raise Failed(f"There is no {where} at {_hub()}; is the name right?", final=True) from None
    except HfHubHTTPError as error:
        raise Failed(f"{where} cannot be fetched: {_hub()} answers HTTP {_status(error)}.", final=False) from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise Failed(f"There is no space left for {where} in {task.folder}.", final=False) from None
        raise Failed(f"{where} cannot be fetched: {type(error).__name__}.", final=False) from None
    except Exception as error:  # noqa: BLE001 (of whatever network library the hub's client uses)
        raise Failed(f"{where} cannot be fetched: {type(error).__name__}.", final=False) from None


def _download(task: Task, name: str) -> None:
    # Never a token: one that lies on this machine was not given to us.
    asked: dict[str, Any] = {"repo_id": task.repository, "filename": name, "local_dir": task.folder, "token": False}
    known = huggingface_hub.hf_hub_download(**asked, dry_run=True)
    needed = known.file_size or 0
    Path(task.folder).mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(task.folder).free
    begun = sum(part.stat().st_size for part in Path(task.folder).rglob("*.incomplete"))
    if known.will_download and needed - begun > free:
        raise OSError(errno.ENOSPC, f"{needed} bytes are needed, {free} are free")
    huggingface_hub.hf_hub_download(**asked, tqdm_class=_Bar)


class _Bar(hub_bar):
    """The hub's progress bar on the terminal, which also tells the parent how far it is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["desc"] = str(kwargs.get("desc") or "").rpartition("/")[2]  # the file, not all of its address
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._seen, self._told = int(kwargs.get("initial") or 0), -1

    def update(self, n: float | None = 1) -> bool | None:
        self._seen += int(n or 0)
        percent = min(100, 100 * self._seen // self.total) if self.total else 0
        if percent != self._told:
            self._told = percent
            _tell(State("fetching", percent=percent))
        shown: bool | None = super().update(n)
        return shown


def _hub() -> str:
    return huggingface_hub.constants.ENDPOINT


def _status(error: HfHubHTTPError) -> int:
    return int(getattr(error.response, "status_code", 0))


def _tell(state: State) -> None:
    os.write(_OUT, msgspec.json.encode(state) + b"\n")


if __name__ == "__main__":
    main()
