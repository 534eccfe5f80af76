"""Accounts in a real Chromium: who may come, and how a login, a key and an account end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.e2e.page import (
    PASSWORD,
    WAIT_MS,
    House,
    ask,
    browsing,
    email_of,
    is_logged_out,
    log_in,
    log_in_here,
    log_out,
    open_page,
    other_browser,
    register,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")
NEW_PASSWORD = "two kettles and a teapot"
WITHOUT_LOCKS = "Object.defineProperty(navigator, 'locks', {value: undefined}); delete window.BroadcastChannel"


@asynccontextmanager
async def two_browsers(house: House) -> AsyncIterator[tuple[Page, Page, str]]:
    """A new user's page, which shows their logins, the page of another browser of theirs, and their email."""
    _, server = house
    async with browsing() as page:
        await register(page, server.url)
        email = await email_of(page)
        other = await other_browser(page)
        await log_in(other, server.url, email)
        await open_page(page, "settings", "security")
        yield page, other, email


async def test_a_changed_password_logs_the_other_browser_out_and_its_question_is_kept(house: House) -> None:
    async with two_browsers(house) as (page, other, email):
        await expect(page.get_by_test_id("login-row")).to_have_count(2)
        await page.get_by_test_id("current-password").fill("not my password")
        await page.get_by_test_id("new-password").fill("short")
        await page.get_by_test_id("change-password").click()
        await expect(page.get_by_text("This needs at least 8 characters.")).to_be_visible()
        await page.get_by_test_id("current-password").fill(PASSWORD)
        await page.get_by_test_id("new-password").fill(NEW_PASSWORD)
        await page.get_by_test_id("change-password").click()
        await expect(page.get_by_test_id("login-row")).to_have_count(1, timeout=WAIT_MS)

        await ask(other, "Will this be lost?")
        await is_logged_out(other, "has ended")
        await log_in_here(other, email, NEW_PASSWORD)
        await expect(other.get_by_test_id("question")).to_have_value("Will this be lost?")
        await page.reload()
        await expect(page.get_by_test_id("current-password")).to_be_visible(timeout=WAIT_MS)


async def test_a_login_is_ended_from_another_and_all_of_them_at_once(house: House) -> None:
    async with two_browsers(house) as (page, other, email):
        row = page.get_by_test_id("login-row").filter(has_text="This device")
        await expect(row).to_contain_text("Chrome on Linux")
        await expect(row.get_by_test_id("end-login")).to_have_count(0)
        await page.get_by_test_id("end-login").click()
        await page.get_by_test_id("confirm").click()
        await expect(page.get_by_test_id("login-row")).to_have_count(1, timeout=WAIT_MS)
        await other.reload()
        await expect(other.get_by_test_id("login-email")).to_be_visible(timeout=WAIT_MS)

        await log_in_here(other, email, PASSWORD)
        tab = await page.context.new_page()
        await tab.goto(house[1].url)
        await expect(tab.get_by_test_id("question")).to_be_visible(timeout=WAIT_MS)
        await page.get_by_test_id("logout-everywhere").click()
        await page.get_by_test_id("confirm").click()
        for one in (page, tab):
            await is_logged_out(one, "logged out everywhere")
        await ask(other)
        await is_logged_out(other, "has ended")


async def test_a_key_works_within_its_scopes_until_it_is_revoked(house: House) -> None:
    _, server = house
    async with browsing() as page:
        await register(page, server.url)
        await open_page(page, "settings", "keys")
        await page.get_by_test_id("key-name").fill("backup")
        await page.get_by_test_id("key-scope-ask").uncheck()
        await page.get_by_test_id("create-key").click()
        key = await page.get_by_test_id("secret").inner_text()
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
            assert (await client.get("/documents/")).status_code == 200
            assert (await client.post("/conversations/", json={})).status_code == 403
            assert (await client.get("/auth/keys")).status_code == 403

            await page.get_by_test_id("secret-done").click()
            await page.reload()
            row = page.get_by_test_id("key-row")
            await expect(row).to_contain_text("used just now", timeout=WAIT_MS)
            await expect(page.get_by_text(key)).to_have_count(0)
            await row.get_by_test_id("revoke-key").click()
            await page.get_by_test_id("confirm").click()
            await expect(row).to_have_count(0, timeout=WAIT_MS)
            assert (await client.get("/documents/")).status_code == 401


@pytest.mark.parametrize("locks", [True, False], ids=["with-locks", "without"])
async def test_two_tabs_that_refresh_at_once_stay_logged_in_until_one_logs_out(house: House, locks: bool) -> None:
    _, server = house
    async with browsing() as page:
        if not locks:
            await page.context.add_init_script(WITHOUT_LOCKS)
        refreshes: list[str] = []
        page.context.on(
            "request", lambda request: refreshes.append(request.url) if request.url.endswith("/auth/refresh") else None
        )
        await page.context.clock.install()
        await register(page, server.url)
        other = await page.context.new_page()
        await other.goto(server.url)
        await expect(other.get_by_test_id("question")).to_be_visible(timeout=WAIT_MS)
        before = len(refreshes)
        await asyncio.gather(*(tab.clock.fast_forward(600_000) for tab in (page, other)))
        for tab in (page, other):
            async with tab.expect_response(re.compile("/auth/limits$")) as answer:
                await open_page(tab, "settings", "usage")
            assert (await answer.value).status == 200
        assert len(refreshes) > before
        for tab in (page, other):
            await tab.reload()
            await tab.get_by_test_id("section-back").click()
            await expect(tab.get_by_test_id("question")).to_be_visible(timeout=WAIT_MS)
        if locks:
            await log_out(other)
            await is_logged_out(page, "in another tab")
            await expect(other.get_by_test_id("login-notice")).to_have_count(0)
