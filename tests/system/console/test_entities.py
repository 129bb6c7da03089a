"""The screens of a runtime group: entities made, changed and deleted by forms, history, route tester, accounts."""

import json
import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import look_often, settled, violations
from tests.support.certificates import authority
from tests.support.cluster import http as ask
from tests.support.hostile import HOSTILE, PAYLOADS, TAGS, is_clean
from tests.system.console.conftest import ConsolePlane, add_nodes, looked_at

pytestmark = pytest.mark.system
Visit = Callable[..., Page]
Take = Callable[[Page, str], None]
PAYLOAD = PAYLOADS[0]


class Group:
    """A runtime group of one test."""

    def __init__(self, plane: ConsolePlane, name: str) -> None:
        self._plane = plane
        self.id: str = self.made("/v2/control-planes", {"name": name})["id"]
        self.page = f"/runtimes/{self.id}"

    def made(self, path: str, body: Any) -> dict[str, Any]:
        """Something new by the API."""
        answer = ask("POST", f"{self._plane.admin}{path}", body)
        assert answer.status == 201, answer.body
        found: dict[str, Any] = answer.json()
        return found

    def add(self, path: str, body: Any) -> dict[str, Any]:
        """A new entity."""
        return self.made(f"/v2/control-planes/{self.id}/core-entities/{path}", body)

    def rows(self, path: str) -> list[dict[str, Any]]:
        """Entities as the API has them."""
        answer = ask("GET", f"{self._plane.admin}/v2/control-planes/{self.id}/core-entities/{path}")
        found: list[dict[str, Any]] = answer.json()["items"]
        return found


def dialog(page: Page, name: str) -> Any:
    """The open dialog of a name."""
    found = page.get_by_role("dialog", name=name)
    expect(found).to_be_visible()
    return found


