"""The portal's pages: who sees what, the way to a key, forms that are ours alone, texts that cannot act."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kongdp.controlplane.portal.application import FIELDS, PAGES
from kongdp.controlplane.portal.reading import CARDS_MAX
from kongdp.controlplane.portal.visit import FORM, FORM_BYTES_MAX, SESSION, inside
from tests.support.clock import FakeClock
from tests.support.openapi import as_json, openapi
from tests.support.portal import BASE, PASSWORD, Portal, opened, text_of

XSS = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}"


def play(scenario: Callable[[Portal], Awaitable[None]], directory: Path, **options: Any) -> None:
    async def main() -> None:
        async with opened(directory, **options) as portal:
            await scenario(portal)

    asyncio.run(main())


def test_a_private_portal_shows_strangers_the_way_in_and_nothing_else(tmp_path: Path) -> None:
    """Every address, known or not, published or not, leads to sign-in."""

    async def scenario(portal: Portal) -> None:
        version = await portal.service()
        for path in ("/", "/services/shop", "/services/none", f"/services/shop/versions/{version}/spec", "/apps", "/x"):
            response = await portal.visitor.client.get(path)
            assert response.status_code == 303, path
            assert response.headers["location"].startswith("/sign-in"), path
        assert "Sign in" in await portal.visitor.see("/sign-in")
        assert "shop" not in await portal.visitor.see("/sign-up")

    play(scenario, tmp_path)


def test_a_public_portal_shows_everyone_the_catalogue_and_has_no_accounts(tmp_path: Path) -> None:
    """What is published; what is not does not exist; no sign-in, no apps."""

    async def scenario(portal: Portal) -> None:
        await portal.service("shop", description="Sells pets")
        hidden = await portal.service("secret", published=False)
        await portal.settings(is_public=True, title="Pets for all")
        page = await portal.visitor.see("/")
        assert "Sells pets" in page
        assert "Pets for all" in page
        assert "secret" not in page
        assert "/sign-in" not in page
        await portal.visitor.see("/services/shop")
        for path in ("/services/secret", f"/services/shop?version={hidden}", "/apps", "/sign-in", "/sign-up", "/x"):
            await portal.visitor.see(path, 404)
        await portal.settings(is_public=False)
        assert (await portal.visitor.client.get("/")).status_code == 303

    play(scenario, tmp_path)


def test_the_way_from_sign_up_to_a_key(tmp_path: Path) -> None:
    """Section 12 whole: sign up, approved, sign in, New App, Register, Request Access, Generate Credential, revoke."""

    async def scenario(portal: Portal) -> None:
        visitor = portal.visitor
        version = await portal.service()
        await portal.settings(proxy_url="https://api.example")
        assert (await portal.api.call("PUT", f"/v2/catalogue/versions/{version}/app-registration"))[0] == 200
        person = {"email": "ann@example.com", "name": "Ann", "password": PASSWORD}
        assert "waits for approval" in (await visitor.send("/sign-up", **person)).text
        refused = await visitor.send("/sign-in", email="ann@example.com", password=PASSWORD)
        assert (refused.status_code, "waits for approval" in refused.text) == (401, True)
        await portal.api.call("PATCH", "/v2/portal/developers/ann@example.com", {"status": "approved"})
        entered = await visitor.send("/sign-in", email="ann@example.com", password=PASSWORD, next="/services/shop")
        assert entered.headers["location"] == "/services/shop"
        page = await visitor.see("/services/shop")
        assert f"/services/shop/versions/{version}/register" in page
        assert "curl -H 'apikey: {API_KEY}' https://api.example/shop" in text_of(page)
        register = f"/services/shop/versions/{version}/register"
        assert "You have no app yet" in await visitor.see(register)
        made = await visitor.send("/apps/new", name="My shop", reference_id="my-shop", description="")
        app = made.headers["location"]
        assert re.fullmatch(r"/apps/[0-9a-f-]{36}", app)
        asked = await visitor.send(register, application=app.removeprefix("/apps/"))
        assert asked.headers["location"] == app
        assert "Pending" in await visitor.see(app)
        (request,) = (await portal.api.got("/v2/portal/registrations"))["items"]
        await portal.api.call("PATCH", f"/v2/portal/registrations/{request['id']}", {"status": "approved"})
        response = await visitor.send(f"{app}/credentials", at=app)
        key = re.search(r'id="new-key">([^<]+)<', response.text)
        assert key is not None
        assert (response.status_code, response.headers["cache-control"]) == (201, "no-store")
        assert f"curl -H 'apikey: {key[1]}' https://api.example/shop" in text_of(response.text)
        assert [each["key"] for each in (await portal.api.got("/key-auths"))["data"]] == [key[1]]
        page = await visitor.see(app)
        assert "Approved" in page
        assert key[1] not in page
        assert f"…{key[1][-4:]}" in page
        revoke = re.search(r'action="([^"]+/revoke)"', page)
        assert revoke is not None
        assert (await visitor.send(revoke[1], at=app)).status_code == 303
        assert (await portal.api.got("/key-auths"))["data"] == []
        assert (await visitor.send(f"{app}/delete", at=app)).headers["location"] == "/apps"
        await visitor.see(app, 404)
        said = [
            (each["actor"], each["action"], each["status"]) for each in (await portal.api.got("/v2/audit"))["items"]
        ]
        assert ("developer ann@example.com", f"portal: POST {app}/credentials", 201) in said
        assert ("portal", "portal: POST /sign-in", 401) in said
        assert ("developer ann@example.com", "portal: POST /sign-in", 303) in said

    play(scenario, tmp_path)


def test_an_app_belongs_to_its_developer(tmp_path: Path) -> None:
    """Another developer's app, key or registration is as unknown as any; nothing of it can be used."""

    async def scenario(portal: Portal) -> None:
        version = await portal.service()
        await portal.api.call("PUT", f"/v2/catalogue/versions/{version}/app-registration")
        await portal.developer()
        app = (await portal.visitor.send("/apps/new", name="Ann's", reference_id="ann")).headers["location"]
        await portal.visitor.send(f"{app}/credentials", at=app)
        (key,) = (await portal.api.got(f"/v2/portal/applications/{app.removeprefix('/apps/')}/credentials"))["items"]
        person = {"email": "eve@example.com", "name": "Eve", "password": PASSWORD}
        await portal.api.made("/v2/portal/developers", person)
        async with portal.another() as eve:
            await eve.sign_in("eve@example.com")
            own = (await eve.send("/apps/new", name="Eve's", reference_id="eve")).headers["location"]
            assert "Ann&#39;s" not in await eve.see("/apps")
            await eve.see(app, 404)
            token = await eve.token("/apps/new")
            for path in ("/credentials", "/delete", f"/credentials/{key['id']}/revoke"):
                assert (await eve.send(app + path, token=token)).status_code == 404, path
            assert (await eve.send(f"{own}/credentials/{key['id']}/revoke", token=token)).status_code == 404
            register = f"/services/shop/versions/{version}/register"
            asked = await eve.send(register, token=token, application=app.removeprefix("/apps/"))
            assert asked.status_code == 404
        assert len((await portal.api.got("/key-auths"))["data"]) == 1

    play(scenario, tmp_path)


