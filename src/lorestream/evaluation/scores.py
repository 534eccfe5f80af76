"""From results to measures: which there are, for which questions each one counts, and two configurations compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lorestream.evaluation import measures
from lorestream.evaluation.measures import Difference, Estimate, Statistic, Verdict
from lorestream.evaluation.question_set import Example
from lorestream.evaluation.run import RANKED, Hit, Result

Unit = Literal["share", "ms"]
# None: the measure does not apply to this question.
Value = Callable[[Example, Result], float | None]

TIMES = {
    "search_ms": "Search by itself",
    "retrieval_ms": "Retrieval in an answer",
    "queue_ms": "Waiting for the model",
    "first_token_ms": "First token",
    "generation_ms": "Generation",
    "total_ms": "Whole answer",
}
JUDGED = {"faithfulness": "Faithfulness (judged)", "answer_relevancy": "Answer relevancy (judged)"}


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of single questions, summed up by a statistic."""

    name: str
    label: str
    value: Value
    statistic: Statistic = "mean"
    unit: Unit = "share"
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Scored:
    """One configuration's results and what they amount to, by the name of the measure; None where it never applies."""

    label: str
    results: Mapping[str, Result]
    estimates: Mapping[str, Estimate | None]


@dataclass(frozen=True, slots=True)
class Compared:
    """How a measure changed over the questions for which it applies in both."""

    measure: Measure
    difference: Difference
    verdict: Verdict


def all_measures(k: int, *, answered: bool, judged: bool) -> list[Measure]:
    """Those of a run: of the search alone, or of its answers, too."""
    found = [Measure(f"recall@{at}", f"Recall@{at}", _recall(at)) for at in sorted({1, 4, RANKED, k})]
    found += [
        Measure("mrr", f"MRR@{RANKED}", _mrr),
        Measure("ndcg", f"nDCG@{RANKED}", _ndcg),
        Measure("answer_found", f"Answer in the first {k} passages", _answer_found(k)),
    ]
    if answered:
        found += [
            Measure("contained", "Answer contained", _of_answer(lambda result: float(result.contained))),
            Measure("exact", "Exact match", _of_answer(lambda result: float(result.exact))),
            Measure("f1", "Token F1", _of_answer(lambda result: result.f1)),
            Measure("citation_precision", "Citation precision", _citation_precision),
            Measure("citation_recall", "Citation recall", _citation_recall),
            Measure("support", "Support of citations", _support),
            Measure("uncited", "Answers without a citation", _uncited, higher_is_better=False),
        ]
    found += [
        Measure("refused", "Refused, of the unanswerable", _refused(unanswerable=True)),
        Measure("refused_wrongly", "Refused, of the answerable", _refused(unanswerable=False), higher_is_better=False),
        Measure("failed", "Failed", lambda _, result: float(bool(result.error)), higher_is_better=False),
    ]
    if judged:
        found += [Measure(name, label, _judged(name)) for name, label in JUDGED.items()]
    times = TIMES if answered else {"search_ms": TIMES["search_ms"]}
    for name, label in times.items():
        for statistic in ("p50", "p95"):
            found.append(Measure(f"{name}_{statistic}", f"{label}, {statistic}", _time(name), statistic, "ms", False))
    return found


def score(label: str, examples: Sequence[Example], results: Mapping[str, Result], wanted: Sequence[Measure]) -> Scored:
    """Every measure over the questions that have a result."""
    there = [(one, results[one.key]) for one in examples if one.key in results]
    estimates = {}
    for measure in wanted:
        values = [value for example, result in there if (value := measure.value(example, result)) is not None]
        estimates[measure.name] = measures.estimate(values, measure.statistic)
    return Scored(label, {example.key: result for example, result in there}, estimates)


