"""What a process loads: nothing heavy that it may never need, so that it starts in little time."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Parsers of documents, builders of models, protocols and vendors' clients: loaded by who works with them.
NEVER_AT_THE_START = {
    "anthropic", "huggingface_hub", "langchain_core", "lxml", "mcp", "onnx", "openai", "openpyxl", "pypdfium2",
    "trafilatura", "xllamacpp",
}  # fmt: skip
SERVER = {"fastapi", "uvicorn", "websockets", "redis", "alembic", "typer", "rich", "httpx"}
UNNEEDED = {
    "lorestream.cli": {*NEVER_AT_THE_START, "fastapi", "uvicorn", "alembic", "sqlalchemy", "onnxruntime"},
    "lorestream.commands.serve": {*NEVER_AT_THE_START, "alembic", "httpx"},
    "lorestream.ingest_worker": NEVER_AT_THE_START | SERVER,
    "lorestream.commands.keys": {*NEVER_AT_THE_START, "fastapi", "uvicorn", "alembic", "numpy", "onnxruntime"},
    "lorestream.commands.users": {*NEVER_AT_THE_START, "fastapi", "uvicorn", "alembic", "numpy", "onnxruntime"},
}


@pytest.mark.parametrize("module", UNNEEDED)
def test_nothing_is_loaded_that_may_never_be_needed(module: str) -> None:
    code = f"import {module}, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not UNNEEDED[module].intersection(loaded)
