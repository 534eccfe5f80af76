"""What an evaluation found, as Markdown; ``page`` makes the same into a page with plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lorestream.evaluation.measures import Difference, Estimate
from lorestream.evaluation.question_set import Example
from lorestream.evaluation.run import Result
from lorestream.evaluation.scores import Compared, Measure, Scored, Unit

WORST = 20
ANSWER_CHARACTERS = 400
PASSAGE_CHARACTERS = 300


@dataclass(frozen=True)
class Report:
    """Everything that is shown. ``scored`` is one configuration or two; ``compared`` is empty for one."""

    set_name: str
    set_sha256: str
    asked: int
    wanted: int
    facts: Mapping[str, str]
    configurations: Mapping[str, Sequence[str]]
    measures: Sequence[Measure]
    scored: Sequence[Scored]
    compared: Sequence[Compared]
    curves: Sequence[Sequence[Estimate | None]]
    worst: Sequence[tuple[Example, Result]]
    notes: Sequence[str]


def number(value: float, unit: Unit) -> str:
    """A share with three decimals, milliseconds with as many as mean something."""
    if unit == "ms":
        return f"{value:.1f} ms" if abs(value) < 100 else f"{value:.0f} ms"
    return f"{value:.3f}"


def interval(one: Estimate | Difference, unit: Unit) -> str:
    """A value with its interval, signed where it is a difference."""
    if isinstance(one, Difference):
        return f"{one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f})" if unit == "share" else (
            f"{one.value:+.1f} ms ({one.low:+.1f} to {one.high:+.1f})"
        )  # fmt: skip
    low, high = (number(end, unit).removesuffix(" ms") for end in (one.low, one.high))
    return f"{number(one.value, unit)} ({low} to {high})"


def shown_measures(report: Report) -> list[Measure]:
    """Those that apply to any question of any configuration."""
    return [one for one in report.measures if any(scored.estimates[one.name] for scored in report.scored)]


def count_of(report: Report, measure: Measure) -> int:
    """For how many questions a measure applies (in the first configuration for which it does)."""
    return next((estimate.n for scored in report.scored if (estimate := scored.estimates[measure.name])), 0)


def cells(report: Report, measure: Measure) -> list[str]:
    """The values of a measure, a configuration each."""
    found = [scored.estimates[measure.name] for scored in report.scored]
    return [interval(one, measure.unit) if one else "–" for one in found]


def markdown(report: Report) -> str:
    """The report for a terminal or a repository."""
    lines = [f"# Evaluation: {report.set_name}", "", _summary(report), ""]
    lines += [f"> {note}\n" for note in report.notes]
    labels = [scored.label for scored in report.scored]
    rows = [[one.label, str(count_of(report, one)), *cells(report, one)] for one in shown_measures(report)]
    lines += _table(["measure", "questions", *labels], rows)
    if report.compared:
        changes = [
            [one.measure.label, interval(one.difference, one.measure.unit), one.verdict] for one in report.compared
        ]
        lines += ["", f"## From {labels[0]} to {labels[1]}", "", *_table(["measure", "difference", "verdict"], changes)]
    lines += ["", "## Configuration", ""]
    lines += _table(["setting", *labels], [[name, *values] for name, values in report.configurations.items()])
    lines += ["", "## How it was measured", "", *(f"- {name}: {value}" for name, value in report.facts.items())]
    if report.worst:
        lines += ["", "## Questions to look at first", ""]
        for example, result in report.worst:
            lines += _question(example, result)
    return "\n".join(lines) + "\n"


def _summary(report: Report) -> str:
    part = "" if report.asked == report.wanted else f" of {report.wanted} (it was stopped)"
    return f"{report.asked} questions{part}. Intervals: 95 %, percentile bootstrap."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    shown = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in shown]


def _question(example: Example, result: Result) -> list[str]:
    expected = "nothing (unanswerable)" if example.unanswerable else " / ".join(example.answers) or "–"
    lines = [f"### {one_line(example.question)}", "", f"- expected: {cut(expected)}"]
    if result.error:
        lines.append(f"- failed: {result.error}")
    elif result.answer or result.refused:
        lines.append(f"- answered: {'(refused) ' if result.refused else ''}{cut(result.answer)}")
    for place, hit in enumerate(result.hits[:4], 1):
        mark = "✓" if hit.right else "✗"
        lines.append(f"- {mark} {place}. {hit.filename} {where(hit.page, hit.start, hit.end)}: {snippet(hit.text)}")
    return [*lines, ""]


def where(page: int | None, start: int, end: int) -> str:
    """Where a passage is, for people."""
    return f"page {page}" if page else f"{start}–{end}"


def one_line(text: str) -> str:
    """A text without line breaks."""
    return " ".join(text.split())


def cut(text: str) -> str:
    """The beginning of an answer."""
    line = one_line(text)
    return line if len(line) <= ANSWER_CHARACTERS else line[:ANSWER_CHARACTERS] + "…"


def snippet(text: str) -> str:
    """The beginning of a passage."""
    return one_line(text)[:PASSAGE_CHARACTERS]
