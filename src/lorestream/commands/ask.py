"""``lorestream ask``: one question, to files of this machine, a server or a data directory."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from lorestream.commands.account import AsJson, InCollection, Model, Passages, User, Whose
from lorestream.commands.terminal import ask_account, run_told
from lorestream.console import EXIT_USAGE, err


def ask(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders to ask; without any, your own documents.", exists=True)
    ] = None,
    k: Passages = 4,
    model: Model = None,
    collection: InCollection = None,
    as_json: AsJson = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="Ask the documents kept here; with files, where their index is kept.")
    ] = None,
    user: User = None,
) -> None:
    """Ask your files, which needs no server; or the documents of the server you are logged in to, or of --data-dir.

    Exit codes: 0 answered, 1 failed, 2 usage, 3 not in the documents, 130 stopped by Ctrl-C.
    """
    if not question.strip():
        err.print("The question is empty.")
        sys.exit(EXIT_USAGE)
    if paths and (collection or user):
        err.print("Files have no collections and no users.")
        sys.exit(EXIT_USAGE)
    if not paths:
        whose = Whose(data_dir, user, model)
        sys.exit(run_told(ask_account(whose, question, k, collection, as_json=as_json), as_json=as_json))
    # Only here: what reads files takes seconds to load, and a server is asked without it.
    files = importlib.import_module("lorestream.commands.ask_files")
    sys.exit(run_told(files.ask_files(data_dir, model, question, paths, k, as_json=as_json), as_json=as_json))
