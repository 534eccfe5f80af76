"""S08: no text makes the browser fetch anything from anywhere else, whatever it spells an address like (EchoLeak)."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.e2e.page import QUESTION, WAIT_MS, House, ask, register
from tests.fakes.upstream import Finish, Say
from tests.security.browser import watched
from tests.security.listener import listening
from tests.security.payloads import FETCHES, filled

pytestmark = pytest.mark.asyncio(loop_scope="session")
# Tokens of a few characters: every address is cut in the middle, at a place of its own.
CUT = 7


def pieces(text: str) -> list[str]:
    return [text[start : start + CUT] for start in range(0, len(text), CUT)]


async def test_no_address_in_a_text_is_fetched(house: House) -> None:
    fake, server = house
    async with listening() as outside, watched() as seen:
        page, texts = seen.page, filled(FETCHES, outside.url)
        texts += filled(FETCHES, "https://evil.example")
        await register(page, server.url)
        document = "# Warranty\n\nThe warranty lasts three years.\n\n" + "\n\n".join(texts)
        payload: list[dict[str, object]] = [
            {"name": "warranty.md", "mimeType": "text/plain", "buffer": document.encode()}
        ]
        await page.get_by_test_id("file-input").first.set_input_files(payload)  # type: ignore[arg-type]  # a list of them
        ready = page.locator('[data-testid="document-row"][data-status="ready"]')
        await expect(ready).to_have_count(1, timeout=WAIT_MS)
        answer = page.get_by_test_id("answer")
        for said in (pieces("\n\n".join(texts) + " [1]"), ["\n\n".join(texts)]):
            fake.play(Say(said), Finish())
            await ask(page, QUESTION)
            await expect(answer.last).to_have_attribute("data-state", "done", timeout=2 * WAIT_MS)
        await page.get_by_test_id("source-card").first.click()
        await expect(page.get_by_test_id("passage-highlight").first).to_be_visible(timeout=WAIT_MS)
        links = page.locator("[data-testid=answer] a[target=_blank]")
        for index in range(min(6, await links.count())):
            await links.nth(index).hover(force=True)
        found = await seen.inspect()
        await page.reload()
        await expect(answer.last).to_have_attribute("data-state", "done", timeout=WAIT_MS)
        again = await seen.inspect()
        for one in (found, again):
            assert one["sources"] == one["backgrounds"] == one["breaches"] == []
            assert one["pings"] == 0
        assert seen.foreign(server.url) == []
        assert outside.hits == []
        response = await page.goto(server.url)
        assert response
        policy = response.headers["content-security-policy"]
        images = next(part for part in policy.split(";") if part.strip().startswith("img-src"))
        assert images.split()[1:] == ["'self'", "data:", "blob:"]
        assert not [part for part in policy.split(";") if "*" in part or "http" in part]
