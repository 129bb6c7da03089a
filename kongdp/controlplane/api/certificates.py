"""Endpoints of nodes' certificates: which were issued, which requests were refused, and "renew now".

In: HTTP.  Out: JSON; rows are `ledger`'s, a renewal is the node's to do. Cold. Source: ours; walkthrough section 8.4.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from kongdp.controlplane import ledger, nodes
from kongdp.controlplane.api.parameters import GroupName, PageInfo, PageNumber, PageSize, find_group, page
from kongdp.controlplane.api.problems import ApiError
from kongdp.controlplane.cluster.est import Refusal
from kongdp.controlplane.nodes import Node
from kongdp.controlplane.plane import Plane

NodeFilter = Annotated[str | None, Query(max_length=64, description="id of a node; all of the group when absent")]


class IssuedCertificate(BaseModel):
    """A certificate of a node. `state`: valid, expired or revoked; `is_renewed`: whether its node gets the next one by itself."""

    serial: str
    fingerprint: str
    node: str
    hostname: str
    not_before: float
    not_after: float
    issued_at: float
    issued_to: str
    revoked_at: float | None
    state: Literal["valid", "expired", "revoked"]
    is_renewed: bool


class IssuedPage(BaseModel):
    """A page of certificates. `now`: the time by which their states were told."""

    now: float
    items: list[IssuedCertificate]
    page: PageInfo


class Asked(BaseModel):
    """That a node was asked."""

    asked: bool


class Refusals(BaseModel):
    """Refused requests for certificates."""

    items: list[Refusal]


def make_router(plane: Plane) -> APIRouter:
    """The endpoints over a running control plane."""
    router = APIRouter(prefix="/v2", tags=["certificates"])

    @router.get(
        "/control-planes/{group}/node-certificates", response_model=IssuedPage, response_model_exclude_unset=True
    )
    async def list_issued(
        group: GroupName, node: NodeFilter = None, size: PageSize = 100, number: PageNumber = 1
    ) -> dict[str, Any]:
        """Certificates issued to the group's nodes, newest first."""
        found = await find_group(plane, group)

        def read() -> tuple[list[dict[str, Any]], int]:
            with plane.database.read() as connection:
                rows, total = ledger.issued(connection, found.id, node_id=node, size=size, skip=(number - 1) * size)
                names = {each.id: each.hostname or each.ip for each in nodes.in_group(connection, found.id)}
                return [_shown(row, names, plane.clock()) for row in rows], total

        items, total = await plane.database.run(read)
        return {"now": plane.clock(), **page(items, total, size, number)}

    @router.post("/control-planes/{group}/nodes/{node_id}/renew-certificate", status_code=202, response_model=Asked)
    async def renew(group: GroupName, node_id: str) -> JSONResponse:
        """Ask a node for a new certificate. It makes a new key and enrols with the present one; traffic goes on."""
        found = await find_group(plane, group)

        def read() -> tuple[Node | None, Sequence[sa.Row[Any]]]:
            with plane.database.read() as connection:
                newest, _total = ledger.issued(connection, found.id, node_id=node_id, size=1, skip=0)
                return nodes.find(connection, node_id), newest

        node, newest = await plane.database.run(read)
        if node is None or node.group_id != found.id:
            raise ApiError(404, f"there is no node {node_id!r} in this group")
        if any(not _is_renewed(row) for row in newest):
            raise ApiError(
                409, "the node's certificate is in its settings (cluster_cert): put another one in its place"
            )
        if not plane.hub.ask_renewal(node_id):
            said = "the node is not connected here with a certificate of this control plane, so it cannot be asked"
            raise ApiError(409, said)
        return JSONResponse({"asked": True}, 202)

    @router.get("/certificate-refusals", response_model=Refusals)
    async def refusals() -> dict[str, Any]:
        """The last requests for certificates that this process refused, newest first."""
        return {"items": [asdict(each) for each in plane.refusals]}

    return router


def _shown(row: sa.Row[Any], names: dict[str, str], now: float) -> dict[str, Any]:
    state = "revoked" if row.revoked_at is not None else "expired" if row.not_after <= now else "valid"
    return {
        "serial": row.serial,
        "fingerprint": row.fingerprint,
        "node": row.node_id,
        "hostname": names.get(row.node_id, ""),
        "not_before": row.not_before,
        "not_after": row.not_after,
        "issued_at": row.issued_at,
        "issued_to": row.issued_to,
        "revoked_at": row.revoked_at,
        "state": state,
        "is_renewed": _is_renewed(row),
    }


def _is_renewed(row: sa.Row[Any]) -> bool:
    """Whether the node that has it gets its next one by itself."""
    return not str(row.issued_to).startswith(ledger.GENERATED)
