"""Developers, applications, registrations and keys through the API: what the rows say, and what the gateway gets."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kongdp.controlplane import developers
from kongdp.controlplane.applications import KEYS_MAX
from tests.support.clock import FakeClock
from tests.support.control_plane_api import GROUP, Api, served

PORTAL = "/v2/portal"
SERVICES = "/v2/catalogue/services"
VERSIONS = "/v2/catalogue/versions"
MANAGED = ["konnect-managed-plugin", "konnect-app-registration"]
PERSON = {"email": "Ann@Example.com", "name": "Ann", "password": "a long password"}
IMPLEMENTATION = {
    "service": {"name": "shop", "url": "http://shop.example"},
    "route": {"name": "shop", "paths": ["/shop"]},
}


def play(scenario: Callable[[Api], Awaitable[None]], directory: Path, url: str | None = None, **options: Any) -> None:
    async def main() -> None:
        async with served(directory, url, **options) as api:
            await scenario(api)

    asyncio.run(main())


async def version_of(api: Api, **registration: Any) -> str:
    """The id of a published version with an implementation and registration."""
    await api.made(SERVICES, {"name": "shop"})
    version = str((await api.made(f"{SERVICES}/shop/versions", {"name": "v.1"}))["id"])
    await api.made(f"{VERSIONS}/{version}/implementation", IMPLEMENTATION)
    await api.call("PUT", f"{SERVICES}/shop/publication")
    status, answer = await api.call("PUT", f"{VERSIONS}/{version}/app-registration", registration)
    assert status == 200, answer
    return version


async def application_of(api: Api, reference_id: str = "shop-app", person: dict[str, str] = PERSON) -> str:
    """The id of an application of a new developer."""
    developer = await api.made(f"{PORTAL}/developers", person)
    body = {"developer": developer["id"], "name": "Shop app", "reference_id": reference_id}
    return str((await api.made(f"{PORTAL}/applications", body))["id"])


async def gateway(api: Api, path: str) -> list[dict[str, Any]]:
    """Entities of the default group."""
    return list((await api.got(path))["data"])


def test_an_approved_application_gets_consumer_group_and_key(tmp_path: Path, fresh_url: str) -> None:
    """The whole of section 12: plugins on the service, then a consumer with a key and the version's acl group."""

    async def scenario(api: Api) -> None:
        version = await version_of(api)
        plugins = {each["name"]: each for each in await gateway(api, "/services/shop/plugins")}
        assert set(plugins) == {"key-auth", "acl"}
        assert all(each["tags"] == MANAGED for each in plugins.values())
        assert plugins["acl"]["config"]["allow"] == [version]
        assert plugins["key-auth"]["config"]["key_names"] == ["apikey"]
        application = await application_of(api)
        assert await gateway(api, "/consumers") == []
        asked = {"application": application, "version": version}
        registration = await api.made(f"{PORTAL}/registrations", asked)
        assert registration["status"] == "pending"
        assert await gateway(api, "/consumers") == []
        pending = await api.got(f"{PORTAL}/registrations?filter[status][eq]=pending")
        assert pending["page"]["total_count"] == 1
        path = f"{PORTAL}/registrations/{registration['id']}"
        status, approved = await api.call("PATCH", path, {"status": "approved"}, if_match='"1"')
        assert (status, approved["status"], approved["edition"]) == (200, "approved", 2)
        (consumer,) = await gateway(api, "/consumers")
        assert (consumer["id"], consumer["username"]) == (application, "application:shop-app")
        assert [each["group"] for each in await gateway(api, f"/consumers/{application}/acls")] == [version]
        made = await api.made(f"{PORTAL}/applications/{application}/credentials", None)
        (credential,) = await gateway(api, f"/consumers/{application}/key-auth")
        assert (credential["key"], credential["key"][-4:]) == (made["key"], made["ending"])
        (listed,) = (await api.got(f"{PORTAL}/applications/{application}/credentials"))["items"]
        assert (listed["ending"], set(listed)) == (made["ending"], {"id", "ending", "created_at"})
        key = f"{PORTAL}/applications/{application}/credentials/{listed['id']}"
        assert (await api.call("DELETE", key))[0] == 204
        assert (await api.call("DELETE", key))[0] == 404
        assert await gateway(api, f"/consumers/{application}/key-auth") == []
        actors = {each["summary"] for each in (await api.got(f"{GROUP}/revisions"))["items"]}
        assert {"portal: registration approved", "portal: generate credential", "portal: revoke credential"} <= actors

    play(scenario, tmp_path, fresh_url)


