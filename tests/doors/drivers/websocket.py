"""``WS /ws/chat``: the client of Python's ``websockets``, and the WebSocket of browsers as Node has it."""

from __future__ import annotations

import json
from contextlib import suppress

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.doors.client import Driver, Script, Seen, Target


class Python:
    """The client that can send a header."""

    name, names_model, sourced = "websockets WS /ws/chat", True, True

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        url = f"{target.url.replace('http', 'ws', 1)}/ws/chat"
        seen = Seen(end="the connection ended")
        async with connect(url, additional_headers={"Authorization": f"Bearer {target.token}"}) as chat:
            with suppress(ConnectionClosed):
                await chat.send(json.dumps({"content": target.question, "model": target.model}))
            async for message in chat:
                event = json.loads(message)
                match event["type"]:
                    case "sources":
                        seen.sources = len(event["sources"])
                    case "token":
                        seen.text += event["content"]
                    case "done":
                        seen.end = "stopped" if event["finish_reason"] == "cancelled" else "done"
                        break
                    case "error":
                        seen.end = f"{event['code']}: {event['message']}"
                        break
                if stop and seen.text and not seen.stopped_at:
                    seen.stop()
                    await chat.send('{"type": "stop"}')
        return seen


BROWSERS = Script("WebSocket of browsers (Node's)", "websocket.mjs", names_model=True, flags=(
    "--experimental-websocket", "--no-warnings",
))  # fmt: skip
DRIVERS: list[Driver] = [Python(), BROWSERS]
