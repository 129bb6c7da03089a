"""The portal in a real Chromium: the way to a key, no error, no request elsewhere, nothing grave for axe, three widths."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import Watch, new_context, violations
from tests.support.cluster import http
from tests.support.hostile import HOSTILE, is_clean
from tests.support.openapi import as_json, openapi
from tests.system.console.conftest import ConsolePlane

pytestmark = pytest.mark.system
PASSWORD = "a long password"


def looked_at(page: Page) -> None:
    """axe finds nothing grave, no width scrolls sideways, and no payload has run."""
    page.wait_for_load_state()
    assert violations(page) == []
    for width in (360, 800, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (page.url, width)
    assert is_clean(page), page.url


def test_a_developer_finds_a_service_and_gets_a_key(
    browser: Browser, console: ConsolePlane, picture: Callable[[Page, str], None]
) -> None:
    """Sign up, approved, sign in, read, New App, Register, Request Access, Generate Credential; dark as well."""
    admin = console.admin
    version = console.make_version("http://127.0.0.1:1")
    catalogue = f"{admin}/v2/catalogue/services/example_service"
    http(
        "PUT",
        f"{catalogue}/document",
        {"name": "a.md", "content": f"# Welcome\n\n[click](javascript:pwned=1) {HOSTILE}\n"},
    )
    assert http("PATCH", catalogue, {"description": HOSTILE}).status == 200
    document = openapi()
    document["info"] |= {"title": HOSTILE, "description": HOSTILE}
    spec = {"name": "pets.json", "content": as_json(document)}
    assert http("PUT", f"{admin}/v2/catalogue/versions/{version}/spec", spec).status == 200
    http("PUT", f"{catalogue}/publication")
    registering = f"{admin}/v2/catalogue/versions/{version}/app-registration"
    assert http("PUT", registering, {"auto_approve": True}).status == 200
    base = f"http://{console.settings['KONGDP_PORTAL_LISTEN']}"
    watch = Watch(base)
    for scheme in ("light", "dark"):
        context = new_context(browser, base, color_scheme=scheme)
        page = watch.over(context.new_page())
        page.goto("/sign-up")
        looked_at(page)
        email = f"{scheme}@example.com"
        page.get_by_label("Full name").fill(HOSTILE)
        page.get_by_label("E-mail address").fill(email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign up").click()
        expect(page.get_by_text("waits for approval")).to_be_visible()
        assert http("PATCH", f"{admin}/v2/portal/developers/{email}", {"status": "approved"}).status == 200
        page.goto("/")
        page.get_by_label("E-mail address").fill(email)
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_role("link", name="example_service").click()
        expect(page.get_by_role("heading", name="Welcome")).to_be_visible()
        page.locator("summary", has_text="/pets/{pet-id}").click()
        looked_at(page)
        picture(page, f"portal-service-{scheme}")
        page.get_by_role("link", name="My Apps").click()
        looked_at(page)
        page.get_by_role("link", name="New App").first.click()
        page.get_by_label("Application name").fill("Shop")
        page.get_by_label("Reference ID").fill(f"shop-{scheme}")
        page.get_by_label("Description").fill(HOSTILE)
        page.get_by_role("button", name="Create").click()
        page.get_by_role("link", name="Catalog", exact=True).click()
        page.get_by_role("link", name="example_service").click()
        page.get_by_role("link", name="Register").click()
        page.get_by_label("Shop").check()
        looked_at(page)
        page.get_by_role("button", name="Request Access").click()
        expect(page.get_by_text("Approved")).to_be_visible()
        page.get_by_role("button", name="Generate Credential").click()
        expect(page.locator("#new-key")).to_have_text(http("GET", f"{admin}/key-auths").json()["data"][-1]["key"])
        looked_at(page)
        picture(page, f"portal-app-{scheme}")
        context.close()
        assert http("DELETE", f"{admin}/v2/portal/developers/{email}").status == 204
    assert watch.problems == []