def test_forms_of_others_are_refused(tmp_path: Path) -> None:
    """No token, another visitor's, an old one, another origin: nothing happens (CSRF, login CSRF, session fixation)."""

    async def scenario(portal: Portal) -> None:
        visitor = portal.visitor
        before = await visitor.token()
        fixed = "fixed-by-somebody-else"
        visitor.client.cookies.set(SESSION, fixed, domain="127.0.0.1", path="/")
        await portal.developer()
        session = visitor.client.cookies.get(SESSION)
        assert session not in (None, fixed)
        async with portal.another() as other:
            foreign = await other.token()
        new_app = {"name": "x", "reference_id": "x"}
        for token in ("", "x", before, foreign):
            response = await visitor.send("/apps/new", token=token, **new_app)
            assert response.status_code == 403, token
        good = await visitor.token("/apps/new")
        for origin in ("http://evil.example", "http://127.0.0.1:9", "null"):
            data = {"token": good, **new_app}
            response = await visitor.client.post("/apps/new", data=data, headers={"origin": origin})
            assert response.status_code == 403, origin
        assert (await portal.api.got("/v2/portal/applications"))["items"] == []
        assert (await visitor.send("/apps/new", token=good, **new_app)).status_code == 303
        cookies = {each.name: each for each in visitor.client.cookies.jar}
        assert all(cookies[name].has_nonstandard_attr("HttpOnly") for name in (SESSION, FORM))
        assert (await visitor.send("/sign-out", at="/apps/new")).status_code == 303
        visitor.client.cookies.set(SESSION, session, domain="127.0.0.1", path="/")
        assert (await visitor.client.get("/apps")).status_code == 303

    play(scenario, tmp_path)


