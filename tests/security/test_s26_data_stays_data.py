"""S26: what users and models write is stored as the text it is; nothing of it is ever loaded, evaluated or SQL."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path

import httpx

from tests.fakes.server import RunningServer
from tests.fakes.threads import Thread, asking
from tests.fakes.upstream import Finish, Say
from tests.security.people import People

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
# Serialised objects and templates of frameworks that made theirs executable.
LOADED = [
    json.dumps({"lc": 1, "type": "constructor", "id": ["langchain", "llms", "OpenAI"], "kwargs": {"api_key": "x"}}),
    json.dumps({"lc": 1, "type": "secret", "id": ["OPENAI_API_KEY"]}, indent=2),
    '{"__class__": "os.system", "__reduce__": ["rm -rf /"], "py/object": "subprocess.Popen"}',
    "!!python/object/apply:os.system ['id']",
    "cos\nsystem\n(S'id'\ntR.",
    "{{ config.__class__.__init__.__globals__ }} {% import os %} ${7*7} #{7*7} %(x)s {0.__class__}",
    '\ufeff{"a": 1.0, "b": 1e400, "c": "\\ud83e\\udd89", "d": "\u2028"}  ',
]
# Searches and ids that would be more than values, were they put into a statement.
INJECTED = [
    "' OR 1=1 --", '" OR "1"="1', "'; DROP TABLE documents; --", "x') UNION SELECT password_hash FROM users --",
    "owner : * OR a*", 'text : "a" OR owner : "b"', "NEAR(a b, 5)", "a AND NOT b", "^a", "*", "\x00", "%", "_", "(",
    ")", "keys : x OR a", "a\" OR keys : \"b", "\\", "';--", "1; ATTACH DATABASE '/tmp/x' AS y", "{a b} : c", "+a -b",
]  # fmt: skip
FORBIDDEN_MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "marshal",
    "shelve",
    "yaml",
    "jsonpickle",
    "joblib",
}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "system",
    "popen",
    "literal_eval",
    "unsafe_load",
    "full_load",
}


async def test_messages_and_titles_round_trip_byte_for_byte(tmp_path: Path, models_dir: Path) -> None:
    async with asking(tmp_path, models_dir, relevance_floor="0") as (fake, _, client):
        for text in LOADED:
            fake.play(Say(text.replace("\ufeff", ""), reasoning=True), Say([text, " [1]"]), Finish())
            thread = await Thread.begin(client, title=text[:200])
            answer = await thread.answer(text)
            assert answer.text == f"{text} [1]"
            whole = await thread.read()
            assert [message["content"] for message in whole["messages"]] == [text, f"{text} [1]"]
            assert whole["title"] == " ".join(text[:200].split())
            rated = {"rating": "up", "comment": text}
            path = f"{thread.path}/messages/{whole['messages'][1]['message_id']}/feedback"
            assert (await client.http.put(path, json=rated)).json()["feedback"] == rated
            exported = await client.http.get(f"{thread.path}/export", params={"format": "json"})
            assert exported.json()["messages"][0]["content"] == text
            assert fake.prompts()[-1][-1]["content"].startswith(f"Question: {text}\n")


async def test_what_looks_like_sql_is_a_value(world: tuple[RunningServer, People]) -> None:
    server, people = world
    async with httpx.AsyncClient(base_url=server.url, headers=people.bob.headers, timeout=30) as http:
        for text in INJECTED:
            answers = [
                await http.get("/conversations/", params={"q": text}),
                await http.get("/conversations/", params={"cursor": text}),
                await http.get("/documents/", params={"cursor": text}),
                await http.post("/query/", json={"question": f"x {text}", "k": 10}),
                await http.post("/query/", json={"question": "x", "doc_id": text.replace("\0", "0")[:64]}),
                await http.post("/conversations/", json={"title": "x", "doc_ids": [text.replace("\0", "0")[:64]]}),
            ]
            for answer in answers:
                assert answer.status_code in {200, 404, 422}, f"{text!r}: {answer.text}"
                assert f"hides the canary {people.canary}" not in answer.text
                assert "alice@example.com" not in answer.text
                assert not re.search(r"sqlite|syntax|fts5", answer.text, re.IGNORECASE)


def test_nothing_in_the_tree_loads_or_evaluates() -> None:
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").partition(".")[0]}
            elif isinstance(node, ast.Call):
                names = {getattr(node.func, "id", "")} | {getattr(node.func, "attr", "")}
                names = names & FORBIDDEN_CALLS if not _is_a_pattern(node) else set()
            else:
                continue
            found += [f"{path.name}:{node.lineno} {name}" for name in names & (FORBIDDEN_MODULES | FORBIDDEN_CALLS)]
        assert "trust_remote_code" not in path.read_text()
    assert found == []


def _is_a_pattern(call: ast.Call) -> bool:
    """``re.compile``, which compiles no code."""
    return isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "re"


def test_statements_are_written_with_bind_parameters() -> None:
    """The linter's rules for it are on, and what it is told to pass over puts in nothing but our own words."""
    chosen = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "S" in chosen["select"]
    assert not {"S", "S608", "S301", "S307", "S102", "S506"} & set(chosen["ignore"])
    for rules in chosen["per-file-ignores"].items():
        assert not (
            rules[0].startswith("src") and any(rule.startswith("S") and rule[1:].isdigit() for rule in rules[1])
        )
    passed_over = [line for path in SOURCES for line in path.read_text().splitlines() if "S608" in line]
    assert len(passed_over) <= 6
    for line in passed_over:
        assert re.search(r"noqa: S608 \(.+\)", line), f"say why: {line}"
