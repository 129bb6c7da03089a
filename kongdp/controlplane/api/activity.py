"""Endpoints of the activity: counts by status code of a version, a service, or anything in a runtime group; as JSON and
as CSV.

In: HTTP.  Out: what `activity_record` answers. Cold. Source: walkthrough section 10; protocol notes 8.1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from kongdp.controlplane import groups
from kongdp.controlplane.activity_record import (
    DAY_S,
    FRAME_DEFAULT,
    FRAMES,
    STEPS,
    Record,
    Scope,
    Span,
    SpanError,
    csv_lines,
    custom_span,
    find_routes,
    frame_span,
    record,
)
from kongdp.controlplane.api.problems import ApiError
from kongdp.controlplane.catalogue import Catalogue
from kongdp.controlplane.plane import Plane

Frame = Annotated[
    str | None, Query(description=f"how far back: {', '.join(FRAMES)}; {FRAME_DEFAULT} when nothing is said")
]
Moment = Annotated[str | None, Query(max_length=64, description="Unix time or ISO 8601; instead of a frame")]
Step = Annotated[int | None, Query(description=f"seconds of a point: {', '.join(map(str, STEPS))}")]
By = Annotated[Literal["code", "version"], Query(description="version: points by version besides those by status code")]
Text = Annotated[str | None, Query(max_length=256)]


@dataclass(frozen=True, slots=True)
class Asked:
    """The span of time that a request names."""

    frame: str | None
    start: str | None
    end: str | None
    step: int | None

    def span(self, now: float, usual_step: int | None = None) -> Span:
        """As a span. Raises ApiError."""
        step = self.step or usual_step
        try:
            if self.start is not None and self.frame is None:
                return custom_span(self.start, self.end, now, step)
            if self.start is not None or self.end is not None:
                raise SpanError("frame", "give either a frame, or a start and perhaps an end")
            return frame_span(self.frame or FRAME_DEFAULT, now, step)
        except SpanError as error:
            raise ApiError(400, str(error), {error.field: error.said}) from None

    @property
    def shown(self) -> str | None:
        """The frame's name, for the answer."""
        return None if self.start is not None else self.frame or FRAME_DEFAULT


def asked(frame: Frame = None, start: Moment = None, end: Moment = None, step: Step = None) -> Asked:
    """The query's part that says when."""
    return Asked(frame, start, end, step)


@dataclass(frozen=True, slots=True)
class Filters:
    """The query's part that says whose, within a group."""

    route: Text = None
    service: Text = None
    version: Text = None
    node: Text = None

    def scope(self, connection: sa.Connection, group_id: str) -> Scope:
        """As a scope of the group. What does not exist simply has no counts: it may have gone."""
        return Scope(
            group_id=group_id,
            version_ids=None if self.version is None else (self.version,),
            service_id=self.service,
            route_ids=None if self.route is None else find_routes(connection, group_id, self.route),
            node_id=self.node,
        )


AskedSpan = Annotated[Asked, Depends(asked)]
AskedFilters = Annotated[Filters, Depends()]
GroupName = Annotated[str, Path(max_length=256, description="id or name of a runtime group; `default` always exists")]


CSV: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "a line for each moment and status code",
        "content": {"text/csv": {"schema": {"type": "string"}}},
    }
}


class Point(BaseModel):
    """So many requests ended with a status code in the step that begins then (epoch seconds)."""

    at: int
    code: int
    count: int


class ShownRecord(BaseModel):
    """Counts by status code in a span of time: in all, by route, and by step; `ever`: in all that is kept."""

    frame: str | None
    start: int
    end: int
    step: int
    total: int
    latency_ms_mean: float | None
    codes: dict[str, int]
    ever: dict[str, int]
    routes: dict[str, dict[str, int]]
    routes_omitted: int
    points: list[Point]


class VersionPoint(BaseModel):
    """So many requests were sent through a version (its id) in the step that begins then (epoch seconds)."""

    at: int
    version: str
    count: int


class ServiceRecord(ShownRecord):
    """A service's: by step and version as well, where that was asked for."""

    version_points: list[VersionPoint]