def test_guessing_passwords_is_slowed_down(tmp_path: Path) -> None:
    """After a few wrong ones even the right one must wait."""

    async def scenario(portal: Portal) -> None:
        person = {"email": "ann@example.com", "name": "Ann", "password": PASSWORD}
        await portal.api.made("/v2/portal/developers", person)
        for _time in range(5):
            wrong = await portal.visitor.send("/sign-in", email="ann@example.com", password="wrong")
            unknown = re.sub(r'value="[^"]*"', "", wrong.text)
            assert (wrong.status_code, "wrong e-mail address or password" in unknown) == (401, True)
        slowed = await portal.visitor.send("/sign-in", email="ann@example.com", password=PASSWORD)
        assert (slowed.status_code, "try again in" in slowed.text) == (429, True)

    play(scenario, tmp_path, clock=FakeClock())


def test_a_link_sets_a_password_once(tmp_path: Path) -> None:
    """The newest one alone, not with a password that is too short, for a day; sessions end with it, and others' do not."""
    clock = FakeClock()

    async def scenario(portal: Portal) -> None:
        visitor, links = portal.visitor, "/v2/portal/developers/ann@example.com/password-link"
        for name in ("ann", "bob"):
            body = {"email": f"{name}@example.com", "name": name, "password": PASSWORD}
            await portal.api.made("/v2/portal/developers", body)
        async with portal.another() as other, portal.another() as stranger:

            async def set_by(address: str, password: str) -> int:
                link = address.partition("link=")[2]
                return (await stranger.send("/reset", at=address, link=link, password=password)).status_code

            await other.sign_in("bob@example.com")
            await visitor.sign_in("ann@example.com")
            first, newer = [str((await portal.api.made(links, {}))["path"]) for _ in range(2)]
            assert await set_by(first, "another password") == 400
            assert await set_by(newer, "short") == 400
            assert await set_by(newer, "another password") == 200
            assert await set_by(newer, "third password") == 400
            assert (await visitor.client.get("/apps")).status_code == 303
            await visitor.sign_in("ann@example.com", "another password")
            await other.see("/apps")
            late = str((await portal.api.made(links, {}))["path"])
            clock.advance(86_401)
            assert await set_by(late, "a late password") == 400
        assert (await portal.api.call("POST", "/v2/portal/developers/nobody/password-link", {}))[0] == 404

    play(scenario, tmp_path, clock=clock)


def test_a_developer_changes_the_password_by_the_one_before(tmp_path: Path) -> None:
    """A wrong one is refused; afterwards every session is over."""

    async def scenario(portal: Portal) -> None:
        visitor = portal.visitor
        body = {"email": "ann@example.com", "name": "Ann", "password": PASSWORD}
        await portal.api.made("/v2/portal/developers", body)
        assert (await visitor.client.get("/password")).headers["location"].startswith("/sign-in")
        await visitor.sign_in("ann@example.com")
        refused = await visitor.send("/password", old="wrong", password="another password")
        assert (refused.status_code, "the present password is wrong" in refused.text) == (401, True)
        assert (await visitor.send("/password", old=PASSWORD, password="short")).status_code == 400
        assert (await visitor.send("/password", old=PASSWORD, password="another password")).status_code == 303
        assert (await visitor.client.get("/apps")).headers["location"].startswith("/sign-in")
        await visitor.sign_in("ann@example.com", "another password")

    play(scenario, tmp_path)


@pytest.mark.parametrize(
    ("fields", "status", "problem"),
    [
        ({"email": "none", "name": "Ann", "password": PASSWORD}, 400, 'id="email-wrong"'),
        ({"email": "a@b", "name": "", "password": PASSWORD}, 400, 'id="name-wrong"'),
        ({"email": "a@b", "name": "Ann", "password": "short"}, 400, 'id="password-wrong"'),
        ({"email": "a@b", "name": "Ann\0", "password": PASSWORD}, 400, 'id="name-wrong"'),
    ],
)
def test_what_is_wrong_stands_at_its_field(tmp_path: Path, fields: dict[str, str], status: int, problem: str) -> None:
    """What was typed is still there, but for the password."""

    async def scenario(portal: Portal) -> None:
        response = await portal.visitor.send("/sign-up", **fields)
        assert (response.status_code, problem in response.text) == (status, True), response.text
        assert f'value="{fields["email"]}"' in response.text
        assert fields["password"] not in response.text

    play(scenario, tmp_path)


