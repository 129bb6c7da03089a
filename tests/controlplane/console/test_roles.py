"""Every endpoint that the console can ask, as a viewer and as an editor of one group: what changes something is refused.

The console has no other way to change anything (an import rule holds that), so this is what no click can do.
"""

import asyncio
import re
from pathlib import Path

from fastapi import FastAPI

from kongdp.controlplane import groups, users
from kongdp.controlplane.api.guard import Guard
from kongdp.controlplane.console.asking import Asking, Caller
from tests.support.control_plane import ControlPlane, running
from tests.support.control_plane_api import application_of

PASSWORD = "a long enough password"
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
# One's own tokens and password, and signing in and out: theirs who ask.
OWN = ("/v2/tokens", "/v2/me", "/v2/session")
# Paths of Kong's Admin API, which answers whatever no endpoint has: the group `default`.
ENTITIES = "/v2/control-planes/{}/core-entities/routes/x"
KONG = ("/services", "/routes/x", "/plugins", "/consumers/x/key-auth", "/certificates", "/upstreams/x/targets")


def changing(app: FastAPI, group: str) -> list[tuple[str, str]]:
    """Method and path of everything that changes something; parameters are filled, the group with this one."""
    found = []
    for path, methods in app.openapi()["paths"].items():
        if not path.startswith(OWN):
            filled = re.sub(r"\{[^}]+\}", "x", path.replace("{group}", group))
            found += [(method.upper(), filled) for method in methods if method.upper() in CHANGING]
    found += [(method, ENTITIES.format(group)) for method in CHANGING]
    return found + [(method, path) for path in KONG for method in CHANGING]


async def person(plane: ControlPlane, guard: Guard, name: str, role: str, **roles: str) -> Asking:
    """Somebody with a session."""

    def make() -> str:
        hasher = plane.plane.accounts.hasher
        with plane.plane.database.write() as connection:
            account = users.create(
                connection, hasher, name=name, password=PASSWORD, role=role, roles=roles, now=plane.clock()
            )
            return users.open_session(connection, account.id, "10.0.0.1", plane.clock())

    return Asking(guard, Caller(await plane.plane.database.run(make), "10.0.0.1"))


def test_who_may_not_change_changes_nothing(tmp_path: Path) -> None:
    """A viewer nothing anywhere; an editor of one group nothing in another, and nothing of the whole control plane."""

    async def main() -> None:
        async with running(tmp_path) as plane:

            def make_groups() -> None:
                with plane.plane.database.write() as connection:
                    for name in ("own", "other"):
                        groups.create(connection, name, "", {}, plane.clock())

            await plane.plane.database.run(make_groups)
            app = application_of(plane.plane, tmp_path)
            guard = Guard(app, plane.plane, is_open=False)
            asked = changing(app, "other")
            assert len(asked) > 60
            viewer = await person(plane, guard, "viewer", "viewer")
            editor = await person(plane, guard, "editor", "none", own="editor")
            for who in (viewer, editor):
                let_in = [each for each in asked if (await who.answer(*each, body={})).status != 403]
                assert let_in == []
            # The same editor is let in where they belong: what refuses them now is the entity, not the guard.
            own = await editor.answer(
                "POST", "/v2/control-planes/own/core-entities/services", {"name": "x", "host": "h"}
            )
            assert own.status == 201

    asyncio.run(main())
