"""The endpoint that says which route would answer a request.

In: HTTP.  Out: JSON; the router's work is `route_tester`'s. Reading, so that whoever sees a group may ask. Cold.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from kongdp.controlplane.api.parameters import GroupName, find_group
from kongdp.controlplane.api.problems import ApiError
from kongdp.controlplane.plane import Plane
from kongdp.controlplane.route_tester import Question, QuestionError, RouteTester, Verdict

FIELDS_MAX = 50
Url = Annotated[str, Query(max_length=8192, description="absolute, as a client would ask for it")]
Method = Annotated[str, Query(max_length=64)]
FieldLines = Annotated[
    list[str] | None, Query(alias="header", max_length=FIELDS_MAX, description="a field line, such as `x-version: 2`")
]


class Matched(BaseModel):
    """What answers by the newest configuration, which is a revision's. `upstream_url` is empty where there is no service."""

    revision: int
    route: dict[str, Any]
    service: dict[str, Any] | None
    prefix: str
    captures: dict[str, str]
    upstream_url: str


class Found(BaseModel):
    """What matched, or null."""

    match: Matched | None


def make_router(plane: Plane) -> APIRouter:
    """The endpoint over a running control plane."""
    router = APIRouter(prefix="/v2/control-planes/{group}", tags=["core entities"])
    tester = RouteTester(plane.database, plane.options.router_flavor)

    @router.get("/route-match", response_model=Found)
    async def match(group: GroupName, url: Url, method: Method = "GET", header: FieldLines = None) -> dict[str, Any]:
        """The route that would answer a request on a data plane that has the newest configuration."""
        found = await find_group(plane, group)
        question = Question(method, url, _fields(header or []))
        try:
            verdict = await plane.database.run(tester.try_match, found.id, question)
        except QuestionError as error:
            raise ApiError(400, str(error), {error.field: str(error)}) from None
        return {"match": None if verdict is None else _shown(verdict)}

    return router


def _fields(lines: list[str]) -> dict[str, str]:
    """Field lines as names and values. Raises ApiError."""
    fields = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            said = f"{line!r} is no field line: it takes a name, a colon and a value"
            raise ApiError(400, said, {"header": said})
        fields[name.strip()] = value.strip()
    return fields


def _shown(verdict: Verdict) -> dict[str, Any]:
    return {
        "revision": verdict.revision,
        "route": verdict.route,
        "service": verdict.service,
        "prefix": verdict.prefix,
        "captures": dict(verdict.captures),
        "upstream_url": verdict.upstream_url,
    }
