"""From results to what is reported: which questions a measure is about, and what the pages show."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lorestream.errors import InvalidInput
from lorestream.evaluation import scores
from lorestream.evaluation.corpus import Gold, Place
from lorestream.evaluation.judge import RagasJudge
from lorestream.evaluation.page import page
from lorestream.evaluation.question_set import Example
from lorestream.evaluation.report import Report, markdown
from lorestream.evaluation.run import Cited, Hit, Kept, Result, refuses
from lorestream.providers.base import NO_ANSWER
from lorestream.settings import Settings
from tests.fakes.embedder import WordEmbedder

HIT = Hit("t", "d.md", None, 0, 10, 0.5, "<b>text</b>")
RIGHT = Hit("t", "d.md", None, 10, 20, 0.4, "text", shows=[0], holds=True)


def example(name: str, *, answers: tuple[str, ...] = ("x",), unanswerable: bool = False) -> Example:
    return Example(name, f"What is {name}?", answers, None if unanswerable else "d.md", (), unanswerable)


FOUND = Result(
    "found", 1, [HIT, RIGHT], "It is x.", contained=True, f1=0.5, citations=[Cited(1, 0.4), Cited(2, 1.0)],
    times={"search_ms": 10.0, "total_ms": 100.0},
)  # fmt: skip
MISSED = Result("missed", 1, [HIT], refused=True, times={"search_ms": 20.0, "total_ms": 50.0})
ABSENT = Result("absent", 0, [], refused=True, times={"total_ms": 1.0})
BROKEN = Result("broken", 1, [RIGHT], error="The model is gone.")
EXAMPLES = [example("found"), example("missed"), example("absent", answers=(), unanswerable=True), example("broken")]
RESULTS = {one.key: one for one in (FOUND, MISSED, ABSENT, BROKEN)}
ALL = scores.all_measures(4, answered=True, judged=False)


def values(results: dict[str, Result] = RESULTS) -> dict[str, float]:
    scored = scores.score("one", EXAMPLES, results, ALL)
    return {name: round(one.value, 3) for name, one in scored.estimates.items() if one}


def test_every_question_counts_where_it_applies_and_failures_are_not_dropped() -> None:
    found = values()
    assert (found["recall@1"], found["recall@4"]) == (0.333, 0.667)
    assert found["mrr"] == 0.5
    assert found["contained"] == 0.333
    assert (found["citation_precision"], found["citation_recall"]) == (0.5, 0.333)
    assert (found["refused"], found["refused_wrongly"]) == (1.0, 0.5)
    assert found["failed"] == 0.25
    assert found["search_ms_p50"] == 15.0


def test_a_comparison_pairs_the_questions() -> None:
    better = {**RESULTS, "missed": replace_result(MISSED, hits=[RIGHT], refused=False)}
    changed = {one.measure.name: one for one in scores.compare(EXAMPLES, RESULTS, better, ALL)}
    assert changed["recall@1"].difference.value == pytest.approx(1 / 3)
    assert changed["failed"].verdict == "no difference"


def replace_result(result: Result, **changes: object) -> Result:
    made = Result(result.key)
    for name in Result.__struct_fields__:
        setattr(made, name, changes.get(name, getattr(result, name)))
    return made


def test_the_questions_to_look_at_first_are_the_worst() -> None:
    assert [one.key for one, _ in scores.worst(EXAMPLES, RESULTS, 10)] == ["broken", "missed", "found"]


def report() -> Report:
    scored = [scores.score(name, EXAMPLES, RESULTS, ALL) for name in ("before", "after")]
    return Report(
        "set.jsonl", "0" * 64, 4, 4, {"machine": "2 CPUs"}, {"model": ["reader", "reader"]}, ALL, scored,
        scores.compare(EXAMPLES, RESULTS, RESULTS, ALL), [scores.recall_by_k(EXAMPLES, RESULTS)] * 2,
        scores.worst(EXAMPLES, RESULTS, 3), ["a | note"],
    )  # fmt: skip


def test_the_page_is_self_contained_and_shows_texts_as_texts() -> None:
    shown = page(report())
    assert "<b>text</b>" not in shown
    assert "&lt;b&gt;text&lt;/b&gt;" in shown
    assert not re.search(r"<script|<link|<img|@import|url\(|https?://", shown)
    assert shown.count("<svg") == 3
    assert all(word in shown for word in ("Recall@4", "no difference", "The model is gone.", "What is missed?"))
    empty = replace(report(), scored=report().scored[:1], compared=[], curves=[[None]], worst=[])
    assert "<svg" in page(empty)


def test_the_markdown_says_the_same() -> None:
    shown = markdown(report())
    assert "| Recall@4 | 3 | 0.667 (0.000 to 1.000) |" in shown
    assert "## From before to after" in shown
    assert "- ✓ 2. d.md 10–20: text" in shown


def test_a_passage_is_right_by_its_place_or_where_none_is_known_by_the_answer() -> None:
    placed = Gold((Place(frozenset({"a", "b"}), 10, 20), Place(frozenset({"a"}), 50, 60)), ("x",))
    assert placed.shown_by("a", 15, 55, "") == [0, 1]
    assert placed.shown_by("b", 0, 11, "") == [0]
    assert placed.shown_by("a", 20, 50, "x") == placed.shown_by("c", 10, 20, "x") == []
    by_answer = Gold((), ("the x",), frozenset({"a"}))
    assert (by_answer.shown_by("a", 0, 1, "an X."), by_answer.shown_by("b", 0, 1, "x")) == ([0], [])
    assert (Gold().wanted, placed.wanted, by_answer.wanted) == (0, 2, 1)


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (NO_ANSWER, True),
        (f"{NO_ANSWER} Try another.", True),
        ("", True),
        ("Paris.", False),
        ("I don't know Paris.", False),
    ],
)
def test_an_answer_that_the_documents_do_not_say_is_a_refusal(answer: str, *, refused: bool) -> None:
    assert refuses(answer) == refused


def test_results_are_kept_line_by_line_for_the_same_configuration(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    Kept(path, {"k": "4"}).add(FOUND)
    with path.open("ab") as file:
        file.write(b'{"key": "cut o')  # the process was killed in mid-line
    again = Kept(path, {"k": "4"})
    assert list(again.results) == ["found"]
    again.add(MISSED)
    assert list(Kept(path, {"k": "4"}).results) == ["found", "missed"]
    assert not Kept(path, {"k": "5"}).results


def test_a_judge_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="OPENAI_BASE_URL"):
        RagasJudge("tiny", Settings(data_dir=tmp_path), WordEmbedder())

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("lorestream.evaluation.judge.import_module", missing)
    named = Settings(data_dir=tmp_path, openai_base_url="http://127.0.0.1:9/v1")
    with pytest.raises(InvalidInput, match=r"pip install 'lorestream\[ragas\]'"):
        RagasJudge("tiny", named, WordEmbedder())
