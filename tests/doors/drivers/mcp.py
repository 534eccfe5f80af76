"""The official client of the Model Context Protocol, over streamable HTTP, in both eras of the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from tests.doors.client import Driver, Seen, Target


@asynccontextmanager
async def connected(url: str, token: str, **options: Any) -> AsyncIterator[Client]:
    """A client that has introduced itself; ``mode="legacy"`` with the handshake of the protocol until 2025."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), **options) as client,
    ):
        yield client


class Ask:
    """The tool ``ask``; it stops by cancelling the request."""

    names_model, sourced = True, True

    def __init__(self, mode: str) -> None:
        self.name = f"mcp client ({mode}) POST /mcp"
        self._mode = mode

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        seen = Seen()
        try:
            async with connected(target.url, target.token, mode=self._mode) as client:
                arguments = {"question": target.question, **({"model": target.model} if target.model else {})}
                asking = asyncio.create_task(client.call_tool("ask", arguments))
                if stop:
                    await target.writing.wait()
                    seen.stop()
                    asking.cancel()
                    with suppress(asyncio.CancelledError):
                        await asking
                    return seen
                result = await asking
        except (ExceptionGroup, MCPError) as failure:
            return Seen(end=await self._refusal(target) or str(failure))
        structured = result.structured_content
        seen.text, seen.sources = structured.get("answer", ""), len(structured.get("sources", []))
        seen.end = f"{structured['code']}: {structured['message']}" if result.is_error else "done"
        return seen

    async def _refusal(self, target: Target) -> str:
        """What the server says to the first message: the client tells no more than that there was a refusal."""
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {target.token}"}) as http:
            answer = await http.post(f"{target.url}/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
            return f"{answer.status_code} {answer.json()['code']}" if answer.is_error else ""


DRIVERS: list[Driver] = [Ask("auto"), Ask("legacy")]
