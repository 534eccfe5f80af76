"""Citations are found where they stand and checked against their passages."""

from __future__ import annotations

import time

import pytest

from lorestream.conversations.citations import find, support, uncited
from lorestream.providers.base import NO_ANSWER
from lorestream.providers.reader import NOTICE

PASSAGES = {1: "Paris is the capital of France.", 2: "Rome, the capital of Italy, lies on the Tiber."}


def cited(answer: str) -> list[tuple[int, str]]:
    return [(citation.n, answer[citation.start : citation.end]) for citation in find(answer, PASSAGES)]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Paris is the capital [1].", [(1, "Paris is the capital [1].")]),
        ("It is Paris. [1]", [(1, "It is Paris. [1]")]),
        ("Paris [1]. Rome [2].", [(1, "Paris [1]."), (2, "Rome [2].")]),
        ("Both are capitals [1][2].", [(1, "Both are capitals [1][2]."), (2, "Both are capitals [1][2].")]),
        ("Both are capitals [1, 2].", [(1, "Both are capitals [1, 2]."), (2, "Both are capitals [1, 2].")]),
        ("No source has that number [7].", []),
        ("An array[0] or a [link](x) is none.", []),
        ("", []),
        ("[1]", [(1, "[1]")]),
    ],
)
def test_a_citation_covers_the_sentence_it_supports(answer: str, expected: list[tuple[int, str]]) -> None:
    assert cited(answer) == expected


def test_support_is_one_for_a_quotation_and_the_share_of_words_otherwise() -> None:
    assert support("“Paris is the capital of France.” [1]", PASSAGES[1]) == 1.0
    assert support("France has the capital Paris [1].", PASSAGES[1]) == 1.0
    assert support("Berlin is the capital of Germany [1].", PASSAGES[1]) == 0.33
    assert support("Nothing alike here [1].", PASSAGES[1]) == 0.0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Paris is the capital.", True),
        ("Paris is the capital [7].", True),
        ("Paris is", True),
        ("Paris is the capital [1].", False),
        (NO_ANSWER, False),
        ("I don’t know based on the provided data", False),
        (f"{NO_ANSWER} But Paris is the capital.", True),
        (f"{NO_ANSWER}\n\n{NOTICE}", False),
        ("", False),
        (" […] ", False),
    ],
)
def test_an_answer_that_states_something_and_cites_no_source_is_uncited(answer: str, expected: bool) -> None:
    assert uncited(answer, find(answer, PASSAGES)) == expected


def test_a_hostile_answer_is_searched_in_linear_time() -> None:
    began = time.monotonic()
    for hostile in ("[1" * 100_000, "[1," * 100_000, "“" * 100_000, "." * 100_000, "[1]" * 2_000):
        find(hostile, PASSAGES)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("unit", ["[1]", "word [1] ", "[1,2] and ", "[1]. "])
def test_a_model_that_repeats_itself_costs_little(unit: str) -> None:
    """Per mark a bounded look, however long the sentence around it is."""
    began = time.process_time()
    found = find(unit * (200_000 // len(unit)), {1: "word " * 200, 2: "and"})
    assert len(found) >= 500
    assert time.process_time() - began < 5
