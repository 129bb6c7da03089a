"""The door: credentials are asked for, held to their roles, and cannot be forged, fixed or guessed."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from kongdp.controlplane import users
from kongdp.controlplane.api.guard import COOKIE
from tests.support.clock import FakeClock
from tests.support.control_plane_api import GROUP, Api, served

PASSWORD = "a long password"


async def token_of(api: Api, **values: Any) -> str:
    """A token of a new user."""
    name = f"user{len(await api.plane.plane.database.run(all_names, api))}"
    return await token_for(api, name, **values)


def all_names(api: Api) -> list[str]:
    with api.plane.plane.database.read() as connection:
        return [account.name for account in users.all_accounts(connection)]


async def token_for(
    api: Api,
    name: str,
    *,
    limit: str = "admin",
    groups: list[str] | None = None,
    lifetime_s: float = 3600.0,
    **values: Any,
) -> str:
    """A token of a user who is made with these roles."""
    plane = api.plane.plane

    def make() -> str:
        with plane.database.write() as connection:
            given = {"role": "none", "roles": {}, **values}
            account = users.create(
                connection, plane.accounts.hasher, name=name, password=PASSWORD, now=plane.clock(), **given
            )
        identity = users.identity_of(plane.database, account.id, via="password")
        assert identity is not None
        with plane.database.write() as connection:
            _token, secret = users.create_token(
                connection, identity, name="t", role=limit, group_names=groups, lifetime_s=lifetime_s, now=plane.clock()
            )
        return secret

    return await plane.database.run(make)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def basic(name: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def play(scenario: Callable[[Api], Awaitable[None]], directory: Path, url: str | None = None, **options: Any) -> None:
    async def main() -> None:
        async with served(directory, url, **{"is_open": False, **options}) as api:
            await scenario(api)

    asyncio.run(main())


def test_nothing_is_answered_without_credentials(tmp_path: Path) -> None:
    """Neither Kong's paths nor ours; what a load balancer asks is."""

    async def scenario(api: Api) -> None:
        for path in ("/", "/services", "/status", "/metrics", GROUP, "/v2/users", "/v2/catalogue/services", "/v2/none"):
            response = await api.ask("GET", path)
            assert response.status_code == 401, path
            assert response.headers["www-authenticate"].startswith("Bearer")
        for path in ("/v2/health", "/v2/ready", "/v2/openapi.json"):
            assert (await api.call("GET", path))[0] == 200, path
        for fields in (bearer("kdp_pat_wrong"), basic("admin", "wrong"), {"authorization": "Basic %%%"},
                       {"cookie": f"{COOKIE}=wrong"}, {"kong_admin_token": "wrong"}):  # fmt: skip
            assert (await api.call("GET", "/services", **fields))[0] == 401

    play(scenario, tmp_path)


def test_an_open_listener_holds_credentials_to_what_they_may(tmp_path: Path) -> None:
    """Without any it is Kong's loopback; with some their roles count."""

    async def scenario(api: Api) -> None:
        assert (await api.call("GET", "/services"))[0] == 200
        viewer = await token_of(api, role="viewer")
        assert (await api.call("POST", "/services", {"name": "s", "host": "h"}, **bearer(viewer)))[0] == 403
        assert (await api.call("GET", "/services", **bearer("wrong")))[0] == 401

    play(scenario, tmp_path, is_open=True)


