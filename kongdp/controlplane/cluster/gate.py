"""Who may do what at the cluster listeners: each path with its rule.

In: requests.  Out: answers; for accepted data planes an upgrade whose session is an outlet or a counter stream. Who
comes with which certificate: a node of our authority is the node its certificate names; the shared pair and pinned
certificates admit any node id (Kong's and Konnect's models). Refusals follow protocol notes 1.4: a wrong certificate
is answered with nothing.
Cold.
"""

import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from weakref import WeakSet

from cryptography import x509

from kongdp.controlplane import groups, ledger
from kongdp.controlplane.authority import Authority, node_fingerprint
from kongdp.controlplane.cluster import est
from kongdp.controlplane.cluster.counters import CounterStream, Ingest
from kongdp.controlplane.cluster.outlet import DataPlane, Desk, Peer
from kongdp.controlplane.cluster.requests import Answer, Drop, Request, Response, Upgrade, message
from kongdp.controlplane.cluster.trust import ClusterPair
from kongdp.controlplane.store.database import Database

# Announces to data planes of ours that counters are welcome on the telemetry listener, and error frames here.
TELEMETRY = ("X-Kongdp-Telemetry", "1")

COUNTER_GRACE_S = 300.0
ENROLMENT_TOKENS = re.compile(r"/v2/control-planes/([^/]+)/enrolment-tokens")


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a certificate. `node_id` is None where the certificate does not say (shared, pinned)."""

    node_id: str | None
    group_id: str
    not_after: float

    @property
    def is_ours(self) -> bool:
        """Whether our authority issued the certificate."""
        return self.node_id is not None


@dataclass(frozen=True, slots=True)
class Clocks:
    """Wall time for rows and certificates, monotonic time for deadlines."""

    wall: Callable[[], float]
    monotonic: Callable[[], float]


class Gate:
    """The applications of both listeners."""

    def __init__(
        self,
        authority: Authority,
        database: Database,
        desk: Desk,
        ingest: Ingest,
        enrolment: est.Enrolment,
        *,
        cluster_pair: ClusterPair | None,
        setup_script: bytes,
        clocks: Clocks,
    ) -> None:
        self._authority = authority
        self._database = database
        self._desk = desk
        self._ingest = ingest
        self._enrolment = enrolment
        self._shared_fingerprint = cluster_pair.shared_fingerprint if cluster_pair is not None else None
        # TLS lets in only what chains to something we know: what is neither ours nor pinned is cluster_ca_cert's.
        self._admits_chained = cluster_pair is not None and cluster_pair.authority_pem is not None
        self._setup_script = setup_script
        self._clocks = clocks
        self._streams: WeakSet[CounterStream] = WeakSet()

    async def answer_cluster(self, request: Request) -> Answer:
        """The application of the cluster listener."""
        if request.path.startswith(est.PREFIX):
            return await self._enrolment.answer(request)
        handlers: dict[str, Callable[[Request], Awaitable[Answer]]] = {
            "/v1/outlet": self._outlet,
            "/runtime-setup.sh": self._setup,
        }
        token = ENROLMENT_TOKENS.fullmatch(request.path)
        if token is not None:
            return await self._enrolment.answer_token(request, token[1])
        handler = handlers.get(request.path)
        # Also for /v1/wrpc (a 3.0 data plane then uses /v1/outlet) and /v2/outlet (ours then uses version 1).
        return await handler(request) if handler is not None else message(404)

    async def answer_telemetry(self, request: Request) -> Answer:
        """The application of the telemetry listener."""
        if request.path != "/v1/counters":
            return message(404)
        holder = await self._identify(request.certificate)
        if holder is None or holder.node_id is None:
            return Drop("no node certificate of this control plane")
        if not _is_upgrade(request):
            return Drop("not a WebSocket upgrade")
        # The link that renews is the sync one; a stream that is merely late must not be cut in the middle of counting.
        stream = CounterStream(holder.node_id, self._ingest, still_valid=self._validity(holder, COUNTER_GRACE_S))
        self._streams.add(stream)
        return Upgrade(stream)

    def dismiss_counters(self, node_id: str, reason: str) -> None:
        """End the counter streams of a node whose certificates were revoked."""
        for stream in [stream for stream in self._streams if stream.node_id == node_id]:
            stream.dismiss(reason)

    async def _outlet(self, request: Request) -> Answer:
        holder = await self._identify(request.certificate)
        if holder is None:
            return Drop(
                "data plane presented incorrect client certificate during handshake"
                if request.certificate
                else "data plane failed to present client certificate during handshake"
            )
        node_id, version = request.query.get("node_id", ""), request.query.get("node_version", "")
        if not node_id or not version:
            return message(400, f"invalid request, missing {'node_version' if node_id else 'node_id'} query parameter")
        if not _is_uuid(node_id):
            return message(400, "invalid request, node_id must be a UUID")
        if holder.node_id is not None and holder.node_id != node_id:
            return Drop(f"the certificate of node {holder.node_id} was presented for node {node_id}")
        if not _is_upgrade(request):
            return Drop("not a WebSocket upgrade")
        peer = Peer(
            node_id=node_id,
            group_id=holder.group_id,
            hostname=request.query.get("node_hostname", "")[:255],
            ip=request.peer,
            version=version[:64],
            cert_expiry=holder.not_after,
            is_ours=holder.is_ours,
        )
        plane = DataPlane(
            peer,
            self._desk,
            link_id=str(uuid.uuid4()),
            wall=self._clocks.wall,
            monotonic=self._clocks.monotonic,
            still_valid=self._validity(holder),
        )
        return Upgrade(plane, (TELEMETRY,) if holder.is_ours else ())

    async def _setup(self, request: Request) -> Answer:
        if request.method not in ("GET", "HEAD"):
            return message(405)
        return Response(200, self._setup_script, "text/x-shellscript; charset=utf-8")

    async def _identify(self, der: bytes | None) -> Holder | None:
        """Who holds this certificate (which TLS has verified), or None when that gives no right to anything."""
        if der is None:
            return None
        return await self._database.run(self._look_up, der)

    def _look_up(self, der: bytes) -> Holder | None:
        certificate = x509.load_der_x509_certificate(der)
        fingerprint = node_fingerprint(der)
        not_after = certificate.not_valid_after_utc.timestamp()
        with self._database.read() as connection:
            identity = self._authority.try_identify(certificate)
            if identity is not None:
                is_good = not ledger.is_revoked(connection, fingerprint) and groups.find(connection, identity.group_id)
                return Holder(identity.node_id, identity.group_id, not_after) if is_good else None
            pin = ledger.try_pinned(connection, fingerprint)
            if pin is not None:
                return Holder(None, pin.group_id, not_after)
            if fingerprint == self._shared_fingerprint or self._admits_chained:
                default = groups.find(connection, groups.DEFAULT)
                return Holder(None, default.id, not_after) if default is not None else None
            return None

    def _validity(self, holder: Holder, grace_s: float = 0.0) -> Callable[[], bool]:
        wall = self._clocks.wall
        return lambda: wall() < holder.not_after + grace_s


def _is_upgrade(request: Request) -> bool:
    """Whether a request is a WebSocket upgrade (RFC 6455 section 4.2.1); Kong's demands nothing beyond it."""
    return (
        request.method == "GET"
        and request.field(b"upgrade").lower() == "websocket"
        and "upgrade" in request.field(b"connection").lower()
        and request.field(b"sec-websocket-version") == "13"
        and bool(request.field(b"sec-websocket-key"))
    )


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
