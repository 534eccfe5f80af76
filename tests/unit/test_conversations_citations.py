"""Citations are found where they stand and checked against their passages."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorestream.conversations.citations import Evidence, find, uncited
from lorestream.providers.base import NO_ANSWER
from lorestream.providers.reader import NOTICE
from lorestream.retrieval import rank
from lorestream.text import sentence_spans

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


def support(sentence: str, passage: str = PASSAGES[1], others: Iterable[str] = PASSAGES.values()) -> float:
    return Evidence(dict(enumerate([passage, *others]))).support(sentence, 0)


def test_support_is_one_for_a_quotation_and_for_the_same_words() -> None:
    assert support("“Paris is the capital of France.” [1]") == 1.0
    assert support("France has the capital Paris [1].") == 1.0
    assert support("Nothing alike here [1].") == 0.0
    assert 0 < support("Berlin is the capital of Germany [1].") < 0.4
    assert support("[1]") == 0.0


LONG = "The bridge over the Tay was opened in 1887 and is 3,264 metres long. It replaced one that fell in a storm."


@pytest.mark.parametrize(
    ("supported", "unsupported"),
    [
        ("The Tay bridge was opened in 1887 [1].", "The Tay bridge was opened in 1878 [1]."),
        ("The bridge is 3264 metres long [1].", "The bridge is 3624 metres long [1]."),
        ("The earlier bridge fell in a storm [1].", "The earlier bridge fell in a flood [1]."),
        ("The bridge over the Tay was opened [1].", "The bridge over the Forth was opened [1]."),
        ("1. The bridge was opened in 1887 [1].", "1. The bridge was opened in 1888 [1]."),
    ],
)
def test_a_changed_number_or_name_is_supported_less(supported: str, unsupported: str) -> None:
    assert support(supported, LONG) > support(unsupported, LONG) + 0.2


def test_what_stands_together_supports_more_than_what_is_scattered() -> None:
    scattered = "Paris has a museum. It rained. Rome lies on a river. It snowed. The capital moved. France is large."
    assert support("Paris is the capital of France.", scattered) < support("Paris is the capital of France.")


@given(st.text(max_size=200), st.text(max_size=400), st.text(max_size=200))
def test_support_is_a_share_and_one_for_every_sentence_of_the_passage(said: str, passage: str, other: str) -> None:
    evidence = Evidence({1: passage, 2: other})
    assert 0 <= evidence.support(said, 1) <= 1
    for start, end in sentence_spans(passage):
        sentence = passage[start:end]
        if rank.stems(sentence) and "[" not in sentence:
            assert evidence.support(sentence, 1) > 0.99 or re.match(r"\s*(\d|[-*•])", sentence)


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
