"""Konnect-shaped endpoints of runtime groups ("control planes"): the groups, their nodes, certificates, tokens,
expected hash.

In: HTTP.  Out: JSON; decisions are made in `nodes`, `ledger`, `accounts`. Cold. Source: protocol notes 7.5, 7.6.
"""

from dataclasses import asdict
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from kongdp.controlplane import accounts, groups, ledger, nodes
from kongdp.controlplane.api import preconditions
from kongdp.controlplane.api.actors import actor_of, may_see
from kongdp.controlplane.api.parameters import GroupName, PageInfo, PageNumber, PageSize, find_group, page_of
from kongdp.controlplane.api.problems import ApiError
from kongdp.controlplane.groups import Group
from kongdp.controlplane.nodes import Node
from kongdp.controlplane.plane import Plane
from kongdp.controlplane.provisioning import Provision, provision

NameFilter = Annotated[str | None, Query(alias="filter[name][eq]", max_length=256)]

COMPATIBILITY = {
    nodes.NORMAL: "COMPATIBILITY_STATE_FULLY_COMPATIBLE",
    nodes.UNKNOWN: "COMPATIBILITY_STATE_UNKNOWN",
}
INCOMPATIBLE = "COMPATIBILITY_STATE_INCOMPATIBLE"


class TokenRequest(BaseModel):
    """How long an enrolment token may be used, in seconds."""

    model_config = ConfigDict(extra="forbid")

    lifetime_s: float = Field(default=accounts.TOKEN_LIFETIME_S, gt=0, le=accounts.TOKEN_LIFETIME_S_MAX)


class CertificateRequest(BaseModel):
    """A certificate to pin, as PEM."""

    model_config = ConfigDict(extra="forbid")

    cert: str = Field(max_length=65_536)
    title: str = Field(default="", max_length=1024)


class NewGroup(BaseModel):
    """A runtime group to create. `cluster_type` and `auth_type` are Konnect's; ours has one of each."""

    model_config = ConfigDict(extra="forbid")

    name: str
    description: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    cluster_type: Literal["CLUSTER_TYPE_CONTROL_PLANE", "CLUSTER_TYPE_HYBRID"] = "CLUSTER_TYPE_CONTROL_PLANE"
    auth_type: Literal["pki_client_certs", "pinned_client_certs"] = "pki_client_certs"


class GroupChange(BaseModel):
    """What to change of a runtime group."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    description: str | None = None
    labels: dict[str, str] | None = None


class GroupPlaces(BaseModel):
    """Where a group's data planes go, and whom they find there."""

    control_plane_endpoint: str
    telemetry_endpoint: str
    cluster_type: str
    auth_type: str
    ca_fingerprint: str


class ShownGroup(BaseModel):
    """A runtime group."""

    id: str
    name: str
    description: str
    labels: dict[str, str]
    config: GroupPlaces
    created_at: int
    updated_at: int


class Groups(BaseModel):
    """A page of runtime groups."""

    items: list[ShownGroup]
    page: PageInfo


class ExpectedHash(BaseModel):
    """What every data plane of a group should report; `problem`: why the newest configuration could not be offered, or ""."""

    expected_hash: str
    created_at: int
    updated_at: int
    problem: str


class Compatibility(BaseModel):
    """Whether a data plane can take the configuration of its group."""

    state: str


class ShownNode(BaseModel):
    """A data plane. `last_error`: its last rejection (name, message, config_hash ...); `reason`: what is wrong with it, or ""."""

    id: str
    version: str
    hostname: str
    ip: str
    last_ping: int
    last_ping_age_s: float
    type: str
    config_hash: str
    expected_hash: str
    connected: bool
    in_sync: bool
    reason: str
    last_error: dict[str, Any] | None
    labels: dict[str, str]
    cert_expiry: int | None
    created_at: int
    updated_at: int
    compatibility_status: Compatibility


class Nodes(BaseModel):
    """A page of data planes."""

    items: list[ShownNode]
    page: PageInfo


