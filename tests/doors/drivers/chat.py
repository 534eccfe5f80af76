"""Small chat clients: curl for plain text, httpx for JSON and events, and Ollama's chat objects with a named model."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from tests.doors.client import Driver, Seen, Target, left


class CurlText:
    """``curl -N POST /chat/stream``: the answer as plain text; it stops like a person: by being ended."""

    name, names_model, sourced = "curl -N POST /chat/stream", True, False

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        process = await asyncio.create_subprocess_exec(
            *("curl", "-sN", "-w", "%{stderr}%{http_code} %{exitcode}", "-H", f"Authorization: Bearer {target.token}"),
            *("--json", json.dumps({"question": target.question, "model": target.model})),
            f"{target.url}/chat/stream",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        text = b""
        seen = Seen()
        try:
            assert process.stdout
            assert process.stderr
            while data := await process.stdout.read(65536):
                text += data
                if stop:
                    seen.stop()
                    break
        finally:
            if stop and process.returncode is None:
                process.kill()
        ended = (await process.stderr.read()).decode()
        await process.wait()
        if stop:
            seen.text = text.decode()
            return seen
        status, exit_code = ended.split()
        if status != "200":
            problem = json.loads(text)
            return Seen(end=f"{status} {problem['code']}: {problem['message']}")
        return Seen(text.decode(), end="done" if exit_code == "0" else f"curl: exit code {exit_code}, broken off")


class Whole:
    """``POST /chat`` by httpx: the whole answer at once; it stops by leaving."""

    name, names_model, sourced = "httpx POST /chat", True, True

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        headers, body = {"Authorization": f"Bearer {target.token}"}, {"question": target.question}
        async with httpx.AsyncClient(base_url=target.url, headers=headers, timeout=30) as client:
            asking = asyncio.create_task(client.post("/chat", params={"model": target.model or ""}, json=body))
            if stop:
                return await left(target, asking)
            answer = await asking
        said = answer.json()
        if answer.is_error:
            return Seen(end=f"{answer.status_code} {said['code']}: {said['message']}")
        return Seen(said["answer"], len(said["sources"]), "done")


class Lines:
    """httpx that posts messages and reads the lines of what is streamed; it stops by leaving."""

    names_model, sourced = True, False

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self._path = path

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        headers, seen = {"Authorization": f"Bearer {target.token}"}, Seen(end="the connection ended")
        async with (
            httpx.AsyncClient(base_url=target.url, headers=headers, timeout=30) as client,
            client.stream("POST", self._path, **self._request(target)) as response,
        ):
            if response.is_error:
                problem = json.loads(await response.aread())
                return Seen(end=f"{problem['status']} {problem['code']}: {problem['message']}")
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    self._note(seen, json.loads(line[6:]))
                if stop and seen.text:
                    seen.stop()
                    break
        return seen

    def _request(self, target: Target) -> dict[str, Any]:
        messages = [{"role": "user", "content": target.question}]
        return {"json": {"messages": messages, "model": target.model}}

    def _note(self, seen: Seen, event: dict[str, Any]) -> None:
        seen.text += event.get("token", "")
        seen.end = event.get("error", "done" if event.get("done") else seen.end)


class OllamaObjects(Lines):
    """The same with a bare list, answered by the model alone in Ollama's chat objects."""

    def _request(self, target: Target) -> dict[str, Any]:
        return {"json": [{"role": "user", "content": target.question}], "params": {"model": target.model or ""}}

    def _note(self, seen: Seen, event: dict[str, Any]) -> None:
        seen.text += event.get("message", {}).get("content", "")
        seen.end = event.get("error", "done" if event.get("done") else seen.end)


DRIVERS: list[Driver] = [
    CurlText(),
    Whole(),
    Lines("httpx POST /api/v1/chat/stream", "/api/v1/chat/stream"),
    OllamaObjects("httpx POST /chat?model=", "/chat"),
]
