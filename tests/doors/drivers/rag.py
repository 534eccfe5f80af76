"""LangChain tutorials' front ends: a browser's own EventSource with a ticket, and Python that posts."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
from playwright.async_api import Page

from tests.doors.client import Driver, Seen, Target
from tests.e2e.page import browsing

# As such a page has it: a ticket first, then EventSource and nothing else.
PAGE = """async ({url, token, question, stop, path}) => {
  const given = await fetch(url + "/auth/tickets", {method: "POST", headers: {Authorization: "Bearer " + token}});
  if (!given.ok) return {text: "", sources: null, end: `${given.status} ${(await given.json()).code}`, stopped: 0};
  const {ticket} = await given.json();
  const es = new EventSource(`${url}${path}?` + new URLSearchParams({query: question, ticket}));
  const seen = {text: "", sources: null, end: "", stopped: 0};
  return await new Promise((resolve) => {
    const over = (end) => { es.close(); resolve({...seen, end}); };
    es.onmessage = ({data}) => {
      const event = JSON.parse(data);
      if (event.sources) seen.sources = event.sources.length;
      if (event.token) seen.text += event.token;
      if (event.error) over(event.error);
      if (event.done) over("done");
      if (event.token && stop) { seen.stopped = Date.now(); over("stopped"); }
    };
    es.onerror = () => { if (es.readyState === EventSource.CLOSED) over("the stream was refused"); };
  });
}"""


async def in_browser(page: Page, target: Target, path: str, *, stop: bool) -> Seen:
    asked = {"url": target.url, "token": target.token, "question": target.question, "stop": stop, "path": path}
    await page.goto(f"{target.url}/healthz")  # any page of the server's own, without the web app
    found: dict[str, Any] = await page.evaluate(PAGE, asked)
    seen = Seen(found["text"], found["sources"], found["end"])
    if found["stopped"]:
        seen.stopped_at = time.monotonic() - (time.time() - found["stopped"] / 1000)
    return seen


class EventSource:
    """Chromium's own EventSource; it stops by ``close()``."""

    name, names_model, sourced = "EventSource in Chromium GET /rag/stream", False, False

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        async with browsing() as page:
            return await in_browser(page, target, "/rag/stream", stop=stop)


class Posting:
    """httpx that posts a question and reads the lines of the stream; it stops by leaving."""

    name, names_model, sourced = "httpx POST /rag/stream-with-sources", False, True

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        headers, seen = {"Authorization": f"Bearer {target.token}"}, Seen(end="the connection ended")
        async with (
            httpx.AsyncClient(base_url=target.url, headers=headers, timeout=30) as client,
            client.stream("POST", "/rag/stream-with-sources", json={"query": target.question}) as response,
        ):
            if response.is_error:
                problem = json.loads(await response.aread())
                return Seen(end=f"{problem['status']} {problem['code']}")
            async for line in response.aiter_lines():
                event = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
                seen.sources = len(event["sources"]) if "sources" in event else seen.sources
                seen.text += event.get("token", "")
                seen.end = event.get("error", "done" if "done" in event else seen.end)
                if stop and seen.text:
                    seen.stop()
                    break
        return seen


DRIVERS: list[Driver] = [EventSource(), Posting()]
