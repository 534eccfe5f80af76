"""The base contract, as it is published: curl, Node's fetch, and Python."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from tests.doors.client import Driver, Script, Seen, Target, left


def note(seen: Seen, event: dict[str, Any]) -> None:
    """Take in one event of the base contract."""
    match event["type"]:
        case "sources":
            seen.sources = len(event["sources"])
        case "token":
            seen.text += event["text"]
        case "done":
            seen.end = "done"
        case "error":
            seen.end = f"{event['code']}: {event['message']}"


class Curl:
    """``curl -N``; it stops like a person: by being ended."""

    name, names_model, sourced = "curl -N GET /query/stream/", False, True

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        process = await asyncio.create_subprocess_exec(
            *("curl", "-sN", "--get", "-H", f"Authorization: Bearer {target.token}"),
            *("--data-urlencode", f"question={target.question}", f"{target.url}/query/stream/"),
            stdout=asyncio.subprocess.PIPE,
        )
        seen = Seen(end="the connection ended")
        try:
            assert process.stdout
            async for line in process.stdout:
                if line.startswith(b"data: "):
                    note(seen, json.loads(line[6:]))
                elif line.startswith(b"{"):
                    problem = json.loads(line)
                    seen.end = f"{problem['status']} {problem['code']}"
                if stop and seen.text:
                    seen.stop()
                    break
        finally:
            if process.returncode is None and stop:
                process.kill()
            await process.communicate()
        return seen


class Query:
    """``POST /query/`` by httpx: the whole answer at once; it stops by leaving."""

    name, names_model, sourced = "httpx POST /query/", False, True

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        headers = {"Authorization": f"Bearer {target.token}"}
        async with httpx.AsyncClient(base_url=target.url, headers=headers, timeout=30) as client:
            asking = asyncio.create_task(client.post("/query/", json={"question": target.question}))
            if stop:
                return await left(target, asking)
            answer = await asking
            body = answer.json()
        if answer.is_error:
            return Seen(end=f"{answer.status_code} {body['code']}: {body['message']}")
        return Seen(body["answer"], len(body["sources"]), "done")


DRIVERS: list[Driver] = [Curl(), Query(), Script("fetch in Node GET /query/stream/", "fetch.mjs", names_model=False)]
