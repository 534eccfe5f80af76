"""A real Chromium on a real server, and the steps that every browser test begins with."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.fakes.pdf import pdf_of_pages
from tests.fakes.server import RunningServer, started_server
from tests.fakes.upstream import FakeUpstream

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_MS = 15_000
HANDBOOK = [
    "Keep the kettle away from children. Never fill it above the mark.",
    "The warranty lasts three years from the day of purchase. Keep the receipt.",
]
QUESTION = "How long does the warranty last?"
PASSWORD = "a kettle and a cup"

House = tuple[FakeUpstream, RunningServer]


@asynccontextmanager
async def browsing(width: int = 1280, height: int = 860, *, dark: bool = False) -> AsyncIterator[Page]:
    """A page of a fresh browser; a script error or a breach of the Content-Security-Policy fails the test."""
    async with async_playwright() as playwright:
        browser: Browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        context.set_default_timeout(WAIT_MS)
        page = await context.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if "Security Policy" in message.text else None)
        try:
            yield page
            assert not problems
        finally:
            await browser.close()


@asynccontextmanager
async def served(tmp_path: Path, models_dir: Path, **settings: str) -> AsyncIterator[House]:
    """A server whose model plays what the test says."""
    async with FakeUpstream() as fake:
        ours = {"model": "ollama:tiny:latest", "ollama_url": fake.url, **settings}
        async with started_server(tmp_path / "data", models_dir, **ours) as server:
            yield fake, server


async def register(page: Page, url: str, email: str = "") -> None:
    """Make an account on the page, of its own for each test."""
    await page.goto(url)
    # The first user of a server is asked to register, the others come by a link.
    form, link = page.get_by_test_id("register-email"), page.get_by_test_id("to-register")
    await expect(form.or_(link)).to_be_visible(timeout=WAIT_MS)
    if await link.is_visible():
        await link.click()
    await form.fill(email or f"{uuid4().hex[:8]}@example.com")
    await page.get_by_test_id("register-password").fill(PASSWORD)
    await page.get_by_test_id("register-submit").click()
    await expect(page.get_by_test_id("question")).to_be_visible(timeout=WAIT_MS)


async def log_in(page: Page, url: str, email: str, password: str = PASSWORD) -> None:
    """Log in on the page."""
    await page.goto(url)
    await log_in_here(page, email, password)


async def log_in_here(page: Page, email: str, password: str = PASSWORD) -> None:
    """Log in again without leaving the page."""
    await page.get_by_test_id("login-email").fill(email)
    await page.get_by_test_id("login-password").fill(password)
    await page.get_by_test_id("login-submit").click()
    await expect(page.get_by_test_id("question")).to_be_visible(timeout=WAIT_MS)


async def log_out(page: Page) -> None:
    """Log out by the menu of the account."""
    await page.get_by_test_id("account-menu").click()
    await page.get_by_test_id("logout").click()
    await expect(page.get_by_test_id("login-email")).to_be_visible(timeout=WAIT_MS)


async def other_browser(page: Page) -> Page:
    """A page that shares nothing with this one."""
    assert page.context.browser
    context: BrowserContext = await page.context.browser.new_context()
    context.set_default_timeout(WAIT_MS)
    return await context.new_page()


async def open_page(page: Page, name: str, section: str) -> None:
    """Open a section of the settings or of the administration by the menu of the account."""
    await page.get_by_test_id("account-menu").click()
    await page.get_by_test_id(f"open-{name}").click()
    await page.get_by_test_id(f"section-{section}").click()


async def email_of(page: Page) -> str:
    """Who is logged in on the page."""
    menu = page.get_by_test_id("account-menu")
    await expect(menu).to_have_attribute("aria-label", re.compile("@"), timeout=WAIT_MS)
    return (await menu.inner_text()).split()[-1]


async def is_logged_out(page: Page, why: str) -> None:
    """The page has gone back to the login, and says why."""
    await expect(page.get_by_test_id("login-notice")).to_contain_text(why, timeout=WAIT_MS)
    await expect(page.get_by_test_id("login-email")).to_be_visible()


async def upload(page: Page, path: Path) -> None:
    """Add a document, and wait until it can be asked."""
    await page.get_by_test_id("file-input").first.set_input_files(path)
    await expect(page.locator('[data-testid="document-row"][data-status="ready"]')).to_have_count(1, timeout=WAIT_MS)


async def ask(page: Page, question: str = QUESTION) -> None:
    """Type a question and send it."""
    await page.get_by_test_id("question").fill(question)
    await page.get_by_test_id("ask").click()


def handbook(tmp_path: Path) -> Path:
    """A small PDF that answers QUESTION."""
    path = tmp_path / "handbook.pdf"
    path.write_bytes(pdf_of_pages(HANDBOOK))
    return path


def chats(fake: FakeUpstream) -> int:
    """How often the model was asked."""
    return len([request for request in fake.requests if "chat" in request.path])


async def until_asked(fake: FakeUpstream, times: int) -> None:
    """Wait until the model was asked so often."""
    for index in itertools.count():
        if chats(fake) >= times:
            return
        await fake.connection(index, WAIT_MS / 1000)
