"""Search and the viewer in a real Chromium: what is found opens at its passage, marked on the page as it is printed."""

from __future__ import annotations

from pathlib import Path

import httpx
import pypdfium2
import pytest
from playwright.async_api import Page, expect

from tests.e2e.page import HANDBOOK, WAIT_MS, House, browsing, handbook, register, upload
from tests.fakes.pdf import pdf_of_pages

# On the loop of the shared server, whose model lives there.
pytestmark = pytest.mark.asyncio(loop_scope="session")
# Where the marks lie on the picture of the page, in shares of it.
MARKS = """
() => {
  const page = document.querySelector('[data-testid="page-image"]').getBoundingClientRect();
  return Array.from(document.querySelectorAll('[data-testid="page-highlight"]'), (mark) => {
    const box = mark.getBoundingClientRect();
    return [box.left, box.right].map((x) => (x - page.left) / page.width).concat(
      [box.top, box.bottom].map((y) => (y - page.top) / page.height));
  });
}
"""


def words_under(page: pypdfium2.PdfPage, marks: list[list[float]]) -> list[str]:
    """What PDFium reads under the marks."""
    width, height = page.get_size()
    text = page.get_textpage()
    found = [
        text.get_text_bounded(
            left=left * width, right=right * width, top=(1 - top) * height, bottom=(1 - bottom) * height
        )
        for left, right, top, bottom in marks
    ]
    return " ".join(found).split()


async def find(page: Page, words: str) -> None:
    await page.get_by_test_id("search-box").fill(words)
    await page.get_by_test_id("search-box").press("Enter")
    await expect(page.get_by_test_id("hit").first).to_be_visible(timeout=WAIT_MS)


async def test_what_is_found_opens_marked_on_its_page(tmp_path: Path, house: House) -> None:
    async with browsing() as page:
        await register(page, house[1].url)
        await upload(page, handbook(tmp_path))
        await find(page, "How long is the warranty?")
        hit = page.get_by_test_id("hit").first
        await expect(hit).to_contain_text("page 2")
        await expect(hit.locator("mark").first).to_have_text("warranty")
        # By the keyboard alone: down from the words to the first passage, and into it.
        await page.get_by_test_id("search-words").press("ArrowDown")
        await expect(hit).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_test_id("page-highlight").first).to_be_visible(timeout=WAIT_MS)
        await expect(page.get_by_test_id("page-image")).to_have_attribute("data-page", "2")
        document = pypdfium2.PdfDocument(pdf_of_pages(HANDBOOK))
        assert words_under(document[1], await page.evaluate(MARKS)) == HANDBOOK[1].split()

        await page.get_by_test_id("page-back").click()
        await expect(page.get_by_test_id("page-image")).to_have_attribute("data-page", "1", timeout=WAIT_MS)
        await expect(page.get_by_test_id("page-highlight")).to_have_count(0)
        await page.get_by_test_id("view-text").click()
        await expect(page.get_by_test_id("passage-highlight")).to_contain_text("three years", timeout=WAIT_MS)
        await page.keyboard.press("Escape")
        await expect(page.get_by_test_id("reader")).to_have_count(0)
        await expect(hit).to_be_focused()


async def test_the_playground_says_why_and_compares(tmp_path: Path, house: House) -> None:
    async with browsing() as page:
        await register(page, house[1].url)
        await upload(page, handbook(tmp_path))
        await find(page, "warranty kettle")
        await page.get_by_test_id("playground").click()
        await expect(page.get_by_test_id("why").first).to_contain_text("by meaning", timeout=WAIT_MS)
        await expect(page.get_by_test_id("timings")).to_contain_text("in all")
        await page.get_by_test_id("compare").check()
        await page.get_by_test_id("setting-k").last.fill("1")
        await expect(page.get_by_test_id("hits").last.get_by_test_id("hit")).to_have_count(1, timeout=WAIT_MS)
        await expect(page.get_by_test_id("hits").first.get_by_test_id("hit")).to_have_count(2)
        await expect(page.get_by_test_id("why").nth(1)).to_contain_text("not there")
        # All of it is in the address.
        await page.reload()
        await expect(page.get_by_test_id("hits").last.get_by_test_id("hit")).to_have_count(1, timeout=WAIT_MS)


async def test_a_deleted_document_says_so(tmp_path: Path, house: House) -> None:
    async with browsing() as page:
        await register(page, house[1].url)
        await upload(page, handbook(tmp_path))
        await find(page, "warranty")
        async with page.expect_request("**/documents/?*") as listing:
            await page.reload()
        headers = {"Authorization": await (await listing.value).header_value("authorization") or ""}
        await expect(page.get_by_test_id("hit").first).to_be_visible(timeout=WAIT_MS)
        async with httpx.AsyncClient(base_url=house[1].url, headers=headers) as other:
            document = (await other.get("/documents/")).json()["items"][0]
            assert (await other.delete(f"/documents/{document['doc_id']}")).status_code == 204
        await page.get_by_test_id("hit").first.click()
        await expect(page.get_by_test_id("reader-note")).to_contain_text("was deleted", timeout=WAIT_MS)