def compare(
    examples: Sequence[Example], before: Mapping[str, Result], after: Mapping[str, Result], wanted: Sequence[Measure]
) -> list[Compared]:
    """The change of every measure that applies to questions in both, paired question by question."""
    both = [one for one in examples if one.key in before and one.key in after]
    found = []
    for measure in wanted:
        pairs = [(measure.value(one, before[one.key]), measure.value(one, after[one.key])) for one in both]
        known = [(old, new) for old, new in pairs if old is not None and new is not None]
        changed = measures.difference([old for old, _ in known], [new for _, new in known], measure.statistic)
        if changed:
            said = measures.verdict(changed, higher_is_better=measure.higher_is_better)
            found.append(Compared(measure, changed, said))
    return found


def recall_by_k(examples: Sequence[Example], results: Mapping[str, Result]) -> list[Estimate | None]:
    """Recall at 1, 2, … for a plot."""
    there = [(one, results[one.key]) for one in examples if one.key in results]
    return [
        measures.estimate([value for one, result in there if (value := _recall(k)(one, result)) is not None])
        for k in range(1, RANKED + 1)
    ]


def worst(examples: Sequence[Example], results: Mapping[str, Result], limit: int) -> list[tuple[Example, Result]]:
    """The questions to look at first: failures, then refusals, then those whose right passage is far down or missing,
    then wrong citations and answers.
    """

    def badness(pair: tuple[Example, Result]) -> tuple[float, ...]:
        example, result = pair
        lost = 1 - _mrr(example, result) if result.wanted else 0.0  # type: ignore[operator]
        answered = bool(result.times.get("total_ms"))
        unsaid = float(answered and bool(example.answers) and not result.contained)
        wrongly = float(result.refused != example.unanswerable) if result.wanted or example.unanswerable else 0.0
        return float(bool(result.error)), lost + unsaid + wrongly, 1 - result.f1

    there = [(one, results[one.key]) for one in examples if one.key in results]
    bad = [pair for pair in there if badness(pair)[:2] > (0.0, 0.0)]
    return sorted(bad, key=badness, reverse=True)[:limit]


def _hits(result: Result, k: int) -> Sequence[Hit]:
    return result.hits[:k]


def _recall(k: int) -> Value:
    return lambda _, result: float(any(hit.shows for hit in _hits(result, k))) if result.wanted else None


def _mrr(_: Example, result: Result) -> float | None:
    return measures.reciprocal_rank([bool(hit.shows) for hit in _hits(result, RANKED)]) if result.wanted else None


def _ndcg(_: Example, result: Result) -> float | None:
    if not result.wanted:
        return None
    return measures.ndcg([hit.shows for hit in _hits(result, RANKED)], result.wanted, RANKED)


def _answer_found(k: int) -> Value:
    return lambda example, result: float(any(hit.holds for hit in _hits(result, k))) if example.answers else None


def _of_answer(value: Callable[[Result], float]) -> Value:
    return lambda example, result: value(result) if example.answers else None


def _cited_hits(result: Result) -> list[Hit]:
    numbers = dict.fromkeys(one.n for one in result.citations)
    return [result.hits[n - 1] for n in numbers if n <= len(result.hits)]


def _citation_precision(_: Example, result: Result) -> float | None:
    cited = _cited_hits(result)
    return sum(hit.right for hit in cited) / len(cited) if cited and result.wanted else None


def _citation_recall(_: Example, result: Result) -> float | None:
    if not result.wanted:
        return None
    shown = {place for hit in _cited_hits(result) for place in hit.shows}
    return len(shown) / result.wanted


def _support(_: Example, result: Result) -> float | None:
    return sum(one.support for one in result.citations) / len(result.citations) if result.citations else None


def _uncited(_: Example, result: Result) -> float | None:
    return None if result.refused or result.error else float(result.uncited)


def _refused(*, unanswerable: bool) -> Value:
    def value(example: Example, result: Result) -> float | None:
        answerable = bool(example.answers or result.wanted)
        counts = example.unanswerable if unanswerable else answerable
        return float(result.refused) if counts and not result.error else None

    return value


def _judged(name: str) -> Value:
    return lambda _, result: result.judged.get(name)


def _time(name: str) -> Value:
    return lambda _, result: result.times.get(name)
