"""What a rated answer becomes as a question of a set."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from lorestream.conversations.feedback import question_of
from lorestream.conversations.models import Rated

NAMES = {"a": "one.md", "b": "two.md"}


def source(n: int, doc_id: str) -> dict[str, Any]:
    return {"n": n, "doc_id": doc_id, "start": n * 10, "end": n * 10 + 5}


def rated(answer: str, sources: list[dict[str, Any]], cited: list[int]) -> Rated:
    citations = [{"n": n, "start": 0, "end": 1, "support": 1.0} for n in cited]
    return Rated("m", "c", "Why?", answer, "up", None, sources, citations, datetime.now(UTC))


def test_a_good_answer_is_expected_from_what_it_cites_in_whichever_documents() -> None:
    sources = [source(1, "a"), source(2, "b"), source(3, "a"), source(4, "gone")]
    line = question_of(rated("So [1][2]. And so [4].", sources, [1, 2, 4]), NAMES)
    assert line == {
        "question": "Why?",
        "answers": ["So. And so."],
        "rating": "up",
        "document": "one.md",
        "spans": [{"start": 10, "end": 15}, {"document": "two.md", "start": 20, "end": 25}],
    }


@pytest.mark.parametrize("cited", [[], [4]])
def test_an_answer_that_cites_nothing_that_is_there_names_no_document(cited: list[int]) -> None:
    line = question_of(rated("So.", [source(4, "gone")], cited), NAMES)
    assert line == {"question": "Why?", "answers": ["So."], "rating": "up"}