@pytest.mark.parametrize("by", ["version", "portal"])
def test_automatic_approval_needs_nobody(tmp_path: Path, by: str) -> None:
    """Set for the version or for all."""

    async def scenario(api: Api) -> None:
        if by == "portal":
            await api.call("PATCH", f"{PORTAL}/settings", {"auto_approve_applications": True})
        version = await version_of(api, auto_approve=by == "version")
        application = await application_of(api)
        body = {"application": application, "version": version}
        assert (await api.made(f"{PORTAL}/registrations", body))["status"] == "approved"
        assert (await api.call("POST", f"{PORTAL}/registrations", body))[0] == 409
        assert [each["group"] for each in await gateway(api, f"/consumers/{application}/acls")] == [version]

    play(scenario, tmp_path)


def test_what_ends_an_approval_ends_it_at_the_gateway(tmp_path: Path, fresh_url: str) -> None:
    """A revoked or deleted registration, application or developer: group, keys or consumer go in the same change."""

    async def scenario(api: Api) -> None:
        version = await version_of(api, auto_approve=True)
        application = await application_of(api)
        acls = f"/consumers/{application}/acls"
        registration = await api.made(f"{PORTAL}/registrations", {"application": application, "version": version})
        path = f"{PORTAL}/registrations/{registration['id']}"
        for status, groups in (("revoked", 0), ("approved", 1)):
            assert (await api.call("PATCH", path, {"status": status}))[0] == 200
            assert len(await gateway(api, acls)) == groups
        assert (await api.call("PATCH", path, {"status": "rejected"}))[0] == 409
        assert (await api.call("DELETE", path))[0] == 204
        assert await gateway(api, acls) == []
        await api.made(f"{PORTAL}/registrations", {"application": application, "version": version})
        await api.made(f"{PORTAL}/applications/{application}/credentials", None)
        developer = f"{PORTAL}/developers/ann@example.com"
        assert (await api.call("PATCH", developer, {"status": "revoked"}))[0] == 200
        assert await gateway(api, "/consumers") == []
        assert await gateway(api, "/key-auths") == []
        assert (await api.call("POST", f"{PORTAL}/applications/{application}/credentials"))[0] == 403
        assert (await api.call("PATCH", developer, {"status": "approved"}))[0] == 200
        assert [each["group"] for each in await gateway(api, acls)] == [version]
        assert await gateway(api, "/key-auths") == []
        other = await application_of(api, "other", {**PERSON, "email": "bob@example.com"})
        await api.made(f"{PORTAL}/applications/{other}/credentials", None)
        assert (await api.call("DELETE", f"{PORTAL}/applications/{application}"))[0] == 204
        assert [each["id"] for each in await gateway(api, "/consumers")] == [other]
        assert (await api.call("DELETE", f"{PORTAL}/developers/bob@example.com"))[0] == 204
        assert await gateway(api, "/consumers") == []
        assert (await api.call("GET", f"{PORTAL}/applications/{other}"))[0] == 404

    play(scenario, tmp_path, fresh_url)


def test_deleting_a_version_takes_its_groups_along(tmp_path: Path) -> None:
    """Version or service: registrations and acl groups go, the application and its keys stay."""

    async def scenario(api: Api) -> None:
        for path in ("{version}", "{service}"):
            version = await version_of(api, auto_approve=True)
            application = await application_of(api)
            await api.made(f"{PORTAL}/registrations", {"application": application, "version": version})
            whole = f"{VERSIONS}/{version}" if path == "{version}" else f"{SERVICES}/shop"
            assert (await api.call("DELETE", whole))[0] == 204
            assert await gateway(api, "/plugins") == []
            assert await gateway(api, "/acls") == []
            assert [each["id"] for each in await gateway(api, "/consumers")] == [application]
            assert (await api.got(f"{PORTAL}/registrations"))["items"] == []
            await api.call("DELETE", f"{SERVICES}/shop")
            await api.call("DELETE", f"{PORTAL}/developers/ann@example.com")

    play(scenario, tmp_path)


