"""Question sets are read, or refused with the line and the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lorestream.errors import InvalidInput
from lorestream.evaluation.question_set import QuestionSet, Span, read


def written(folder: Path, *lines: dict[str, Any] | str) -> QuestionSet:
    path = folder / "set.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return read(path)


def test_offsets_come_as_one_passage_or_as_spans_of_any_document(tmp_path: Path) -> None:
    one, two, three = written(
        tmp_path,
        {"question": "a", "answers": ["x", " "], "document": "d", "passage_start": 3, "passage_end": 9, "more": 1},
        "",
        {"question": "b", "document": "d", "spans": [{"start": 0, "end": 2}, {"start": 1, "end": 4, "document": "e"}]},
        {"question": "c", "unanswerable": True},
    ).examples
    assert (one.answers, one.spans) == (("x",), (Span(3, 9, "d"),))
    assert two.spans == (Span(0, 2, "d"), Span(1, 4, "e"))
    assert (three.unanswerable, three.answers, three.spans) == (True, (), ())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2"),
        ({"answers": []}, "question"),
        ({"question": ""}, "question"),
        ({"question": 7}, "question"),
        ({"question": "a", "answers": "x"}, "answers"),
        ({"question": "a", "document": "d", "passage_start": 3}, "belong together"),
        ({"question": "a", "document": "d", "passage_start": 3, "passage_end": 3}, "empty"),
        ({"question": "a", "document": "d", "passage_start": -1, "passage_end": 3}, "passage_start"),
        ({"question": "a", "spans": [{"start": 1, "end": 2}]}, "need a document"),
        ({"question": "a", "answers": ["x"], "unanswerable": True}, "unanswerable"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, line: dict[str, Any] | str, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        written(tmp_path, {"question": "fine"}, line)
    assert "line 2" in refused.value.message
    assert said in refused.value.message


def test_a_file_without_questions_or_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no question"):
        written(tmp_path, "", "  ")
    with pytest.raises(InvalidInput, match="No such file"):
        read(tmp_path / "none.jsonl")


def test_a_sample_is_the_same_for_the_same_seed_and_in_the_order_of_the_file(tmp_path: Path) -> None:
    questions = written(tmp_path, *({"question": f"q{n}"} for n in range(100)))
    chosen = questions.sample(10, 1)
    assert chosen == questions.sample(10, 1) != questions.sample(10, 2)
    places = [int(one.question[1:]) for one in chosen]
    assert places == sorted(places)
    assert questions.sample(None, 1) == questions.sample(1000, 1) == questions.examples


def test_a_question_asked_twice_counts_once(tmp_path: Path) -> None:
    twice = {"question": "a", "answers": ["x"]}
    assert len(written(tmp_path, twice, twice, {**twice, "answers": ["y"]}).examples) == 2
