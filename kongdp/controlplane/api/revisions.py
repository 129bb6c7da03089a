"""Endpoints of a runtime group's history: list, look at, compare and restore revisions.

In: HTTP.  Out: JSON; decisions are made in `revisions`. The ETag of all of them is the number of the newest revision.
Cold.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from kongdp.controlplane import revisions
from kongdp.controlplane.api import preconditions
from kongdp.controlplane.api.actors import actor_of
from kongdp.controlplane.api.parameters import GroupName, PageInfo, PageNumber, PageSize, find_group, page
from kongdp.controlplane.changes import latest_revision
from kongdp.controlplane.plane import Plane
from kongdp.controlplane.revisions import Revision
from kongdp.controlplane.store.repository import EntityChange

NUMBER_MAX = 2**63 - 1
Number = Annotated[int, Path(ge=0, le=NUMBER_MAX, description="number of a revision; 0 is the empty beginning")]
To = Annotated[
    int | None, Query(ge=0, le=NUMBER_MAX, description="compare with this revision instead of the newest one")
]


class ShownRevision(BaseModel):
    """A revision: `count` rows were changed."""

    number: int
    at: float
    actor: str
    summary: str
    count: int


class RevisionPage(BaseModel):
    """A page of the history."""

    items: list[ShownRevision]
    page: PageInfo


class FieldChange(BaseModel):
    """A field before and after."""

    before: Any
    after: Any


class Change(BaseModel):
    """A row before and after; null where there was or is none. `fields`: of an update, those that differ."""

    collection: str
    id: str
    kind: Literal["create", "update", "delete"]
    name: str = ""
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    fields: dict[str, FieldChange]


class RevisionWithChanges(ShownRevision):
    """A revision with every row it changed."""

    changes: list[Change]


class Comparison(BaseModel):
    """What turns one revision into another."""

    start: int = Field(alias="from")
    to: int
    changes: list[Change]


def make_router(plane: Plane) -> APIRouter:
    """The endpoints over a running control plane."""
    router = APIRouter(prefix="/v2/control-planes/{group}/revisions", tags=["revisions"])

    @router.get("", response_model=RevisionPage)
    async def list_revisions(group: GroupName, size: PageSize = 100, number: PageNumber = 1) -> JSONResponse:
        """Who changed what and when, newest first."""
        found = await find_group(plane, group)

        def read() -> tuple[list[Revision], int, int]:
            with plane.database.read() as connection:
                listed = revisions.history(connection, found.id, size=size, skip=(number - 1) * size)
                return listed, revisions.count(connection, found.id), latest_revision(connection, found.id)

        listed, total, newest = await plane.database.run(read)
        body = page([_shown(revision) for revision in listed], total, size, number)
        return preconditions.tagged(body, newest)

    @router.get("/{number}", response_model=RevisionWithChanges)
    async def get_revision(group: GroupName, number: Number) -> JSONResponse:
        """One revision with every row it changed, before and after."""
        found = await find_group(plane, group)

        def read() -> tuple[Revision, list[EntityChange]]:
            with plane.database.read() as connection:
                return revisions.find(connection, found.id, number), revisions.changes_of(connection, number)

        revision, changes = await plane.database.run(read)
        return JSONResponse({**_shown(revision), "changes": [_shown_change(change) for change in changes]})

    @router.get("/{number}/diff", response_model=Comparison)
    async def compare(group: GroupName, number: Number, to: To = None) -> JSONResponse:
        """What turns the configuration of this revision into that of another (default: the newest)."""
        found = await find_group(plane, group)

        def read() -> tuple[int, list[EntityChange]]:
            with plane.database.read() as connection:
                end = latest_revision(connection, found.id) if to is None else to
                return end, revisions.difference(connection, found.id, number, end)

        end, changes = await plane.database.run(read)
        return JSONResponse({"from": number, "to": end, "changes": [_shown_change(change) for change in changes]})

    @router.post("/{number}/restore", response_model=ShownRevision)
    async def restore(
        group: GroupName, number: Number, request: Request, if_match: preconditions.IfMatch = None
    ) -> JSONResponse:
        """Make the configuration what it was at this revision. Appends a revision, so that it can be taken back."""
        found = await find_group(plane, group)
        newest = await plane.database.run(
            revisions.restore,
            plane.changes,
            found.id,
            number,
            actor=actor_of(request),
            expected=preconditions.expected_number(if_match),
        )
        return preconditions.tagged(_shown(newest), newest.number)

    return router


def _shown(revision: Revision) -> dict[str, Any]:
    return {
        "number": revision.number,
        "at": round(revision.at, 3),
        "actor": revision.actor,
        "summary": revision.summary,
        "count": revision.count,
    }


def _shown_change(change: EntityChange) -> dict[str, Any]:
    kind = "create" if change.before is None else "delete" if change.after is None else "update"
    shown = {"collection": change.collection, "id": change.id, "kind": kind}
    name = (change.after or change.before or {}).get("name")
    if isinstance(name, str):
        shown["name"] = name
    fields = revisions.changed_fields(change) if kind == "update" else {}
    return {
        **shown,
        "before": change.before,
        "after": change.after,
        "fields": {field: {"before": before, "after": after} for field, (before, after) in fields.items()},
    }