def test_disabling_takes_the_plugins_and_keeps_the_registrations(tmp_path: Path) -> None:
    """Enabling again continues where it ended; a deleted implementation disables too."""

    async def scenario(api: Api) -> None:
        version = await version_of(api, auto_approve=True)
        application = await application_of(api)
        path = f"{VERSIONS}/{version}/app-registration"
        await api.made(f"{PORTAL}/registrations", {"application": application, "version": version})
        assert (await api.call("PUT", path, {"auto_approve": False}, if_match='"1"'))[1]["edition"] == 2
        assert (await api.call("DELETE", path, if_match='"1"'))[0] == 412
        assert (await api.call("DELETE", path))[0] == 204
        assert (await api.call("DELETE", path))[0] == 404
        assert await gateway(api, "/plugins") == []
        assert (await api.call("PUT", path))[0] == 200
        assert len(await gateway(api, "/plugins")) == 2
        assert len((await api.got(f"{PORTAL}/registrations"))["items"]) == 1
        assert (await api.call("DELETE", "/services/shop"))[0] == 400
        assert (await api.call("DELETE", f"{VERSIONS}/{version}/implementation"))[0] == 204
        assert (await api.call("GET", path))[0] == 404
        assert await gateway(api, "/plugins") == []

    play(scenario, tmp_path)


def test_ordinary_edits_leave_managed_entities_alone(tmp_path: Path) -> None:
    """Kong's API and Konnect's refuse with the reason; nothing of theirs changes; nobody can make or unmake one."""

    async def scenario(api: Api) -> None:
        version = await version_of(api, auto_approve=True)
        application = await application_of(api)
        await api.made(f"{PORTAL}/registrations", {"application": application, "version": version})
        await api.made(f"{PORTAL}/applications/{application}/credentials", None)
        await api.made("/services/shop/plugins", {"name": "cors"})
        plugins = {each["name"]: each["id"] for each in await gateway(api, "/plugins")}
        (key,) = await gateway(api, "/key-auths")
        before = await api.expected_hash()
        core = f"{GROUP}/core-entities"
        edits: list[tuple[str, str, Any]] = [
            ("PATCH", f"/plugins/{plugins['acl']}", {"enabled": False}),
            ("PATCH", f"/plugins/{plugins['acl']}", {"tags": []}),
            ("DELETE", f"/plugins/{plugins['key-auth']}", None),
            ("DELETE", f"/services/shop/plugins/{plugins['key-auth']}", None),
            ("DELETE", f"{core}/plugins/{plugins['key-auth']}", None),
            ("PATCH", f"/plugins/{plugins['cors']}", {"tags": MANAGED}),
            ("POST", "/consumers", {"username": "x", "tags": ["konnect-app-registration"]}),
            ("DELETE", f"/consumers/{application}", None),
            ("PATCH", f"/consumers/{application}", {"username": "x"}),
            ("DELETE", f"/key-auths/{key['id']}", None),
            ("PUT", f"{core}/consumers/{application}", {"username": "x"}),
        ]
        for method, path, body in edits:
            status, answer = await api.call(method, path, body)
            assert (status, "managed by application registration" in answer["message"]) == (409, True), (path, answer)
        assert await api.expected_hash() == before
        tag = {"If-Match": "*"}
        status, answer = await api.call("DELETE", f"{core}/plugins/{plugins['acl']}", None, if_match=tag["If-Match"])
        assert status == 409, answer
        # What belongs to a managed consumer without being managed is anybody's.
        assert (await api.call("POST", f"/consumers/{application}/acls", {"group": "gold"}))[0] == 201

    play(scenario, tmp_path)


def test_wholes_leave_managed_entities_as_they_are(tmp_path: Path) -> None:
    """An import of a file from before, and a restored revision: the rest changes, keys keep working."""

    async def scenario(api: Api) -> None:
        old = await api.got(f"{GROUP}/config")
        version = await version_of(api, auto_approve=True)
        application = await application_of(api)
        exported = await api.got(f"{GROUP}/config")
        await api.made(f"{PORTAL}/registrations", {"application": application, "version": version})
        made = await api.made(f"{PORTAL}/applications/{application}/credentials", None)
        number = (await api.got(f"{GROUP}/revisions"))["items"][0]["number"]
        service = {"name": "shop", "url": "http://other.example", "routes": [{"name": "shop", "paths": ["/shop"]}]}
        config = {"_format_version": "3.0", "services": [service]}
        status, answer = await api.call("PUT", f"{GROUP}/config", config)
        assert (status, "left as they are" in str(answer)) == (200, True), answer
        assert (await api.got("/services/shop"))["host"] == "other.example"
        assert {each["name"] for each in await gateway(api, "/plugins")} == {"key-auth", "acl"}
        assert [each["key"] for each in await gateway(api, "/key-auths")] == [made["key"]]
        service["plugins"] = [{"name": "key-auth", "config": {"key_names": ["x"]}}]
        status, answer = await api.call("PUT", f"{GROUP}/config", config)
        names = [each["config"]["key_names"] for each in await gateway(api, "/plugins") if each["name"] == "key-auth"]
        assert names == [["apikey"]], answer
        status, _answer = await api.call("POST", f"{GROUP}/revisions/{number - 3}/restore")
        assert status == 200
        assert [each["key"] for each in await gateway(api, "/key-auths")] == [made["key"]]
        assert (await api.call("PUT", f"{GROUP}/config", exported))[0] == 200
        assert [each["key"] for each in await gateway(api, "/key-auths")] == [made["key"]]
        assert (await api.call("PUT", f"{GROUP}/config", old))[0] == 200
        assert await gateway(api, "/plugins") == []
        assert (await api.call("GET", f"{VERSIONS}/{version}/app-registration"))[0] == 404

    play(scenario, tmp_path)


