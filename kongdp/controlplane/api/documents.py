"""Endpoints of what people write about services: document, spec, routes from a spec, publishing.

In: HTTP.  Out: JSON; rules are `documents`', `spec_routes`' and `catalogue`'s. Texts come back as they were uploaded, and
beside them what may be put into a page: safe HTML of the document, a view of the spec. Cold.
Source: walkthrough sections 3, 5 and 11.
"""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from kongdp.controlplane.api.actors import actor_of
from kongdp.controlplane.api.preconditions import IfMatch, expected_number, tagged
from kongdp.controlplane.api.problems import ApiError
from kongdp.controlplane.catalogue import Catalogue
from kongdp.controlplane.catalogue_entries import Implementation, Service
from kongdp.controlplane.documents import Documents, ServiceDocument, VersionSpec
from kongdp.controlplane.openapi_view import SpecView
from kongdp.controlplane.renderings import Renderings
from kongdp.controlplane.spec_routes import Offer, SpecRoutes
from kongdp.controlplane.store.database import Database

ACTOR = "catalogue API"


class Upload(BaseModel):
    """A file: its name and its text."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=256)
    content: str


class Choice(BaseModel):
    """Names of routes to create; without: all that are not there yet."""

    model_config = ConfigDict(extra="forbid")

    names: Annotated[list[str], Field(max_length=1000)] | None = None


class ShownDocument(BaseModel):
    """A service's document. `html` is safe to show: nothing of the text can act in it."""

    service_id: str
    name: str
    content: str
    html: str
    edition: int
    created_at: float
    updated_at: float


def make_router(catalogue: Catalogue, documents: Documents, renderings: Renderings, database: Database) -> APIRouter:
    """The endpoints."""
    router = APIRouter(prefix="/v2/catalogue", tags=["catalogue"])
    _add_documents(router, documents, renderings, database)
    _add_specs(router, documents, renderings, database)
    _add_routes(router, SpecRoutes(catalogue, documents), database)
    _add_publication(router, catalogue, database)
    return router


def _add_documents(router: APIRouter, documents: Documents, renderings: Renderings, database: Database) -> None:
    path = "/services/{service}/document"

    def shown(document: ServiceDocument) -> dict[str, Any]:
        return {**asdict(document), "html": renderings.html(document)}

    @router.get(path, response_model=ShownDocument)
    async def get_document(service: str) -> JSONResponse:
        """The service's Markdown document, as it was uploaded and as safe HTML."""
        found = await database.run(documents.try_document, service)
        if found is None:
            raise ApiError(404, "the service has no document")
        return tagged(await asyncio.to_thread(shown, found), found.edition)

    @router.put(path, response_model=ShownDocument)
    async def put_document(service: str, body: Upload, if_match: IfMatch = None) -> JSONResponse:
        """Upload or replace the service's document (.md)."""
        made = await database.run(
            documents.put_document, service, body.name, body.content, expected=expected_number(if_match)
        )
        return tagged(await asyncio.to_thread(shown, made), made.edition)

    @router.delete(path, status_code=204)
    async def delete_document(service: str, if_match: IfMatch = None) -> Response:
        """Delete the service's document."""
        await database.run(documents.delete_document, service, expected=expected_number(if_match))
        return Response(status_code=204)


def _add_specs(router: APIRouter, documents: Documents, renderings: Renderings, database: Database) -> None:
    path = "/versions/{version}/spec"

    async def find(version: str) -> VersionSpec:
        found = await database.run(documents.try_spec, version)
        if found is None:
            raise ApiError(404, "the version has no spec")
        return found

    @router.get(path, response_model=VersionSpec)
    async def get_spec(version: str) -> JSONResponse:
        """The version's OpenAPI document, as it was uploaded."""
        found = await find(version)
        return tagged(asdict(found), found.edition)

    @router.get(path + "/view", response_model=SpecView)
    async def view_spec(version: str) -> JSONResponse:
        """The version's spec as people read it: operations, parameters, schemas, examples. Texts are Markdown."""
        found = await find(version)
        seen = await asyncio.to_thread(renderings.view, found)
        if seen is None:
            raise ApiError(404, "the version's spec cannot be shown; upload it again")
        return tagged(asdict(seen), found.edition)

    @router.put(path, response_model=VersionSpec)
    async def put_spec(version: str, body: Upload, if_match: IfMatch = None) -> JSONResponse:
        """Upload or replace the version's spec: Swagger 2.0, OpenAPI 3.0 or 3.1, JSON or YAML. Makes no routes."""
        # Judging takes seconds: not in one of the few threads that the database has.
        made = await asyncio.to_thread(
            documents.put_spec, version, body.name, body.content, expected=expected_number(if_match)
        )
        return tagged(asdict(made), made.edition)

    @router.delete(path, status_code=204)
    async def delete_spec(version: str, if_match: IfMatch = None) -> Response:
        """Delete the version's spec."""
        await database.run(documents.delete_spec, version, expected=expected_number(if_match))
        return Response(status_code=204)


def _add_routes(router: APIRouter, spec_routes: SpecRoutes, database: Database) -> None:
    path = "/versions/{version}/spec/routes"

    @router.get(path, response_model=Offer)
    async def offer_routes(version: str) -> JSONResponse:
        """Which routes the version's spec would make; nothing is made."""
        offer = await asyncio.to_thread(spec_routes.offer, version)
        return tagged(asdict(offer), offer.spec_edition)

    @router.post(path, status_code=201, response_model=Implementation)
    async def create_routes(
        version: str, request: Request, body: Choice | None = None, if_match: IfMatch = None
    ) -> JSONResponse:
        """Make routes of the version's spec, all or none. If-Match names the spec's edition that the offer was of."""
        made = await asyncio.to_thread(
            spec_routes.create,
            version,
            body.names if body is not None else None,
            actor=actor_of(request, ACTOR),
            expected=expected_number(if_match),
        )
        return JSONResponse(asdict(made), 201)


def _add_publication(router: APIRouter, catalogue: Catalogue, database: Database) -> None:
    path = "/services/{service}/publication"

    def shown(service: Service) -> JSONResponse:
        values = asdict(service)
        values.pop("slug")
        return tagged(values, service.edition)

    @router.put(path, response_model=Service)
    async def publish(service: str, if_match: IfMatch = None) -> JSONResponse:
        """Publish to the portal: description, document, and the specs of all versions."""
        return shown(await database.run(catalogue.publish, service, True, expected=expected_number(if_match)))

    @router.delete(path, response_model=Service)
    async def unpublish(service: str, if_match: IfMatch = None) -> JSONResponse:
        """Unpublish from the portal; can be taken back."""
        return shown(await database.run(catalogue.publish, service, False, expected=expected_number(if_match)))