class _Acting(HTMLParser):
    """Collects what could act in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {"img": ["/static/mark.svg"], "link": ["/static/mark.svg", "/static/portal.css"]}
        for name, value in attrs:
            if name.startswith("on") or (name in ("href", "action", "src") and "script:" in (value or "")):
                self.found.append(f"{tag} {name}={value}")
        target = dict(attrs).get("src") or dict(attrs).get("href")
        if tag in ("script", "iframe", "object", "embed", "style", "base", "svg") or (
            tag in known and target not in known[tag]
        ):
            self.found.append(f"{tag} {target}")


def test_nothing_that_anybody_writes_acts_in_a_page(tmp_path: Path) -> None:
    """The same payload in every text that pages show: service, version, document, spec, settings, developer, app."""

    async def scenario(portal: Portal) -> None:
        api, visitor = portal.api, portal.visitor
        await api.made("/v2/catalogue/services", {"name": "shop", "description": XSS})
        version = (await api.made("/v2/catalogue/services/shop/versions", {"name": XSS}))["id"]
        route = {"name": "r", "paths": ["/a'$(id)"]}
        body = {"service": {"name": "s", "url": "http://h"}, "route": route}
        await api.made(f"/v2/catalogue/versions/{version}/implementation", body)
        await api.call("PUT", "/v2/catalogue/services/shop/publication")
        document = {"name": "a.md", "content": f"# {XSS}\n\n[x](javascript:alert(1)) ![x](http://evil/x.png)\n"}
        assert (await api.call("PUT", "/v2/catalogue/services/shop/document", document))[0] == 200
        evil = openapi(
            info={"title": XSS, "version": XSS, "description": XSS},
            servers=[{"url": f"javascript:{XSS}"}],
            tags=[{"name": XSS, "description": XSS}],
            paths={f"/{XSS}": {"get": {
                "operationId": XSS, "summary": XSS, "description": f"[x](javascript:alert(1)) {XSS}", "tags": [XSS],
                "parameters": [{"name": XSS, "in": "query", "description": XSS, "schema": {"type": "string", "enum": [XSS]}}],
                "requestBody": {"description": XSS, "content": {XSS: {"schema": {"properties": {XSS: {"description": XSS}}}}}},
                "responses": {"200": {"description": XSS, "content": {"a/json": {"example": XSS, "schema": {}}}}}}}},
        )  # fmt: skip
        spec = {"name": "a.json", "content": as_json(evil)}
        status, answer = await api.call("PUT", f"/v2/catalogue/versions/{version}/spec", spec)
        assert status == 200, answer
        await portal.settings(title=XSS, proxy_url="http://h/'$(id)")
        await api.call("PUT", f"/v2/catalogue/versions/{version}/app-registration", {"auto_approve": True})
        await portal.developer(name=XSS)
        app = (await visitor.send("/apps/new", name=XSS, reference_id="x", description=XSS)).headers["location"]
        await visitor.send(f"/services/shop/versions/{version}/register", application=app.removeprefix("/apps/"))
        pages = [await visitor.see(path) for path in (
            "/", f"/?q={'%22%3E%3Cscript%3E'}", "/services/shop", f"/services/shop?version={version}", "/apps", app,
            f"/services/shop/versions/{version}/register",
        )]  # fmt: skip
        pages.append((await visitor.send(f"{app}/credentials", at=app)).text)
        pages.append((await visitor.send("/apps/new", name=XSS, reference_id=XSS, description=XSS)).text)
        pages.append(await visitor.see("/services/%3Cscript%3Ealert(1)%3C%2Fscript%3E", 404))
        async with portal.another() as stranger:
            pages.append((await stranger.send("/sign-in", email=XSS, password=XSS, next=f"/{XSS}")).text)
            pages.append((await stranger.send("/sign-up", email=XSS, name=XSS, password=XSS)).text)
        shown = 0
        for page in pages:
            acting = _Acting()
            acting.feed(page)
            assert acting.found == []
            assert "49" not in text_of(page)
            shown += "&lt;script&gt;" in page
        assert shown == len(pages)
        assert "curl -H 'apikey: {API_KEY}' 'http://h/'\"'\"'$(id)/a'\"'\"'$(id)'" in text_of(pages[2])
        raw = await visitor.client.get(f"/services/shop/versions/{version}/spec")
        assert raw.headers["content-disposition"].startswith("attachment")

    play(scenario, tmp_path)


def test_every_answer_forbids_scripts_frames_and_other_hosts(tmp_path: Path) -> None:
    """Pages, files, errors; and no page is kept by a cache."""

    async def scenario(portal: Portal) -> None:
        for path in ("/sign-in", "/", "/none", "/static/portal.css", "/static/none", "/static/../application.py"):
            response = await portal.visitor.client.get(path)
            for name, value in FIELDS.items():
                assert response.headers[name] == value, path
        assert (await portal.visitor.client.get("/sign-in")).headers["cache-control"] == "no-store"
        assert (await portal.visitor.client.get("/static/%2e%2e/application.py")).status_code == 404
        assert (await portal.visitor.client.put("/sign-in")).status_code == 405
        assert (await portal.visitor.client.post("/none")).status_code == 404

    play(scenario, tmp_path)


def test_forms_have_bounds(tmp_path: Path) -> None:
    """The last byte that is taken, the first that is not; no more fields than a form has."""

    async def scenario(portal: Portal) -> None:
        client = portal.visitor.client
        head = {"content-type": "application/x-www-form-urlencoded"}
        for size, status in ((FORM_BYTES_MAX, 403), (FORM_BYTES_MAX + 1, 413)):
            body = b"name=" + b"x" * (size - 5)
            assert (await client.post("/sign-up", content=body, headers=head)).status_code == status
        assert (await client.post("/sign-up", content=b"a=1&" * 50, headers=head)).status_code == 400
        assert (await client.post("/sign-up", content=b"\xff\xfe=%ff%00", headers=head)).status_code == 403

    play(scenario, tmp_path)


def test_the_catalogue_has_search_and_pages(tmp_path: Path) -> None:
    """By name and description, in any case; the last card of a page and the first of the next."""

    async def scenario(portal: Portal) -> None:
        await portal.settings(is_public=True)
        assert "Nothing is published yet" in await portal.visitor.see("/")
        catalogue = portal.rooms.catalogue

        def fill() -> None:
            for number in range(CARDS_MAX + 1):
                made = catalogue.create_service(f"service {number:03}", "The Größte" if number == 7 else "")
                catalogue.publish(made.id, True)

        await portal.api.plane.plane.database.run(fill)
        first = await portal.visitor.see("/")
        assert (first.count('class="card"'), "page=2" in first) == (CARDS_MAX, True)
        second = await portal.visitor.see("/?page=2")
        assert (second.count('class="card"'), "service 060" in second, "page=1" in second) == (1, True, True)
        for search in ("größte", "SERVICE 007"):
            page = await portal.visitor.see(f"/?q={search}")
            assert (page.count('class="card"'), "service 007" in page) == (1, True), search
        assert "No service matches" in await portal.visitor.see("/?q=none")
        for odd in ("0", "-1", "x", "99999999999", "²"):
            assert await portal.visitor.see(f"/?page={odd}")

    play(scenario, tmp_path)


def test_a_version_is_chosen_and_its_spec_shown(tmp_path: Path) -> None:
    """The newest one first; parameters, schemas and examples of its operations; the file itself to keep."""

    async def scenario(portal: Portal) -> None:
        old = await portal.service()
        await portal.settings(is_public=True)
        text = as_json(openapi())
        await portal.api.call("PUT", f"/v2/catalogue/versions/{old}/spec", {"name": "p.json", "content": text})
        new = (await portal.api.made("/v2/catalogue/services/shop/versions", {"name": "v.2"}))["id"]
        page = await portal.visitor.see("/services/shop")
        assert f'<option value="{new}" selected' in page
        assert "has no API spec" in page
        page = text_of(await portal.visitor.see(f"/services/shop?version={old}"))
        for part in ("Pet shop", "/pets/{pet-id}", "How many", "array of object", '"name": "Rex"', "All about pets"):
            assert part in page, part
        assert (await portal.visitor.client.get(f"/services/shop/versions/{old}/spec")).text == text
        await portal.visitor.see(f"/services/shop/versions/{new}/spec", 404)

    play(scenario, tmp_path)


@pytest.mark.parametrize(
    "address", ["http://evil", "//evil", "/\\evil", "javascript:x", "/sign-in", "x", "", "/a\r\nb: c", "/a\tb"]
)
def test_nobody_is_sent_elsewhere_after_signing_in(address: str) -> None:
    """Only to a place of the portal."""
    assert inside(address) == "/"
    assert inside("/services/a?version=b") == "/services/a?version=b"


def test_no_page_is_open_by_accident() -> None:
    """Each address says for whom it is; what is for no public portal is behind its accounts."""
    assert {audience for _method, _address, _page, audience in PAGES} == {"reader", "private"}
    assert BASE.endswith(":8003")
