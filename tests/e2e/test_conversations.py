"""Conversations in a real Chromium: nothing is lost on reloads, cuts and switches; branches, search, export."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Locator, Page, expect

from tests.e2e.page import (
    PASSWORD,
    WAIT_MS,
    House,
    ask,
    browsing,
    chats,
    handbook,
    register,
    served,
    until_asked,
    upload,
)
from tests.fakes.tcp import cable_to
from tests.fakes.upstream import Finish, Hold, Say

pytestmark = pytest.mark.asyncio(loop_scope="session")
CONVERSATION_URL = re.compile(r"/c/[0-9a-f]+$")


def answer_of(page: Page) -> Locator:
    return page.get_by_test_id("answer")


async def ended(page: Page, state: str = "done") -> None:
    await expect(answer_of(page)).to_have_attribute("data-state", state, timeout=WAIT_MS)


async def answered(page: Page, text: str) -> None:
    await expect(answer_of(page)).to_contain_text(text, timeout=WAIT_MS)
    await ended(page)


async def open_menu(page: Page, title: str) -> Locator:
    """The row of the conversation with this title, its menu open."""
    row = page.get_by_test_id("conversation-item").filter(has_text=title)
    await row.hover()
    await row.get_by_test_id("conversation-menu").click()
    return row


async def test_a_reload_in_mid_answer_goes_on_with_the_same_text(tmp_path: Path, house: House) -> None:
    fake, server = house
    async with browsing() as page:
        await register(page, server.url)
        await upload(page, handbook(tmp_path))
        gate = asyncio.Event()
        fake.play(Say("Three years, "), Hold(gate), Say("says the handbook [1]."), Finish())
        await ask(page)
        await expect(page).to_have_url(CONVERSATION_URL, timeout=WAIT_MS)
        await expect(answer_of(page)).to_contain_text("Three years", timeout=WAIT_MS)
        await page.reload()
        await expect(answer_of(page)).to_contain_text("Three years", timeout=WAIT_MS)
        await expect(answer_of(page)).to_have_attribute("data-state", "running")
        gate.set()
        await answered(page, "Three years, says the handbook")
        await page.reload()
        await answered(page, "Three years, says the handbook")
        await expect(page.get_by_test_id("source-card").first).to_contain_text("handbook")
        assert chats(fake) == 1


async def test_a_cut_network_in_mid_answer_goes_on_with_the_same_text(tmp_path: Path, house: House) -> None:
    fake, server = house
    async with cable_to(server.url) as (cable, url), browsing() as page:
        await register(page, url)
        await upload(page, handbook(tmp_path))
        gate = asyncio.Event()
        fake.play(Say("Three years, "), Hold(gate), Say("says the handbook [1]."), Finish())
        await ask(page)
        await expect(answer_of(page)).to_contain_text("Three years", timeout=WAIT_MS)
        cable.cut()
        await expect(page.get_by_test_id("waiting")).to_have_text("Reconnecting…", timeout=WAIT_MS)
        await expect(page.get_by_test_id("answer-error")).to_have_count(0)
        gate.set()
        cable.mend()
        await answered(page, "Three years, says the handbook")
        assert chats(fake) == 1


async def test_a_question_asked_into_a_cut_is_asked_once(tmp_path: Path, house: House) -> None:
    fake, server = house
    async with cable_to(server.url) as (cable, url), browsing() as page:
        await register(page, url)
        await upload(page, handbook(tmp_path))
        fake.play(Say("First [1]."), Finish())
        await ask(page, "Where is the receipt?")
        await answered(page, "First")
        heard = asyncio.Event()
        fake.play(Hold(heard), Say("Three years [1]."), Finish())
        cable.deafen()
        await ask(page)
        await until_asked(fake, 2)
        cable.cut()
        await expect(page.get_by_test_id("waiting")).to_have_text("Reconnecting…", timeout=WAIT_MS)
        heard.set()
        cable.mend()
        await answered(page, "Three years")
        assert chats(fake) == 2, "the first question, and the second once"


async def test_switching_conversations_and_back_loses_nothing(tmp_path: Path, house: House) -> None:
    fake, server = house
    async with browsing() as page:
        await register(page, server.url)
        await upload(page, handbook(tmp_path))
        gate = asyncio.Event()
        fake.play(Say("Three years, "), Hold(gate), Say("says the handbook [1]."), Finish())
        await ask(page, "How long does the warranty last?")
        await expect(answer_of(page)).to_contain_text("Three years", timeout=WAIT_MS)
        row = page.get_by_test_id("conversation-item").filter(has_text="How long")
        await page.get_by_test_id("question").fill("a draft that stays")
        await page.get_by_test_id("new-conversation").click()
        await expect(answer_of(page)).to_have_count(0)
        await expect(row).to_have_attribute("data-busy", "true", timeout=WAIT_MS)
        fake.play(Say("Away from children [1]."), Finish())
        await ask(page, "Where should I keep the kettle?")
        await answered(page, "Away from children")
        gate.set()
        await expect(row).to_have_attribute("data-busy", "false", timeout=WAIT_MS)
        await row.get_by_role("link").click()
        await answered(page, "Three years, says the handbook")
        await expect(page.get_by_test_id("question")).to_have_value("a draft that stays")
        await page.go_back()
        await answered(page, "Away from children")
        await page.go_forward()
        await answered(page, "Three years, says the handbook")
        assert chats(fake) == 2


async def test_two_tabs_follow_one_answer_and_either_stops_it(tmp_path: Path, house: House) -> None:
    fake, server = house
    async with browsing() as page:
        await register(page, server.url)
        await upload(page, handbook(tmp_path))
        gate = asyncio.Event()
        fake.play(Say("Three years, "), Hold(gate), Say("says the handbook "), Hold())
        await ask(page)
        await expect(answer_of(page)).to_contain_text("Three years", timeout=WAIT_MS)
        other = await page.context.new_page()
        await other.goto(page.url)
        await expect(answer_of(other)).to_contain_text("Three years", timeout=WAIT_MS)
        gate.set()
        for tab in (page, other):
            await expect(answer_of(tab)).to_contain_text("says the handbook", timeout=WAIT_MS)
        await other.get_by_test_id("stop").click()
        for tab in (page, other):
            await ended(tab, "stopped")
            await expect(answer_of(tab)).to_contain_text("Three years, says the handbook")
        await page.reload()
        await ended(page, "stopped")
        await expect(page.get_by_text("Stopped. What had come is kept.")).to_be_visible()
        fake.play(Say("Yes [1]."), Finish())
        await ask(page, "Do I need the receipt?")
        await answered(page, "Yes")
        await answered(other, "Yes")


async def test_the_place_in_the_line_is_shown(tmp_path: Path, models_dir: Path) -> None:
    async with served(tmp_path, models_dir, model_concurrency="1") as (fake, server), browsing() as page:
        await register(page, server.url)
        await upload(page, handbook(tmp_path))
        gate = asyncio.Event()
        fake.play(Say("Three years "), Hold(gate), Finish())
        await ask(page)
        await expect(answer_of(page)).to_contain_text("Three years", timeout=WAIT_MS)
        await page.get_by_test_id("new-conversation").click()
        fake.play(Say("Never above the mark [1]."), Finish())
        await ask(page, "How full may the kettle be?")
        await expect(page.get_by_test_id("waiting")).to_have_text("Waiting in line, place 1…", timeout=WAIT_MS)
        gate.set()
        await answered(page, "Never above the mark")


async def test_edited_questions_and_new_answers_keep_the_earlier_ones(tmp_path: Path, house: House) -> None:
    fake, server = house
    async with browsing() as page:
        await register(page, server.url)
        await upload(page, handbook(tmp_path))
        fake.play(Say("Three years [1]."), Finish())
        await ask(page)
        await answered(page, "Three years")
        fake.play(Say("Three years from the purchase [1]."), Finish())
        await page.get_by_test_id("regenerate").click()
        await answered(page, "from the purchase")
        label = page.get_by_test_id("branch-label")
        await expect(label).to_have_text("2 of 2", timeout=WAIT_MS)
        await page.get_by_test_id("branch-prev").click()
        await expect(answer_of(page)).not_to_contain_text("from the purchase")
        await expect(label).to_have_text("1 of 2")

        await page.get_by_role("heading", name="How long").hover()
        await page.get_by_test_id("edit-question").click()
        await page.get_by_test_id("edit-text").fill("How full may the kettle be?")
        fake.play(Say("Never above the mark [1]."), Finish())
        await page.get_by_test_id("edit-save").click()
        await answered(page, "Never above the mark")
        await expect(label).to_have_text("2 of 2", timeout=WAIT_MS)
        await page.reload()
        await answered(page, "Never above the mark")
        await page.get_by_test_id("branch-prev").click()
        await answered(page, "from the purchase")
        assert chats(fake) == 3


async def test_a_rating_stays(tmp_path: Path, house: House) -> None:
    fake, server = house
    async with browsing() as page:
        await register(page, server.url)
        await upload(page, handbook(tmp_path))
        fake.play(Say("Three years [1]."), Finish())
        await ask(page)
        await answered(page, "Three years")
        await page.get_by_test_id("thumb-down").click()
        await page.get_by_test_id("feedback-comment").fill("Which purchase?")
        async with page.expect_response(re.compile("/feedback$")):
            await page.get_by_test_id("feedback-save").click()
        await page.reload()
        await expect(page.get_by_test_id("thumb-down")).to_have_attribute("aria-pressed", "true", timeout=WAIT_MS)
        await expect(page.get_by_test_id("thumb-up")).to_have_attribute("aria-pressed", "false")


async def test_conversations_are_found_renamed_exported_and_deleted(tmp_path: Path, house: House) -> None:
    fake, server = house
    async with browsing() as page:
        await register(page, server.url)
        await upload(page, handbook(tmp_path))
        items = page.get_by_test_id("conversation-item")
        for number, (question, answer) in enumerate(
            [("How long does the warranty last?", "Three years [1]."), ("How full may the kettle be?", "To the mark.")]
        ):
            await page.get_by_test_id("new-conversation").click()
            fake.play(Say(answer), Finish())
            await ask(page, question)
            await answered(page, answer.split(" [")[0])
            await expect(items).to_have_count(number + 1, timeout=WAIT_MS)

        await page.get_by_test_id("conversation-search").fill("years")
        await expect(items).to_have_count(1, timeout=WAIT_MS)
        await expect(items).to_contain_text("Three years")
        await page.get_by_test_id("conversation-search").fill("")
        await expect(items).to_have_count(2, timeout=WAIT_MS)

        await open_menu(page, "How long")
        await page.get_by_test_id("rename").click()
        await page.get_by_test_id("rename-input").fill("Warranty: 3/2?")
        await page.get_by_test_id("rename-input").press("Enter")
        await expect(items.filter(has_text="Warranty: 3/2?")).to_have_count(1, timeout=WAIT_MS)

        for kind, extension in (("markdown", "md"), ("json", "json")):
            await open_menu(page, "Warranty")
            async with page.expect_download() as download:
                await page.get_by_test_id(f"export-{kind}").click()
            file = await download.value
            assert file.suggested_filename == f"Warranty 3 2.{extension}"
            content = (await file.path()).read_text()
            assert "Three years [1]." in content
            assert "handbook" in content
            assert extension == "md" or json.loads(content)["messages"][0]["content"].startswith("How long")

        await page.get_by_role("link", name="Warranty").click()
        await answered(page, "Three years")
        await open_menu(page, "Warranty")
        await page.get_by_test_id("delete-conversation").click()
        await page.get_by_test_id("confirm").click()
        await expect(items).to_have_count(1, timeout=WAIT_MS)
        await expect(page).to_have_url(f"{server.url}/")
        await page.reload()
        await expect(items).to_have_count(1, timeout=WAIT_MS)


async def test_a_conversation_stays_bound_to_its_documents(tmp_path: Path, house: House) -> None:
    fake, server = house
    async with browsing() as page:
        await register(page, server.url)
        await upload(page, handbook(tmp_path))
        await page.get_by_test_id("document-row").hover()
        await page.get_by_role("button", name="Ask only").click()
        await expect(page.get_by_test_id("scope")).to_contain_text("handbook", timeout=WAIT_MS)
        fake.play(Say("Three years [1]."), Finish())
        await ask(page)
        await answered(page, "Three years")
        await page.reload()
        await expect(page.get_by_test_id("scope")).to_contain_text("handbook", timeout=WAIT_MS)
        await page.get_by_test_id("new-conversation").click()
        await expect(page.get_by_test_id("scope")).to_have_count(0)
        await page.go_back()
        await page.get_by_role("button", name="No longer only in").click()
        await expect(page.get_by_test_id("scope")).to_have_count(0, timeout=WAIT_MS)


async def test_the_list_goes_on_as_it_is_scrolled(house: House) -> None:
    _, server = house
    async with browsing() as page:
        await register(page, server.url, "lister@example.com")
        headers = server.log_in("lister@example.com", PASSWORD)
        async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
            for number in range(60):
                (await client.post("/conversations/", json={"title": f"Number {number}"})).raise_for_status()
        await page.reload()
        items = page.get_by_test_id("conversation-item")
        await expect(items.first).to_contain_text("Number 59", timeout=WAIT_MS)
        await expect(items).to_have_count(50)
        await items.last.scroll_into_view_if_needed()
        await expect(items).to_have_count(60, timeout=WAIT_MS)
        await expect(items.last).to_contain_text("Number 0")


async def test_what_another_tab_does_is_seen_and_escape_keeps_a_title(tmp_path: Path, house: House) -> None:
    fake, server = house
    async with browsing() as page:
        await register(page, server.url)
        await upload(page, handbook(tmp_path))
        fake.play(Say("Three years [1]."), Finish())
        await ask(page)
        await answered(page, "Three years")
        other = await page.context.new_page()
        await other.goto(page.url)
        await answered(other, "Three years")
        await page.bring_to_front()

        for key, title in (("Escape", "How long"), ("Enter", "Guarantee")):
            await open_menu(page, "How long")
            await page.get_by_test_id("rename").click()
            await page.get_by_test_id("rename-input").fill("Guarantee")
            await page.get_by_test_id("rename-input").press(key)
            await expect(page.get_by_test_id("rename-input")).to_have_count(0)
            for tab in (page, other):
                await expect(tab.get_by_test_id("conversation-item")).to_contain_text(title, timeout=WAIT_MS)

        await open_menu(page, "Guarantee")
        await page.get_by_test_id("delete-conversation").click()
        await page.get_by_test_id("confirm").click()
        await expect(other.get_by_text("There is no such conversation.")).to_be_visible(timeout=WAIT_MS)
        await expect(answer_of(other)).to_have_count(0)
        await expect(other.get_by_test_id("conversation-item")).to_have_count(0)


async def test_a_refused_question_is_kept_to_be_asked_again(tmp_path: Path, models_dir: Path) -> None:
    async with served(tmp_path, models_dir, max_runs_per_user="1") as (fake, server), browsing() as page:
        await register(page, server.url)
        await upload(page, handbook(tmp_path))
        gate = asyncio.Event()
        fake.play(Say("Three years "), Hold(gate), Finish())
        await ask(page)
        await expect(answer_of(page)).to_contain_text("Three years", timeout=WAIT_MS)
        await page.get_by_test_id("new-conversation").click()
        await ask(page, "How full may the kettle be?")
        await expect(page.get_by_test_id("answer-error")).to_contain_text("already", timeout=WAIT_MS)
        gate.set()
        await expect(page.locator('[data-testid="conversation-item"][data-busy="true"]')).to_have_count(0)
        fake.play(Say("Never above the mark [1]."), Finish())
        await page.get_by_role("button", name="Ask again").click()
        await answered(page, "Never above the mark")
        await expect(page.get_by_test_id("answer-error")).to_have_count(0)


async def test_on_a_phone_conversations_are_in_the_drawer(tmp_path: Path, house: House) -> None:
    fake, server = house
    async with browsing(360, 740) as page:
        await register(page, server.url)
        await upload(page, handbook(tmp_path))
        for question in ("How long does the warranty last?", "How full may the kettle be?"):
            await page.get_by_test_id("open-library").click()
            await page.get_by_test_id("new-conversation").click()
            fake.play(Say(f"{question} Indeed [1]."), Finish())
            await ask(page, question)
            await answered(page, question)
        await page.get_by_test_id("open-library").click()
        await expect(answer_of(page)).to_be_hidden()
        await page.go_back()
        await expect(answer_of(page)).to_contain_text("How full")
        await page.get_by_test_id("open-library").click()
        await page.get_by_role("link", name="How long").click()
        await answered(page, "How long")
        await expect(page.get_by_test_id("conversation-item").first).to_be_hidden()
