"""What a plugin is: its phases, what it sees of an exchange, and how it answers in the upstream's place.

In: a Plugin entity and the Node it runs on make a Handler, when a configuration is compiled.  Out: for each request, calls of the
phases it has. A phase that a handler does not override costs nothing.
House rules: making a handler has no side effects and raises PluginError for settings that this node cannot honour; the agent makes
every handler once as a rehearsal. A handler may keep state; it lives as long as its entity is unchanged, in each worker for itself.
Plugins know no proxy: what they may touch of an exchange is ExchangeView. Hot for routes that have plugins; no others come here.

  rewrite        before routing; global instances only
  access         before the upstream is chosen; the first that returns an Answer ends the request, later ones are skipped
  header_filter  the response's status and fields are known and may be edited; also for answers of the gateway itself
  body_filter    each piece of the response's body, in order; returns what goes on in its place
  log            the exchange is over

Order in every phase: descending priority. An error in access answers 500; in other phases it is logged and passed over.
Source: Kong 3.9 plugin development guide; runloop/plugins_iterator.lua; spec of bundled plugins, section 1.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import orjson

from kongdp.entities.model import BasicAuthCredential, Consumer, JwtSecret, KeyAuthCredential, Plugin, Route, Service
from kongdp.errors import KongdpError, Source
from kongdp.plugins.fields import FieldLines
from kongdp.plugins.identities import Identities
from kongdp.telemetry.access_log import Redaction

REWRITE, ACCESS, HEADER_FILTER, BODY_FILTER, LOG = PHASES = (
    "rewrite",
    "access",
    "header_filter",
    "body_filter",
    "log",
)

Credential = KeyAuthCredential | BasicAuthCredential | JwtSecret

Line = tuple[bytes, bytes]
"""A field's name and value."""

JSON_TYPE = b"application/json; charset=utf-8"

MESSAGES: Mapping[int, str] = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    411: "Length required",
    413: "Payload too large",
    417: "Expectation failed",
    429: "Too many requests",
    500: "An unexpected error occurred",
    502: "An invalid response was received from the upstream server",
    503: "The upstream server is currently unavailable",
    504: "The upstream server is timing out",
}
"""What an error says when its plugin says nothing (proxying contract, section 6)."""


class PluginError(KongdpError):
    """Settings of a plugin that this node cannot honour; the message says which and why. The configuration is refused."""

    source = Source.OPERATOR


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in the upstream's place. `message`: Kong's error body, in the type the client accepts; else `body` as it is."""

    status: int
    message: str | None = None
    body: bytes = b""
    content_type: bytes | None = None
    fields: Sequence[Line] = ()
    proxied: bool = False  # the answer of an earlier exchange: shown with the fields of a proxied one


def error(status: int, message: str | None = None, fields: Sequence[Line] = ()) -> Answer:
    """kong.response.error: negotiated, with the request id."""
    known = message or MESSAGES.get(status) or f"The upstream server responded with {status}"
    return Answer(status, message=known, fields=fields)


def exit_json(status: int, value: Mapping[str, Any], fields: Sequence[Line] = ()) -> Answer:
    """kong.response.exit with a table: compact JSON, nothing negotiated."""
    return Answer(status, body=orjson.dumps(value), content_type=JSON_TYPE, fields=fields)


@dataclass(frozen=True, slots=True)
class Node:
    """What a handler may know of the node it runs on. `loop` is None in a rehearsal; `rates` counts for all workers together;
    `cache_bytes` is what answers kept in this worker may take.
    """

    id: str = ""
    prefix: str = ""
    loop: asyncio.AbstractEventLoop | None = None
    rates: Rates | None = None
    cache_bytes: int = 1 << 20
    wall: Callable[[], float] = time.time
    pid: int = field(default_factory=os.getpid)
    hostname: str = field(default_factory=socket.gethostname)


class Rates(Protocol):
    """Counts by key, shared by the workers of a node."""

    def place(self, key: bytes) -> tuple[int, int]:
        """Where a key is counted, for the other two."""

    def used(self, place: tuple[int, int], now: float) -> int:
        """How much was counted there by any worker."""

    def add(self, place: tuple[int, int], until: float, now: float) -> None:
        """Count one more; the count is forgotten at `until`."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Names under which a configuration's plugins take credentials, and what takes their values out of URLs."""

    names: frozenset[bytes]
    redaction: Redaction


class RequestFacts(Protocol):
    """What a finished exchange can tell; times in ms, -1 where something did not happen. `source`: 0 the gateway, 1 the upstream."""

    request_id: bytes
    started: float
    status: int
    source: int
    bytes_in: int
    bytes_out: int
    proxy_ms: int
    upstream_ms: int