def test_registration_needs_what_it_stands_on(tmp_path: Path) -> None:
    """An implementation in the group default, no key-auth of its own, a private portal, a published service."""

    async def scenario(api: Api) -> None:
        await api.made(SERVICES, {"name": "shop"})
        version = str((await api.made(f"{SERVICES}/shop/versions", {"name": "v.1"}))["id"])
        path = f"{VERSIONS}/{version}/app-registration"
        assert (await api.call("PUT", path))[0] == 404
        await api.made(f"{VERSIONS}/{version}/implementation", IMPLEMENTATION)
        plugin = await api.made("/services/shop/plugins", {"name": "key-auth"})
        status, answer = await api.call("PUT", path)
        assert (status, answer["message"].partition(":")[0]) == (409, "plugin key-auth")
        assert (await api.call("GET", path))[0] == 404
        await api.call("DELETE", f"/plugins/{plugin['id']}")
        assert (await api.call("PATCH", f"{PORTAL}/settings", {"is_public": True}))[0] == 200
        status, answer = await api.call("PUT", path)
        assert (status, "public" in answer["message"]) == (409, True)
        await api.call("PATCH", f"{PORTAL}/settings", {"is_public": False})
        assert (await api.call("PUT", path))[0] == 200
        status, answer = await api.call("PATCH", f"{PORTAL}/settings", {"is_public": True})
        assert (status, answer["details"][0]["field"]) == (409, "is_public")
        application = await application_of(api)
        body = {"application": application, "version": version}
        assert (await api.call("POST", f"{PORTAL}/registrations", body))[0] == 404
        await api.made("/v2/control-planes", {"name": "other"})
        elsewhere = (await api.made(f"{SERVICES}/shop/versions", {"name": "v.1", "group": "other"}))["id"]
        await api.made(f"{VERSIONS}/{elsewhere}/implementation", IMPLEMENTATION)
        status, answer = await api.call("PUT", f"{VERSIONS}/{elsewhere}/app-registration")
        assert (status, "default" in answer["message"]) == (409, True)

    play(scenario, tmp_path)


def test_keys_of_an_application_are_bounded(tmp_path: Path) -> None:
    """The last that is made, the first that is not."""

    async def scenario(api: Api) -> None:
        application = await application_of(api)
        path = f"{PORTAL}/applications/{application}/credentials"
        keys = [(await api.made(path, None))["key"] for _number in range(KEYS_MAX)]
        assert len(set(keys)) == KEYS_MAX
        assert (await api.call("POST", path))[0] == 409

    play(scenario, tmp_path)


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("developers", {**PERSON, "email": "no address"}, 400, "email"),
        ("developers", {**PERSON, "email": "a@<b>"}, 400, "email"),
        ("developers", {**PERSON, "email": "a\0@b"}, 400, "email"),
        ("developers", {**PERSON, "password": "short"}, 400, "password"),
        ("developers", {**PERSON, "name": ""}, 400, "name"),
        ("developers", {**PERSON, "status": "approved"}, 400, "status"),
        ("developers", {**PERSON, "email": "taken@example.com"}, 409, "email"),
        ("applications", {"reference_id": "a b"}, 400, "reference_id"),
        ("applications", {"reference_id": "taken"}, 409, "reference_id"),
        ("applications", {"name": ""}, 400, "name"),
        ("applications", {"description": "x" * 10_001}, 400, "description"),
        ("applications", {"developer": "nobody"}, 404, None),
        ("applications", {"id": "x"}, 400, "id"),
    ],
)
def test_what_cannot_be_is_refused_at_its_field(
    tmp_path: Path, path: str, body: dict[str, Any], status: int, field: str | None
) -> None:
    """Mass assignment too."""

    async def scenario(api: Api) -> None:
        await application_of(api, "taken", {**PERSON, "email": "taken@example.com"})
        usual = {"developer": "taken@example.com", "name": "a", "reference_id": "a"} if path == "applications" else {}
        found, answer = await api.call("POST", f"{PORTAL}/{path}", {**usual, **body})
        assert found == status, answer
        assert field is None or answer["details"][0]["field"] == field

    play(scenario, tmp_path)


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "ftp://x", "http://", "http://a b", 'http://a"', "//x", "http://x:y"]
)
def test_the_proxy_address_is_a_web_address(tmp_path: Path, url: str) -> None:
    """It is shown to developers in a command that they copy."""

    async def scenario(api: Api) -> None:
        assert (await api.call("PATCH", f"{PORTAL}/settings", {"proxy_url": url}))[0] == 400
        good = {"proxy_url": "https://api.example:8443/base", "title": "Ours"}
        assert (await api.call("PATCH", f"{PORTAL}/settings", good))[1]["title"] == "Ours"
        assert (await api.got(f"{PORTAL}/settings"))["proxy_url"] == good["proxy_url"]

    play(scenario, tmp_path)


