"""``lorestream evaluate``: ask a question set, and report how well it was answered; compare two configurations."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import platform
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lorestream import __version__
from lorestream.console import EXIT_USAGE, err, read_settings
from lorestream.db import now
from lorestream.evaluation import question_set, report, scores
from lorestream.evaluation.corpus import Corpus, folder_corpus, own_corpus
from lorestream.evaluation.judge import RagasJudge
from lorestream.evaluation.page import page
from lorestream.evaluation.question_set import Example, QuestionSet
from lorestream.evaluation.run import Kept, Result, run
from lorestream.settings import Settings

EXIT_STOPPED = 130
# What --set may name besides the settings.
K = "k"
MOST_PASSAGES = 10
# What a value with its interval takes in the terminal; lines are not broken.
TABLE_COLUMNS = 34

out = Console(highlight=False, soft_wrap=True)

Assignments = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting, for this run.")]
Compare = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Ask everything again with this setting, and compare. Can be repeated."),
]


@dataclass(frozen=True)
class _Asked:
    """What the command line asks for; ``k`` and ``settings`` are one configuration's."""

    questions: QuestionSet
    examples: Sequence[Example]
    folder: Path | None
    user: str | None
    collection: str | None
    retrieval_only: bool
    judge: str | None
    output: Path


@dataclass
class _Measured:
    """One configuration, asked."""

    label: str
    k: int
    model: str | None
    kept: Kept
    corpus_facts: dict[str, str]
    notes: list[str] = field(default_factory=list)
    configuration: dict[str, str] = field(default_factory=dict)


def evaluate(
    path: Annotated[Path, typer.Argument(metavar="SET.jsonl", help="Questions, a JSON object a line.", exists=True)],
    documents: Annotated[
        Path | None, typer.Option(help="A folder to ask; else the documents of a user.", exists=True, file_okay=False)
    ] = None,
    user: Annotated[str | None, typer.Option(help="Whose documents to ask, by email.")] = None,
    collection: Annotated[str | None, typer.Option(help="Only this collection of theirs.")] = None,
    model: Annotated[str | None, typer.Option(help="Language model, such as ollama:llama3.2.")] = None,
    k: Annotated[int, typer.Option(help="How many passages an answer is made of.", min=1, max=MOST_PASSAGES)] = 4,
    retrieval_only: Annotated[bool, typer.Option("--retrieval-only", help="Search, and do not answer.")] = False,
    limit: Annotated[int | None, typer.Option(help="Only so many of the questions, chosen by chance.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Which ones chance chooses.")] = 0,
    set_: Assignments = None,
    compare: Compare = None,
    judge: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Let a model of OPENAI_BASE_URL judge; needs the extra ragas.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the report; default: evaluation-SET.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the users' documents are kept.")] = None,
) -> None:
    """Measure retrieval and answers over a question set; what was asked once is kept for the next time."""
    if documents and (user or collection):
        _refuse("--documents asks a folder; --user and --collection ask what a user has. Give one or the other.")
    if retrieval_only and judge:
        _refuse("There is nothing to judge with --retrieval-only.")
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    questions = question_set.read(path)
    asked = _Asked(
        questions=questions,
        examples=questions.sample(limit, seed),
        folder=documents,
        user=user,
        collection=collection,
        retrieval_only=retrieval_only,
        judge=judge,
        output=output or Path(f"evaluation-{path.stem}"),
    )
    given: dict[str, Any] = {K: k, "data_dir": data_dir, "model": model}
    first = {**given, **_assigned(set_ or [])}
    runs = [(_label(set_ or [], "as it is"), first)]
    if compare:
        runs.append((_label(compare, ""), {**first, **_assigned(compare)}))
    settings = [(label, *_settings(values)) for label, values in runs]
    with asyncio.Runner() as runner:
        sys.exit(runner.run(_evaluate(asked, settings)))


def _refuse(message: str) -> None:
    err.print(message)
    sys.exit(EXIT_USAGE)


