"""``lorestream evaluate`` from a question set to its report."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from lorestream.commands.evaluate import evaluate
from lorestream.errors import InvalidInput, StartRefused
from lorestream.settings import cache_dir
from tests.fakes.files import pdf
from tests.fakes.threads import ScriptedModel
from tests.fakes.upstream import Finish, Hold, Say

FRANCE = "# France\n\nParis is the capital of France.\n\n## Money\n\nPeople in France pay with the euro."
TEA = "# Tea\n\nGreen tea is brewed at eighty degrees for two minutes."
PLACE = FRANCE.index("Paris"), FRANCE.index(".")
QUESTIONS: list[dict[str, Any]] = [
    {"question": "What is the capital of France?", "answers": ["Paris"], "document": "france.md",
     "passage_start": PLACE[0], "passage_end": PLACE[1]},
    {"question": "How long is green tea brewed?", "answers": ["two minutes"], "document": "kitchen/tea.pdf",
     "spans": [{"start": 0, "end": 9, "text": "brewed at eighty degrees"}]},
    {"question": "How hot is green tea brewed?", "answers": ["eighty degrees"], "document": "tea.pdf"},
    {"question": "Who won the cup final of 1934?", "unanswerable": True},
    {"question": "What is on page nine?", "answers": ["nothing"], "document": "gone.md"},
]  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of documents, a question set about them, and a cache that has the embedding model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache_dir().mkdir(parents=True)
    (cache_dir() / "models").symlink_to(models_dir, target_is_directory=True)
    papers = tmp_path / "papers"
    (papers / "kitchen").mkdir(parents=True)
    (papers / "france.md").write_text(FRANCE)
    (papers / "kitchen" / "tea.pdf").write_bytes(pdf([TEA.split("\n")[2:]]))
    (papers / "empty.md").touch()
    (tmp_path / "set.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)))
    return tmp_path


def measured(home: Path, **arguments: Any) -> tuple[int, list[dict[str, Any]], str]:
    """Run it: the exit code, the results of the newest configuration, the Markdown report."""
    values: dict[str, Any] = {"output": home / "out", "model": "reader"}
    with pytest.raises(SystemExit) as ended:
        evaluate(home / "set.jsonl", **{**values, **arguments})
    newest = max((home / "out").glob("results-*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    results = [json.loads(line) for line in newest.read_text().splitlines()[1:]]
    code = ended.value.code
    assert isinstance(code, int)
    return code, results, (home / "out" / "report.md").read_text()


def test_a_folder_is_indexed_asked_and_compared_and_nothing_is_done_twice(home: Path) -> None:
    code, results, report = measured(home, documents=home / "papers")
    assert code == 0
    paris, minutes, degrees, nobody, gone = results
    assert "Paris is the capital of France." in paris["answer"]
    assert paris["contained"]
    assert paris["hits"][0]["shows"] == [0]
    assert paris["citations"][0]["n"] == 1
    assert minutes["hits"][0]["shows"] == degrees["hits"][0]["shows"] == [0], "found by the text, and by the answer"
    assert (nobody.get("wanted", 0), nobody["refused"]) == (0, True)
    assert not any(hit.get("shows") for hit in gone.get("hits", [])), "a document that is not there is not found"
    assert {"search_ms", "first_token_ms", "total_ms", "retrieval_ms"} <= paris["times"].keys()
    assert "No document has the name gone.md" in report
    assert "empty.md could not be read" in report
    assert "| Recall@1 | 4 | 0.750" in report
    assert "| Refused, of the unanswerable | 1 | 1.000" in report

    kept = {path: path.stat().st_mtime_ns for path in (home / "cache").rglob("*/files/*")}
    _, again, report = measured(home, documents=home / "papers", compare=["k=1", "relevance_floor=0"])
    assert kept == {path: path.stat().st_mtime_ns for path in (home / "cache").rglob("*/files/*")}
    assert len(list((home / "out").glob("results-*.jsonl"))) == 2, "the first configuration was not asked again"
    assert not again[3].get("refused"), "without a floor everything is relevant"
    assert "## From as it is to k=1, relevance_floor=0" in report
    assert "| k | 4 | 1 |" in report
    shown = (home / "out" / "report.html").read_text()
    assert "What is the capital of France?" not in shown, "it is none to look at"
    assert "Who won the cup final of 1934?" in shown

    _, searched, report = measured(home, documents=home / "papers", retrieval_only=True, limit=2, seed=5)
    assert len(searched) == 2
    assert not any(one.get("answer") for one in searched)
    assert "Recall@4" in report
    assert "Exact match" not in report


def test_what_cannot_be_evaluated_is_said_before_anything_is_done(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"documents": home / "papers", "user": "a@example.com"}, "--documents"),
        ({"documents": home / "papers", "retrieval_only": True, "judge": "tiny"}, "nothing to judge"),
        ({"documents": home / "papers", "set_": ["nonsense=1"]}, "nonsense=1"),
        ({"documents": home / "papers", "compare": ["k=11"]}, "k=11"),
        ({"documents": home / "papers", "compare": ["chunk_tokens=x"]}, "LORESTREAM_CHUNK_TOKENS"),
    ]
    for arguments, said in refusals:
        with pytest.raises(SystemExit) as refused:
            evaluate(home / "set.jsonl", **arguments)
        assert refused.value.code == 2
        assert said in capsys.readouterr().err
    (home / "nothing").mkdir()
    with pytest.raises(InvalidInput, match="no files"):
        evaluate(home / "set.jsonl", documents=home / "nothing")
    (home / "nothing" / "empty.md").touch()
    with pytest.raises(StartRefused, match="There are no documents"):
        evaluate(home / "set.jsonl", data_dir=home / "nothing")
    with pytest.raises(InvalidInput, match="None of the documents"):
        evaluate(home / "set.jsonl", documents=home / "nothing", model="reader")
    assert not list((home / "evaluation-set").glob("report*"))


async def started(home: Path, *arguments: str, **settings: str) -> asyncio.subprocess.Process:
    named = {f"LORESTREAM_{name.upper()}": value for name, value in {"model": "reader", **settings}.items()}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lorestream", "evaluate", "set.jsonl", *arguments,
        cwd=home, env={**os.environ, **named}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_ctrl_c_keeps_what_was_measured_and_the_next_run_goes_on(home: Path) -> None:
    fake = ScriptedModel("ollama")
    async with fake, asyncio.timeout(90):
        model = {"model": "ollama:tiny:latest", "ollama_url": fake.url}
        fake.play(Say("Paris [1]."), Finish())
        fake.play(Hold())
        first = await started(home, "--documents", "papers", **model)
        await fake.chat(1, 60)
        first.send_signal(signal.SIGINT)
        await first.communicate()
        assert first.returncode == 130
        kept = next((home / "evaluation-set").glob("results-*.jsonl"))
        assert len(kept.read_text().splitlines()) == 2, "what it is, and the one question that was answered"
        assert "1 questions of 5" in (home / "evaluation-set" / "report.md").read_text()
        fake.play(Say("I cannot tell."), Finish(), always=True)
        second = await started(home, "--documents", "papers", **model)
        _, complaints = await second.communicate()
        assert second.returncode == 0, complaints
        assert len(kept.read_text().splitlines()) == 6
        assert "Paris [1]." not in kept.read_text(), "the mark is not part of what was said"
