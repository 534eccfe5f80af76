"""The library in a real Chromium: folders and ZIP files as batches, collections, and asking in one of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.e2e.page import WAIT_MS, House, ask, browsing, register
from tests.fakes.files import zipped
from tests.fakes.upstream import Finish, Say

# On the loop of the shared server, whose model lives there.
pytestmark = pytest.mark.asyncio(loop_scope="session")
BATCH_MS = 60_000


async def open_library(page: Page) -> None:
    await page.get_by_test_id("open-library-page").click()
    await expect(page.get_by_test_id("library-page")).to_be_visible(timeout=WAIT_MS)


async def settled(page: Page, status: str = "done", count: int = 1) -> None:
    cards = page.locator(f'[data-testid="batch"][data-status="{status}"]')
    await expect(cards).to_have_count(count, timeout=BATCH_MS)


async def test_a_folder_and_a_zip_file_are_batches_that_are_followed(tmp_path: Path, house: House) -> None:
    folder = tmp_path / "papers"
    (folder / "deep" / "er").mkdir(parents=True)
    for number in range(4):
        (folder / "deep" / "er" / f"kettle-{number}.md").write_text(f"Kettle {number} boils at {90 + number} degrees.")
    (folder / ".hidden").write_text("of the system")
    (folder / "empty.txt").touch()
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4\nand no more")
    archive = tmp_path / "more.zip"
    archive.write_bytes(zipped({f"teapot-{number}.txt": f"Teapot {number} is blue.".encode() for number in range(3)}))
    async with browsing() as page:
        await register(page, house[1].url)
        await open_library(page)
        await page.get_by_test_id("folder-input").set_input_files(folder)
        await expect(page.get_by_test_id("left-out")).to_contain_text("papers/.hidden")
        await settled(page)
        batch = page.get_by_test_id("batch")
        await expect(batch.get_by_test_id("batch-line")).to_contain_text("4 documents ready, 2 not readable")
        await batch.get_by_test_id("batch-failures").click()
        for name in ("empty.txt", "broken.pdf"):
            await expect(batch.get_by_test_id("batch-failure").filter(has_text=name)).to_have_count(1)

        await page.get_by_test_id("file-input").set_input_files(archive)
        await settled(page, count=2)
        ready = page.locator('[data-testid="document-row"][data-status="ready"]')
        await expect(ready).to_have_count(7, timeout=WAIT_MS)
        await page.get_by_test_id("library-search").fill("teap")
        await expect(ready).to_have_count(3, timeout=WAIT_MS)
        await page.get_by_test_id("library-search").fill("")
        await page.get_by_test_id("library-status").select_option("failed")
        await expect(page.get_by_test_id("document-row")).to_have_count(1, timeout=WAIT_MS)


async def test_a_batch_is_there_after_a_reload_and_can_be_cancelled(tmp_path: Path, house: House) -> None:
    archive = tmp_path / "many.zip"
    text = "\n\n".join(f"Paragraph {number} tells of kettles, cups and saucers." for number in range(400))
    archive.write_bytes(zipped({f"paper-{number}.txt": f"Paper {number}. {text}".encode() for number in range(300)}))
    async with browsing() as page:
        await register(page, house[1].url)
        await page.get_by_test_id("file-input").set_input_files(archive)
        await expect(page.get_by_test_id("cancel-batch")).to_be_visible(timeout=WAIT_MS)
        await page.reload()
        await expect(page.get_by_test_id("batch-line")).to_contain_text(
            re.compile("of [0-9]+ files done"), timeout=WAIT_MS
        )
        await page.get_by_test_id("cancel-batch").click()
        await settled(page, "cancelled")
        await expect(page.get_by_test_id("batch-line")).to_contain_text("Cancelled")
        await page.get_by_test_id("dismiss-batch").click()
        await expect(page.get_by_test_id("batch")).to_have_count(0)


async def test_documents_are_put_into_a_collection_which_is_asked_alone(tmp_path: Path, house: House) -> None:
    fake, server = house
    files = {"kettle.txt": "The kettle of the north boils at ninety degrees.", "moon.txt": "The moon is a cold place."}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    async with browsing() as page:
        await register(page, server.url)
        await open_library(page)
        await page.get_by_test_id("file-input").set_input_files([tmp_path / name for name in files])
        await settled(page)
        await page.get_by_test_id("new-collection").click()
        await page.get_by_test_id("collection-name").fill("Kitchen")
        await page.get_by_test_id("save-collection").click()
        kitchen = page.get_by_test_id("collection").filter(has_text="Kitchen")
        await expect(kitchen).to_have_attribute("aria-current", "true", timeout=WAIT_MS)
        await page.get_by_test_id("collection").first.click()
        kettle = page.get_by_test_id("document-row").filter(has_text="kettle")
        await kettle.get_by_test_id("select-document").check(timeout=WAIT_MS)
        await page.get_by_test_id("put-into").click()
        await page.get_by_role("button", name="Kitchen", exact=True).last.click()
        await expect(kitchen).to_contain_text("1", timeout=WAIT_MS)
        await kitchen.click()
        await expect(page.get_by_test_id("document-row")).to_have_count(1, timeout=WAIT_MS)

        await page.get_by_test_id("collection-menu").click()
        await page.get_by_test_id("ask-collection").click()
        await expect(page.get_by_test_id("scope-chip")).to_contain_text("Kitchen", timeout=WAIT_MS)
        fake.play(Say("It boils at ninety degrees [1]."), Finish())
        await ask(page, "At how many degrees does the kettle of the north boil?")
        answer = page.get_by_test_id("answer")
        await expect(answer).to_have_attribute("data-state", "done", timeout=WAIT_MS)
        await expect(page.get_by_test_id("source-card")).to_have_count(1)
        citation = page.get_by_test_id("citation")
        await expect(citation).to_have_attribute("data-weak", "false", timeout=WAIT_MS)
        await citation.hover()
        await expect(page.get_by_test_id("support")).to_contain_text(re.compile(r"upported, \d\.\d\d"))
        await page.reload()
        await expect(page.get_by_test_id("scope-chip")).to_contain_text("Kitchen", timeout=WAIT_MS)

        fake.play(Say("It simply does."), Finish())
        await ask(page, "Why does the kettle of the north boil?")
        await expect(page.get_by_test_id("uncited")).to_be_visible(timeout=WAIT_MS)
