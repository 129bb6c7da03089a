"""Who may what in the console: roles at the server, sessions that end, sockets that belong to their session."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import Watch, new_context, overflow, settled, sign_in, violations
from tests.support.cluster import http as ask
from tests.support.oidc_provider import StandInProvider
from tests.system.console.conftest import ConsolePlane

pytestmark = pytest.mark.system
Visit = Callable[..., Page]
PASSWORD = "a long enough password"


def user(plane: ConsolePlane, name: str, role: str, **roles: str) -> None:
    """A user with a role everywhere and roles in groups."""
    body = {"name": name, "password": PASSWORD, "role": role, "roles": roles}
    answer = ask("POST", f"{plane.admin}/v2/users", body)
    assert answer.status == 201, answer.body


def test_a_viewer_sees_and_is_offered_nothing_to_change(console: ConsolePlane, visitor: Visit) -> None:
    """No button that changes something; administrators' screens are refused in words."""
    user(console, "viewer", "viewer")
    ask("POST", f"{console.admin}/v2/catalogue/services", {"name": "looked at"})
    page = visitor("/services", "viewer", PASSWORD)
    expect(settled(page).get_by_role("link", name="looked at")).to_be_visible()
    expect(page.get_by_role("button", name="New service")).to_have_count(0)
    expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="Accounts")).to_have_count(0)
    page.get_by_role("link", name="looked at").click()
    expect(page.get_by_role("heading", name="looked at")).to_be_visible()
    expect(page.get_by_role("button", name="Actions")).to_have_count(0)


def test_a_role_that_is_taken_away_counts_at_the_next_click(console: ConsolePlane, visitor: Visit, watch: Any) -> None:
    """The page of an editor is open when they become a viewer: what they still can click is refused by the API."""
    user(console, "demoted", "editor")
    page = visitor("/services", "demoted", PASSWORD)
    settled(page).get_by_role("button", name="New service").first.click()
    page.get_by_label("Display name").fill("made by a viewer")
    ask("PATCH", f"{console.admin}/v2/users/demoted", {"role": "viewer"})
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("this takes the role editor")).to_be_visible()
    services = ask("GET", f"{console.admin}/v2/catalogue/services").json()["items"]
    assert "made by a viewer" not in [each["name"] for each in services]


def test_an_editor_of_one_group_has_no_other(console: ConsolePlane, visitor: Visit, watch: Any) -> None:
    """The other groups are neither listed nor shown by address."""
    own = ask("POST", f"{console.admin}/v2/control-planes", {"name": "own"}).json()
    other = ask("POST", f"{console.admin}/v2/control-planes", {"name": "other"}).json()
    user(console, "one group", "none", own="editor")
    page = visitor("/runtimes", "one group", PASSWORD)
    expect(settled(page).get_by_role("link", name="own")).to_be_visible()
    expect(page.get_by_role("link", name="other")).to_have_count(0)
    expect(page.get_by_role("link", name="default")).to_have_count(0)
    assert page.goto(f"/runtimes/{own['id']}").status == 200  # type: ignore[union-attr]
    assert page.goto(f"/runtimes/{other['id']}").status == 403  # type: ignore[union-attr]
    expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()
    watch.problems = [each for each in watch.problems if "403" not in each]


def test_a_session_that_is_over_leads_to_the_form(console: ConsolePlane, visitor: Visit, watch: Any) -> None:
    """A click after it, and the live parts by themselves; then back to the page that was wanted."""
    user(console, "expired", "editor")
    page = visitor("/services", "expired", PASSWORD)
    watching = page.context.new_page()
    watching.goto("/")
    settled(watching)
    settled(page)
    # A new password ends every session.
    ask("PATCH", f"{console.admin}/v2/users/expired", {"password": PASSWORD + "!"})
    page.get_by_role("button", name="New service").first.click()
    page.get_by_label("Display name").fill("too late")
    page.get_by_role("button", name="Create").click()
    page.wait_for_url(re.compile(r"/sign-in\?next=%2Fservices"))
    watching.wait_for_url(re.compile("/sign-in"))
    page.get_by_label("User name").fill("expired")
    page.get_by_label("Password").fill(PASSWORD + "!")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Service Hub")).to_be_visible()


def test_signing_out_ends_every_page_of_the_session(console: ConsolePlane, visitor: Visit) -> None:
    """Also those in other tabs."""
    page = visitor("/services")
    other = page.context.new_page()
    other.goto("/runtimes")
    settled(other)
    settled(page).get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    other.wait_for_url("**/sign-in")