def test_a_role_reaches_as_far_as_it_says(tmp_path: Path, fresh_url: str) -> None:
    """Viewers read, editors write, admins administrate, each only in the groups they have a role in."""

    async def scenario(api: Api) -> None:
        admin = bearer(await token_of(api, role="admin"))
        for name in ("one", "two"):
            assert (await api.call("POST", "/v2/control-planes", {"name": name}, **admin))[0] == 201
        editor = bearer(await token_of(api, roles={"one": "editor"}))
        viewer = bearer(await token_of(api, role="viewer"))
        of_one, of_two = ("/v2/control-planes/one", "/v2/control-planes/two")
        service = {"name": "s", "host": "h"}
        cases = [
            (editor, "POST", f"{of_one}/core-entities/services", service, 201),
            (editor, "POST", f"{of_two}/core-entities/services", service, 403),
            (editor, "GET", f"{of_two}/core-entities/services", None, 403),
            (editor, "GET", "/services", None, 403),
            (editor, "POST", f"{of_one}/enrolment-tokens", {}, 403),
            (editor, "DELETE", of_one, None, 403),
            (editor, "GET", "/v2/users", None, 403),
            (editor, "GET", "/v2/control-planes/none", None, 403),
            (viewer, "GET", f"{of_two}/core-entities/services", None, 200),
            (viewer, "PUT", f"{of_two}/config", {"_format_version": "3.0"}, 403),
            (viewer, "POST", "/services", service, 403),
            (viewer, "GET", "/v2/audit", None, 403),
            (admin, "POST", f"{of_two}/core-entities/services", service, 201),
            (admin, "GET", "/v2/audit", None, 200),
        ]
        for fields, method, path, body, status in cases:
            assert (await api.call(method, path, body, **fields))[0] == status, (method, path)
        seen = (await api.call("GET", "/v2/control-planes", **editor))[1]["items"]
        assert [group["name"] for group in seen] == ["one"]
        history = (await api.call("GET", f"{of_one}/revisions", **editor))[1]["items"]
        assert history[0]["actor"] == "user1"

    play(scenario, tmp_path, fresh_url)


def test_a_token_may_less_than_its_owner_and_ends(tmp_path: Path) -> None:
    """Its role and groups limit it; it makes no stronger one; after its date it is nothing."""
    clock = FakeClock()

    async def scenario(api: Api) -> None:
        owner = bearer(await token_of(api, role="admin"))
        body = {"name": "ci", "role": "viewer", "groups": ["default"], "lifetime_s": 60}
        status, made = await api.call("POST", "/v2/tokens", body, **owner)
        assert (status, made["token"][:8]) == (201, "kdp_pat_")
        token = bearer(made["token"])
        assert (await api.call("GET", "/services", **token))[0] == 200
        assert (await api.call("POST", "/services", {"name": "s", "host": "h"}, **token))[0] == 403
        assert (await api.call("POST", "/v2/tokens", {"name": "up", "role": "admin"}, **token))[0] == 403
        assert (await api.call("POST", "/v2/tokens", {"name": "out", "role": "viewer"}, **token))[0] == 403
        listed = (await api.call("GET", "/v2/tokens", **owner))[1]["items"]
        assert all("token" not in each and "digest" not in each for each in listed)
        clock.advance(61)
        assert (await api.call("GET", "/services", **token))[0] == 401
        assert (await api.call("DELETE", f"/v2/tokens/{made['id']}", **owner))[0] == 204
        assert (await api.call("POST", "/v2/tokens", {"name": "x", "lifetime_s": 1e12}, **owner))[0] == 400

    play(scenario, tmp_path, clock=clock)


def test_a_session_cannot_be_fixed_or_ridden(tmp_path: Path, fresh_url: str) -> None:
    """A new one at each sign-in, HttpOnly and SameSite; changes need its CSRF token; signing out ends it."""

    async def scenario(api: Api) -> None:
        await token_for(api, "ann", role="admin")
        planted = {"cookie": f"{COOKIE}=planted"}
        response = await api.ask("POST", "/v2/session", {"name": "ann", "password": PASSWORD}, **planted)
        assert response.status_code == 201
        cookie = response.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        secret = response.cookies[COOKIE]
        assert secret != "planted"
        session = {"cookie": f"{COOKIE}={secret}"}
        service = {"name": "s", "host": "h"}
        assert (await api.call("GET", "/services", **session))[0] == 200
        assert (await api.call("POST", "/services", service, **session))[0] == 403
        assert (await api.call("POST", "/services", service, **session, x_csrf_token="x"))[0] == 403
        token = (await api.call("GET", "/v2/session", **session))[1]["csrf_token"]
        assert (await api.call("POST", "/services", service, **session, x_csrf_token=token))[0] == 201
        again = await api.ask("POST", "/v2/session", {"name": "ann", "password": PASSWORD}, **session)
        assert (await api.call("GET", "/services", **session))[0] == 401
        session = {"cookie": f"{COOKIE}={again.cookies[COOKIE]}"}
        assert (await api.call("DELETE", "/v2/session", **session))[0] == 204
        assert (await api.call("GET", "/services", **session))[0] == 401

    play(scenario, tmp_path, fresh_url)


