"""Fuzz targets for the parsers that are ours: ``make fuzz SECONDS=60`` (atheris, coverage-guided).

A target is a module with ``SEEDS`` and ``one(data)``, which raises for what must not be. The suite runs each for a
moment (tests/unit/test_fuzz_targets.py).
"""

TARGETS = (
    "access_tokens", "anthropic", "archives", "chunking", "citations", "cursors", "docx", "ollama", "openai", "packed",
    "sheets", "texts", "upload",
)  # fmt: skip
