"""The audit log by HTTP: a page at a time, narrowed by who, what, when.

In: HTTP.  Out: entries; what is looked for is `audit`'s. For administrators (`access`). Cold.
"""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from kongdp.controlplane import audit
from kongdp.controlplane.activity_record import SpanError, read_moment
from kongdp.controlplane.api.parameters import PageInfo, PageNumber, PageSize, page
from kongdp.controlplane.api.problems import ApiError
from kongdp.controlplane.plane import Plane

Actor = Annotated[
    str | None, Query(alias="filter[actor][contains]", max_length=256, description="a part of who did it, in any case")
]
About = Annotated[audit.Kind | None, Query(alias="filter[kind][eq]", description="what kind of object it was done to")]
How = Annotated[audit.Method | None, Query(alias="filter[method][eq]", description="the method of the request")]
Text = Annotated[
    str | None,
    Query(
        alias="filter[text][contains]", max_length=256, description="a part of who, from where, or what, in any case"
    ),
]
Start = Annotated[str | None, Query(max_length=64, description="from this moment on: Unix time or ISO 8601")]
End = Annotated[
    str | None, Query(max_length=64, description="up to this moment; a date alone means that the day belongs to it")
]


class AuditPage(BaseModel):
    """A page of the audit log."""

    items: list[audit.Entry]
    page: PageInfo


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request looks for."""

    actor: Actor = None
    kind: About = None
    method: How = None
    text: Text = None
    start: Start = None
    end: End = None

    def filter(self) -> audit.Filter:
        """As a filter. Raises ApiError."""
        try:
            start = None if self.start is None else read_moment("start", self.start, is_end=False)
            end = None if self.end is None else read_moment("end", self.end, is_end=True)
            if start is not None and end is not None and end <= start:
                raise SpanError("end", "must be later than start")
        except SpanError as error:
            raise ApiError(400, str(error), {error.field: error.said}) from None
        return audit.Filter(self.actor, self.kind, self.method, self.text, start, end)


def make_router(plane: Plane) -> APIRouter:
    """The endpoint over a running control plane."""
    router = APIRouter(prefix="/v2", tags=["accounts"])

    @router.get("/audit", response_model=AuditPage, response_model_exclude_none=True)
    async def list_audit(
        asked: Annotated[Asked, Depends()], size: PageSize = 100, number: PageNumber = 1
    ) -> dict[str, Any]:
        """What happened, newest first: all of it, or what all given filters let through."""
        wanted = asked.filter()

        def read() -> tuple[list[audit.Entry], int]:
            with plane.database.read() as connection:
                found = audit.entries(connection, wanted, size=size, skip=(number - 1) * size)
                return found, audit.count(connection, wanted)

        entries, total = await plane.database.run(read)
        return page([asdict(entry) for entry in entries], total, size, number)

    return router