def test_a_session_ends_when_idle_old_or_the_password_changes(tmp_path: Path) -> None:
    """Whichever comes first."""
    clock = FakeClock()

    async def scenario(api: Api) -> None:
        admin = await token_for(api, "ann", role="admin", lifetime_s=1e7)

        async def sign_in(password: str = PASSWORD) -> dict[str, str]:
            api.client.cookies.clear()
            response = await api.ask("POST", "/v2/session", {"name": "ann", "password": password})
            api.client.cookies.clear()
            return {"cookie": f"{COOKIE}={response.cookies[COOKIE]}"}

        session = await sign_in()
        for _ in range(12):
            assert (await api.call("GET", "/services", **session))[0] == 200
            clock.advance(3500)
        clock.advance(3000)
        assert (await api.call("GET", "/services", **session))[0] == 401
        session = await sign_in()
        clock.advance(7300)
        assert (await api.call("GET", "/services", **session))[0] == 401
        session = await sign_in()
        change = {"current": PASSWORD, "password": "another password"}
        assert (await api.call("PUT", "/v2/me/password", {**change, "current": "no"}, **bearer(admin)))[0] == 401
        assert (await api.call("PUT", "/v2/me/password", change, **bearer(admin)))[0] == 204
        assert (await api.call("GET", "/services", **session))[0] == 401
        assert (await api.call("GET", "/services", **await sign_in("another password")))[0] == 200

    play(scenario, tmp_path, clock=clock)


def test_guessing_is_slowed_down(tmp_path: Path) -> None:
    """After a few wrong tries the right password must wait as well, and is told how long."""
    clock = FakeClock()

    async def scenario(api: Api) -> None:
        await token_for(api, "ann", role="admin")
        for _ in range(5):
            assert (await api.call("GET", "/services", **basic("ann", "wrong")))[0] == 401
        response = await api.ask("GET", "/services", **basic("ann", PASSWORD))
        assert (response.status_code, response.headers["retry-after"]) == (429, "1")
        assert (await api.call("POST", "/v2/session", {"name": "ann", "password": PASSWORD}))[0] == 429
        clock.advance(2)
        assert (await api.call("GET", "/services", **basic("ann", PASSWORD)))[0] == 200

    play(scenario, tmp_path, clock=clock)


def test_users_are_administrated(tmp_path: Path, fresh_url: str) -> None:
    """Made, changed and deleted by admins; nobody removes the last of them; no secret is shown; all is in the log."""

    async def scenario(api: Api) -> None:
        admin = bearer(await token_for(api, "root", role="admin"))
        body = {"name": "bob", "password": PASSWORD, "roles": {"default": "editor"}}
        response = await api.ask("POST", "/v2/users", body, **admin)
        assert (response.status_code, response.json()["roles"]) == (201, {api.plane.group_id: "editor"})
        assert "password" not in response.text
        assert (await api.call("POST", "/v2/users", body, **admin))[0] == 409
        assert (await api.call("GET", "/services", **basic("bob", PASSWORD)))[0] == 200
        assert (await api.call("POST", "/v2/users", {"name": "x", "password": "short"}, **admin))[0] == 400
        assert (await api.call("POST", "/v2/users", {**body, "name": "x", "role": "god"}, **admin))[0] == 400
        assert (await api.call("POST", "/v2/users", {**body, "name": "x", "id": "1"}, **admin))[0] == 400
        stale = {"if_match": '"x"'}
        assert (await api.call("PATCH", "/v2/users/bob", {"role": "viewer"}, **admin, **stale))[0] == 412
        assert (await api.call("PATCH", "/v2/users/bob", {"roles": {}}, **admin))[1]["roles"] == {}
        assert (await api.call("GET", "/services", **basic("bob", PASSWORD)))[0] == 403
        assert (await api.call("PATCH", "/v2/users/root", {"role": "viewer"}, **admin))[0] == 400
        assert (await api.call("DELETE", "/v2/users/root", **admin))[0] == 400
        assert (await api.call("DELETE", "/v2/users/bob", **admin))[0] == 204
        log = (await api.call("GET", "/v2/audit", **admin))[1]["items"]
        assert [log[0]["actor"], log[0]["action"], log[0]["status"]] == ["root", "DELETE /v2/users/bob", 204]
        assert any((entry["actor"], entry["status"]) == ("bob", 403) for entry in log)
        assert PASSWORD not in str(log)

    play(scenario, tmp_path, fresh_url)
