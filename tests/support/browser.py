"""A real Chromium over the console: what its pages say on the console, whom they ask, and what axe thinks of them."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    TimeoutError,
    expect,
    sync_playwright,
)

from tests.support.cluster import http

# The same browser without windows first: opening a page costs it less than half.
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser")
CHROMIUM = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
# Nothing but what a test asks for leaves the browser.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
# axe's words for what nobody may meet; "minor" and "moderate" are told, not failed.
GRAVE = ("serious", "critical")
# How long to wait for what must come.
WAIT_MS = 60_000
# What a page may take to follow a new size of its window.
SETTLE_MS = 30_000
# Below 1,024 pixels the menu is away until it is called.
MENU_HAS_FOLLOWED = """(() => {
    const menu = document.querySelector('.q-drawer');
    return !menu || (innerWidth < 1024) === (menu.getBoundingClientRect().right <= 0);
})()"""
WIDER = """Math.max(...[document.documentElement, ...document.querySelectorAll('.q-table__middle, .scroll-x')]
    .map((each) => each.scrollWidth - each.clientWidth))"""
expect.set_options(timeout=WAIT_MS)


@dataclass
class Watch:
    """What the pages of one visitor did that they should not do."""

    base: str
    problems: list[str] = field(default_factory=list)

    def over(self, page: Page) -> Page:
        """Watch a page."""
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.problems.append(f"error in {page.url}: {error}"))
        page.on("request", self._asked)
        return page

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"console in {message.location.get('url')}: {message.text}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.base, self.base.replace("http", "ws", 1), "data:", "blob:")):
            self.problems.append(f"a request left for {request.url}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """One browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def new_context(browser: Browser, base: str, **options: Any) -> BrowserContext:
    """A visitor: cookies of its own, no waiting beyond WAIT_MS."""
    context = browser.new_context(base_url=base, viewport={"width": 1280, "height": 860}, **options)
    context.set_default_timeout(WAIT_MS)
    return context


def sign_in(page: Page, name: str, password: str, path: str = "/") -> None:
    """Sign in and go to a page."""
    page.goto("/sign-in")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile(r"/(?!sign-in)[^/]*$"))
    if path != "/":
        page.goto(path)


def come_in(context: BrowserContext, admin: str, base: str, name: str, password: str) -> None:
    """Sign in without the form, which costs two pages: a session by the Admin API, for the console at `base`."""
    answer = http("POST", f"{admin}/v2/session", {"name": name, "password": password})
    assert answer.status == 201, answer.body
    cookie, _equals, secret = answer.headers["set-cookie"].partition(";")[0].partition("=")
    context.add_cookies([{"name": cookie, "value": secret, "url": base, "httpOnly": True, "sameSite": "Strict"}])


def settled(page: Page) -> Page:
    """Wait until the page is built and its socket stands."""
    page.wait_for_selector("#content", state="attached")
    page.wait_for_function("window.socket?.connected === true")
    return page


def look_often(page: Page) -> None:
    """Have axe ready on every page to come, instead of sending it there."""
    page.add_init_script(AXE)


def violations(page: Page, *rules: str) -> list[str]:
    """What axe finds grave on the page as it is, by these rules or by all; what is still fading in is waited for."""
    page.wait_for_function("!document.querySelector('[class*=-enter-active], [class*=-leave-active]')")
    if page.evaluate("window.axe === undefined"):
        page.evaluate(AXE)  # half a megabyte: only for pages that it looks at
    only = {"runOnly": list(rules)} if rules else {}
    found = page.evaluate("(options) => axe.run(document, options)", {"resultTypes": ["violations"], **only})
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:200]}"
        for each in found["violations"]
        if each["impact"] in GRAVE
        for node in each["nodes"]
    ]


def overflow(page: Page) -> int:
    """How many pixels the page, or a table in it, is wider than its place, once menu and charts have followed its size."""
    page.wait_for_function(MENU_HAS_FOLLOWED)
    try:
        page.wait_for_function(f"{WIDER} <= 0", timeout=SETTLE_MS)
    except TimeoutError:
        return int(page.evaluate(WIDER))
    return 0
