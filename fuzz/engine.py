"""``python -m fuzz.engine TARGET [libFuzzer options]``: one target under atheris, until its time is over."""

from __future__ import annotations

import importlib
import logging
import sys

import atheris


def main() -> None:
    """Import the target so that its branches are counted, and begin."""
    logging.disable()  # what is refused is logged, thousands of times a second
    with atheris.instrument_imports(include=["lorestream"]):
        target = importlib.import_module(f"fuzz.{sys.argv[1]}")
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target.one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
