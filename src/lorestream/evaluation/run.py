"""Asking a question set: what was found and answered for each question, kept line by line to go on later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from lorestream.conversations import citations
from lorestream.conversations.models import Question
from lorestream.errors import InvalidInput, LorestreamError
from lorestream.evaluation.corpus import Corpus, Gold
from lorestream.evaluation.measures import contains, exact_match, token_f1
from lorestream.evaluation.question_set import Example
from lorestream.providers.base import NO_ANSWER
from lorestream.retrieval.models import Passage
from lorestream.streaming.events import Done, Error, Fold, Token

# Passages that are looked at for recall and rank, whatever the answer is made of.
RANKED = 10
SNIPPET_CHARACTERS = 700

Judge = Callable[[str, str, Sequence[str]], Awaitable[dict[str, float]]]


class Hit(msgspec.Struct, omit_defaults=True):
    """A passage that was found: ``shows`` which of the wanted places, ``holds`` an accepted answer."""

    title: str
    filename: str
    page: int | None
    start: int
    end: int
    score: float
    text: str
    shows: list[int] = []
    holds: bool = False

    @property
    def right(self) -> bool:
        """Whether an answer may rest on it."""
        return bool(self.shows) or self.holds


class Cited(msgspec.Struct):
    """The ``n``-th passage, cited for a sentence that it supports from 0 to 1."""

    n: int
    support: float


class Result(msgspec.Struct, omit_defaults=True):
    """One question: the passages, the answer, the times in milliseconds; ``error`` where it failed."""

    key: str
    wanted: int = 0
    hits: list[Hit] = []
    answer: str = ""
    exact: bool = False
    contained: bool = False
    f1: float = 0.0
    refused: bool = False
    uncited: bool = False
    citations: list[Cited] = []
    times: dict[str, float] = {}
    judged: dict[str, float] = {}
    error: str = ""


class Kept:
    """The results of one configuration in a file, a line each; what is there already is not asked again."""

    def __init__(self, path: Path, header: Mapping[str, str]) -> None:
        """Take up an earlier file of the same configuration; a broken last line is left out."""
        self.results: dict[str, Result] = {}
        self._path = path
        wanted = msgspec.json.encode(header)
        lines = path.read_bytes().split(b"\n") if path.is_file() else []
        whole = [wanted]
        if lines and lines[0] == wanted:
            for line in lines[1:]:
                try:
                    result = msgspec.json.decode(line, type=Result)
                except msgspec.DecodeError:
                    continue
                self.results[result.key] = result
                whole.append(line)
        made = path.with_suffix(".part")
        made.write_bytes(b"\n".join([*whole, b""]))
        made.replace(path)

    def add(self, result: Result) -> None:
        """Keep one more."""
        self.results[result.key] = result
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(result) + b"\n")


async def run(
    corpus: Corpus,
    examples: Sequence[Example],
    kept: Kept,
    *,
    k: int,
    model: str | None,
    judge: Judge | None,
    stop: asyncio.Event,
    on_result: Callable[[Result], None],
) -> None:
    """Ask what has not been asked, until ``stop``; ``model`` None searches and does not ask.

    A question that fails is a result with an ``error``, and asked again the next time. Raises InvalidInput when nothing
    is there to be asked.
    """
    if not corpus.named:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in corpus.failed[:3])
        raise InvalidInput(f"None of the documents can be searched. {reasons}".strip())
    stopping = asyncio.create_task(stop.wait())
    try:
        for example in examples:
            known = kept.results.get(example.key)
            if known is None or known.error:
                work = asyncio.create_task(_result(corpus, example, k, model, judge))
                await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not work.done():
                    work.cancel()
                    await asyncio.gather(work, return_exceptions=True)
                    return
                kept.add(work.result())
            on_result(kept.results[example.key])
    finally:
        stopping.cancel()


async def _result(corpus: Corpus, example: Example, k: int, model: str | None, judge: Judge | None) -> Result:
    gold = await corpus.gold(example)
    result = Result(example.key, gold.wanted)
    try:
        began = time.perf_counter()
        passages = await corpus.library.retrieval.search(
            corpus.owner_id, example.question, max(k, RANKED), corpus.scope
        )
        result.times["search_ms"] = _ms_since(began)
        result.hits = [_hit(passage, gold, example) for passage in passages]
        if model is None:
            result.refused = not passages
        else:
            await _ask(corpus, example, result, k, model)
            if judge and not result.refused and not result.error:
                texts = [passage.text for passage in passages[:k]]
                result.judged = await judge(example.question, result.answer, texts)
    except LorestreamError as failure:
        result.error = failure.message
    return result


async def _ask(corpus: Corpus, example: Example, result: Result, k: int, model: str) -> None:
    asked = Question(example.question, k, corpus.scope, model)
    began = time.perf_counter()
    started = await corpus.library.answers.start(corpus.owner_id, asked, door="evaluate", on_disconnect="cancel")
    fold = Fold()
    try:
        async for event in started.reader.events():
            if isinstance(event, Token) and not fold.has_tokens:
                result.times["first_token_ms"] = _ms_since(began)
            fold.add(event)
    finally:
        started.reader.close()
    result.times["total_ms"] = _ms_since(began)
    match fold.terminal:
        case Done() as done:
            _note(result, example, fold.answer, done)
        case Error(message=message):
            result.error = message
        case None:
            result.error = "The answer ended without saying how."


def _note(result: Result, example: Example, answer: str, done: Done) -> None:
    result.answer = citations.plain(answer)
    result.refused = done.finish_reason == "no_context" or refuses(answer)
    result.uncited = done.uncited
    result.citations = [Cited(one.n, one.support) for one in done.citations]
    result.exact = exact_match(result.answer, example.answers)
    result.contained = contains(result.answer, example.answers)
    result.f1 = token_f1(result.answer, example.answers)
    for name in ("queue_ms", "retrieval_ms"):
        if (value := getattr(done.timings, name)) is not None:
            result.times[name] = value
    generating = result.times["total_ms"] - result.times.get("queue_ms", 0) - result.times.get("retrieval_ms", 0)
    result.times["generation_ms"] = round(max(0.0, generating), 2)


def refuses(answer: str) -> bool:
    """Whether an answer is that the documents do not say, perhaps with words after it that cite nothing."""
    begins = answer.replace("’", "'").casefold().lstrip().startswith(NO_ANSWER.rstrip(".").casefold())
    return begins or not citations.states_something(answer)


def _hit(passage: Passage, gold: Gold, example: Example) -> Hit:
    return Hit(
        title=passage.title,
        filename=passage.filename,
        page=passage.page,
        start=passage.start,
        end=passage.end,
        score=passage.score,
        text=passage.text[:SNIPPET_CHARACTERS],
        shows=gold.shown_by(passage.doc_id, passage.start, passage.end, passage.text),
        holds=contains(passage.text, example.answers),
    )


def _ms_since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 2)