def test_sign_ups_are_bounded_and_tell_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known and unknown addresses look the same; undecided ones have a bound; one address cannot ask for ever."""
    monkeypatch.setattr(developers, "PENDING_MAX", 2)
    clock = FakeClock()

    async def scenario(api: Api) -> None:
        from kongdp.controlplane.catalogue_entries import CatalogueError
        from kongdp.controlplane.developers import Developers
        from kongdp.controlplane.passwords import Passwords, SignInError

        plane = api.plane.plane
        people = Developers(plane.database, Passwords(clock, plane.accounts.hasher), clock)
        run = plane.database.run
        for email in ("a@b", "A@b", "b@b"):
            assert await run(people.sign_up, email, "Ann", "a long password", "10.0.0.1") is None
        assert (await run(people.page, size=10))[1] == 2
        with pytest.raises(CatalogueError) as caught:
            await run(people.sign_up, "c@b", "Ann", "a long password", "10.0.0.1")
        assert caught.value.status == 503
        with pytest.raises(SignInError, match="waits for approval"):
            await run(people.sign_in, "a@b", "a long password", "10.0.0.2")
        with pytest.raises(SignInError, match="wrong e-mail"):
            await run(people.sign_in, "a@b", "a wrong password", "10.0.0.2")
        for _time in range(2):
            with pytest.raises((SignInError, CatalogueError)):
                await run(people.sign_up, "d@b", "Ann", "a long password", "10.0.0.1")
        with pytest.raises(SignInError) as refused:
            await run(people.sign_up, "e@b", "Ann", "a long password", "10.0.0.1")
        assert refused.value.retry_after_s > 0

    play(scenario, tmp_path, clock=clock)


def test_sessions_end(tmp_path: Path) -> None:
    """When idle, when old, when signed out, when the approval ends; the secret is not in the database."""
    clock = FakeClock()

    async def scenario(api: Api) -> None:
        from kongdp.controlplane.developers import SESSION_IDLE_S, Developers
        from kongdp.controlplane.passwords import Passwords

        plane = api.plane.plane
        people = Developers(plane.database, Passwords(clock, plane.accounts.hasher), clock)
        await api.made(f"{PORTAL}/developers", PERSON)

        async def enter() -> str:
            return (await plane.database.run(people.sign_in, "ann@EXAMPLE.com", "a long password", "10.0.0.1"))[1]

        async def is_in(secret: str) -> bool:
            return await plane.database.run(people.try_session, secret) is not None

        first, second = await enter(), await enter()
        assert first != second
        assert await is_in(first)
        assert not await is_in(first + "x")
        assert not await is_in("")
        await plane.database.run(people.close_session, first)
        assert (await is_in(first), await is_in(second)) == (False, True)
        clock.advance(SESSION_IDLE_S - 1)
        assert await is_in(second)
        clock.advance(SESSION_IDLE_S + 1)
        assert not await is_in(second)
        third = await enter()
        await api.call("PATCH", f"{PORTAL}/developers/ann@example.com", {"status": "revoked"})
        assert not await is_in(third)
        await api.call("PATCH", f"{PORTAL}/developers/ann@example.com", {"status": "approved"})
        assert not await is_in(third)
        stored = (tmp_path / "controlplane.db").read_bytes() + (tmp_path / "controlplane.db-wal").read_bytes()
        assert third.encode() not in stored

    play(scenario, tmp_path, clock=clock)
