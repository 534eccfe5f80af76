"""Rated answers as a list and as a question set; nobody sees another's."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.fakes.reading import GEO, QUESTION, Client, user_of
from tests.fakes.server import RunningServer
from tests.fakes.threads import Thread


async def rated(client: Client, rating: str | None, comment: str | None = None, question: str = QUESTION) -> str:
    """Ask in a conversation of its own and rate the answer; its message_id."""
    thread = await Thread.begin(client)
    terminal = (await thread.answer(question)).terminal
    assert terminal
    body = {"rating": rating, "comment": comment}
    path = f"{thread.path}/messages/{terminal.message_id}/feedback"
    (await client.http.put(path, json=body)).raise_for_status()
    assert terminal.message_id
    return terminal.message_id


async def items(client: Client, **params: Any) -> list[dict[str, Any]]:
    answer = await client.http.get("/feedback/", params=params)
    found: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
    return found


async def exported(client: Client, **params: Any) -> list[dict[str, Any]]:
    answer = (await client.http.get("/feedback/export", params=params)).raise_for_status()
    assert answer.headers["content-type"] == "application/jsonl; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment")
    return [json.loads(line) for line in answer.text.splitlines()]


async def evaluated(server: RunningServer, folder: Path, lines: list[dict[str, Any]], *arguments: str) -> str:
    """The report of an evaluation beside the running server."""
    (folder / "set.jsonl").write_text("\n".join(map(json.dumps, lines)))
    command = ["evaluate", "set.jsonl", "--model", "reader", "--data-dir", str(server.data_dir), *arguments]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lorestream", *command, cwd=folder, stderr=asyncio.subprocess.PIPE
    )
    _, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return (folder / "evaluation-set" / "report.md").read_text()


async def test_rated_answers_are_listed_and_make_a_question_set(reader_server: RunningServer, tmp_path: Path) -> None:
    async with user_of(reader_server, "rates@example.com") as client, user_of(reader_server, "no@example.com") as other:
        document = await asyncio.to_thread(reader_server.upload, dict(client.http.headers), "geo.txt", GEO)
        good = await rated(client, "up", "Just so.")
        bad = await rated(client, "down", "Which century?")
        taken_back = await rated(client, None)

        assert [one["message_id"] for one in await items(client)] == [bad, good]
        assert [one["message_id"] for one in await items(client, rating="up")] == [good]
        one = (await items(client, rating="up"))[0]
        assert (one["question"], one["rating"], one["comment"]) == (QUESTION, "up", "Just so.")
        assert "Paris is the capital of France." in one["answer"]
        assert one["sources"][0]["doc_id"] == document["doc_id"]
        first = (await client.http.get("/feedback/", params={"limit": 1})).json()
        assert [one["message_id"] for one in first["items"]] == [bad]
        rest = (await client.http.get("/feedback/", params={"limit": 1, "cursor": first["next_cursor"]})).json()
        assert ([one["message_id"] for one in rest["items"]], rest["next_cursor"]) == ([good], None)
        assert taken_back not in json.dumps(await items(client))

        down, up = await exported(client)
        assert down == {"question": QUESTION, "answers": [], "rating": "down", "comment": "Which century?"}
        assert (up["document"], up["spans"]) == ("geo.txt", [{"start": 0, "end": len(GEO)}])
        assert up["answers"] == ["“Paris is the capital of France.”"]
        assert await exported(client, rating="down") == [down]
        before = (reader_server.data_dir / "lorestream.db").stat().st_size
        report = await evaluated(reader_server, tmp_path, [down, up], "--user", "rates@example.com")
        assert "2 questions." in report
        assert "| Recall@1 | 1 | 1.000" in report
        assert (reader_server.data_dir / "lorestream.db").stat().st_size == before, "the user's data is not touched"

        assert await items(other) == await exported(other) == []
        (await client.http.delete(f"/documents/{document['doc_id']}")).raise_for_status()
        assert "document" not in (await exported(client, rating="up"))[0], "a place that is no longer there is none"

        for params in ({"limit": 0}, {"limit": 101}, {"rating": "sideways"}, {"cursor": "x"}):
            assert (await client.http.get("/feedback/", params=params)).status_code == 422
        client.http.headers.pop("authorization")
        for path in ("/feedback/", "/feedback/export"):
            assert (await client.http.get(path)).status_code == 401
