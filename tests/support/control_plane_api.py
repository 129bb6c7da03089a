"""A control plane's HTTP application called in process, over SQLite or over another database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from kongdp.controlplane.api.app import build_app
from kongdp.controlplane.api.guard import Guard
from kongdp.controlplane.plane import Clock, Plane
from kongdp.controlplane.server import make_admin
from kongdp.settings import load_settings
from tests.support.control_plane import ControlPlane, running

BODY_BYTES_MAX = 10_000_000
NODE_ID = "1da9157f-c443-4b08-8355-c97520754c21"
GROUP = "/v2/control-planes/default"


@dataclass(frozen=True, slots=True)
class Api:
    """A client and the control plane behind it."""

    client: httpx.AsyncClient
    plane: ControlPlane

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """One call with a JSON body."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.request(method, path, json=body, headers=fields)

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON (None when empty) of one call."""
        response = await self.ask(method, path, body, **headers)
        return response.status_code, response.json() if response.content else None

    async def made(self, path: str, body: Any) -> dict[str, Any]:
        """What a POST made."""
        status, answer = await self.call("POST", path, body)
        assert status == 201, answer
        return dict(answer)

    async def got(self, path: str) -> Any:
        """What a GET answers."""
        status, answer = await self.call("GET", path)
        assert status == 200, answer
        return answer

    async def expected_hash(self, group: str = "default") -> str:
        """The hash that data planes of a group should have."""
        return str((await self.got(f"/v2/control-planes/{group}/expected-config-hash"))["expected_hash"])


def application_of(plane: Plane, directory: Path) -> FastAPI:
    """The HTTP application over a plane, without its guard."""
    settings = load_settings(None, {"KONG_ROLE": "control_plane", "KONG_PREFIX": str(directory)})
    return build_app(plane, make_admin(settings, plane), node_id=NODE_ID, body_bytes_max=BODY_BYTES_MAX)


@asynccontextmanager
async def served(
    directory: Path, database_url: str | None = None, clock: Clock | None = None, *, is_open: bool = True
) -> AsyncIterator[Api]:
    """The application over a control plane that runs within the block; `is_open`: as on loopback."""
    async with running(directory, database_url=database_url, clock=clock) as plane:
        app = application_of(plane.plane, directory)
        transport = httpx.ASGITransport(app=Guard(app, plane.plane, is_open=is_open), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8001") as client:
            yield Api(client, plane)