def test_a_wrong_password_is_said_and_slowed_down(console: ConsolePlane, visitor: Visit, watch: Any) -> None:
    """Without telling whether the name exists."""
    user(console, "forgetful", "viewer")
    page = visitor("/", "forgetful", PASSWORD).context.browser.new_page(base_url=console.console)  # type: ignore[union-attr]
    page.goto("/sign-in")
    page.get_by_label("User name").fill("forgetful")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("wrong user name or password")
    expect(page.get_by_label("User name")).to_have_value("forgetful")
    page.close()


def test_the_console_by_tls(console: ConsolePlane, browser: Browser) -> None:
    """The same console with our authority's certificate; its cookie then goes by TLS only, and its socket is one of TLS."""
    base = f"https://localhost:{console.secure_port}"
    context = new_context(browser, base, ignore_https_errors=True)
    page = context.new_page()
    sign_in(page, "admin", console.password, "/services")
    settled(page)
    (cookie,) = context.cookies()
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
    assert page.evaluate("window.socket.io.engine.transport.name") == "websocket"
    context.close()


def test_a_socket_of_another_session_gets_no_page(console: ConsolePlane, visitor: Visit, watch: Any) -> None:
    """Who learns the id of somebody's page cannot speak for it: the session of the socket must be the page's."""
    user(console, "curious", "viewer")
    admin = settled(visitor("/runtimes"))
    page_id = admin.evaluate("window.clientId ?? window.socket.io.opts.query.client_id")
    curious = settled(visitor("/services", "curious", PASSWORD))
    opening = """async (page) => {
        const opened = (named) => new Promise((done) => {
            const socket = io({path: '/_nicegui_ws/socket.io', forceNew: true, transports: ['websocket'],
                query: {client_id: named, implicit_handshake: 'true', tab_id: crypto.randomUUID(),
                        document_id: crypto.randomUUID(), next_message_id: 0}});
            socket.on('connect', () => done('connected'));
            socket.on('connect_error', (error) => done(error.message));
        });
        const late = {client_id: page, tab_id: crypto.randomUUID(), document_id: crypto.randomUUID(), next_message_id: 0};
        return [await opened(page), await opened('nonsense'), await socket.emitWithAck('handshake', late)];
    }"""
    refused = ["this page belongs to another session", "Implicit handshake failed", False]
    assert curious.evaluate(opening, page_id) == refused
    # Nor is a click on it taken from another page's socket: of these two only the second opens its dialog.
    admin.evaluate(
        """() => { const emit = socket.emit.bind(socket); window.sent = [];
            socket.emit = (...message) => { sent.push(message); return emit(...message); }; }"""
    )
    admin.get_by_role("button", name="Create Runtime Group").click()
    expect(admin.get_by_role("dialog", name="Create Runtime Group")).to_be_visible()
    admin.keyboard.press("Escape")
    expect(admin.get_by_role("dialog")).to_have_count(0)
    name, click = admin.evaluate("sent.find(([name]) => name === 'event')")
    assert click["client_id"] == page_id
    curious.evaluate("([name, click]) => socket.emitWithAck(name, click)", [name, click])
    admin.get_by_role("button", name="Edit default").click()
    expect(admin.get_by_role("dialog", name="Edit Runtime Group")).to_be_visible()
    expect(admin.get_by_role("dialog")).to_have_count(1)


def test_coming_in_by_the_organisation(
    console: ConsolePlane, browser: Browser, organisation: StandInProvider, watch: Watch
) -> None:
    """From the form to the provider and back to the page that was wanted, with the role that the provider says; or not."""
    context = new_context(browser, console.console)
    page = watch.over(context.new_page())
    organisation.signs_in = {"sub": "ann-1", "email": "ann@example.com", "email_verified": True, "groups": ["guests"]}
    page.goto("/runtimes")
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    assert violations(page, "color-contrast") == []
    for width in (1200, 820, 390):
        page.set_viewport_size({"width": width, "height": 800})
        assert overflow(page) == 0
    page.get_by_role("link", name="Sign in with your organisation").click()
    expect(page.get_by_role("heading", name="You cannot sign in")).to_be_visible()
    organisation.signs_in["groups"] = ["gateway-editors"]
    page.goto("/services?q=nothing")
    page.get_by_role("link", name="Sign in with your organisation").click()
    page.wait_for_url("**/services?q=nothing")
    expect(settled(page).get_by_role("button", name="New service")).to_be_visible()
    expect(page.get_by_text("ann@example.com")).to_be_visible()
    expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="Accounts")).to_have_count(0)
    context.close()
    watch.problems = [each for each in watch.problems if organisation.issuer not in each and "403" not in each]