def _assigned(assignments: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE as settings; exits where one is none."""
    found = {}
    for one in assignments:
        name, given, value = one.partition("=")
        name = name.strip().lower()
        if not given or (name not in Settings.model_fields and name != K):
            _refuse(f"{one!r} is not KEY=VALUE with a setting's name in lower case (see README.md), or k=1 to 10.")
        found[name] = value
    return found


def _settings(values: Mapping[str, Any]) -> tuple[Settings, int]:
    given = dict(values)
    k = str(given.pop(K))
    if not k.isdecimal() or not 1 <= int(k) <= MOST_PASSAGES:
        _refuse(f"k={k} is not a number from 1 to {MOST_PASSAGES}.")
    return read_settings(**given), int(k)


def _label(assignments: Sequence[str], default: str) -> str:
    return ", ".join(assignments) or default


async def _evaluate(asked: _Asked, settings: Sequence[tuple[str, Settings, int]]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop_soon() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)  # a second Ctrl-C ends it at once

    loop.add_signal_handler(signal.SIGINT, stop_soon)
    await asyncio.to_thread(asked.output.mkdir, parents=True, exist_ok=True)
    measured = []
    try:
        for label, chosen, k in settings:
            if not stop.is_set():
                measured.append(await _measure(asked, label, chosen, k, stop))
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    made = await asyncio.to_thread(_report, asked, measured)
    for name, content in (("report.md", report.markdown(made)), ("report.html", page(made))):
        await asyncio.to_thread((asked.output / name).write_text, content, "utf-8")
    _show(made)
    out.print(f"Report: {asked.output / 'report.html'}")
    return EXIT_STOPPED if stop.is_set() else 0


async def _measure(asked: _Asked, label: str, settings: Settings, k: int, stop: asyncio.Event) -> _Measured:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err) as bar:
        reading = bar.add_task("Reading the documents", total=None)

        def on_file(name: str, share: float) -> None:
            if stop.is_set():  # what is indexed is kept
                raise typer.Exit(EXIT_STOPPED)
            bar.update(reading, description=f"Reading {name[:40]}" if name else "Documents read")
            bar.update(reading, total=100, completed=round(100 * share))

        opened: AbstractAsyncContextManager[Corpus] = (
            folder_corpus(settings, asked.folder, on_file)
            if asked.folder
            else own_corpus(settings, asked.user, asked.collection)
        )
        async with opened as corpus, _judging(asked, corpus) as judge:
            on_file("", 1.0)
            model = None if asked.retrieval_only else (await corpus.library.catalogue.resolve(None)).name
            measured = _Measured(label, k, model, _kept(asked, settings, corpus, k, model), _facts(corpus))
            measured.configuration = _configuration(settings, corpus, k, model)
            measured.notes = _notes(asked, corpus)
            asking = bar.add_task(f"Asking ({label})", total=len(asked.examples))
            await run(
                corpus, asked.examples, measured.kept, k=k, model=model, judge=judge, stop=stop,
                on_result=lambda _: bar.advance(asking),
            )  # fmt: skip
    return measured


@asynccontextmanager
async def _judging(asked: _Asked, corpus: Corpus) -> AsyncIterator[RagasJudge | None]:
    judge = RagasJudge(asked.judge, corpus.library.settings, corpus.library.embedder) if asked.judge else None
    try:
        yield judge
    finally:
        if judge:
            await judge.close()


def _kept(asked: _Asked, settings: Settings, corpus: Corpus, k: int, model: str | None) -> Kept:
    """The file of this configuration's results: it depends on all that results depend on."""
    header = {
        **{name: str(getattr(settings, name)) for name in sorted(settings.model_fields_set) if name != "data_dir"},
        "lorestream": __version__,
        "set": asked.questions.sha256,
        "documents": corpus.identity,
        "k": str(k),
        "model": model or "",
        "judge": asked.judge or "",
    }
    secret = {name for name in header if "key" in name or "url" in name}
    shown = {name: value for name, value in header.items() if name not in secret}
    key = hashlib.sha256(repr(sorted(header.items())).encode()).hexdigest()[:12]
    return Kept(asked.output / f"results-{key}.jsonl", shown)


def _configuration(settings: Settings, corpus: Corpus, k: int, model: str | None) -> dict[str, str]:
    """What the results depend on, in words."""
    names = (
        "chunk_tokens", "chunk_overlap_tokens", "dense_weight", "relevance_floor", "reranker", "temperature",
        "max_output_tokens",
        *settings.model_fields_set,
    )  # fmt: skip
    hidden = {"data_dir", "model", "openai_api_key", "redis_url", "openai_base_url", "ollama_url"}
    hidden |= {"anthropic_api_key", "anthropic_base_url"}
    chosen = {name: str(getattr(settings, name)) for name in dict.fromkeys(names) if name not in hidden}
    return {"model": model or "none: retrieval only", "embedder": corpus.library.embedder.name, K: str(k), **chosen}


def _facts(corpus: Corpus) -> dict[str, str]:
    found = {"documents": f"{corpus.ready} ready"}
    if corpus.failed:
        found["documents"] += f", {len(corpus.failed)} could not be read"
    return found


def _notes(asked: _Asked, corpus: Corpus) -> list[str]:
    found = [f"{name} could not be read: {reason}" for name, reason in corpus.failed[:10]]
    if missing := corpus.missing(asked.examples):
        names = ", ".join(missing[:5]) + ("…" if len(missing) > 5 else "")
        found.append(f"No document has the name {names}; questions about it are counted as not found.")
    return found


def _report(asked: _Asked, measured: Sequence[_Measured]) -> report.Report:
    k = measured[0].k
    results = [_of(asked.examples, one.kept.results) for one in measured]
    wanted = scores.all_measures(k, answered=not asked.retrieval_only, judged=bool(asked.judge))
    scored = [
        scores.score(one.label, asked.examples, found, wanted) for one, found in zip(measured, results, strict=True)
    ]
    names = dict.fromkeys(name for one in measured for name in one.configuration)
    failures = [f"{len(errors)} of {len(found)} questions failed ({one.label}): {errors[0]}"
                for one, found in zip(measured, results, strict=True)
                if (errors := [result.error for result in found.values() if result.error])]  # fmt: skip
    return report.Report(
        set_name=asked.questions.name,
        set_sha256=asked.questions.sha256,
        asked=min(len(found) for found in results),
        wanted=len(asked.examples),
        facts={**measured[0].corpus_facts, "question set": f"SHA-256 {asked.questions.sha256}", **_machine()},
        configurations={name: [one.configuration.get(name, "–") for one in measured] for name in names},
        measures=wanted,
        scored=scored,
        compared=scores.compare(asked.examples, results[0], results[1], wanted) if len(results) > 1 else [],
        curves=[scores.recall_by_k(asked.examples, found) for found in results],
        worst=scores.worst(asked.examples, results[-1], report.WORST),
        notes=[*dict.fromkeys(note for one in measured for note in one.notes), *failures],
    )


def _of(examples: Sequence[Example], results: Mapping[str, Result]) -> dict[str, Result]:
    return {example.key: results[example.key] for example in examples if example.key in results}


def _machine() -> dict[str, str]:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "machine": f"{cpus} CPUs, {platform.machine()}, {platform.platform(terse=True)}",
        "software": f"Lorestream {__version__}, Python {platform.python_version()}",
        "date": f"{now():%Y-%m-%d %H:%M} UTC",
    }


def _show(made: report.Report) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("", *(scored.label for scored in made.scored), *(["verdict"] if made.compared else [])):
        table.add_column(name)
    verdicts = {one.measure.name: one.verdict for one in made.compared}
    for measure in report.shown_measures(made):
        ending = [verdicts.get(measure.name, "")] if made.compared else []
        table.add_row(measure.label, *report.cells(made, measure), *ending)
    out.print(table, width=max(out.width, TABLE_COLUMNS + TABLE_COLUMNS * len(made.scored)), crop=False)
    for note in made.notes:
        out.print(f"Note: {note}", markup=False)
