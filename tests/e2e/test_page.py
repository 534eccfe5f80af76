"""The page in a real Chromium against a real server: what a newcomer does."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.e2e.page import WAIT_MS, ask, browsing, handbook, log_out, register, served, upload
from tests.fakes.upstream import Finish, Hold, Say


async def test_a_newcomer_registers_uploads_asks_and_stops(
    tmp_path: Path, models_dir: Path, screenshots: Path | None
) -> None:
    async with served(tmp_path, models_dir) as (fake, server), browsing() as page:
        await register(page, server.url, "ada@example.com")
        await upload(page, handbook(tmp_path))
        gates = [asyncio.Event() for _ in range(4)]
        words = ["The warranty ", "lasts **three years** ", "from the day of purchase [1]."]
        fake.play(*(step for gate, word in zip(gates, words, strict=False) for step in (Hold(gate), Say(word))), Hold())
        await ask(page)

        answer = page.get_by_test_id("answer")
        await expect(page.get_by_test_id("source-card").first).to_contain_text("handbook", timeout=WAIT_MS)
        await expect(answer).to_have_attribute("aria-busy", "true")
        assert (await answer.inner_text()).strip() == "", "the sources are there before the first word"
        seen = []
        for gate, shown in zip(gates, ("The warranty", "three years", "day of purchase"), strict=False):
            gate.set()
            await expect(answer).to_contain_text(shown, timeout=WAIT_MS)
            seen.append(await answer.inner_text())
        assert len(set(seen)) == 3, "several distinct intermediate texts"

        connection = next(one for one in fake.connections if one.request and "chat" in one.request.path)
        began = time.monotonic()
        await page.get_by_test_id("stop").click()
        async with asyncio.timeout(5):
            assert await connection.closed - began < 1
        await expect(answer).to_have_attribute("data-state", "stopped", timeout=WAIT_MS)
        await expect(answer).to_contain_text("day of purchase")

        await page.get_by_test_id("citation").first.click()
        await page.get_by_test_id("view-text").click()
        await expect(page.get_by_test_id("passage-highlight")).to_contain_text("three years", timeout=WAIT_MS)
        if screenshots:
            fake.play(
                Say("The warranty lasts **three years** from the day of purchase [1]. Keep the receipt [1]."), Finish()
            )
            await ask(page, "Do I need the receipt for the warranty?")
            await expect(answer).to_have_attribute("data-state", "done", timeout=WAIT_MS)
            await page.get_by_test_id("citation").last.click()
            await page.get_by_test_id("view-paper").click()
            await expect(page.get_by_test_id("page-highlight").first).to_be_visible(timeout=WAIT_MS)
            await page.screenshot(path=screenshots / "screenshot.png")


async def test_the_token_is_in_no_storage_and_a_reload_stays_logged_in(tmp_path: Path, models_dir: Path) -> None:
    async with served(tmp_path, models_dir) as (_, server), browsing() as page:
        await register(page, server.url)
        stored = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
        assert "eyJ" not in stored
        assert "refresh" not in stored
        await page.reload()
        await expect(page.get_by_test_id("question")).to_be_visible(timeout=WAIT_MS)
        await log_out(page)
        await page.reload()
        await expect(page.get_by_test_id("login-email")).to_be_visible(timeout=WAIT_MS)


async def test_what_a_model_says_is_shown_and_never_run_or_fetched(tmp_path: Path, models_dir: Path) -> None:
    async with served(tmp_path, models_dir) as (fake, server), browsing() as page:
        await register(page, server.url)
        await upload(page, handbook(tmp_path))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: asked.append(f"dialog {dialog.message}"))
        hostile = (
            "<img src=x onerror=alert(1)> ![a](https://evil.example/?q=1) ![b][r] [c](javascript:alert(2)) "
            "<script>alert(3)</script> <iframe src='https://evil.example'></iframe> [1]\n\n[r]: https://evil.example/r"
        )
        fake.play(Say(hostile), Finish())
        await ask(page)
        answer = page.get_by_test_id("answer")
        await expect(answer).to_have_attribute("data-state", "done", timeout=WAIT_MS)
        assert all(url.startswith(server.url) for url in asked), asked
        assert await answer.locator("img, script, iframe, [onerror], a[href^=javascript]").count() == 0


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (360, False)], ids=["dark", "phone"])
async def test_the_page_fits_its_window_and_an_error_is_in_words(
    tmp_path: Path, models_dir: Path, screenshots: Path | None, width: int, dark: bool
) -> None:
    async with served(tmp_path, models_dir) as (fake, server), browsing(width, 800, dark=dark) as page:
        await register(page, server.url)
        if width < 600:
            await page.get_by_test_id("open-library").first.click()
        await upload(page, handbook(tmp_path))
        if width < 600:
            await page.get_by_test_id("open-library").first.click()
        fake.play(status=404)
        await ask(page)
        await expect(page.get_by_test_id("answer-error")).to_contain_text("model", timeout=WAIT_MS)
        overflow = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0, "nothing sticks out sideways"
        if screenshots:
            await page.screenshot(path=screenshots / f"page-{'dark' if dark else 'phone'}.png")