def make_router(catalogue: Catalogue, plane: Plane) -> APIRouter:
    """The endpoints over a running control plane."""
    router = APIRouter(tags=["activity"])
    _add_catalogue(router, catalogue, plane)
    _add_groups(router, plane)
    return router


def _add_catalogue(router: APIRouter, catalogue: Catalogue, plane: Plane) -> None:
    run = plane.database.run

    @router.get("/v2/catalogue/services/{service}/status-codes", response_model=ServiceRecord)
    async def service_status_codes(service: str, when: AskedSpan, by: By = "code") -> dict[str, Any]:
        """Counts by status code over all versions."""
        span = when.span(plane.clock())
        found = await run(catalogue.service_record, service, span, has_versions=by == "version")
        points = [{"at": at, "version": version, "count": count} for at, version, count in found.version_points]
        return {**shown(found, when.shown), "version_points": points}

    @router.get("/v2/catalogue/services/{service}/status-codes.csv", response_class=PlainTextResponse, responses=CSV)
    async def service_csv(service: str, when: AskedSpan) -> Response:
        """The same as CSV, by day when no step is said."""
        return _csv(await run(catalogue.service_record, service, when.span(plane.clock(), DAY_S)))

    @router.get("/v2/catalogue/versions/{version}/status-codes", response_model=ShownRecord)
    async def status_codes(version: str, when: AskedSpan) -> dict[str, Any]:
        """Counts by status code of what was sent through the version's routes, also through those that have gone."""
        return shown(await run(catalogue.version_record, version, when.span(plane.clock())), when.shown)

    @router.get("/v2/catalogue/versions/{version}/status-codes.csv", response_class=PlainTextResponse, responses=CSV)
    async def version_csv(version: str, when: AskedSpan) -> Response:
        """The same as CSV, by day when no step is said."""
        return _csv(await run(catalogue.version_record, version, when.span(plane.clock(), DAY_S)))


def _add_groups(router: APIRouter, plane: Plane) -> None:
    def reader(group: str, whose: Filters, span: Span) -> Callable[[], Record]:
        def read() -> Record:
            with plane.database.read() as connection:
                found = groups.find(connection, group)
                if found is None:
                    raise ApiError(404, f"there is no runtime group {group!r}")
                return record(connection, whose.scope(connection, found.id), span)

        return read

    @router.get("/v2/control-planes/{group}/activity", response_model=ShownRecord)
    async def activity(group: GroupName, when: AskedSpan, whose: AskedFilters) -> dict[str, Any]:
        """Counts by status code of a group, or within it of a route (id or name), Gateway service, version or node (ids)."""
        return shown(await plane.database.run(reader(group, whose, when.span(plane.clock()))), when.shown)

    @router.get("/v2/control-planes/{group}/activity.csv", response_class=PlainTextResponse, responses=CSV)
    async def activity_csv(group: GroupName, when: AskedSpan, whose: AskedFilters) -> Response:
        """The same as CSV, by day when no step is said."""
        return _csv(await plane.database.run(reader(group, whose, when.span(plane.clock(), DAY_S))))


def _csv(found: Record) -> Response:
    name = f'attachment; filename="status-codes-{found.span.start}-{found.span.end}.csv"'
    return PlainTextResponse(
        "".join(csv_lines(found)), media_type="text/csv; header=present", headers={"Content-Disposition": name}
    )


def shown(found: Record, frame: str | None) -> dict[str, Any]:
    """A record as JSON; `frame` is its name where it has one."""
    return {
        "frame": frame,
        "start": found.span.start,
        "end": found.span.end,
        "step": found.span.step,
        "total": sum(found.codes.values()),
        "latency_ms_mean": None if found.latency_ms_mean is None else round(found.latency_ms_mean, 2),
        "codes": _shown_codes(found.codes),
        "ever": _shown_codes(found.ever),
        "routes": {route: _shown_codes(codes) for route, codes in found.routes.items()},
        "routes_omitted": found.count_routes_omitted,
        "points": [{"at": at, "code": code, "count": count} for at, code, count in found.points],
    }


def _shown_codes(codes: dict[int, int]) -> dict[str, int]:
    return {str(code): count for code, count in codes.items()}
