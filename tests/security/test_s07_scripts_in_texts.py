"""S07: whatever a model, a document, a file name, a title or a user's name holds is text on the page (in Chromium)."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from html import escape
from typing import Any

import httpx
import pytest
from playwright.async_api import expect

from tests.e2e.page import PASSWORD, WAIT_MS, House, ask, register
from tests.fakes.server import RunningServer
from tests.fakes.upstream import Finish, Say
from tests.security.browser import Watched, watched
from tests.security.listener import listening
from tests.security.payloads import PAYLOADS, filled

pytestmark = pytest.mark.asyncio(loop_scope="session")
# As far as a browser's own check of addresses lets one go.
EVIL_EMAIL = "'onload=alert`80`{{7*7}}${8}&lt/x@example.com"
EVIL_NAME = "<img src=x onerror=alert(81)>\"'`${alert(82)}"
EVIL_TITLE = "</title><script>alert(83)</script><svg onload=alert(84)>"
QUESTION = "What do the payloads say about the kettle? <script>alert(85)</script> [run](javascript:alert(86))"
# Every other place where one of the texts is shown, and what is there once the page has come.
PLACES = {
    "/": "alert(83)",
    "/library": "alert(83)",
    "/settings": EVIL_EMAIL.lower(),
    "/settings#security": "Log out everywhere",
    "/settings#keys": "alert(81)",
    "/administration": EVIL_EMAIL.lower(),
    "/administration#events": EVIL_EMAIL.lower(),
}


def make_administrator(server: RunningServer) -> None:
    """So that the page of the administration is there."""
    with closing(sqlite3.connect(server.data_dir / "lorestream.db", timeout=10)) as database, database:
        database.execute("UPDATE users SET is_admin = 1 WHERE email = ?", (EVIL_EMAIL.lower(),))


def check(seen: Watched, found: dict[str, Any], before: dict[str, Any], url: str) -> None:
    """Nothing ran, nothing came into the page that could, and nothing left it."""
    assert seen.dialogs == []
    assert seen.popups == seen.downloads == []
    assert found["breaches"] == [], "the policy was needed: something reached the page that should not"
    assert found["tags"] == before["tags"]
    assert found["handlers"] == []
    assert found["links"] == []
    assert found["unsafe"] == 0
    assert found["sources"] == []
    assert found["backgrounds"] == []
    assert found["pings"] == 0
    assert seen.foreign(url) == []
    for token in ("eyJ", "refresh", PASSWORD):
        assert token not in found["stored"]


async def test_sixty_payloads_by_every_way_into_the_page(house: House) -> None:
    fake, server = house
    assert len(PAYLOADS) == len(set(PAYLOADS)) == 60
    async with listening() as outside, watched() as seen:
        page, texts = seen.page, filled(PAYLOADS, outside.url)
        await register(page, server.url, EVIL_EMAIL)
        before = await seen.inspect()
        title, written = escape(EVIL_TITLE), "</p><p>".join(escape(one) for one in texts)
        html = f"<title>{title}</title><h1>Kettle {title}</h1><p>The kettle: {written}</p>"
        files = [
            {
                "name": f"{EVIL_NAME}.md",
                "content": "# The kettle\n\n" + "\n\n".join(f"Payload: {one}" for one in texts),
            },
            {"name": "kettle.html", "content": html},
            {"name": f"kettle {EVIL_NAME}.txt", "content": "The payloads say: " + "\n".join(texts)},
        ]
        payloads: Any = [
            {"name": one["name"], "mimeType": "text/plain", "buffer": one["content"].encode()} for one in files
        ]
        await page.get_by_test_id("file-input").first.set_input_files(payloads)
        ready = page.locator('[data-testid="document-row"][data-status="ready"]')
        await expect(ready).to_have_count(len(files), timeout=2 * WAIT_MS)

        said = "\n\n".join(f"{number}. {one} [1]" for number, one in enumerate(texts))
        fake.play(Say(texts[0], reasoning=True), Say([said]), Finish())
        await ask(page, QUESTION)
        answer = page.get_by_test_id("answer")
        await expect(answer).to_have_attribute("data-state", "done", timeout=WAIT_MS)
        check(seen, await seen.inspect(), before, server.url)

        await page.get_by_test_id("citation").first.click()
        await expect(page.get_by_test_id("passage-highlight").first).to_be_visible(timeout=WAIT_MS)
        check(seen, await seen.inspect(), before, server.url)
        await page.get_by_test_id("close-reader").click()

        headers = await asyncio.to_thread(server.log_in, EVIL_EMAIL, PASSWORD)
        headers["User-Agent"] = EVIL_NAME
        async with httpx.AsyncClient(base_url=server.url, headers=headers) as http:
            (conversation,) = (await http.get("/conversations/")).json()["items"]
            path = f"/conversations/{conversation['conversation_id']}"
            (await http.patch(path, json={"title": EVIL_TITLE})).raise_for_status()
            for form in ("markdown", "json"):
                exported = await http.get(f"{path}/export", params={"format": form})
                assert exported.headers["content-disposition"].startswith("attachment;")
                assert exported.headers["x-content-type-options"] == "nosniff"
            named = {"name": EVIL_NAME, "scopes": ["read"]}
            (await http.post("/auth/keys", json=named)).raise_for_status()
        await asyncio.to_thread(make_administrator, server)
        for place, text in {f"/c/{conversation['conversation_id']}": "alert(83)", **PLACES}.items():
            await page.goto("about:blank")
            await page.goto(server.url + place)
            await expect(page.get_by_text(text).first).to_be_attached(timeout=WAIT_MS)
            check(seen, await seen.inspect(), before, server.url)
        assert outside.hits == []


async def test_the_instruments_see_what_they_look_for(house: House) -> None:
    """The same watch over a page into which the payloads are put as markup: it is not blind."""
    _, server = house
    async with listening() as outside, watched() as seen:
        await seen.page.goto(server.url)
        before = await seen.inspect()
        await seen.page.evaluate(
            "(url) => { const d = document.createElement('div'); d.innerHTML = `<img src='${url}/x.png' onerror='1'>"
            "<iframe src='${url}/f'></iframe><a href='javascript:1'>x</a>`; document.body.append(d);"
            "const s = document.createElement('script'); s.textContent = 'alert(1)'; document.body.append(s); }",
            outside.url,
        )
        found = await seen.inspect()
        assert {"img-src", "frame-src", "script-src-elem"} <= set(found["breaches"])
        assert found["tags"] != before["tags"]
        assert "onerror" in found["handlers"]
        assert found["links"] == ["javascript:1"]
        assert not any(outside.hits), "and the policy holds where the page does not: nothing was asked"
        await seen.page.evaluate("alert('seen')")
        assert seen.dialogs == ["seen"]
