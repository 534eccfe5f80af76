"""Administrators in a real Chromium: invitations, limits, disabling; and what is exported and deleted."""

from __future__ import annotations

import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

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
    handbook,
    is_logged_out,
    log_in,
    open_page,
    other_browser,
    register,
    served,
    upload,
)
from tests.fakes.upstream import Finish, Hold, Say

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_everything_of_mine_is_exported_and_then_deleted(tmp_path: Path, house: House) -> None:
    fake, server = house
    server.register()  # so that ours is not the last administrator
    async with browsing() as page:
        await register(page, server.url)
        email = await email_of(page)
        await upload(page, handbook(tmp_path))
        fake.play(Say("Three years [1]."), Finish())
        await ask(page)
        await expect(page.get_by_test_id("answer")).to_have_attribute("data-state", "done", timeout=WAIT_MS)

        await open_page(page, "settings", "data")
        async with page.expect_download() as download:
            await page.get_by_test_id("export").click()
        saved = tmp_path / "mine.zip"
        await (await download.value).save_as(saved)
        with zipfile.ZipFile(saved) as archive:
            names = archive.namelist()
            assert email in archive.read("account.json").decode()
            assert any(handbook(tmp_path).read_bytes() == archive.read(name) for name in names if "handbook" in name)
            assert any("Three years" in archive.read(name).decode() for name in names if name.endswith(".md"))

        await page.get_by_test_id("delete-account").click()
        await page.get_by_test_id("delete-email").fill("somebody@example.com")
        await page.get_by_test_id("delete-password").fill(PASSWORD)
        await page.get_by_test_id("delete-confirm").click()
        await expect(page.get_by_text("This is not the email of your account.")).to_be_visible()
        await page.get_by_test_id("delete-email").fill(email)
        await page.get_by_test_id("delete-confirm").click()
        await is_logged_out(page, "is deleted")
        form = {"username": email, "password": PASSWORD}
        async with httpx.AsyncClient(base_url=server.url) as client:
            assert (await client.post("/auth/token", data=form)).status_code == 401


async def test_the_first_user_is_the_administrator_and_invites_the_second(tmp_path: Path, models_dir: Path) -> None:
    async with served(tmp_path, models_dir, registration="invite") as (_, server), browsing() as page:
        await page.goto(server.url)
        await expect(page.get_by_role("heading", name="Set up Lorestream")).to_be_visible(timeout=WAIT_MS)
        await register(page, server.url, "ada@example.com")
        await open_page(page, "administration", "invitations")
        await page.get_by_test_id("invite-email").fill("ben@example.com")
        await page.get_by_test_id("invite").click()
        link = await page.get_by_test_id("secret").inner_text()

        guest = await other_browser(page)
        await guest.goto(link)
        await expect(guest.get_by_test_id("register-invitation")).to_have_value(re.compile(".{43}"), timeout=WAIT_MS)
        assert guest.url == f"{server.url}/", "the code has left the address"
        await guest.get_by_test_id("register-email").fill("eve@example.com")
        await guest.get_by_test_id("register-password").fill(PASSWORD)
        await guest.get_by_test_id("register-submit").click()
        await expect(guest.get_by_test_id("account-problem")).to_contain_text("invitation", timeout=WAIT_MS)
        await guest.get_by_test_id("register-email").fill("ben@example.com")
        await guest.get_by_test_id("register-submit").click()
        await expect(guest.get_by_test_id("question")).to_be_visible(timeout=WAIT_MS)
        await guest.get_by_test_id("account-menu").click()
        await expect(guest.get_by_test_id("open-administration")).to_have_count(0)
        await guest.get_by_test_id("logout").click()
        await expect(guest.get_by_test_id("login-email")).to_be_visible(timeout=WAIT_MS)
        await page.get_by_test_id("secret-done").click()
        await page.reload()
        await expect(page.get_by_test_id("invitation-row")).to_contain_text("Used", timeout=WAIT_MS)

        stranger = await other_browser(page)
        await stranger.goto(server.url)
        await expect(stranger.get_by_text("Accounts are by invitation")).to_be_visible(timeout=WAIT_MS)
        await guess_until_slowed_down(stranger)


