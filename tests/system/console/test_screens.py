"""Every screen, with hostile text wherever text can be: nothing runs, nothing leaves, axe is content, nothing overlaps."""

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import Watch, look_often, new_context, settled, violations
from tests.support.cluster import http as ask
from tests.support.hostile import HOSTILE, PAYLOADS, TAGS, is_clean
from tests.system.console.conftest import ConsolePlane, add_nodes, looked_at

pytestmark = pytest.mark.system
Visit = Callable[..., Page]
Take = Callable[[Page, str], None]

FOCUS_ON_NAME = "document.activeElement.getAttribute('aria-label') === 'Name *'"
# What has the focus, and whether one sees that it has: by a ring, or by the frame of a field.
FOCUSED = """(() => {
    const it = document.activeElement;
    const isSeen = getComputedStyle(it).outlineStyle !== 'none' || it.closest('.q-field--focused') !== null;
    return [(it.getAttribute('aria-label') || it.innerText || '').trim(), isSeen || it === document.body];
})()"""


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
        node = self._node(group["id"])
        self._person(group["id"])
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
            f"/runtimes/{group['id']}/instances/{node}",
            f"/runtimes/{group['id']}/revisions",
            f"/runtimes/{group['id']}/configure",
            f"/runtimes/{group['id']}/configure?tab=linux",
            f"/runtimes/{group['id']}/configure?tab=kubernetes",
            "/certificates",
            f"/certificates?group={group['id']}",
            *("/audit", "/accounts"),
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

    def _node(self, group: str) -> str:
        """A data plane that says hostile things of itself."""
        error = json.dumps({"name": HOSTILE, "message": HOSTILE, "config_hash": "1" * 32})
        labels = json.dumps({PAYLOADS[0]: HOSTILE})
        (node,) = add_nodes(self._plane, group, [HOSTILE], ip=HOSTILE, version=HOSTILE, labels=labels, last_error=error)
        return node

    def _person(self, group: str) -> None:
        """A user with a hostile name, who does something everywhere: audit, history, certificates."""
        name, password = HOSTILE.replace(":", " ")[:128].strip(), "a long enough password"
        self._made("/v2/users", {"name": name, "password": password, "role": "admin"})
        shown = {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}
        admin = self._plane.admin
        assert ask("DELETE", f"{admin}/v2/users/{quote(HOSTILE, safe='')}", headers=shown).status == 404
        for path, body in (("data-plane-certificates", None), ("core-entities/services", {"name": "x", "host": "x"})):
            answer = ask("POST", f"{admin}/v2/control-planes/{group}/{path}", body, headers=shown)
            assert answer.status == 201, answer.body

    def _made(self, path: str, body: Any) -> dict[str, Any]:
        answer = ask("POST", f"{self._plane.admin}{path}", body)
        assert answer.status == 201, answer.body
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(scope="module")
def seeded(console: ConsolePlane) -> Seeded:
    """Hostile text in the shared control plane."""
    return Seeded(console)


def test_every_screen(seeded: Seeded, visitor: Visit, picture: Take) -> None:
    """At three widths, light and dark."""
    page = visitor()
    look_often(page)
    found: list[str] = []
    for path in seeded.paths:
        found += looked_at(page, path, picture)
    assert found == [], "\n".join(found)


def test_dialogs_and_menus(seeded: Seeded, visitor: Visit) -> None:
    """What opens over a screen, too."""
    page = visitor(f"/services/{seeded.service['id']}/versions/{seeded.version['id']}", reduced_motion="reduce")
    found: list[str] = []

    def look(what: str) -> None:
        expect(page.get_by_role("dialog").or_(page.get_by_role("menu")).first).to_be_visible()
        found.extend(f"{what}: {each}" for each in violations(page))
        page.emulate_media(color_scheme="dark")
        found.extend(f"{what} in the dark: {each}" for each in violations(page, "color-contrast"))
        page.emulate_media(color_scheme="light")
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
    # A complaint about a field that is folded away opens the fold.
    page.get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Edit implementation").click()
    fold = page.get_by_text("View 6 Advanced Fields")
    fold.click()
    page.get_by_label("Retries").fill("99999")
    fold.click()
    expect(page.get_by_label("Retries")).to_be_hidden()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("value should be between 0 and 32767")).to_be_visible()
    look("a complaint")
    page.get_by_role("button", name="New Route").click()
    look("New Route")
    page.get_by_role("button", name="Export").click()
    look("Export")
    page.goto("/portal?tab=developers")
    settled(page).get_by_role("button", name="Revoke").first.click()
    expect(
        page.get_by_role("dialog", name="Revoke access").get_by_text("the keys of their applications")
    ).to_be_visible()
    look("Revoke")
    page.get_by_role("button", name="Password link").first.click()
    page.get_by_role("dialog", name="Password link").get_by_role("button", name="Make link").click()
    expect(page.get_by_role("dialog", name="Password link").get_by_text("It works once, until")).to_be_visible()
    look("Password link")
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