class ExchangeView(Protocol):
    """One exchange as a handler sees it. `consumer` is None until some handler has identified one.

    `groups`: established by another plugin than the consumer's own. `query` has no "?". `notes` is for what a handler
    wants to remember until a later phase, under a key of its own.
    """

    identities: Identities
    consumer: Consumer | None
    credential: Credential | None
    groups: tuple[str, ...] | None
    notes: dict[str, Any]
    method: bytes
    upstream_path: bytes
    query: bytes
    request_fields: FieldLines
    response_fields: FieldLines

    @property
    def facts(self) -> RequestFacts:
        """Numbers of the exchange."""

    @property
    def scheme(self) -> bytes:
        """b"http" or b"https": how the client came."""

    @property
    def host(self) -> bytes:
        """The Host without port, in lower case."""

    @property
    def port(self) -> int:
        """The port the client sees."""

    @property
    def path(self) -> bytes:
        """The normalised path."""

    @property
    def raw_path(self) -> bytes:
        """The path as the client sent it."""

    @property
    def client_ip(self) -> str:
        """Where the request comes from, after real-ip processing."""

    @property
    def request_id(self) -> bytes:
        """32 hexadecimal digits."""

    @property
    def secrets(self) -> Secrets:
        """What logs must not show."""

    @property
    def connection(self) -> tuple[str, int, int, int]:
        """The node's address and port, a number for the client's connection, and how many requests it has had."""

    @property
    def target(self) -> bytes:
        """Path and query as the client sent them."""

    @property
    def tls(self) -> dict[str, str] | None:
        """Version and cipher of the client's connection, None where it is plain."""

    @property
    def tries(self) -> list[dict[str, Any]]:
        """Each try of the request upstream: address, and what a failed one failed with."""

    @property
    def route(self) -> Route | None:
        """The route that was matched."""

    @property
    def service(self) -> Service | None:
        """Its service."""

    @property
    def captures(self) -> dict[str, str]:
        """What the path's regular expression captured: numbers from "0" on, and names."""

    @property
    def status(self) -> int:
        """The response's status, from header_filter on."""

    async def body(self) -> bytes | None:
        """The whole request body; None when it is longer than what a gateway holds of one."""

    def replace_body(self, body: bytes) -> None:
        """Send this to the upstream instead; only after `body` gave a whole one."""

    def limit_body(self, bytes_max: int, answer: Answer) -> None:
        """End the request with `answer` when more of its body has come."""


class Handler:
    """One configured instance of a plugin. `plugin.config` is what the operator wrote, with defaults."""

    PRIORITY: ClassVar[int] = 0

    phases: frozenset[str] = frozenset()
    """What this class overrides; an instance may have fewer, depending on its settings."""

    waits = False
    """Whether access must wait for something: then `access_waiting` runs, in a task, in place of `access`."""

    alters_body = False
    """Whether body_filter may change the body's length."""

    secret_names: frozenset[bytes] = frozenset()
    """Lower-case names of fields and query arguments that carry credentials for this instance: no log shows their values."""

    counts_consumers = False
    """Whether exchanges of a consumer are counted for it, beside its route."""

    def __init_subclass__(cls) -> None:
        """Note which phases the class has."""
        super().__init_subclass__()
        own = {name for name in PHASES if getattr(cls, name) is not getattr(Handler, name)}
        if cls.access_waiting is not Handler.access_waiting:
            own.add(ACCESS)
        cls.phases = frozenset(own)

    def __init__(self, plugin: Plugin, node: Node) -> None:
        self.plugin = plugin
        self.node = node

    def close(self) -> None:
        """The configuration has this instance no more; exchanges that began with it may still go on."""

    def rewrite(self, exchange: ExchangeView) -> None:
        """Before routing."""

    def access(self, exchange: ExchangeView) -> Answer | None:
        """Judge the request, and edit what goes to the upstream; an Answer ends it."""

    async def access_waiting(self, exchange: ExchangeView) -> Answer | None:
        """As `access`, where it takes time."""

    def header_filter(self, exchange: ExchangeView) -> None:
        """Edit the response's fields."""

    def body_filter(self, exchange: ExchangeView, data: bytes, ended: bool) -> bytes:
        """What goes to the client for this piece."""
        return data

    def log(self, exchange: ExchangeView) -> None:
        """Note a finished exchange."""


def no_lua(plugin: Plugin) -> None:
    """Raise PluginError where a log plugin has fields that Lua is to make."""
    if plugin.config.get("custom_fields_by_lua"):
        raise PluginError("config.custom_fields_by_lua: this node runs no Lua; leave it out")
