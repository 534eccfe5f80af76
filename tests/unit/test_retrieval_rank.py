"""Fusing two searches and telling what is relevant: pure functions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorestream.retrieval import rank
from lorestream.settings import Settings

NEAR = st.dictionaries(st.integers(1, 50), st.floats(0, 1), max_size=20)
SCORES = st.dictionaries(st.integers(1, 50), st.floats(-1, 30), max_size=20)


@given(spaces=st.lists(NEAR, max_size=3), lexical=SCORES)
def test_every_candidate_has_a_score_between_0_and_1(spaces: list[dict[int, float]], lexical: dict[int, float]) -> None:
    scores = rank.fuse(spaces, lexical)
    assert scores.keys() == {chunk_id for near in spaces for chunk_id in near}
    assert all(0 <= score <= 1 for score in scores.values())
    assert sorted(rank.order(scores)) == sorted(scores)


def test_both_searches_count_the_same() -> None:
    assert Settings.model_fields["dense_weight"].default == rank.DENSE_WEIGHT
    scores = rank.fuse([{1: 0.8, 2: 0.0, 3: 0.8, 4: 0.0}], {1: 10.0, 2: 10.0})
    assert scores == {1: 1.0, 2: 0.5, 3: 0.5, 4: 0.0}
    assert rank.order(scores) == [1, 2, 3, 4]


def test_the_spaces_of_two_embedders_are_scaled_each_by_itself() -> None:
    scores = rank.fuse([{1: 0.8, 2: 0.4}, {3: 0.2, 4: 0.1}], {})
    assert scores[1] == scores[3] > scores[2] == scores[4]


def test_one_search_alone_can_be_asked_for() -> None:
    near, lexical = {1: 0.9, 2: 0.5}, {2: 3.0}
    assert rank.order(rank.fuse([near], lexical, dense_weight=1)) == [1, 2]
    assert rank.order(rank.fuse([near], lexical, dense_weight=0)) == [2, 1]


def test_nothing_found_is_nothing_ranked() -> None:
    assert rank.fuse([], {1: 3.0}) == {}
    assert rank.fuse([{}], {1: 3.0}) == {}
    assert rank.relevance("Any question?", {}, {}) == {}


@given(distance=st.floats(0, 2), usual=st.floats(0, 0.9))
def test_nearness_begins_where_texts_have_something_in_common(distance: float, usual: float) -> None:
    assert 0 <= rank.nearness(distance, usual) <= 1
    assert rank.nearness(1 - usual, usual) == pytest.approx(0, abs=1e-9)
    assert rank.nearness(0, usual) == 1


def test_a_reranker_that_is_asked_twice_agrees_with_itself() -> None:
    assert rank.agreed([[0.0, 800.0, -800.0]]) == pytest.approx([0.5, 1, 0])
    assert rank.agreed([[0.0, 9.0], [0.0, -9.0]]) == pytest.approx([0.5, 0.5])


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
    [measured] = rank.relevance(question, {1: text}, {1: 1 - distance}).values()
    assert (measured >= 0.28) is relevant


@pytest.mark.parametrize(
    "question",
    ["Summarize this document.", "What is this file about?", "Überblick über den Inhalt der Dokumente", "?!"],
)
def test_everything_is_relevant_to_a_question_about_the_documents_themselves(question: str) -> None:
    assert rank.relevance(question, {1: "Anything at all."}, {1: 0.0}) == {1: 1.0}


@given(text=st.text(max_size=200))
def test_plain_text_is_words_and_single_marks_are_gone(text: str) -> None:
    assert rank.plain(text).startswith(" ")
    assert rank.plain("Crème brûlée, naïve_café!").split() == ["creme", "brulee", "naive", "cafe"]


def test_rare_words_weigh_more_than_common_ones() -> None:
    texts = {n: f"The player scored a goal number {n}." for n in range(20)} | {99: "Ronaldo scored."}
    measured = rank.relevance("Which player scored for Ronaldo?", texts, dict.fromkeys(texts, 0.0))
    assert measured[99] > measured[0]
