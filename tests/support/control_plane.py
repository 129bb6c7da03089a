"""A control plane in the test's own process: real sockets on free ports, real mTLS, SQLite in a temporary directory."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from kongdp.controlplane import nodes
from kongdp.controlplane.cluster.listener import bind
from kongdp.controlplane.cluster.trust import ClusterPair
from kongdp.controlplane.nodes import Node
from kongdp.controlplane.plane import Clock, Options, Plane, open_plane
from tests.support.migrated import migrated_sqlite
from tests.support.scripted_data_plane import KeyPair, ScriptedDataPlane, make_request, save_pair

WAIT_S = 60.0


class ControlPlane:
    """A running control plane and what tests ask of it."""

    def __init__(self, plane: Plane, prefix: Path, shared_pair: KeyPair | None) -> None:
        self.plane = plane
        self.prefix = prefix
        self.hub = plane.hub
        self.clock = plane.clock
        self.group_id = plane.default_group_id
        self.trust = plane.authority.certificate_pem.decode()
        self.port: int = plane.options.cluster_sockets[0].getsockname()[1]
        self.telemetry_port: int = plane.options.telemetry_sockets[0].getsockname()[1]
        self._shared_pair = shared_pair
        self._links: list[ScriptedDataPlane] = []
        self._is_stopped = False

    @property
    def shared_pair(self) -> KeyPair:
        """The pair that Kong data planes share with this control plane."""
        assert self._shared_pair is not None
        return self._shared_pair

    def node_pair(self, node_id: str | None = None, lifetime_s: int = 3600) -> KeyPair:
        """A certificate for a node, issued without the network."""
        node_id = node_id or str(uuid.uuid4())
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.plane.authority.issue_node(make_request(node_id, key), self.group_id, lifetime_s)
        return save_pair(self.prefix, certificate, key, node_id)

    async def connect(
        self, pair: KeyPair | None, *, trust: str | None = None, name: str = "kongdp-control-plane", port: int = 0
    ) -> ScriptedDataPlane:
        """A TLS connection to the cluster listener (or another port)."""
        link = await ScriptedDataPlane.connect(port or self.port, trust=trust or self.trust, pair=pair, name=name)
        self._links.append(link)
        return link

    async def put(self, collection: str, row: dict[str, Any]) -> dict[str, Any]:
        """Write a row through the door, as the Admin API does."""
        whole = {"id": str(uuid.uuid4()), **row}

        def write() -> None:
            with self.plane.changes.store(self.group_id).write(actor="test", summary="put") as writer:
                writer.put(collection, whole)

        await self.plane.database.run(write)
        return whole

    async def delete(self, collection: str, row: dict[str, Any]) -> None:
        """Delete a row likewise."""

        def write() -> None:
            with self.plane.changes.store(self.group_id).write(actor="test", summary="delete") as writer:
                writer.delete(collection, row["id"])

        await self.plane.database.run(write)

    async def node(self, node_id: str) -> Node:
        """A node's row as it is in the database once everything known is written."""
        await self.hub.flush()
        found = [node for node in await self.all_nodes() if node.id == node_id]
        assert found, f"no row for node {node_id}"
        return found[0]

    async def all_nodes(self) -> list[Node]:
        """All rows."""

        def read() -> list[Node]:
            with self.plane.database.read() as connection:
                return nodes.in_group(connection)

        await self.hub.flush()
        return await self.plane.database.run(read)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop run until something is so."""
        async with asyncio.timeout(WAIT_S):
            while not condition():  # the condition belongs to the code under test
                await asyncio.sleep(0)

    async def stop(self) -> None:
        """Stop; safe to call twice."""
        if not self._is_stopped:
            self._is_stopped = True
            await self.plane.stop()

    async def close(self) -> None:
        """Stop, and drop what the test left open."""
        for link in self._links:
            await link.close()
        await self.stop()


@asynccontextmanager
async def running(
    prefix: Path,
    *,
    has_shared_pair: bool = False,
    clock: Clock | None = None,
    database_url: str | None = None,
    **options: Any,
) -> AsyncIterator[ControlPlane]:
    """A control plane that runs within the block."""
    shared = shared_pair(prefix) if has_shared_pair else None
    cluster_pair = ClusterPair(shared.certificate.read_text(), shared.key.read_text()) if shared is not None else None
    plane = open_plane(
        Options(
            prefix=prefix,
            database_url=database_url or migrated_sqlite(prefix),
            cluster_sockets=[bind("cluster_listen", "127.0.0.1", 0)],
            telemetry_sockets=[bind("kongdp_cluster_telemetry_listen", "127.0.0.1", 0)],
            cluster_pair=cluster_pair,
            **options,
        ),
        clock,
    )
    await plane.start()
    control_plane = ControlPlane(plane, prefix, shared)
    try:
        yield control_plane
    finally:
        await control_plane.close()


def shared_pair(directory: Path) -> KeyPair:
    """A pair as Kong's `hybrid gen_cert` makes it: EC P-384, self-signed, CN kong_clustering."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kong_clustering")])
    now = Clock()()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(_moment(now - 60))
        .not_valid_after(_moment(now + 86_400))
        .sign(key, hashes.SHA256())
    )
    return save_pair(directory, certificate, key, "")


def _moment(seconds: float) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(int(seconds), UTC)
