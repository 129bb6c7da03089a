"""What many endpoints take: the group in the path, pages, and the group behind its name.

In: values of paths and queries.  Out: groups, page objects in Konnect's shape, or ApiError 404. Cold.
Source: protocol notes 7.5.
"""

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel

from kongdp.controlplane import groups
from kongdp.controlplane.api.problems import ApiError
from kongdp.controlplane.groups import Group
from kongdp.controlplane.plane import Plane

GroupName = Annotated[str, Path(max_length=256, description="id or name of a runtime group; `default` always exists")]
PageSize = Annotated[int, Query(alias="page.size", ge=1, le=1000)]
PageNumber = Annotated[int, Query(alias="page.number", ge=1, le=1_000_000)]


class PageInfo(BaseModel):
    """How many there are, and the next page's number if there is one."""

    total_count: int
    next_page_num: int | None = None


async def find_group(plane: Plane, id_or_name: str) -> Group:
    """The group, or ApiError 404."""

    def read() -> Group | None:
        with plane.database.read() as connection:
            return groups.find(connection, id_or_name)

    found = await plane.database.run(read)
    if found is None:
        raise ApiError(404, f"there is no runtime group {id_or_name!r}")
    return found


def page(items: list[dict[str, Any]], total: int, size: int, number: int) -> dict[str, Any]:
    """One page of a list that has `total` items."""
    shown: dict[str, Any] = {"total_count": total}
    if number * size < total:
        shown["next_page_num"] = number + 1
    return {"items": items, "page": shown}


def page_of(items: list[dict[str, Any]], size: int, number: int) -> dict[str, Any]:
    """One page of a list that is at hand."""
    start = (number - 1) * size
    return page(items[start : start + size], len(items), size, number)
