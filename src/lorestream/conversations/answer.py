"""From a question to an answer: what a run does, from retrieval to the stored message."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from lorestream.conversations import citations, prompt
from lorestream.conversations.store import Begun, MessageStore
from lorestream.errors import LimitReached, RunFailed
from lorestream.providers.base import Delta, Finish, Generation, Prompt, PromptPassage
from lorestream.providers.catalogue import Catalogue
from lorestream.retrieval.models import Passage
from lorestream.retrieval.search import Retrieval
from lorestream.settings import Settings
from lorestream.streaming.events import (
    Done,
    Event,
    FinishReason,
    Fold,
    MessageStatus,
    Reasoning,
    Source,
    Sources,
    Status,
    Terminal,
    Timings,
    Token,
    Usage,
    error_event,
    message_status,
)
from lorestream.streaming.runs import OnDisconnect, Outcome, Reader, Runs, Stopped
from lorestream.streaming.sse import MAX_TOKEN_CHARACTERS, split_token

SNIPPET_CHARACTERS = 300
TITLE_CHARACTERS = 120
# No answer has more pieces than this, however small they are: it bounds a run's log.
MAX_PIECES = 100_000


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, over how many passages, from which documents (None: all of the owner's)."""

    text: str
    k: int = 4
    doc_ids: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """A run that has begun, and its first reader."""

    run_id: str
    message_id: str
    reader: Reader


class Answers:
    """Starts runs that answer questions."""

    def __init__(
        self, store: MessageStore, retrieval: Retrieval, catalogue: Catalogue, runs: Runs, settings: Settings
    ) -> None:
        """Wire the parts together; no I/O."""
        self.store = store
        self.retrieval = retrieval
        self.catalogue = catalogue
        self.runs = runs
        self.max_answer_bytes = settings.max_answer_bytes
        self.generation = Generation(
            max_output_tokens=settings.max_output_tokens,
            temperature=settings.temperature,
            context_tokens=settings.context_tokens,
            connect_seconds=settings.connect_timeout_seconds,
            first_token_seconds=settings.first_token_timeout_seconds,
            idle_seconds=settings.idle_timeout_seconds,
        )

    async def start(
        self, owner_id: str, question: Question, *, door: str, on_disconnect: OnDisconnect, narrate: bool = False
    ) -> Started:
        """Store the question, then begin its run. No database session outlives this call."""
        self.runs.refuse_when_draining()
        begun = await self.store.begin(owner_id, question.text, door)
        work = _Answering(self, owner_id, question, begun)
        reader = await self.runs.start(begun.run_id, work, on_disconnect=on_disconnect, narrate=narrate)
        return Started(begun.run_id, begun.answer_id, reader)


class _Answering:
    """The work of one run (the port ``streaming.runs.Work``)."""

    def __init__(self, answers: Answers, owner_id: str, question: Question, begun: Begun) -> None:
        self._answers = answers
        self._owner_id = owner_id
        self._question = question
        self._begun = begun
        self._started = time.monotonic()
        self._retrieval_ms: int | None = None
        self._first_token_ms: int | None = None
        self._passages: list[Passage] = []
        self._model_name = ""
        self._size = self._pieces = 0
        self._finish: Finish | None = None
        self._finish_reason: FinishReason | None = None

    async def events(self) -> AsyncGenerator[list[Event], None]:
        """Retrieve, show the sources, generate."""
        yield [Status("retrieving")]
        # Looked up beside the search: neither waits for the other, and the sources wait for the search alone.
        resolving = asyncio.create_task(self._answers.catalogue.resolve())
        resolving.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            yield [Sources(await self._search())]
            if not self._passages:
                self._finish_reason = "no_context"
                yield [Token(prompt.NO_ANSWER)]
                return
            model = await resolving
        finally:
            resolving.cancel()
        self._model_name = model.name
        yield [Status("generating")]
        async with aclosing(model.stream(self._prompt(), self._answers.generation)) as batches:
            async for deltas in batches:
                yield self._translate(deltas)

    async def _search(self) -> list[Source]:
        began = time.monotonic()
        question = self._question
        self._passages = await self._answers.retrieval.search(
            self._owner_id, question.text, question.k, question.doc_ids
        )
        self._retrieval_ms = _ms_since(began)
        return [_source(n, passage) for n, passage in enumerate(self._passages, 1)]

    def _prompt(self) -> Prompt:
        how = self._answers.generation
        shown = [PromptPassage(n, passage.title, passage.text) for n, passage in enumerate(self._passages, 1)]
        return prompt.build(
            self._question.text, shown, secrets.token_hex(8), how.context_tokens - how.max_output_tokens
        )

    def _translate(self, deltas: list[Delta]) -> list[Event]:
        batch: list[Event] = []
        for delta in deltas:
            text = delta.text
            if text:
                batch += [Token(text)] if len(text) <= MAX_TOKEN_CHARACTERS else map(Token, split_token(text))
                self._size += len(text) if text.isascii() else len(text.encode())
            if delta.reasoning:
                batch.append(Reasoning(delta.reasoning))
            if delta.finish:
                self._finish = delta.finish
        self._pieces += len(batch)
        if self._size > self._answers.max_answer_bytes or self._pieces > MAX_PIECES:
            raise LimitReached
        if batch and self._first_token_ms is None:
            self._first_token_ms = _ms_since(self._started)
        return batch

    def ended(self, fold: Fold, outcome: Outcome) -> Terminal:
        """``done`` for an answer that came to its end or was stopped, ``error`` for one that failed."""
        if isinstance(outcome, RunFailed):
            return error_event(outcome, self._begun.answer_id)
        finish = self._finish
        reason: FinishReason = finish.reason if finish else "stop"
        texts = {n: passage.text for n, passage in enumerate(self._passages, 1)}
        usage = finish.usage if finish else None
        return Done(
            model=self._model_name or "none",
            finish_reason="cancelled" if isinstance(outcome, Stopped) else self._finish_reason or reason,
            usage=Usage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) if usage else None,
            timings=Timings(0, self._retrieval_ms, self._first_token_ms, _ms_since(self._started)),
            citations=citations.find(fold.answer, texts),
            conversation_id=None,
            message_id=self._begun.answer_id,
        )

    async def save(self, fold: Fold, outcome: Outcome, terminal: Terminal) -> None:
        """Save the answer with the status its outcome gives it."""
        status: MessageStatus = "done"
        if isinstance(outcome, Stopped):
            status = "stopped"
        elif isinstance(outcome, RunFailed):
            status = message_status(outcome, fold.has_tokens)
        await self._answers.store.finish(self._begun.run_id, fold, status, terminal)


def _source(n: int, passage: Passage) -> Source:
    return Source(
        n=n,
        doc_id=passage.doc_id,
        chunk_index=passage.chunk_index,
        text=passage.text[:SNIPPET_CHARACTERS],
        distance=passage.distance,
        score=passage.score,
        title=passage.title[:TITLE_CHARACTERS],
        page=passage.page,
        start=passage.start,
        end=passage.end,
    )


def _ms_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
