"""Which route would answer this request? The data planes' own router over a group's configuration.

In: a runtime group and a request as a person writes it (method, URL, fields).  Out: the route that answers it and what
is left of the path, or None. House rules: the router is `routing`'s, so that the answer is the data planes'; a group's
router is built at its first question after a change, and only a few are kept. Cold; called off the event loop.
Source: router specification; what a data plane hands its router is `proxy/exchange.py`.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import sqlalchemy as sa

from kongdp.controlplane.changes import latest_revision
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.store.repository import GroupReader
from kongdp.entities.model import Route
from kongdp.entities.paths import normalize
from kongdp.entities.table import Row
from kongdp.errors import KongdpError, Source
from kongdp.routing.path_handling import compile_upstream_path
from kongdp.routing.router import Captures, Router, build

ROUTERS_MAX = 4
PORTS = {"http": 80, "https": 443, "grpc": 80, "grpcs": 443}
# Rows of one reading.
BUNCH = 1000


class QuestionError(KongdpError):
    """A request that nobody can send; `field` is what is wrong with it."""

    source = Source.CLIENT

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Question:
    """A request. `url` is absolute; `fields` are lower-case names with their values."""

    method: str
    url: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The route that answers, its service if it has one, the part of the path that matched, and where the request goes.

    `upstream_url` is empty where there is no service.
    """

    revision: int
    route: Row
    service: Row | None
    prefix: str
    captures: Mapping[str, str]
    upstream_url: str


class RouteTester:
    """Answers questions, from any thread."""

    def __init__(self, database: Database, flavor: str) -> None:
        self._database = database
        self._flavor = flavor
        self._routers: OrderedDict[str, tuple[int, Router]] = OrderedDict()
        self._lock = threading.Lock()

    def try_match(self, group_id: str, question: Question) -> Verdict | None:
        """The route that would answer, or None. Raises QuestionError."""
        asked = _Request.of(question)
        with self._database.read() as connection:
            reader = GroupReader(connection, group_id)
            revision, router = self._router(connection, group_id, reader)
            found = router.match(
                asked.method,
                asked.host,
                asked.path,
                lambda: asked.fields,
                scheme=asked.scheme,
                sni=asked.sni,
                port=asked.port,
                query=asked.query,
            )
            if found is None:
                return None
            route = reader.get("routes", found.route_id)
            assert route is not None, "the router was built of this revision's rows"
            service = reader.get("services", route["service"]["id"]) if route["service"] else None
        return Verdict(
            revision,
            route,
            service,
            found.prefix.decode("utf-8", "replace"),
            _named(found.captures),
            self._upstream_url(route, service, asked, found.prefix_length),
        )

    def _upstream_url(self, route: Row, service: Row | None, asked: "_Request", prefix_length: int) -> str:
        if service is None:
            return ""
        entity = Route.from_row(route)
        base = (service["path"] or "/").encode()
        path = compile_upstream_path(base, entity.strip_path, entity.path_handling, self._flavor)
        rest = path(asked.path, prefix_length).decode("utf-8", "replace")
        query = f"?{asked.query.decode('utf-8', 'replace')}" if asked.query else ""
        return f"{service['protocol']}://{service['host']}:{service['port']}{rest}{query}"

    def _router(self, connection: sa.Connection, group_id: str, reader: GroupReader) -> tuple[int, Router]:
        """The router of the group as it is now. One at a time: a second question waits for the first one's building."""
        revision = latest_revision(connection, group_id)
        with self._lock:
            kept = self._routers.get(group_id)
            if kept is None or kept[0] != revision:
                kept = revision, build(_routes(reader), self._flavor)
                self._routers[group_id] = kept
            self._routers.move_to_end(group_id)
            while len(self._routers) > ROUTERS_MAX:
                self._routers.popitem(last=False)
            return kept


def _named(captures: Captures | None) -> dict[str, str]:
    found = captures.named if captures is not None else {}
    return {name: value.decode("utf-8", "replace") for name, value in found.items()}


def _routes(reader: GroupReader) -> Sequence[Route]:
    """The routes that data planes get: those of disabled services are not among them."""
    disabled = {row["id"] for row in _rows(reader, "services") if not row.get("enabled", True)}
    return [
        Route.from_row(row)
        for row in _rows(reader, "routes")
        if row["service"] is None or row["service"]["id"] not in disabled
    ]


def _rows(reader: GroupReader, collection: str) -> Sequence[Row]:
    rows: list[Row] = []
    while bunch := reader.page(collection, size=BUNCH, after=rows[-1]["id"] if rows else None):
        rows += bunch
    return rows


@dataclass(frozen=True, slots=True)
class _Request:
    """A question as the router takes it."""

    method: bytes
    scheme: bytes
    host: bytes
    port: int
    path: bytes
    query: bytes
    sni: bytes | None
    fields: Mapping[bytes, Sequence[bytes]]

    @classmethod
    def of(cls, question: Question) -> "_Request":
        try:
            url = urlsplit(question.url)
            port = url.port
        except ValueError as error:
            raise QuestionError("url", f"invalid URL: {error}") from None
        if url.scheme not in PORTS or not url.hostname:
            raise QuestionError("url", "must be an absolute URL such as http://localhost:8000/mock")
        if not question.method.isascii() or not question.method.isalpha():
            raise QuestionError("method", "must be a word such as GET")
        port = port or PORTS[url.scheme]
        if not url.netloc.isascii():
            raise QuestionError("url", "must have its host in ASCII, as it is sent")
        fields = {name.lower().encode(): [value.encode()] for name, value in question.fields.items()}
        host = fields.get(b"host", [url.netloc.rpartition("@")[2].encode()])[0]
        is_tls = url.scheme in ("https", "grpcs")
        path = normalize(url.path or "/")
        return cls(
            question.method.upper().encode(),
            url.scheme.encode(),
            host,
            port,
            path.encode("utf-8", "surrogateescape"),
            url.query.encode(),
            url.hostname.lower().encode() if is_tls else None,
            fields,
        )