def press(page: Page, name: str) -> None:
    """Press the main button of the open dialog, and see it close."""
    page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_service_by_forms(console: ConsolePlane, visitor: Visit) -> None:
    """Made, complained about at its field, changed, given a plugin, and deleted; each time the store has it."""
    group = Group(console, "by forms")
    page = visitor(f"{group.page}/services")
    settled(page).get_by_role("button", name="New Gateway service").first.click()
    form = dialog(page, "New Gateway service")
    form.get_by_label("Name", exact=True).fill("orders")
    form.get_by_label("Host *").fill("orders.example")
    form.get_by_label("Port").fill("70000")
    form.get_by_role("button", name="Create").click()
    expect(form.get_by_text("value should be between 0 and 65535")).to_be_visible()
    form.get_by_label("Port").fill("8080")
    press(page, "Create")
    page.get_by_role("link", name="orders").click()
    expect(page.get_by_role("heading", name="orders", exact=True)).to_be_visible()
    # What can be copied is a request that the Admin API takes.
    words = shlex.split(page.get_by_label("curl (Admin API)").locator("code").text_content() or "")
    assert ask(words[words.index("-X") + 1], words[3], json.loads(words[-1])).json()["name"] == "orders"
    settled(page).get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Edit").click()
    dialog(page, "Edit Gateway service").get_by_label("Retries").fill("2")
    press(page, "Save")
    expect(page.get_by_role("definition").filter(has_text=re.compile(r"^2$"))).to_be_visible()
    settled(page).get_by_role("button", name="New plugin").click()
    dialog(page, "Add plugin").get_by_role("combobox").click()
    page.get_by_role("option", name="key-auth").click()
    page.get_by_role("dialog").get_by_role("button", name="Next").click()
    dialog(page, "New key-auth plugin").get_by_label("Key names").fill("x-key")
    press(page, "Create")
    expect(page.get_by_role("link", name="key-auth")).to_be_visible()
    [service], [plugin] = group.rows("services"), group.rows("plugins")
    assert (service["retries"], service["port"]) == (2, 8080)
    assert (plugin["service"], plugin["config"]["key_names"]) == ({"id": service["id"]}, ["x-key"])
    page.get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Delete").click()
    expect(dialog(page, "Delete Gateway service").get_by_text("1 plugin below it")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No Gateway Services yet")).to_be_visible()
    assert group.rows("services") == []


def test_a_consumer_with_a_key(console: ConsolePlane, visitor: Visit) -> None:
    """A key is told by its end only; deleting it takes it from the consumer."""
    group = Group(console, "keys")
    consumer = group.add("consumers", {"username": "alice"})
    page = visitor(f"{group.page}/consumers/{consumer['id']}")
    settled(page).get_by_role("button", name="New key").click()
    form = dialog(page, "New key")
    form.get_by_label("Key", exact=True).fill("a-secret-of-alice-1234")
    form.get_by_role("button", name="Create").click()
    expect(form.locator("code", has_text="a-secret-of-alice-1234")).to_be_visible()
    press(page, "Done")
    expect(page.get_by_text("…1234")).to_be_visible()
    assert "a-secret-of-alice" not in page.content()
    page.get_by_role("button", name=re.compile("^Delete ")).first.click()
    dialog(page, "Delete key")
    press(page, "Delete")
    expect(page.get_by_text("…1234")).to_have_count(0)
    assert group.rows(f"consumers/{consumer['id']}/key-auth") == []


def test_lists_are_searched_on_the_server(console: ConsolePlane, visitor: Visit) -> None:
    """Of many rows the browser holds a page; a search finds what is on another one."""
    group = Group(console, "many")
    for number in range(30):
        group.add("upstreams", {"name": f"upstream-{number:02}.example"})
    page = visitor(f"{group.page}/upstreams")
    expect(page.get_by_text("1–25 of 30")).to_be_visible()
    settled(page).get_by_label("Search Upstreams").fill("STREAM-17")
    expect(page.get_by_role("link", name="upstream-17.example")).to_be_visible()
    expect(page.get_by_role("link", name="upstream-16.example")).to_have_count(0)
    expect(page).to_have_url(re.compile(r"\?q=STREAM-17$"))


def test_addresses_and_back(console: ConsolePlane, visitor: Visit) -> None:
    """Whatever is looked at (page of a list, search, object, tab, time range) has an address; back and forward find it."""
    group = Group(console, "addresses")
    service = group.add("services", {"name": "walked", "host": "walked.example"})
    for number in range(26):
        group.add("routes", {"name": f"route-{number:02}", "paths": [f"/{number}"], "service": {"id": service["id"]}})
    page = visitor(f"{group.page}/routes", timezone_id="America/New_York")
    expect(page.get_by_text("1–25 of 26")).to_be_visible()
    settled(page).get_by_role("button", name="Next").click()
    expect(page.get_by_text("26–26 of 26")).to_be_visible()
    settled(page).get_by_label("Search Routes").fill("route-1")
    expect(page.get_by_text("1–25 of 26")).to_have_count(0)
    expect(page.get_by_role("link", name="route-11")).to_be_visible()
    page.get_by_role("link", name="route-11").click()
    settled(page).get_by_role("link", name="List", exact=True).click()
    # From one moment to another: in the browser's zone, and by the switch in UTC.
    settled(page).get_by_role("combobox", name="Time frame").click()
    page.get_by_role("option", name="Custom dates").click()
    page.get_by_label("From *").fill("2026-01-31T07:00")
    page.get_by_label("To", exact=True).fill("2026-01-31T08:30")
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_url("**start=2026-01-31T12%3A00Z&end=2026-01-31T13%3A30Z*")
    expect(page.get_by_text("No requests from 2026-01-31 12:00:00 UTC to 2026-01-31 13:30:00 UTC")).to_be_visible()
    expect(settled(page).get_by_label("To", exact=True)).to_have_value("2026-01-31T08:30")
    page.get_by_role("checkbox", name="UTC").click()
    page.wait_for_url("**zone=utc*")
    expect(page.get_by_label("From (UTC) *")).to_have_value("2026-01-31T12:00")
    settled(page).get_by_role("combobox", name="Time frame").click()
    page.get_by_role("option", name="Last 7 Days").click()
    page.wait_for_url("**frame=7d*")
    expect(settled(page).get_by_text("No requests in the Last 7 Days")).to_be_visible()
    page.get_by_role("link", name="addresses").click()
    expect(page.get_by_role("heading", name="Runtime Instances")).to_be_visible()

    def is_at_range() -> None:
        expect(page.get_by_text("No requests in the Last 7 Days")).to_be_visible()
        expect(page.get_by_role("checkbox", name="UTC")).to_be_checked()
        expect(page.get_by_role("link", name="List", exact=True)).to_have_attribute("aria-current", "page")

    page.go_back()
    is_at_range()
    page.go_back()
    expect(page.get_by_label("From (UTC) *")).to_have_value("2026-01-31T12:00")
    for _ in range(4):
        page.go_back()
    # The list, as it was searched.
    expect(page.get_by_label("Search Routes")).to_have_value("route-1")
    expect(page.get_by_role("link", name="route-11")).to_be_visible()
    expect(page.get_by_role("link", name="route-21")).to_have_count(0)
    page.go_back()
    expect(page.get_by_text("1–25 of 26")).to_be_visible()
    # An open dialog has an address while it is open, and only then.
    settled(page).get_by_role("button", name="New route").click()
    page.wait_for_url("**/routes?dialog=new")
    page.reload()
    dialog(page, "New route").get_by_role("button", name="Cancel").click()
    page.wait_for_url("**/routes")
    for _ in range(6):
        page.go_forward()
    is_at_range()


def test_history_and_back(console: ConsolePlane, visitor: Visit) -> None:
    """A change is listed with who made it and what it changed; restoring takes it back."""
    group = Group(console, "history")
    service = group.add("services", {"name": "before", "host": "before.example"})
    path = f"{console.admin}/v2/control-planes/{group.id}/core-entities/services/{service['id']}"
    assert ask("PUT", path, {"name": "before", "host": "after.example"}).status == 200
    add_nodes(console, group.id, [f"node-{number}" for number in range(12)])
    page = visitor(f"{group.page}/revisions")
    links = page.get_by_role("link", name=re.compile(r"^#\d+$"))
    expect(links).to_have_count(2)
    # Of all, not of those on this page.
    expect(page.get_by_text("0 of 12 have the newest configuration")).to_be_visible()
    links.last.click()
    expect(page.get_by_text("+ services before (created)")).to_be_visible()
    page.get_by_role("link", name="What has changed since").click()
    expect(page.get_by_role("cell", name="after.example")).to_be_visible()
    settled(page).get_by_role("button", name="Restore").click()
    dialog(page, re.compile("Restore revision"))  # type: ignore[arg-type]
    page.get_by_role("dialog").get_by_role("button", name="Restore").click()
    expect(page.get_by_role("heading", name=re.compile("Revision"))).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert group.rows("services")[0]["host"] == "before.example"


def test_which_route_would_answer(console: ConsolePlane, visitor: Visit) -> None:
    """By the data planes' router: prefix, method, where it goes, and that nothing matches."""
    group = Group(console, "tester")
    service = group.add("services", {"name": "mock", "url": "http://mock.example:81/base"})
    group.add("routes", {"name": "mock", "paths": ["/mock"], "methods": ["GET"], "service": {"id": service["id"]}})
    page = visitor(f"{group.page}/tester")
    settled(page).get_by_label("URL *").fill("http://localhost:8000/mock/status?x=1")
    page.get_by_role("button", name="Find route").click()
    expect(page.get_by_text("http://mock.example:81/base/status?x=1")).to_be_visible()
    settled(page).get_by_label("Method *").fill("POST")
    page.get_by_role("button", name="Find route").click()
    expect(page.get_by_text("No route matches")).to_be_visible()
    settled(page).get_by_label("URL *").fill("nonsense")
    page.get_by_role("button", name="Find route").click()
    expect(page.get_by_text("must be an absolute URL")).to_be_visible()


def test_accounts_and_tokens(console: ConsolePlane, visitor: Visit) -> None:
    """An administrator makes a user with a role in one group; the user makes a token, which is shown once and works."""
    group = Group(console, "accounts")
    page = visitor("/accounts")
    settled(page).get_by_role("button", name="New user").click()
    form = dialog(page, "New user")
    form.get_by_label("User name *").fill("erin")
    form.get_by_label("Password *").fill("short")
    form.get_by_label("Roles in runtime groups").fill("accounts: editor")
    form.get_by_role("button", name="Create").click()
    expect(form.get_by_text("8 to 1024 characters")).to_be_visible()
    form.get_by_label("Password *").fill("long enough for erin")
    press(page, "Create")
    expect(page.get_by_role("cell", name="accounts: editor")).to_be_visible()
    own = visitor("/me", "erin", "long enough for erin")
    settled(own).get_by_role("button", name="New access token").click()
    dialog(own, "New access token").get_by_label("Name *").fill("ci")
    # A double click makes one.
    own.get_by_role("dialog").get_by_role("button", name="Create").dblclick()
    token = own.locator("code", has_text="kdp_pat_").inner_text()
    press(own, "Done")
    fields = {"Authorization": f"Bearer {token}"}
    assert ask("GET", f"{console.admin}/v2/me", headers=fields).json()["name"] == "erin"
    assert ask("GET", f"{console.admin}/v2/control-planes/{group.id}", headers=fields).status == 200
    own.reload()
    expect(own.get_by_role("cell", name="ci", exact=True)).to_be_visible()
    assert token not in own.content()
    settled(own).get_by_role("button", name="Revoke ci").click()
    press(own, "Revoke")
    assert ask("GET", f"{console.admin}/v2/me", headers=fields).status == 401
    page.goto("/audit")
    expect(page.get_by_role("cell", name="erin").first).to_be_visible()


def test_every_screen_of_a_group(console: ConsolePlane, visitor: Visit, picture: Take) -> None:
    """At three widths, light and dark, with text that would run if it were taken for anything else."""
    group = Group(console, "looks")
    service = group.add("services", {"name": "looks", "url": "http://looks.example", "tags": [PAYLOAD]})
    route = group.add("routes", {"name": "looks", "paths": ["/looks"], "service": {"id": service["id"]}})
    consumer = group.add("consumers", {"username": PAYLOAD, "custom_id": PAYLOAD})
    upstream = group.add("upstreams", {"name": "looks.example"})
    hostile = {"add": {"headers": [f"x-hostile:{HOSTILE}"], "body": [f"x:{HOSTILE}"]}}
    plugin = group.add("plugins", {"name": "request-transformer", "instance_name": "looks", "config": hostile})
    pair = authority(PAYLOAD)
    pem = {"cert": pair.pem.decode(), "key": pair.key_pem.decode()}
    certificate = group.add("certificates", {**pem, "tags": TAGS, "snis": ["looks.example"]})
    group.add(f"consumers/{consumer['id']}/key-auth", {"key": HOSTILE, "tags": TAGS})
    group.add(f"consumers/{consumer['id']}/acls", {"group": HOSTILE, "tags": TAGS})
    paths = [
        *(f"{group.page}/{each}" for each in ("services", "routes", "consumers", "plugins", "upstreams")),
        *(f"{group.page}/{each}" for each in ("certificates", "snis", "revisions")),
        f"{group.page}/services/{service['id']}",
        f"{group.page}/routes/{route['id']}",
        f"{group.page}/consumers/{consumer['id']}",
        f"{group.page}/upstreams/{upstream['id']}",
        f"{group.page}/plugins/{plugin['id']}",
        f"{group.page}/certificates/{certificate['id']}",
        f"{group.page}/tester?url=http%3A%2F%2Flocalhost%2Flooks",
        *("/audit", "/accounts", "/me"),
    ]
    page = visitor()
    look_often(page)
    page.goto(f"{group.page}/revisions")
    paths.append(str(page.get_by_role("link", name=re.compile(r"^#\d+$")).first.get_attribute("href")))
    found: list[str] = []
    for path in paths:
        found += looked_at(page, path, picture)
    # The forms that show it again, and the question that names it.
    page.goto(f"{group.page}/plugins/{plugin['id']}")
    for action, name in (("Edit", "Edit request-transformer plugin"), ("Delete", "Delete plugin")):
        settled(page).get_by_role("button", name="Actions").click()
        page.get_by_role("menuitem", name=action).click()
        expect(page.get_by_role("dialog", name=name)).to_be_visible()
        found += [f"{name}: {each}" for each in violations(page)]
        if not is_clean(page):
            found.append(f"{name}: a payload has run")
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
    # A complaint about a switch stands beside it, and leads there.
    grpc = group.add("routes", {"name": "grpc", "protocols": ["grpc"], "hosts": ["looks.example"]})
    page.goto(f"{group.page}/routes/{grpc['id']}")
    settled(page).get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Edit").click()
    switch = page.get_by_role("switch", name="Strip path")
    switch.click()
    page.get_by_role("button", name="Save").click()
    expect(switch).to_have_accessible_description(re.compile("cannot set 'strip_path'"))
    expect(switch).to_be_focused()
    found += [f"a complaint about a switch: {each}" for each in violations(page)]
    page.emulate_media(color_scheme="dark")
    found += [f"a complaint about a switch in the dark: {each}" for each in violations(page, "color-contrast")]
    assert found == [], "\n".join(found)