class NodeItem(BaseModel):
    """One data plane."""

    item: ShownNode


class ShownPin(BaseModel):
    """A pinned certificate, as PEM."""

    id: str
    cert: str
    title: str
    created_at: int
    updated_at: int


class Pins(BaseModel):
    """All pinned certificates of a group."""

    items: list[ShownPin]
    page: PageInfo


class PinItem(BaseModel):
    """One pinned certificate."""

    item: ShownPin


class EnrolmentToken(BaseModel):
    """A token of one use, and the authority that its user will meet."""

    id: str
    group_id: str
    created_at: float
    created_by: str
    expires_at: float
    token: str
    ca_fingerprint: str


def make_router(plane: Plane) -> APIRouter:
    """The endpoints over a running control plane."""
    router = APIRouter(prefix="/v2/control-planes", tags=["control planes"])
    _add_groups(router, plane)
    _add_nodes(router, plane)
    _add_certificates(router, plane)

    @router.post("/{group}/enrolment-tokens", status_code=201, response_model=EnrolmentToken)
    async def create_token(group: GroupName, request: TokenRequest | None = None) -> dict[str, Any]:
        """Make a token with which one data plane may enrol, once. It is shown only here."""
        found = await find_group(plane, group)
        lifetime_s = (request or TokenRequest()).lifetime_s

        def make() -> dict[str, Any]:
            now = plane.clock()
            with plane.database.write() as connection:
                return accounts.create_token(
                    connection, found.id, created_by="admin API", lifetime_s=lifetime_s, now=now
                )

        made = await plane.database.run(make)
        return {**made, "ca_fingerprint": plane.authority.fingerprint}

    return router


def _add_groups(router: APIRouter, plane: Plane) -> None:
    @router.get("", response_model=Groups, response_model_exclude_unset=True)
    async def list_groups(
        request: Request, size: PageSize = 100, number: PageNumber = 1, name: NameFilter = None
    ) -> dict[str, Any]:
        """Every runtime group that the caller may see, or the one with a name."""

        def read() -> list[Group]:
            with plane.database.read() as connection:
                return groups.all_groups(connection)

        found = [
            group
            for group in await plane.database.run(read)
            if name in (None, group.name) and may_see(request, group.id)
        ]
        return page_of([_shown_group(group, plane) for group in found], size, number)

    @router.get("/{group}", response_model=ShownGroup)
    async def get_group(group: GroupName) -> JSONResponse:
        """One runtime group."""
        shown = _shown_group(await find_group(plane, group), plane)
        return preconditions.tagged(shown, shown)

    _add_group_changes(router, plane)

    @router.get("/{group}/expected-config-hash", response_model=ExpectedHash)
    async def expected_hash(group: GroupName) -> dict[str, Any]:
        """The hash that every data plane of the group should report."""
        found = await find_group(plane, group)
        payload = await plane.hub.current(found.id)
        return {
            "expected_hash": payload.config_hash,
            "created_at": int(found.created_at),
            "updated_at": int(payload.exported_at),
            "problem": plane.hub.problem(found.id),
        }


