"""The measures against values worked out by hand, and against the properties that they must have."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorestream.evaluation import measures
from lorestream.evaluation.measures import Difference


def test_answers_are_compared_as_squads_scorer_does() -> None:
    assert measures.tokens("The U.S. Army’s “Big” 32 $!") == ["us", "armys", "big", "32"]
    assert measures.tokens("ÜBER naïve ﬁlm") == ["über", "naïve", "film"]
    assert measures.tokens("東京は日本") == list("東京は日本")
    assert measures.exact_match("The Denver Broncos.", ["denver broncos"])
    assert measures.token_f1("Denver won", ["Denver Broncos", "x"]) == pytest.approx(0.5)
    assert measures.token_f1("nothing", []) == 0.0


def test_containment_is_by_whole_words() -> None:
    assert measures.contains("It was founded in 1873, in Smiljan.", ["his town", "Smiljan"])
    assert not measures.contains("It has 12014 seats.", ["2014"])
    assert not measures.contains("anything", ["…", ""])
    assert measures.contains("首都は東京です", ["東京"])


def test_ranks() -> None:
    assert measures.reciprocal_rank([False, True, True]) == 0.5
    assert measures.reciprocal_rank([False]) == 0.0
    assert measures.ndcg([[0]], 1, 10) == 1.0
    assert measures.ndcg([[], [0]], 1, 10) == pytest.approx(1 / math.log2(3))
    assert measures.ndcg([[0], [0], [1]], 2, 10) == pytest.approx((1 + 0.5) / (1 + 1 / math.log2(3)))
    assert measures.ndcg([[]] * 10 + [[0]], 1, 10) == 0.0


@given(st.lists(st.lists(st.integers(0, 4), max_size=3), max_size=12))
def test_ndcg_is_a_share(found: list[list[int]]) -> None:
    assert 0 <= measures.ndcg(found, 5, 10) <= 1


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_an_estimate_lies_within_its_interval_and_is_the_same_every_time(values: list[float]) -> None:
    found = measures.estimate(values)
    assert found
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    assert found == measures.estimate(values)
    assert measures.estimate([]) is None


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    """The normal approximation is near the bootstrap for 400 values of a coin: 0.5 ± 1.96 · 0.5 / 20."""
    found = measures.estimate([0.0, 1.0] * 200)
    assert found
    assert (found.low, found.high) == pytest.approx((0.451, 0.549), abs=0.01)


def test_pairs_show_a_difference_that_single_intervals_would_hide() -> None:
    before = [n / 100 for n in range(100)]
    after = [value + 0.01 for value in before]
    changed = measures.difference(before, after)
    assert changed
    assert changed == pytest.approx(Difference(0.01, 0.01, 0.01, 100))
    assert measures.verdict(changed, higher_is_better=True) == "better"
    assert measures.verdict(changed, higher_is_better=False) == "worse"
    assert measures.verdict(Difference(0.01, -0.01, 0.02, 9), higher_is_better=True) == "no difference"
    median = measures.difference(before, after, "p50")
    assert median
    assert median.value == pytest.approx(0.01)
