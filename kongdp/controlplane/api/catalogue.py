"""Endpoints of the catalogue: services, versions, implementations.

In: HTTP.  Out: JSON; rules and transactions are `catalogue`'s. Cold. Source: walkthrough sections 2 to 6 and 10.
"""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from kongdp.controlplane.api.actors import actor_of
from kongdp.controlplane.api.preconditions import IfMatch, expected_number, tagged
from kongdp.controlplane.api.problems import ApiError
from kongdp.controlplane.catalogue import Catalogue
from kongdp.controlplane.catalogue_entries import Implementation, Service, Version
from kongdp.controlplane.groups import DEFAULT
from kongdp.controlplane.store.database import Database

ACTOR = "catalogue API"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewService(_Body):
    """A service to create."""

    name: str
    description: str = ""
    labels: dict[str, str] = Field(default_factory=dict)


class ServiceChange(_Body):
    """What to change of a service."""

    name: str | None = None
    description: str | None = None
    labels: dict[str, str] | None = None


class NewVersion(_Body):
    """A version to create; `group` is the id or name of the runtime group, where it stays."""

    name: str
    group: str = DEFAULT


class VersionChange(_Body):
    """What to change of a version."""

    name: str


class NewImplementation(_Body):
    """Gateway service (Kong's fields; `url` or protocol, host, port, path) and its first route (Kong's fields)."""

    service: dict[str, Any]
    route: dict[str, Any]


class ImplementationChange(_Body):
    """Fields to change of the Gateway service, and of a route (named by `id` when there are several)."""

    service: dict[str, Any] = Field(default_factory=dict)
    route: dict[str, Any] = Field(default_factory=dict)


class ShownService(BaseModel):
    """A service."""

    id: str
    name: str
    description: str
    labels: dict[str, str]
    published: bool
    edition: int
    created_at: float
    updated_at: float


class Services(BaseModel):
    """Services."""

    items: list[ShownService]


class Versions(BaseModel):
    """Versions."""

    items: list[Version]


def make_router(catalogue: Catalogue, database: Database) -> APIRouter:
    """The endpoints."""
    router = APIRouter(prefix="/v2/catalogue", tags=["catalogue"])
    _add_services(router, catalogue, database)
    _add_versions(router, catalogue, database)
    _add_implementations(router, catalogue, database)
    return router


def _add_services(router: APIRouter, catalogue: Catalogue, database: Database) -> None:
    @router.get("/services", response_model=Services)
    async def list_services() -> dict[str, Any]:
        """All services."""
        return {"items": [_shown(service) for service in await database.run(catalogue.services)]}

    @router.post("/services", status_code=201, response_model=ShownService)
    async def create_service(body: NewService) -> JSONResponse:
        """A new service."""
        made = await database.run(catalogue.create_service, body.name, body.description, body.labels)
        return tagged(_shown(made), made.edition, 201)

    @router.get("/services/{service}", response_model=ShownService)
    async def get_service(service: str) -> JSONResponse:
        """A service, by id or name."""
        found = await database.run(catalogue.service, service)
        return tagged(_shown(found), found.edition)

    @router.patch("/services/{service}", response_model=ShownService)
    async def update_service(
        service: str, body: ServiceChange, request: Request, if_match: IfMatch = None
    ) -> JSONResponse:
        """Change a service."""
        changed = await database.run(
            catalogue.update_service,
            service,
            actor=actor_of(request, ACTOR),
            expected=expected_number(if_match),
            name=body.name,
            description=body.description,
            labels=body.labels,
        )
        return tagged(_shown(changed), changed.edition)

    @router.delete("/services/{service}", status_code=204)
    async def delete_service(service: str, request: Request, if_match: IfMatch = None) -> Response:
        """Delete a service with everything below it."""
        await database.run(
            catalogue.delete_service, service, actor=actor_of(request, ACTOR), expected=expected_number(if_match)
        )
        return Response(status_code=204)


def _add_versions(router: APIRouter, catalogue: Catalogue, database: Database) -> None:
    @router.get("/services/{service}/versions", response_model=Versions)
    async def list_versions(service: str) -> dict[str, Any]:
        """A service's versions."""
        return {"items": [_shown(version) for version in await database.run(catalogue.versions, service)]}

    @router.post("/services/{service}/versions", status_code=201, response_model=Version)
    async def create_version(service: str, body: NewVersion) -> JSONResponse:
        """A new version."""
        made = await database.run(catalogue.create_version, service, body.name, body.group)
        return tagged(_shown(made), made.edition, 201)

    @router.get("/versions/{version}", response_model=Version)
    async def get_version(version: str) -> JSONResponse:
        """A version, by id."""
        found = await database.run(catalogue.version, version)
        return tagged(_shown(found), found.edition)

    @router.patch("/versions/{version}", response_model=Version)
    async def rename_version(version: str, body: VersionChange, if_match: IfMatch = None) -> JSONResponse:
        """Rename a version; its group is fixed."""
        changed = await database.run(catalogue.rename_version, version, body.name, expected=expected_number(if_match))
        return tagged(_shown(changed), changed.edition)

    @router.delete("/versions/{version}", status_code=204)
    async def delete_version(version: str, request: Request, if_match: IfMatch = None) -> Response:
        """Delete a version with its implementation."""
        await database.run(
            catalogue.delete_version, version, actor=actor_of(request, ACTOR), expected=expected_number(if_match)
        )
        return Response(status_code=204)


def _add_implementations(router: APIRouter, catalogue: Catalogue, database: Database) -> None:
    path = "/versions/{version}/implementation"

    @router.get(path, response_model=Implementation)
    async def get_implementation(version: str) -> JSONResponse:
        """What a version runs on."""
        found = await database.run(catalogue.try_implementation, version)
        if found is None:
            raise ApiError(404, "the version has no implementation")
        return tagged(asdict(found), found.edition)

    @router.post(path, status_code=201, response_model=Implementation)
    async def create_implementation(version: str, body: NewImplementation, request: Request) -> JSONResponse:
        """Make a Gateway service and its first route, both or neither."""
        made = await database.run(
            catalogue.create_implementation, version, body.service, body.route, actor=actor_of(request, ACTOR)
        )
        return tagged(asdict(made), made.edition, 201)

    @router.patch(path, response_model=Implementation)
    async def update_implementation(
        version: str, body: ImplementationChange, request: Request, if_match: IfMatch = None
    ) -> JSONResponse:
        """Change fields of the Gateway service, of a route, or both."""
        changed = await database.run(
            catalogue.update_implementation,
            version,
            body.service,
            body.route,
            actor=actor_of(request, ACTOR),
            expected=expected_number(if_match),
        )
        return tagged(asdict(changed), changed.edition)

    @router.delete(path, status_code=204)
    async def delete_implementation(version: str, request: Request, if_match: IfMatch = None) -> Response:
        """Remove the Gateway service with its routes; the version stays."""
        await database.run(
            catalogue.delete_implementation, version, actor=actor_of(request, ACTOR), expected=expected_number(if_match)
        )
        return Response(status_code=204)


def _shown(value: Service | Version | Implementation) -> dict[str, Any]:
    shown = asdict(value)
    shown.pop("slug", None)
    return shown