def _add_group_changes(router: APIRouter, plane: Plane) -> None:
    @router.post("", status_code=201, response_model=ShownGroup)
    async def create_group(body: NewGroup) -> JSONResponse:
        """A new runtime group."""

        def create() -> Group:
            with plane.database.write() as connection:
                return groups.create(connection, body.name, body.description, body.labels, plane.clock())

        shown = _shown_group(await plane.database.run(create), plane)
        return preconditions.tagged(shown, shown, 201)

    @router.patch("/{group}", response_model=ShownGroup)
    async def update_group(group: GroupName, body: GroupChange, if_match: preconditions.IfMatch = None) -> JSONResponse:
        """Change a group's name, description or labels; `default` keeps its name."""

        def update() -> Group:
            with plane.database.write() as connection:
                found = _lock(connection, group)
                preconditions.check(if_match, _shown_group(found, plane))
                return groups.update(
                    connection,
                    found,
                    plane.clock(),
                    name=body.name,
                    description=body.description,
                    labels=body.labels,
                )

        shown = _shown_group(await plane.database.run(update), plane)
        return preconditions.tagged(shown, shown)

    @router.delete("/{group}", status_code=204)
    async def delete_group(group: GroupName, if_match: preconditions.IfMatch = None) -> Response:
        """Delete a group with everything in it; its data planes keep what they have. `default` cannot be deleted."""

        def delete() -> Group:
            with plane.database.write() as connection:
                found = _lock(connection, group)
                preconditions.check(if_match, _shown_group(found, plane))
                groups.delete(connection, found)
                return found

        found = await plane.database.run(delete)
        plane.forget_group(found.id)
        await plane.refresh_trust()
        return Response(status_code=204)

    def _lock(connection: sa.Connection, id_or_name: str) -> Group:
        found = groups.lock(connection, id_or_name)
        if found is None:
            raise ApiError(404, f"there is no runtime group {id_or_name!r}")
        return found


def _add_nodes(router: APIRouter, plane: Plane) -> None:
    @router.get("/{group}/nodes", response_model=Nodes, response_model_exclude_unset=True)
    async def list_nodes(group: GroupName, size: PageSize = 100, number: PageNumber = 1) -> dict[str, Any]:
        """The data planes of a group, the one seen last first."""
        found = await find_group(plane, group)
        expected = (await plane.hub.current(found.id)).config_hash
        await plane.hub.flush()

        def read() -> list[Node]:
            with plane.database.read() as connection:
                return nodes.in_group(connection, found.id)

        now = plane.clock()
        return page_of([shown_node(node, expected, now) for node in await plane.database.run(read)], size, number)

    @router.get("/{group}/nodes/{node_id}", response_model=NodeItem)
    async def get_node(group: GroupName, node_id: str) -> dict[str, Any]:
        """One data plane."""
        found = await find_group(plane, group)
        expected = (await plane.hub.current(found.id)).config_hash
        await plane.hub.flush()

        def read() -> Node | None:
            with plane.database.read() as connection:
                return nodes.find(connection, node_id)

        node = await plane.database.run(read)
        if node is None or node.group_id != found.id:
            raise ApiError(404, f"there is no node {node_id!r} in this group")
        return {"item": shown_node(node, expected, plane.clock())}

    @router.delete("/{group}/nodes/{node_id}", status_code=204)
    async def delete_node(group: GroupName, node_id: str, revoke: bool = False) -> Response:
        """Forget a node's row; a live one simply reappears, unless `revoke` takes its certificates away."""
        found = await find_group(plane, group)

        def delete() -> bool:
            with plane.database.write() as connection:
                is_known = nodes.forget(connection, found.id, node_id)
                if is_known and revoke:
                    ledger.revoke_node(connection, node_id, plane.clock())
                return is_known

        if not await plane.database.run(delete):
            raise ApiError(404, f"there is no node {node_id!r} in this group")
        if revoke:
            plane.dismiss(node_id, "the node's certificate was revoked")
        return Response(status_code=204)


