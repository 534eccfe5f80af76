"""From a question to an answer: what a run does, from retrieval to the stored message."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from lorestream.accounts.models import Credential
from lorestream.accounts.quotas import Quotas
from lorestream.accounts.watch import Watch
from lorestream.admission import Admission, Ticket
from lorestream.conversations import citations, prompt
from lorestream.conversations.models import Begun, Manner, Question, Turn
from lorestream.conversations.stops import StopScanner
from lorestream.conversations.store import MessageStore, StillWritten
from lorestream.errors import Busy, Conflict, Gone, Internal, LimitReached, NoDocuments, NotFound, RunFailed
from lorestream.providers.base import NO_ANSWER, ChatModel, Delta, Finish, Generation, Prompt, PromptPassage
from lorestream.providers.catalogue import Catalogue
from lorestream.retrieval.models import Passage
from lorestream.retrieval.search import Retrieval
from lorestream.settings import Settings
from lorestream.streaming import sse
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
from lorestream.streaming.log import RunLog
from lorestream.streaming.runs import EndedElsewhere, OnDisconnect, Outcome, Reader, Runs, Stopped, Work
from lorestream.streaming.sse import MAX_TOKEN_CHARACTERS, split_token

SNIPPET_CHARACTERS = 300
TITLE_CHARACTERS = 120
# No answer has more pieces than this, however small they are: it bounds a run's log.
MAX_PIECES = 100_000
# Earlier questions of the branch that a follow-up is searched with (docs/retrieval.md).
CONTEXT_QUESTIONS, CONTEXT_CHARACTERS = 2, 300
# How long whoever joins an answer waits for its run to begin, in another process perhaps.
BEGIN_SECONDS, LOOK_SECONDS = 2.0, 0.05


@dataclass(frozen=True, slots=True)
class Started:
    """A run that has begun, and its first reader."""

    run_id: str
    message_id: str
    reader: Reader


class Answers:
    """Starts runs that answer questions."""

    def __init__(
        self,
        store: MessageStore,
        retrieval: Retrieval,
        catalogue: Catalogue,
        runs: Runs,
        admission: Admission,
        quotas: Quotas,
        watch: Watch,
        settings: Settings,
    ) -> None:
        """Wire the parts together; no I/O."""
        self.watch = watch
        self.store = store
        self.retrieval = retrieval
        self.catalogue = catalogue
        self.runs = runs
        self.admission = admission
        self.quotas = quotas
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
        self,
        owner_id: str,
        question: Question,
        *,
        door: str,
        on_disconnect: OnDisconnect,
        narrate: bool = False,
        request_hash: str | None = None,
    ) -> Started:
        """Store a question asked outside a conversation, then begin its run; raises as ``launch`` does.

        With the ``request_hash`` of one whose answer is still being written in the same chat, that answer is joined.
        """

        async def begin() -> Begun:
            return await self.store.begin(owner_id, question, door, request_hash)

        try:
            return await self.launch(owner_id, question.model, begin, on_disconnect=on_disconnect, narrate=narrate)
        except StillWritten as first:
            if joined := await self.join(first.run_id, first.message_id):
                return joined
            raise Conflict("The same question was just answered; please look again.") from None

    async def join(self, run_id: str, message_id: str, *, running: bool = True) -> Started | None:
        """A stored answer from its start, None where its log is gone; one that is ``running`` may be about to begin."""
        for _ in range(round(BEGIN_SECONDS / LOOK_SECONDS) if running else 1):
            try:
                await self.runs.log.position(run_id)
            except Gone:
                await asyncio.sleep(LOOK_SECONDS)
            else:
                return Started(run_id, message_id, self.runs.follow(run_id, 0))
        return None

    async def launch(
        self,
        owner_id: str,
        model: str | None,
        begin: Callable[[], Awaitable[Begun]],
        *,
        on_disconnect: OnDisconnect,
        narrate: bool,
    ) -> Started:
        """Let a question in, store it by ``begin``, begin its run. No database session outlives this call.

        Raises, before anything is stored, ShuttingDown, InvalidInput for a model that is not offered, RateLimited
        and Overloaded; and what ``begin`` raises.
        """
        self.runs.refuse_when_draining()
        chosen = await self.catalogue.resolve(model)
        ticket = await self.admission.enter(owner_id, chosen.name, await self.quotas.answer(owner_id))
        try:
            begun = await begin()
            work = _Answering(self, owner_id, begun, chosen, ticket)
            reader = await self._start(owner_id, begun, work, on_disconnect, narrate=narrate)
        except BaseException:
            ticket.leave()
            raise
        return Started(begun.run_id, begun.answer_id, reader)

    async def _start(
        self, owner_id: str, begun: Begun, work: Work, on_disconnect: OnDisconnect, *, narrate: bool
    ) -> Reader:
        """Begin the run of a stored question; where that fails its answer has failed, so that none runs for ever."""
        try:
            return await self.runs.start(begun.run_id, work, on_disconnect=on_disconnect, narrate=narrate)
        except Exception:
            failure = error_event(Internal(), begun.answer_id, begun.conversation_id)
            await self.store.finish(owner_id, begun.run_id, Fold(), "failed", failure, tokens=0)
            raise


class _Answering:
    """The work of one run (the port ``streaming.runs.Work``)."""

    def __init__(self, answers: Answers, owner_id: str, begun: Begun, model: ChatModel, ticket: Ticket) -> None:
        self._answers = answers
        self._owner_id = owner_id
        self._begun = begun
        self._question = begun.question
        self._model = model
        self._ticket = ticket
        self._how = _generation(answers.generation, begun.question.manner)
        self._stops = StopScanner(begun.question.manner.stop) if begun.question.manner.stop else None
        self._started = time.monotonic()
        self._queue_ms: int | None = None
        self._retrieval_ms: int | None = None
        self._first_token_ms: int | None = None
        self._passages: list[Passage] = []
        self._size = self._pieces = self._prompt_bytes = 0
        self._finish: Finish | None = None
        self._finish_reason: FinishReason | None = None

    async def events(self) -> AsyncGenerator[list[Event], None]:
        """Retrieve, show the sources, wait for the model's turn, generate.

        Stops the run when its owner is disabled or deleted: their answers go on after their streams.
        """
        owner = Credential("user", self._owner_id)
        try:
            with self._answers.watch.holding(owner, lambda: self._answers.runs.stop_here(self._begun.run_id)):
                if self._question.retrieve:
                    yield [Status("retrieving")]
                    yield [Sources(await self._search())]
                    if not self._passages:
                        self._finish_reason = "no_context"
                        yield [Token(NO_ANSWER)]
                        return
                else:
                    yield [Sources([])]
                began = time.monotonic()
                async for place in self._ticket.positions():
                    yield [Status("queued", place)]
                self._queue_ms = _ms_since(began)
                yield [Status("generating")]
                made = self._prompt(await self._history())
                self._prompt_bytes = sum(len(message.content.encode()) for message in made.messages)
                async with aclosing(self._model.stream(made, self._how)) as batches:
                    async for deltas in batches:
                        yield self._translate(deltas)
                        if self._stops and self._stops.hit:
                            self._finish_reason = "stop"
                            return
                if self._stops and (rest := self._stops.rest()):
                    yield [Token(rest)]
        finally:
            self._ticket.leave()

    async def _search(self) -> list[Source]:
        began = time.monotonic()
        question = self._question
        before = self._begun.history[-CONTEXT_QUESTIONS:]
        context = " ".join(turn.question[:CONTEXT_CHARACTERS] for turn in before)
        try:
            self._passages = await self._answers.retrieval.search(
                self._owner_id, question.text, question.k, question.doc_ids, context or None, question.collection_id
            )
        except NotFound as gone:  # the collection, since the question was stored
            raise NoDocuments(gone.message) from gone
        self._retrieval_ms = _ms_since(began)
        return [_source(n, passage) for n, passage in enumerate(self._passages, 1)]

    async def _history(self) -> list[Turn]:
        """The branch before the question. What a run still writes, or was just stopped at, is read from its log."""
        turns = []
        for turn in self._begun.history:
            answer = turn.answer
            if turn.running:
                answer = await _written(self._answers.runs.log, turn.running) or answer
            turns.append(Turn(turn.question, answer))
        return turns

    def _prompt(self, history: list[Turn]) -> Prompt:
        question = self._question
        budget = self._how.context_tokens - self._how.max_output_tokens
        if not question.retrieve:
            return prompt.plain(question.text, budget, history, question.instructions)
        shown = [PromptPassage(n, passage.title, passage.text) for n, passage in enumerate(self._passages, 1)]
        return prompt.build(question.text, shown, secrets.token_hex(8), budget, history, question.instructions)

    def _translate(self, deltas: list[Delta]) -> list[Event]:
        batch: list[Event] = []
        for delta in deltas:
            text = self._stops.feed(delta.text) if self._stops else delta.text
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
            return error_event(outcome, self._begun.answer_id, self._begun.conversation_id)
        finish = self._finish
        reason: FinishReason = finish.reason if finish else "stop"
        texts = {n: passage.text for n, passage in enumerate(self._passages, 1)}
        usage = finish.usage if finish else None
        cited = citations.find(fold.answer, texts)
        return Done(
            model=self._model.name if self._queue_ms is not None else "none",
            finish_reason="cancelled" if isinstance(outcome, Stopped) else self._finish_reason or reason,
            usage=Usage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) if usage else None,
            timings=Timings(self._queue_ms, self._retrieval_ms, self._first_token_ms, _ms_since(self._started)),
            citations=cited,
            uncited=bool(self._passages) and citations.uncited(fold.answer, cited),
            conversation_id=self._begun.conversation_id,
            message_id=self._begun.answer_id,
        )

    async def save(self, fold: Fold, outcome: Outcome, terminal: Terminal) -> None:
        """Save the answer with the status its outcome gives it."""
        self._ticket.leave()  # where the run ended before its events began
        status: MessageStatus = "done"
        if isinstance(outcome, Stopped):
            status = "stopped"
        elif isinstance(outcome, RunFailed):
            status = message_status(outcome, fold.has_tokens)
        tokens = self._tokens(fold)
        if not await self._answers.store.finish(
            self._owner_id, self._begun.run_id, fold, status, terminal, tokens=tokens
        ):
            raise EndedElsewhere

    def _tokens(self, fold: Fold) -> int:
        """What the answer took: as its provider counted, else estimated from the bytes that went there and back."""
        if self._finish and self._finish.usage:
            return self._finish.usage.total_tokens
        if not self._prompt_bytes:
            return 0
        return prompt.estimated_tokens(fold.answer, fold.reasoning) + self._prompt_bytes // prompt.BYTES_PER_TOKEN


def _generation(how: Generation, wanted: Manner) -> Generation:
    """The server's way of generating with what a client wants of it: an answer may be shorter, never longer."""
    most, warmth = wanted.max_output_tokens, wanted.temperature
    return replace(
        how,
        max_output_tokens=min(most, how.max_output_tokens) if most else how.max_output_tokens,
        temperature=how.temperature if warmth is None else warmth,
    )


async def _written(log: RunLog, run_id: str) -> str:
    """The answer's tokens in a run's log so far; nothing where the log is no longer kept or cannot be reached."""
    fold, after, ended = Fold(), 0, False
    try:
        while not ended:
            block = await log.read(run_id, after, 0)
            if not block.frames:
                break
            for frame in block.frames.split(b"\n\n"):
                if b"data: " in frame:
                    fold.add(sse.decode(frame))
            after, ended = block.last, block.ended
    except (Gone, Busy):
        return ""
    return fold.answer


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
