"""``lorestream.client``, with and without asyncio."""

from __future__ import annotations

import asyncio

from lorestream.client import AsyncClient, Client, Done, Error, LorestreamError, Token
from tests.doors.client import Driver, Seen, Target


class Asynchronous:
    """``AsyncClient``; it stops by ``stop``, and reads on to the end."""

    name, names_model, sourced = "lorestream.client AsyncClient", True, True

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        seen = Seen()
        try:
            async with (
                AsyncClient(target.url, target.token) as client,
                client.ask(target.question, model=target.model) as answer,
            ):
                async for event in answer:
                    if stop and isinstance(event, Token) and not seen.stopped_at:
                        seen.stop()
                        await answer.stop()
        except LorestreamError as refused:
            return Seen(end=f"{refused.code}: {refused.message}")
        seen.text, seen.sources = answer.text, len(answer.sources or [])
        if not stop:
            seen.end = ended(answer.terminal)
        return seen


class Blocking:
    """``Client``; it stops by leaving the answer."""

    name, names_model, sourced = "lorestream.client Client", True, True

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        return await asyncio.to_thread(self._ask, target, stop=stop)

    def _ask(self, target: Target, *, stop: bool) -> Seen:
        seen = Seen()
        try:
            with (
                Client(target.url, target.token) as client,
                client.ask(target.question, model=target.model) as answer,
            ):
                for event in answer:
                    if stop and isinstance(event, Token):
                        seen.stop()
                        break
        except LorestreamError as refused:
            return Seen(end=f"{refused.code}: {refused.message}")
        seen.text, seen.sources = answer.text, len(answer.sources or [])
        if not stop:
            seen.end = ended(answer.terminal)
        return seen


def ended(terminal: Done | Error | None) -> str:
    """How an answer ended, in the words of the drivers."""
    return "done" if isinstance(terminal, Done) else f"{terminal.code}: {terminal.message}" if terminal else ""


DRIVERS: list[Driver] = [Asynchronous(), Blocking()]
