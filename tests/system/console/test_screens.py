"""Every screen, with hostile text wherever text can be: nothing runs, nothing leaves, axe is content, nothing overlaps."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import overflow, settled, violations
from tests.support.cluster import http as ask
from tests.system.console.conftest import ConsolePlane

pytestmark = pytest.mark.system
Visit = Callable[..., Page]
Take = Callable[[Page, str], None]

FOCUS_ON_NAME = "document.activeElement.getAttribute('aria-label') === 'Name *'"
WIDTHS = (1440, 820, 390)
# Each would set `pwned`, were it taken for anything but text.
PAYLOADS = (
    "<img src=x onerror=pwned=1>",
    "<script>pwned=1</script>",
    "{{constructor.constructor('pwned=1')()}}",
    "${pwned=1}`${pwned=1}`",
    '"><svg onload=pwned=1>',
    "javascript:pwned=1",
)
HOSTILE = " ".join(PAYLOADS)
# A tag has no slash and no comma.
TAGS = [each for each in PAYLOADS if "/" not in each]


class Seeded:
    """What hostile people have made; paths of all screens that show it."""

    def __init__(self, plane: ConsolePlane) -> None:
        self._plane = plane
        service = self._made(
            "/v2/catalogue/services", {"name": "hostile", "description": HOSTILE, "labels": {"a": HOSTILE}}
        )
        group = self._made(
            "/v2/control-planes",
            {"name": HOSTILE.replace("/", "\\")[:200], "description": HOSTILE, "labels": {"b": HOSTILE[:200]}},
        )
        version = self._made(
            f"/v2/catalogue/services/{service['id']}/versions", {"name": HOSTILE[:200], "group": group["id"]}
        )
        made = self._made(
            f"/v2/catalogue/versions/{version['id']}/implementation",
            {
                "service": {"name": "hostile", "url": "http://127.0.0.1:9/", "tags": TAGS},
                "route": {"name": "hostile", "paths": ["/hostile"], "tags": TAGS},
            },
        )
        self._documents(service["id"], version["id"])
        self.service, self.version, self.group, self.route = service, version, group, made["routes"][0]
        self.paths = (
            "/",
            "/services",
            "/services?view=list",
            f"/services/{service['id']}",
            f"/services/{service['id']}/versions/{version['id']}",
            f"/services/{service['id']}/versions/{version['id']}?view=list&frame=5m&zone=utc",
            f"/services/{service['id']}/versions/{version['id']}/spec",
            "/portal",
            "/portal?tab=developers",
            "/portal?tab=applications",
            "/runtimes",
            f"/runtimes/{group['id']}",
            f"/runtimes/{group['id']}/configure",
            f"/runtimes/{group['id']}/configure?tab=linux",
            f"/runtimes/{group['id']}/configure?tab=kubernetes",
            "/certificates",
        )

    def _documents(self, service: str, version: str) -> None:
        """Documents, a spec, a developer with an application."""
        hostile = {"summary": HOSTILE, "description": HOSTILE, "responses": {"200": {"description": HOSTILE}}}
        spec = {
            "openapi": "3.0.3",
            "info": {"title": HOSTILE, "version": HOSTILE, "description": HOSTILE},
            "paths": {"/hostile": {"get": hostile}},
        }
        catalogue = f"{self._plane.admin}/v2/catalogue"
        for path, name, content in (
            (f"services/{service}/document", "hostile.md", f"# {HOSTILE}\n\n[click](javascript:pwned=1) {HOSTILE}"),
            (f"versions/{version}/spec", "hostile.json", json.dumps(spec)),
        ):
            answer = ask("PUT", f"{catalogue}/{path}", {"name": name, "content": content})
            assert answer.status == 200, answer.body
        developer = {"email": "mallory@example.com", "name": HOSTILE[:200], "password": "a long enough password"}
        self._made("/v2/portal/developers", developer)
        application = {
            "developer": "mallory@example.com",
            "name": "hostile",
            "reference_id": "h",
            "description": HOSTILE,
        }
        self._made("/v2/portal/applications", application)

    def _made(self, path: str, body: Any) -> dict[str, Any]:
        answer = ask("POST", f"{self._plane.admin}{path}", body)
        assert answer.status == 201, answer.body
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(scope="module")
def seeded(console: ConsolePlane) -> Seeded:
    """Hostile text in the shared control plane."""
    return Seeded(console)


def is_clean(page: Page) -> bool:
    """Whether no payload has run, and none has become an element."""
    found: bool = page.evaluate(
        "typeof pwned === 'undefined' && !document.querySelector('img[src=\"x\"], svg[onload], [onerror]')"
    )
    return found


def test_every_screen(seeded: Seeded, visitor: Visit, picture: Take) -> None:
    """At three widths, light and dark."""
    page = visitor()
    found: list[str] = []
    for path in seeded.paths:
        page.set_viewport_size({"width": WIDTHS[0], "height": 900})
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.goto(path)
        settled(page)
        expect(page.locator("h1")).to_be_visible()
        found += [f"{path}: {each}" for each in violations(page)]
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            if (wider := overflow(page)) > 0:
                found.append(f"{path} is {wider} px too wide at {width}")
        picture(page, f"screen {path}")
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        found += [f"{path} in the dark: {each}" for each in violations(page, "color-contrast")]
        if not is_clean(page):
            found.append(f"{path}: a payload has run")
    assert found == [], "\n".join(found)


def test_dialogs_and_menus(seeded: Seeded, visitor: Visit) -> None:
    """What opens over a screen, too."""
    page = visitor(f"/services/{seeded.service['id']}/versions/{seeded.version['id']}", reduced_motion="reduce")
    found: list[str] = []

    def look(what: str) -> None:
        expect(page.get_by_role("dialog").or_(page.get_by_role("menu")).first).to_be_visible()
        found.extend(f"{what}: {each}" for each in violations(page))
        if not is_clean(page):
            found.append(f"{what}: a payload has run")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)

    settled(page).get_by_role("button", name="Actions").click()
    look("menu")
    for action in ("View configuration", "Edit implementation", "Delete version"):
        page.get_by_role("button", name="Actions").click()
        page.get_by_role("menuitem", name=action).click()
        look(action)
    page.get_by_role("button", name="New Route").click()
    look("New Route")
    page.get_by_role("button", name="Export").click()
    look("Export")
    assert found == [], "\n".join(found)


def test_a_page_that_is_not_there(visitor: Visit, watch: Any) -> None:
    """A wrong address and a thing that is gone are said in words, with the status for whoever asks by machine."""
    page = visitor()
    for path in ("/nothing", "/services/00000000-0000-4000-8000-000000000000", "/runtimes/nothing"):
        response = page.goto(path)
        assert response is not None
        assert response.status == 404
        expect(page.get_by_role("heading", name="Not found")).to_be_visible()
    # The browser says "404" on its console by itself.
    watch.problems = [each for each in watch.problems if "404" not in each]


def test_the_journey_by_keyboard_alone(console: ConsolePlane, visitor: Visit) -> None:
    """From the list to a version with an implementation, without a mouse."""
    page = visitor("/services")
    settled(page)

    def tab_to(name: str) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            shown = page.evaluate(
                "(document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || '').trim()"
            )
            if shown.replace("add\n", "").replace("\n", " ").startswith(name):
                return
        raise AssertionError(f"no way to {name!r} by keyboard; it ends at {shown!r}")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    tab_to("New service")
    page.keyboard.press("Enter")
    tab_to("Display name")
    page.keyboard.type("by keyboard")
    tab_to("Version name")
    page.keyboard.type("v.1")
    tab_to("Create")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="by keyboard", exact=True)).to_be_visible()
    tab_to("v.1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="v.1", exact=True)).to_be_visible()
    settled(page)
    tab_to("New Implementation")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Create Implementation")).to_be_visible()
    # The first field has the focus by itself.
    page.wait_for_function(FOCUS_ON_NAME)
    page.keyboard.type("keyboard_service")
    tab_to("URL")
    page.keyboard.type("http://127.0.0.1:9")
    tab_to("Next")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Add a Route")).to_be_visible()
    page.wait_for_function(FOCUS_ON_NAME)
    page.keyboard.type("keyboard_route")
    tab_to("Path")
    page.keyboard.type("no-slash")
    tab_to("Create")
    page.keyboard.press("Enter")
    # The API's complaint stands at the field, which has the focus: the mistake can be mended at once.
    expect(page.get_by_text("should start with: /")).to_be_visible()
    page.wait_for_function("document.activeElement.getAttribute('aria-label') === 'Path'")
    page.keyboard.press("Home")
    page.keyboard.type("/")
    tab_to("Create")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="keyboard_route")).to_be_visible()