def _add_certificates(router: APIRouter, plane: Plane) -> None:
    @router.get("/{group}/dp-client-certificates", response_model=Pins, response_model_exclude_unset=True)
    async def list_certificates(group: GroupName) -> dict[str, Any]:
        """The certificates pinned for nodes of a group."""
        found = await find_group(plane, group)

        def read() -> list[ledger.PinnedCertificate]:
            with plane.database.read() as connection:
                return ledger.pinned(connection, found.id)

        items = [_shown_pin(pin) for pin in await plane.database.run(read)]
        return {"items": items, "page": {"total_count": len(items)}}

    @router.post("/{group}/dp-client-certificates", status_code=201, response_model=PinItem)
    async def pin_certificate(group: GroupName, request: CertificateRequest) -> dict[str, Any]:
        """Let nodes in that show this certificate."""
        found = await find_group(plane, group)

        def pin() -> ledger.PinnedCertificate:
            with plane.database.write() as connection:
                return ledger.pin(connection, found.id, request.cert, request.title, plane.clock())

        pinned = await plane.database.run(pin)
        await plane.refresh_trust()
        return {"item": _shown_pin(pinned)}

    @router.post("/{group}/data-plane-certificates", status_code=201, response_model=Provision)
    async def provision_data_plane(group: GroupName, request: Request) -> JSONResponse:
        """Make a node with its key and certificate, for a host that cannot enrol. They are shown only here."""
        found = await find_group(plane, group)

        def make() -> Provision:
            with plane.database.write() as connection:
                return provision(
                    connection,
                    plane.authority,
                    found.id,
                    lifetime_s=plane.options.certificate_lifetime_s,
                    issued_to=f"{ledger.GENERATED}{actor_of(request)}",
                    now=plane.clock(),
                )

        return JSONResponse(asdict(await plane.database.run(make)), 201, {"Cache-Control": "no-store"})

    @router.get("/{group}/dp-client-certificates/{certificate_id}", response_model=PinItem)
    async def get_certificate(group: GroupName, certificate_id: str) -> dict[str, Any]:
        """One pinned certificate."""
        for item in (await list_certificates(group))["items"]:
            if item["id"] == certificate_id:
                return {"item": item}
        raise ApiError(404, f"there is no certificate {certificate_id!r} in this group")

    @router.delete("/{group}/dp-client-certificates/{certificate_id}", status_code=204)
    async def unpin_certificate(group: GroupName, certificate_id: str) -> Response:
        """Let no node in with it any more; those connected with it are disconnected."""
        found = await find_group(plane, group)

        def unpin() -> bool:
            with plane.database.write() as connection:
                return ledger.unpin(connection, found.id, certificate_id)

        if not await plane.database.run(unpin):
            raise ApiError(404, f"there is no certificate {certificate_id!r} in this group")
        await plane.refresh_trust()
        plane.hub.dismiss_pinned(found.id)
        return Response(status_code=204)


def shown_node(node: Node, expected_hash: str, now: float) -> dict[str, Any]:
    """A node as Konnect shows it, with our judgement beside it."""
    judged = nodes.judge(node, expected_hash, now)
    return {
        "id": node.id,
        "version": node.version,
        "hostname": node.hostname,
        "ip": node.ip,
        "last_ping": int(node.last_seen),
        "last_ping_age_s": round(judged.last_ping_age_s, 1),
        "type": "kong-proxy",
        "config_hash": node.config_hash,
        "expected_hash": expected_hash,
        "connected": judged.is_connected,
        "in_sync": judged.is_in_sync,
        "reason": judged.reason,
        "last_error": node.last_error,
        "labels": node.labels,
        "cert_expiry": None if node.cert_expiry is None else int(node.cert_expiry),
        "created_at": int(node.created_at),
        "updated_at": int(node.updated_at),
        "compatibility_status": {"state": COMPATIBILITY.get(node.sync_status, INCOMPATIBLE)},
    }


def _shown_group(group: Group, plane: Plane) -> dict[str, Any]:
    return {
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "labels": group.labels,
        "config": {
            "control_plane_endpoint": plane.place(plane.options.cluster_sockets),
            "telemetry_endpoint": plane.place(plane.options.telemetry_sockets),
            "cluster_type": "CLUSTER_TYPE_CONTROL_PLANE",
            "auth_type": "pki_client_certs",
            "ca_fingerprint": plane.authority.fingerprint,
        },
        "created_at": int(group.created_at),
        "updated_at": int(group.updated_at),
    }


def _shown_pin(pin: ledger.PinnedCertificate) -> dict[str, Any]:
    return {
        "id": pin.id,
        "cert": pin.cert,
        "title": pin.title,
        "created_at": int(pin.created_at),
        "updated_at": int(pin.updated_at),
    }
