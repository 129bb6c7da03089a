"""A visitor of the portal, in process: follows no redirect by itself, keeps cookies, sends forms as a browser does."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import httpx

from kongdp.controlplane.api import admin
from kongdp.controlplane.portal.application import build_portal
from kongdp.controlplane.portal_rooms import PortalRooms, open_rooms
from kongdp.controlplane.server import make_admin
from kongdp.settings import load_settings
from tests.support.control_plane_api import Api, served

BASE = "http://127.0.0.1:8003"
PASSWORD = "a long password"


@dataclass(frozen=True, slots=True)
class Visitor:
    """One browser."""

    client: httpx.AsyncClient

    async def see(self, path: str, status: int = 200) -> str:
        """A page's HTML."""
        response = await self.client.get(path)
        assert response.status_code == status, (path, response.status_code, response.text[:500])
        return response.text

    async def token(self, path: str = "/sign-in") -> str:
        """The token in a page's form."""
        found = re.search(r'name="token" value="([0-9a-f]+)"', await self.see(path))
        assert found is not None
        return found[1]

    async def send(self, path: str, *, at: str = "", token: str | None = None, **fields: str) -> httpx.Response:
        """A form that is on the page `at` (the address it is sent to, unless another)."""
        shown = await self.token(at or path) if token is None else token
        return await self.client.post(path, data={"token": shown, **fields}, headers={"origin": BASE})

    async def sign_in(self, email: str, password: str = PASSWORD) -> None:
        """Sign in."""
        response = await self.send("/sign-in", email=email, password=password)
        assert response.status_code == 303, response.text


@dataclass(frozen=True, slots=True)
class Portal:
    """The portal, and the API of the control plane behind it."""

    api: Api
    rooms: PortalRooms
    visitor: Visitor
    app: Any

    @asynccontextmanager
    async def another(self) -> AsyncIterator[Visitor]:
        """Another browser."""
        async with _client(self.app) as client:
            yield Visitor(client)

    async def developer(self, email: str = "ann@example.com", name: str = "Ann") -> None:
        """An approved developer who has signed in."""
        await self.api.made("/v2/portal/developers", {"email": email, "name": name, "password": PASSWORD})
        await self.visitor.sign_in(email)

    async def service(self, name: str = "shop", *, description: str = "", published: bool = True) -> str:
        """A service with one version and an implementation; the version's id."""
        await self.api.made("/v2/catalogue/services", {"name": name, "description": description})
        version = (await self.api.made(f"/v2/catalogue/services/{name}/versions", {"name": "v.1"}))["id"]
        body = {"service": {"name": name, "url": "http://h"}, "route": {"name": name, "paths": [f"/{name}"]}}
        await self.api.made(f"/v2/catalogue/versions/{version}/implementation", body)
        if published:
            await self.api.call("PUT", f"/v2/catalogue/services/{name}/publication")
        return str(version)

    async def settings(self, **change: Any) -> None:
        """Change the portal's settings."""
        assert (await self.api.call("PATCH", "/v2/portal/settings", change))[0] == 200


def _client(app: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 1))
    return httpx.AsyncClient(transport=transport, base_url=BASE)


@asynccontextmanager
async def opened(directory: Path, **options: Any) -> AsyncIterator[Portal]:
    """The portal over a control plane that runs within the block."""
    async with served(directory, **options) as api:
        plane = api.plane.plane
        settings = load_settings(None, {"KONG_ROLE": "control_plane", "KONG_PREFIX": str(directory)})
        rooms = open_rooms(plane, partial(admin.call, make_admin(settings, plane)))
        app = build_portal(plane, rooms)
        async with _client(app) as client:
            yield Portal(api, rooms, Visitor(client), app)


def text_of(html: str) -> str:
    """What a page says, without tags."""
    return unescape(re.sub(r"<[^>]*>", " ", html))
