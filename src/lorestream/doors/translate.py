"""What every door does with a run: translate its events into the door's own words, or fold them into one answer."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request

from lorestream.conversations.answer import Started
from lorestream.errors import LorestreamError, failure
from lorestream.http import BrokenOff, unless_gone
from lorestream.streaming import sse
from lorestream.streaming.events import Done, Error, Event, Fold
from lorestream.streaming.runs import Reader


class Translated:
    """A run's events in the words of one door (``http.EventSource``).

    ``encode`` gives the bytes of one event, none for what the door does not tell. Where the log ends without a
    terminal event the stream is broken off, so that nobody takes its end for the answer's.
    """

    def __init__(self, reader: Reader, encode: Callable[[Event], bytes], heartbeat: bytes = sse.HEARTBEAT) -> None:
        """Read from here on; ``heartbeat`` is what the door's clients pass over."""
        self._reader = reader
        self._encode = encode
        self._heartbeat = heartbeat

    async def next(self, wait_seconds: float) -> bytes | None:
        """The next bytes; a heartbeat after ``wait_seconds`` of silence; None after the terminal event.

        Raises BrokenOff where the run's log is no longer whole.
        """
        while not self._reader.ended:
            block = await self._reader.next(wait_seconds)
            if block is None:
                raise BrokenOff
            if block is sse.HEARTBEAT:
                return self._heartbeat
            parts = (part for part in block.split(b"\n\n") if b"data: " in part)
            if said := b"".join(self._encode(sse.decode(part)) for part in parts):
                return said
        return None

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


async def _fold(reader: Reader) -> Fold:
    fold = Fold()
    async for event in reader.events():
        fold.add(event)
    return fold
