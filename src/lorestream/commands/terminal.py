"""Answers in the terminal: the sources, then the words as they come, for people or as JSON lines; Ctrl-C stops them."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape

from lorestream.commands.account import Answer, Whose, collection_id
from lorestream.errors import LorestreamError
from lorestream.providers.base import NO_ANSWER
from lorestream.streaming.events import Done, Error, Event, Fold, Source, Sources, Token, error_event

# 3: the documents do not hold the answer. 2 is a usage error.
EXIT_OK, EXIT_FAILED, EXIT_NO_ANSWER, EXIT_STOPPED = 0, 1, 3, 130
# What a document or a model could tell a terminal to do; line ends and tabs are text.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


async def ask_account(whose: Whose, question: str, k: int, collection: str | None, *, as_json: bool) -> int:
    """Ask the documents of an account, print; the exit code."""
    async with whose.opened() as account:
        within = await collection_id(account, collection)
        answer = account.ask(question, k=k, collection_id=within, model=whose.asked_model)
        return await show_answer(answer, as_json=as_json)


def run_told(work: Coroutine[Any, Any, int], *, as_json: bool) -> int:
    """Run a command to its exit code. With JSON lines a refusal is one of them; else it is the command line's to tell.

    Raises LorestreamError.
    """
    try:
        return asyncio.run(work)
    except LorestreamError as failure:
        if not as_json:
            raise
        print_json(error_event(failure, None))
        return EXIT_FAILED


async def show_answer(answer: Answer, *, as_json: bool) -> int:
    """Ask, and print what comes; the exit code. Ctrl-C stops the answer, and leaves where none has begun."""
    asking = asyncio.current_task()
    assert asking

    async def stop() -> None:
        if answer.run_id and not stop_was_asked:
            stop_was_asked.append(True)
            await answer.stop()
        else:
            asking.cancel()

    stop_was_asked: list[bool] = []
    try:
        async with answer:
            with stopped_by_ctrl_c(stop):
                return await show(answer, as_json=as_json)
    except asyncio.CancelledError:
        asking.uncancel()
        err.print("(stopped)")
        return EXIT_STOPPED


async def show(events: AsyncIterator[Event], *, as_json: bool) -> int:
    """Print an answer's events; the exit code that its end is: 0, 1 for a failure, 3 for no answer, 130 stopped."""
    fold = Fold()
    async for event in events:
        fold.add(event)
        if as_json:
            print_json(event)
        else:
            _show(event)
    return exit_code(fold)


def exit_code(fold: Fold) -> int:
    """What an answer's end is to whoever called the command."""
    match fold.terminal:
        case Done() as done if done.finish_reason == "cancelled":
            return EXIT_STOPPED
        case Done() as done:
            return EXIT_NO_ANSWER if done.finish_reason == "no_context" or fold.answer.strip() == NO_ANSWER else EXIT_OK
        case Error(code="no_documents"):
            return EXIT_NO_ANSWER
    return EXIT_FAILED


@contextmanager
def stopped_by_ctrl_c(stop: Callable[[], Awaitable[object]]) -> Iterator[None]:
    """Inside the block Ctrl-C calls this instead of ending the program."""
    loop, stopping = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    async def stop_in_words() -> None:
        try:
            await stop()
        except LorestreamError as failure:
            err.print(escape(failure.message))

    def soon() -> None:
        task = loop.create_task(stop_in_words())
        stopping.add(task)
        task.add_done_callback(stopping.discard)

    loop.add_signal_handler(signal.SIGINT, soon)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def print_json(value: object) -> None:
    """One value as a line of JSON, at once."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def shown(text: str) -> str:
    """A text for the terminal as it is: no markup of ours, and nothing that a terminal obeys."""
    return escape(CONTROLS.sub("\ufffd", text.replace("\r\n", "\n")))


def show_sources(sources: Sequence[Source], *, whole: bool = False) -> None:
    """The passages by their numbers, a line each, or ``whole`` as far as the answer's events hold them."""
    for source in sources:
        page = f", page {source.page}" if source.page else ""
        snippet = " ".join(source.text.split())
        rest = f"\n    {shown(snippet)}" if whole else f"  [dim]{shown(snippet[:100])}…[/dim]"
        out.print(f"[bold]\\[{source.n}][/bold] {shown(source.title)}{page}{rest}")


def _show(event: Event) -> None:
    match event:
        case Sources(sources):
            show_sources(sources)
            if sources:
                out.print("")
        case Token(text):
            out.print(shown(text), end="")
            out.file.flush()
        case Done():
            out.print("\n[dim](stopped)[/dim]" if event.finish_reason == "cancelled" else "")
            err.print(f"[dim]{shown(event.model)}, {event.timings.total_ms / 1000:.1f} s[/dim]")
        case Error():
            out.print("")
            err.print(shown(event.message))