def test_the_journey_by_keyboard_alone(browser: Browser, console: ConsolePlane, watch: Watch) -> None:
    """From the sign-in form to the copied script, without a mouse."""
    context = new_context(browser, console.console, permissions=["clipboard-read", "clipboard-write"])
    page = watch.over(context.new_page())

    def tab_to(name: str) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            shown, is_seen = page.evaluate(FOCUSED)
            assert is_seen, f"the focus on {shown!r} cannot be seen"
            if shown.split("\n")[-1].startswith(name):
                return
        raise AssertionError(f"no way to {name!r} by keyboard; it ends at {shown!r}")

    def enter(name: str) -> None:
        tab_to(name)
        page.keyboard.press("Enter")

    page.goto("/services")
    # The first field has the focus by itself.
    expect(page.get_by_label("User name")).to_be_focused()
    page.keyboard.type("admin")
    page.keyboard.press("Tab")
    page.keyboard.type(console.password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/services")
    settled(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    enter("New service")
    expect(page.get_by_role("dialog")).to_be_visible()
    # The first field of a form has the focus.
    expect(page.get_by_label("Display name")).to_be_focused()
    page.keyboard.type("by keyboard")
    # As in every form.
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="by keyboard", exact=True)).to_be_visible()
    settled(page)
    enter("New Version")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.get_by_label("Version Name")).to_be_focused()
    page.keyboard.type("v.1")
    # A look at the list of groups, of which one is chosen already.
    tab_to("Runtime group")
    page.keyboard.press("Enter")
    expect(page.get_by_role("option", name="default", exact=True)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    enter("Create")
    expect(page.get_by_role("heading", name="v.1", exact=True)).to_be_visible()
    settled(page)
    enter("New Implementation")
    expect(page.get_by_role("dialog", name="Create Implementation")).to_be_visible()
    # The first field has the focus by itself.
    page.wait_for_function(FOCUS_ON_NAME)
    page.keyboard.type("keyboard_service")
    tab_to("URL")
    page.keyboard.type("http://127.0.0.1:9")
    enter("Next")
    expect(page.get_by_role("heading", name="Add a Route")).to_be_visible()
    page.wait_for_function(FOCUS_ON_NAME)
    page.keyboard.type("keyboard_route")
    tab_to("Path")
    page.keyboard.type("no-slash")
    enter("Create")
    # The API's complaint stands at the field, which has the focus: the mistake can be mended at once.
    expect(page.get_by_text("should start with: /")).to_be_visible()
    page.wait_for_function("document.activeElement.getAttribute('aria-label') === 'Path'")
    page.keyboard.press("Home")
    page.keyboard.type("/")
    enter("Create")
    expect(page.get_by_role("link", name="keyboard_route")).to_be_visible()
    settled(page)
    enter("Actions")
    expect(page.get_by_role("menuitem", name="Rename version")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("menuitem", name="Delete version")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_have_count(0)
    enter("Runtime Manager")
    expect(page.get_by_role("link", name="default", exact=True)).to_be_visible()
    settled(page)
    enter("default")
    expect(page.get_by_role("heading", name="Runtime Instances")).to_be_visible()
    settled(page)
    enter("Configure Runtime")
    expect(page.get_by_role("heading", name="Configure New Runtime")).to_be_visible()
    settled(page)
    enter("Copy Script")
    expect(page.get_by_text("Copied")).to_be_attached()
    assert page.evaluate("navigator.clipboard.readText()").startswith("curl ")
    enter("Done")
    expect(page.get_by_role("heading", name="Runtime Instances")).to_be_visible()
    context.close()
