"""What every command of the command line needs: where it complains, and the settings of its environment."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from lorestream.settings import PREFIX, Settings

EXIT_USAGE = 2

err = Console(stderr=True, highlight=False, soft_wrap=True)


def files_below(paths: Iterable[Path]) -> Iterable[Path]:
    """The files named and those in the folders named, in order, without hidden ones."""
    for path in paths:
        if path.is_file():
            yield path
        else:
            for found in sorted(path.rglob("*")):
                hidden = any(part.startswith(".") for part in found.relative_to(path).parts)
                if found.is_file() and not hidden:
                    yield found


def read_settings(**overrides: Any) -> Settings:
    """The settings of the environment, with what the command line names on top; exits where one is not valid."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        for problem in error.errors():
            name = PREFIX + "_".join(str(part) for part in problem["loc"]).upper()
            err.print(f"{name if problem['loc'] else 'Settings'}: {problem['msg'].removeprefix('Value error, ')}")
        sys.exit(EXIT_USAGE)


def configure_logging(level: int) -> None:
    """Log from this level on to stderr."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for chatty in ("uvicorn", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
