"""Create routes from a version's spec: first an offer that is looked at, then one explicit act, all or nothing.

In: a version with a spec.  Out: which routes it would get, which of them are there; or the implementation with the new
ones.
House rule: uploading a spec makes no routes (walkthrough section 13); only `create` does. Cold; off the event loop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kongdp.controlplane import openapi_routes, openapi_text
from kongdp.controlplane.catalogue import Catalogue
from kongdp.controlplane.catalogue_entries import CatalogueError, Implementation, check_edition
from kongdp.controlplane.documents import Documents, VersionSpec
from kongdp.controlplane.openapi_text import OpenApiError


@dataclass(frozen=True, slots=True)
class OfferedRoute:
    """One operation of the spec and the route for it. `exists`: the group has a route of this name already."""

    method: str
    path: str
    summary: str
    name: str
    exists: bool
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Offer:
    """All of them, and the edition of the spec that they were read from."""

    spec_edition: int
    routes: tuple[OfferedRoute, ...]


class SpecRoutes:
    """Offers and acts over the catalogue."""

    def __init__(self, catalogue: Catalogue, documents: Documents) -> None:
        self._catalogue = catalogue
        self._documents = documents

    def offer(self, version_id: str) -> Offer:
        """The routes that the version's spec would make. Raises CatalogueError 404 without a spec."""
        spec = self._spec(version_id)
        try:
            document = openapi_text.parse(spec.content, len(spec.content.encode()))
        except OpenApiError as error:
            raise CatalogueError(400, str(error), {"content": error.reasons}) from None
        version = self._catalogue.version(version_id)
        service = self._catalogue.service(version.service_id)
        proposed = openapi_routes.propose(document, f"{service.slug}-{version.name}")
        taken = self._catalogue.taken_route_names(version_id, (each.fields["name"] for each in proposed))
        return Offer(
            spec.edition,
            tuple(
                OfferedRoute(
                    each.method, each.path, each.summary, each.fields["name"], each.fields["name"] in taken, each.fields
                )
                for each in proposed
            ),
        )

    def create(
        self, version_id: str, names: Sequence[str] | None, *, actor: str, expected: int | None = None
    ) -> Implementation:
        """Make the routes with these names (None: all that are not there), in one transaction.

        `expected` is the edition of the spec that the caller has seen the offer of. Raises CatalogueError: 404 without
        spec or implementation, 400 for a name that is not offered, 409 for one that is there.
        """
        offer = self.offer(version_id)
        check_edition(offer.spec_edition, expected)
        offered = {route.name: route for route in offer.routes}
        unknown = [name for name in names or () if name not in offered]
        if unknown:
            said = f"no route of this spec is called {unknown[0]!r}"
            raise CatalogueError(400, f"names: {said}", {"names": said})
        chosen = [route for route in offer.routes if (not route.exists if names is None else route.name in names)]
        return self._catalogue.add_routes(version_id, [route.fields for route in chosen], actor=actor)

    def _spec(self, version_id: str) -> VersionSpec:
        spec = self._documents.try_spec(version_id)
        if spec is None:
            raise CatalogueError(404, "the version has no spec")
        return spec
