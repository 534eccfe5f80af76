"""Fusing two searches and telling what is relevant: pure functions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorestream.retrieval import rank

DISTANCES = st.dictionaries(st.integers(1, 50), st.floats(0, 2), max_size=20)
SCORES = st.dictionaries(st.integers(1, 50), st.floats(-1, 30), max_size=20)


@given(distances=DISTANCES, lexical=SCORES)
def test_every_candidate_has_a_score_between_0_and_1(distances: dict[int, float], lexical: dict[int, float]) -> None:
    scores = rank.fuse(distances, lexical)
    assert scores.keys() == distances.keys()
    assert all(0 <= score <= 1 for score in scores.values())
    assert sorted(rank.order(scores)) == sorted(scores)


def test_both_searches_count_the_same() -> None:
    scores = rank.fuse({1: 0.2, 2: 0.8, 3: 0.2, 4: 0.8}, {1: 10.0, 2: 10.0})
    assert scores == {1: 1.0, 2: 0.5, 3: 0.5, 4: 0.0}
    assert rank.order(scores) == [1, 2, 3, 4]


def test_nothing_found_is_nothing_ranked() -> None:
    assert rank.fuse({}, {1: 3.0}) == {}
    assert rank.fuse({1: 0.5}, {}) == {1: 0.5}, "the only hit is the nearest one"
    assert rank.relevance("Any question?", {}, {}) == {}


@pytest.mark.parametrize(
    ("question", "text", "distance", "relevant"),
    [
        ("What is the capital of France?", "Paris is the capital of France.", 0.2, True),
        ("Wie heißt die Hauptstadt Österreichs?", "Die HAUPTSTADT von Osterreich ist Wien.", 0.7, True),
        ("How is a physician paid?", "Doctors earn a monthly salary.", 0.45, True),
        ("How long should I boil an egg?", "The battle was lost in the long winter of 1812.", 0.85, False),
        ("Who won the match?", "Photosynthesis happens in chloroplasts.", 0.95, False),
    ],
)
def test_what_is_relevant(question: str, text: str, distance: float, relevant: bool) -> None:
    [measured] = rank.relevance(question, {1: text}, {1: distance}).values()
    assert (measured >= 0.31) is relevant


@pytest.mark.parametrize(
    "question",
    ["Summarize this document.", "What is this file about?", "Überblick über den Inhalt der Dokumente", "?!"],
)
def test_everything_is_relevant_to_a_question_about_the_documents_themselves(question: str) -> None:
    assert rank.relevance(question, {1: "Anything at all."}, {1: 1.0}) == {1: 1.0}


@given(text=st.text(max_size=200))
def test_plain_text_is_words_and_single_marks_are_gone(text: str) -> None:
    assert rank.plain(text).startswith(" ")
    assert rank.plain("Crème brûlée, naïve_café!").split() == ["creme", "brulee", "naive", "cafe"]


def test_rare_words_weigh_more_than_common_ones() -> None:
    texts = {n: f"The player scored a goal number {n}." for n in range(20)} | {99: "Ronaldo scored."}
    measured = rank.relevance("Which player scored for Ronaldo?", texts, dict.fromkeys(texts, 1.0))
    assert measured[99] > measured[0]
