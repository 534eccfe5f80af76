"""What is measured of an answer, and how sure it is. Pure functions; definitions in docs/evaluation.md."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Statistic = Literal["mean", "p50", "p95"]
Verdict = Literal["better", "worse", "no difference"]

RESAMPLES = 2000
CONFIDENCE = 95.0
SEED = 20260101
# Resamples that are in memory at once.
_NUMBERS_AT_ONCE = 4_000_000

_ARTICLES = frozenset({"a", "an", "the"})
# Scripts without blanks between words: every character counts as one.
_TOKEN = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")


class Estimate(NamedTuple):
    """A statistic of ``n`` values with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float
    n: int


class Difference(NamedTuple):
    """How much a statistic of ``n`` pairs changed, with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


def tokens(text: str) -> list[str]:
    """The words that SQuAD's scorer compares (Rajpurkar et al. 2016), for any script.

    In lower case, without punctuation and symbols (Unicode's categories P and S) and without English articles.
    """
    kept = "".join(
        char for char in unicodedata.normalize("NFKC", text).casefold() if unicodedata.category(char)[0] not in "PS"
    )
    return [token for token in _TOKEN.findall(kept) if token not in _ARTICLES]


def contains(text: str, answers: Sequence[str]) -> bool:
    """Whether one of the answers stands in the text, word for word after ``tokens``."""
    whole = f" {' '.join(tokens(text))} "
    return any(f" {' '.join(wanted)} " in whole for answer in answers if (wanted := tokens(answer)))


def exact_match(text: str, answers: Sequence[str]) -> bool:
    """Whether the text is one of the answers (SQuAD's exact match)."""
    said = tokens(text)
    return any(said == tokens(answer) for answer in answers)


def token_f1(text: str, answers: Sequence[str]) -> float:
    """The best harmonic mean of precision and recall of the words of any answer (SQuAD's F1)."""
    said = Counter(tokens(text))
    return max((_f1(said, Counter(tokens(answer))) for answer in answers), default=0.0)


def _f1(said: Counter[str], wanted: Counter[str]) -> float:
    shared = sum((said & wanted).values())
    return 2 * shared / (sum(said.values()) + sum(wanted.values())) if shared else 0.0


def reciprocal_rank(right: Sequence[bool]) -> float:
    """1 / the place of the first right passage, 0 without one."""
    return next((1 / place for place, good in enumerate(right, 1) if good), 0.0)


def ndcg(found: Sequence[Sequence[int]], wanted: int, k: int) -> float:
    """Normalised discounted cumulative gain of the first ``k`` passages (Järvelin and Kekäläinen 2002).

    ``found`` names for each passage which of the ``wanted`` places it shows; a passage gains 1 where it shows one that
    none before it did, and the ideal is one new place with every passage.
    """
    seen: set[int] = set()
    gained = 0.0
    for place, shown in enumerate(found[:k], 1):
        if set(shown) - seen:
            gained += 1 / math.log2(place + 1)
            seen |= set(shown)
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(wanted, k) + 1))
    return gained / ideal if ideal else 0.0


def estimate(values: Sequence[float], statistic: Statistic = "mean") -> Estimate | None:
    """A statistic with its percentile bootstrap interval (Efron 1979); None without values. The seed is fixed."""
    if not values:
        return None
    sample = np.asarray(values, dtype=np.float64)
    spread = _resampled(sample, statistic)
    low, high = np.percentile(spread, [(100 - CONFIDENCE) / 2, (100 + CONFIDENCE) / 2])
    return Estimate(float(_of(sample[None, :], statistic)[0]), float(low), float(high), len(sample))


def difference(before: Sequence[float], after: Sequence[float], statistic: Statistic = "mean") -> Difference | None:
    """How the statistic changed over the same questions, by a paired bootstrap; None without values."""
    if not before:
        return None
    one, other = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    spread = _resampled(other, statistic) - _resampled(one, statistic)
    low, high = np.percentile(spread, [(100 - CONFIDENCE) / 2, (100 + CONFIDENCE) / 2])
    value = _of(other[None, :], statistic)[0] - _of(one[None, :], statistic)[0]
    return Difference(float(value), float(low), float(high), len(one))


def verdict(changed: Difference, *, higher_is_better: bool) -> Verdict:
    """Better or worse only where the interval leaves out 0."""
    if changed.low <= 0 <= changed.high:
        return "no difference"
    return "better" if (changed.value > 0) == higher_is_better else "worse"


def _resampled(sample: Values, statistic: Statistic) -> Values:
    """The statistic of every resample; samples of the same length are drawn at the same places, so pairs stay pairs."""
    draw = np.random.default_rng(SEED)
    rows = max(1, _NUMBERS_AT_ONCE // len(sample))
    parts = []
    for start in range(0, RESAMPLES, rows):
        size = min(rows, RESAMPLES - start), len(sample)
        parts.append(_of(sample[draw.integers(0, len(sample), size=size)], statistic))
    return np.concatenate(parts)


def _of(samples: Values, statistic: Statistic) -> Values:
    if statistic == "mean":
        return np.asarray(samples.mean(axis=1), dtype=np.float64)
    return np.asarray(np.percentile(samples, float(statistic[1:]), axis=1), dtype=np.float64)