async def guess_until_slowed_down(page: Page) -> None:
    """Guess a password until the page counts the seconds to the next attempt, and see it come."""
    submit, problem = page.get_by_test_id("login-submit"), page.get_by_test_id("account-problem")
    await page.get_by_test_id("login-email").fill("ada@example.com")
    await page.get_by_test_id("login-password").fill("guess")
    for _ in range(30):
        async with page.expect_response(re.compile("/auth/token$")) as answer:
            await submit.click()
        if (await answer.value).status == 429:
            break
    await expect(submit).to_have_text(re.compile(r"Possible again in \d+ s"))
    await expect(problem).to_contain_text("Too many")
    await expect(submit).to_have_text("Log in", timeout=WAIT_MS)
    await expect(submit).to_be_enabled()
    await expect(problem).to_be_empty()


async def test_a_disabled_user_sees_it_in_mid_answer_and_limits_are_shown(
    tmp_path: Path, models_dir: Path, measured: Callable[[str], None]
) -> None:
    async with served(tmp_path, models_dir) as (fake, server), browsing() as page:
        admin = server.register("ada@example.com", PASSWORD)
        await register(page, server.url, "ben@example.com")
        await upload(page, handbook(tmp_path))
        async with httpx.AsyncClient(base_url=server.url, headers=admin) as client:
            users = (await client.get("/admin/users", params={"q": "ben"})).json()["items"]
            user_id = users[0]["user_id"]
            limits = {"limits": {"documents": 1, "tokens_per_day": 1}}
            assert (await client.patch(f"/admin/users/{user_id}", json=limits)).status_code == 200

            note = tmp_path / "note.txt"
            note.write_text("The lid is red.")
            await page.get_by_test_id("file-input").first.set_input_files(note)
            row = page.locator('[data-testid="upload-row"][data-status="rejected"]')
            await expect(row).to_contain_text("1 documents", timeout=WAIT_MS)
            await row.get_by_text("See your limits").click()
            await expect(page.get_by_test_id("limit-documents")).to_contain_text("1 of 1", timeout=WAIT_MS)
            await page.get_by_test_id("section-back").click()

            fake.play(Say("Three "), Say("years [1]."), Finish())
            await ask(page)
            await expect(page.get_by_test_id("answer")).to_have_attribute("data-state", "done", timeout=WAIT_MS)
            await ask(page, "And the lid?")
            refused = page.get_by_test_id("answer-error")
            await expect(refused).to_have_attribute("data-code", "rate_limited", timeout=WAIT_MS)
            await expect(refused.get_by_test_id("retry-note")).to_contain_text("Possible again")
            await expect(refused.get_by_role("button", name="Ask again")).to_be_disabled()

            assert (await client.patch(f"/admin/users/{user_id}", json={"limits": {}})).status_code == 200
            await refused.get_by_role("button", name="Dismiss").click()
            fake.play(Say("It is "), Hold())
            await ask(page, "Which colour has the lid?")
            await expect(page.get_by_test_id("answer")).to_contain_text("It is", timeout=WAIT_MS)

            boss = await other_browser(page)
            await log_in(boss, server.url, "ada@example.com")
            await open_page(boss, "administration", "users")
            await boss.get_by_test_id("user-search").fill("ben")
            row = boss.get_by_test_id("user-row").filter(has_text="ben@example.com")
            await expect(boss.get_by_test_id("user-row")).to_have_count(1, timeout=WAIT_MS)
            await row.get_by_test_id("user-menu").click()
            await boss.get_by_test_id("user-disable").click()
            began = time.monotonic()
            await boss.get_by_test_id("confirm").click()
            await expect(row).to_contain_text("Disabled", timeout=WAIT_MS)
            await is_logged_out(page, "has ended")
            measured(f"a disabled user's page, in mid-answer, shows it after {time.monotonic() - began:.1f} s")

            await boss.get_by_test_id("section-events").click()
            await expect(boss.get_by_test_id("event-row").first).to_contain_text(
                "ada@example.com disabled ben@example.com.", timeout=WAIT_MS
            )
