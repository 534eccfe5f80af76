"""A real Chromium that notes all that a page must not do: dialogs, requests to elsewhere, breaches of its policy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Page, async_playwright

from tests.e2e.page import CHROMIUM, FLAGS, WAIT_MS

REPORT = "addEventListener('securitypolicyviolation', e => (window.__breaches ??= []).push(e.effectiveDirective), true)"
# Everything in the page that runs, fetches, embeds or leads anywhere by itself.
INSPECT = """() => {
  const all = [...document.querySelectorAll('*')];
  const names = 'script iframe object embed base meta frame applet template style'.split(' ');
  const outside = (u) => u && !u.startsWith(location.origin + '/') && !u.startsWith('data:') && !u.startsWith('blob:');
  return {
    tags: Object.fromEntries(names.map((n) => [n, document.getElementsByTagName(n).length])),
    handlers: all.flatMap((e) => e.getAttributeNames().filter((a) => a.startsWith('on'))),
    links: [...document.querySelectorAll('a, area, use, image')]
      .map((e) => e.getAttribute('href') ?? e.getAttribute('xlink:href') ?? '')
      .filter((h) => h && !/^(https?:\\/\\/|mailto:|\\/|#)/i.test(h)),
    unsafe: [...document.querySelectorAll('a[target=_blank]')].filter((e) => !e.rel.includes('noopener')).length,
    sources: all.map((e) => e.currentSrc || e.src || e.poster || e.data || (e.tagName === 'LINK' ? e.href : '') || '')
      .filter((u) => typeof u === 'string' && outside(u)),
    backgrounds: all.map((e) => getComputedStyle(e).backgroundImage).filter((b) => b.includes('http')),
    pings: document.querySelectorAll('[ping], [action], [formaction], [srcdoc], [http-equiv]').length,
    breaches: window.__breaches ?? [],
    stored: JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, Object.keys(window)]),
  };
}"""
SETTLED = "new Promise((done) => requestIdleCallback(() => requestAnimationFrame(() => done(1)), {timeout: 2000}))"


@dataclass
class Watched:
    """A page and what it did."""

    page: Page
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    downloads: list[str] = field(default_factory=list)
    popups: list[str] = field(default_factory=list)

    async def inspect(self) -> dict[str, Any]:
        """What is in the page once it has come to rest."""
        await self.page.evaluate(SETTLED)
        found: dict[str, Any] = await self.page.evaluate(INSPECT)
        return found

    def foreign(self, origin: str) -> list[str]:
        """The requests that went elsewhere than to this origin."""
        return [url for url in self.requests if not url.startswith((f"{origin}/", "data:", f"blob:{origin}/"))]


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    """A fresh browser with one page."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await browser.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce")
        context.set_default_timeout(WAIT_MS)
        await context.add_init_script(REPORT)
        page = await context.new_page()
        seen = Watched(page)
        context.on("request", lambda request: seen.requests.append(request.url))
        page.on("popup", lambda popup: seen.popups.append(popup.url))
        page.on("download", lambda download: seen.downloads.append(download.url))
        page.on("dialog", lambda dialog: _dismiss(seen, dialog))
        try:
            yield seen
        finally:
            await browser.close()


async def _dismiss(seen: Watched, dialog: Any) -> None:
    seen.dialogs.append(dialog.message)
    await dialog.dismiss()
