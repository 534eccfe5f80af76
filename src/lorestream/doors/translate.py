"""What every door does with a run: translate its events into the door's own words, or fold them into one answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from typing import Any

import msgspec
from fastapi import Request

from lorestream.conversations.answer import Started
from lorestream.errors import LorestreamError, failure
from lorestream.http import BrokenOff, unless_gone
from lorestream.streaming import sse
from lorestream.streaming.events import Done, Error, Event, Fold
from lorestream.streaming.runs import Reader

Encode = Callable[[Event], bytes]
# How the streams of OpenAI and of the AI SDK say that nothing more comes.
END = b"data: [DONE]\n\n"


def data_line(value: Any) -> bytes:
    """One server-sent event: a value as JSON in ASCII."""
    return f"data: {json.dumps(value, separators=(',', ':'))}\n\n".encode()


# What stands around a token's text in the event ``{"token": text}``.
TOKEN = (b'data: {"token":', b"}\n\n")


def token_line(text: str) -> bytes:
    """The event ``{"token": text}``."""
    return encode_basestring_ascii(text).encode().join(TOKEN)


class Translated:
    """A run's events in the words of one door (``http.EventSource``).

    ``encode`` gives the bytes of one event, none for what the door does not tell; it raises BrokenOff where the door
    has no words for how the run ended. Where the log ends without a terminal event the stream is broken off, so that
    nobody takes its end for the answer's.
    """

    def __init__(
        self,
        reader: Reader,
        encode: Encode,
        heartbeat: bytes = sse.HEARTBEAT,
        *,
        resumable: bool = False,
        around_token: tuple[bytes, bytes] | None = None,
    ) -> None:
        """Read from here on; ``heartbeat`` is what the door's clients pass over.

        ``around_token`` is what the door writes before and after a token's text as a JSON string: with it tokens are
        passed on undecoded, and ``encode`` gets the other events alone. ``resumable`` puts the run's own ``id:`` line
        before each event, for a client that resumes by Last-Event-ID.
        """
        self._reader = reader
        self._encode = encode
        self._heartbeat = heartbeat
        self._resumable = resumable
        self._around_token = around_token
        self._broken = False

    async def next(self, wait_seconds: float) -> bytes | None:
        """The next bytes; a heartbeat after ``wait_seconds`` of silence; None after the terminal event.

        Raises BrokenOff where the run's log is no longer whole.
        """
        while not (self._reader.ended or self._broken):
            block = await self._reader.next(wait_seconds)
            if block is None:
                raise BrokenOff
            if block is sse.HEARTBEAT:
                return self._heartbeat
            if said := self._told(block):
                return said
        if self._broken:
            raise BrokenOff
        return None

    def _told(self, block: bytes) -> bytes:
        """A block in the door's words; what came before an event that breaks the stream off is still told."""
        told = []
        try:
            for part in block.split(b"\n\n"):
                if said := self._said(part):
                    told += [part[: part.index(b"data: ")], said] if self._resumable else [said]
        except BrokenOff:
            self._broken = True
        return b"".join(told)

    def _said(self, part: bytes) -> bytes:
        if self._around_token and (text := sse.token_text(part)) is not None:
            return text.join(self._around_token)
        return self._encode(sse.decode(part)) if b"data: " in part else b""

    def close(self) -> None:
        """Leave the run."""
        self._reader.close()


async def answer_of(request: Request, started: Started) -> tuple[Fold, Done]:
    """The whole answer, for a door that does not stream; its run ends when the client leaves.

    Raises what the run failed with, as the failure of that code, with its ``run_id``.
    """
    try:
        fold = await unless_gone(request, _fold(started.reader))
    finally:
        started.reader.close()
    match fold.terminal:
        case Done() as done:
            return fold, done
        case Error() as error:
            raise failure(error.code, error.message, error.retry_after, {"run_id": started.run_id})
        case None:
            raise LorestreamError("The answer's events are no longer kept.")


async def whole_answer(request: Request, started: Started) -> dict[str, Any]:
    """The whole answer as an object of our own API; raises as ``answer_of`` does."""
    fold, done = await answer_of(request, started)
    return {
        "answer": fold.answer,
        "sources": msgspec.to_builtins(fold.sources or []),
        "run_id": started.run_id,
        **msgspec.to_builtins(done),
    }


async def _fold(reader: Reader) -> Fold:
    fold = Fold()
    async for event in reader.events():
        fold.add(event)
    return fold
