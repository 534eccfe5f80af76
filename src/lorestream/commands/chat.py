"""``lorestream chat``: one conversation in the terminal. Ctrl-C stops an answer, Ctrl-D leaves."""

from __future__ import annotations

import asyncio
import importlib
import sys
from contextlib import AsyncExitStack, suppress

from lorestream.commands.account import (
    Account,
    AsJson,
    DataDir,
    InCollection,
    Model,
    Passages,
    User,
    Whose,
    collection_id,
)
from lorestream.commands.terminal import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_STOPPED,
    err,
    print_json,
    show_answer,
    show_sources,
    shown,
)
from lorestream.errors import LorestreamError
from lorestream.streaming.events import Done, Error, Source, error_event

HELP = """Ask, and read the answer. A question follows on those before it.
/new      begin another conversation
/sources  show the passages of the last answer
/quit     leave, like Ctrl-D
Ctrl-C    stop the answer"""


def chat(
    k: Passages = 4,
    model: Model = None,
    collection: InCollection = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    user: User = None,
) -> None:
    """Chat with your documents: a conversation, with its history; each line of a pipe is a question, too."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            session = _Session(as_json=as_json, k=k)
            runner.run(session.begin(stack, Whose(data_dir, user, model), collection))
            code = _converse(runner, session)
        finally:
            runner.run(stack.aclose())
    sys.exit(code)


def _converse(runner: asyncio.Runner, session: _Session) -> int:
    """Question after question; the exit code of the last one. Lines are read where Ctrl-C is no Stop."""
    at_a_terminal, code = sys.stdin.isatty(), EXIT_OK
    if at_a_terminal:
        _edit_lines()
        err.print("[dim]/help says what there is; Ctrl-D leaves.[/dim]")
    while True:
        try:
            line = input("> " if at_a_terminal else "").strip()
        except EOFError:
            if at_a_terminal:
                err.print("")
            return code
        except KeyboardInterrupt:
            if not at_a_terminal:
                return EXIT_STOPPED
            err.print("\n[dim]Ctrl-D leaves.[/dim]")
            continue
        if line in ("/quit", "/exit"):
            return code
        if line.startswith("/"):
            session.command(line)
        elif line:
            code = runner.run(session.ask(line))


def _edit_lines() -> None:
    """Let ``input`` know the arrow keys and the questions before; only here, for readline writes to the terminal."""
    with suppress(ImportError):
        importlib.import_module("readline")


class _Session:
    """What a conversation in the terminal remembers."""

    def __init__(self, *, as_json: bool, k: int) -> None:
        self.conversation_id: str | None = None
        self.sources: list[Source] = []
        self._as_json = as_json
        self._k = k
        self._account: Account
        self._model: str | None = None
        self._within: str | None = None

    async def begin(self, stack: AsyncExitStack, whose: Whose, collection: str | None) -> None:
        """Open the account, until the stack is closed."""
        self._account = await stack.enter_async_context(whose.opened())
        self._model = whose.asked_model
        self._within = await collection_id(self._account, collection)

    def command(self, line: str) -> None:
        """What is no question."""
        if line == "/new":
            self.conversation_id, self.sources = None, []
        elif line == "/sources":
            show_sources(self.sources, whole=True)
        else:
            err.print(HELP)

    async def ask(self, question: str) -> int:
        """Ask, print the answer; the exit code. What is refused is said, and the conversation goes on."""
        answer = self._account.ask(
            question, k=self._k, collection_id=self._within, model=self._model, conversation_id=self.conversation_id
        )
        try:
            code = await show_answer(answer, as_json=self._as_json)
        except LorestreamError as failure:
            if self._as_json:
                print_json(error_event(failure, None))
            else:
                err.print(shown(failure.message))
            return EXIT_FAILED
        self.sources = answer.sources or []
        if isinstance(answer.terminal, Done | Error):
            self.conversation_id = answer.terminal.conversation_id or self.conversation_id
        return code
