"""Words and sentences: exact spans, nothing lost, in linear time."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorestream.text import content_words, sentence_spans, words


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n ", []),
        ("No full stop", ["No full stop"]),
        ("It rains. Does it? Yes!", ["It rains.", "Does it?", "Yes!"]),
        ('He said "no." Then he left.', ['He said "no."', "Then he left."]),
        ("Dr. No met Mr. Bond at 5 p.m. on Fig. 3.", ["Dr. No met Mr. Bond at 5 p.m. on Fig. 3."]),
        ("Das gilt z.B. hier, d.h. heute. Morgen nicht.", ["Das gilt z.B. hier, d.h. heute.", "Morgen nicht."]),
        ("It is 3.5 t, see v1.2.3 now. Done.", ["It is 3.5 t, see v1.2.3 now.", "Done."]),
        ("Wait... what? Yes…  no.", ["Wait...", "what?", "Yes…", "no."]),
        ("短い文。次の文。「はい。」", ["短い文。", "次の文。", "「はい。」"]),
        ("Title\n\nBody of\ntwo lines", ["Title", "Body of\ntwo lines"]),
        ("Buy:\n- milk\n- bread\n2) eggs", ["Buy:", "- milk", "- bread", "2) eggs"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.text(st.sampled_from("aB1 .!?…\n\t\"')。|-#é\u2028 "), max_size=200))
def test_spans_are_exact_in_order_and_lose_nothing(text: str) -> None:
    spans = sentence_spans(text)
    assert all(text[start:end] == text[start:end].strip() != "" for start, end in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert "".join("".join(text[start:end].split()) for start, end in spans) == "".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        *("." * 1_000_000, ".'" * 500_000, "\n" * 1_000_000, "\n" + " " * 1_000_000, "\n " * 500_000, "a'" * 500_000),
        *("\n1" * 500_000, "。" * 300_000, "?" * 1_000_000 + "”" * 1_000_000),
    ],
    ids=["dots", "quotes", "lines", "blanks", "blank lines", "apostrophes", "numbers", "cjk", "signs"],
)
def test_a_hostile_megabyte_takes_linear_time(text: str) -> None:
    started = time.perf_counter()
    sentence_spans(text)
    words(text)
    assert time.perf_counter() - started < 5


def test_words_are_lower_case_without_possessives() -> None:
    assert words("The Crane's log, O'Brien’s 2nd: naïve!") == ["the", "crane", "log", "o'brien", "2nd", "naïve"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is the height of the crane?", ["height", "crane"]),
        ("Wie hoch ist der Kran?", ["hoch", "kran"]),
        ("¿Qué altura tiene la grúa?", ["altura", "grúa"]),
        ("who is it", ["who", "is", "it"]),
        ("?!", []),
    ],
)
def test_content_words_leave_stop_words_out_unless_nothing_is_left(text: str, expected: list[str]) -> None:
    assert content_words(text) == expected
