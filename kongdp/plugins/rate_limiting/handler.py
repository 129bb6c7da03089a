"""rate-limiting: so many requests in a calendar window, for each consumer, address, service, field or path.

Windows are fixed, in UTC. Usage is read first and counted after, so a refused request counts nothing; requests that are judged at the
same instant in several workers may overshoot by one for each worker. Counts are the node's (policy local): its workers share them; or a
Redis server's (policy redis), under the keys that Kong's nodes use. Kong's `sync_rate`, which counts locally and brings the counts together
now and then, is taken for -1: every request asks the server.
Hot for its routes. Source: spec of bundled plugins, section 3; Kong 3.9 plugins/rate-limiting/{handler,policies/init,expiration}.lua.
"""

from __future__ import annotations

import asyncio
import calendar
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from kongdp.entities.model import Plugin
from kongdp.plugins.base import Answer, ExchangeView, Handler, Line, Node, PluginError, error
from kongdp.plugins.rates import Place, private_rates
from kongdp.plugins.redis import Command, Redis, RedisError, RedisServer

WINDOWS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "month": 2592000, "year": 31536000}
"""A window's length as its fields tell it: Kong's months have 30 days there, whatever the calendar says."""

NOTE = "rate-limiting"

COMPLAINT_PERIOD_S = 10.0
"""Between two lines about a server that does not answer, for each instance."""

IDENTIFIERS_MAX = 1000
"""Identifiers whose windows are remembered, for each instance."""

_NOBODY = "00000000-0000-0000-0000-000000000000"

log = logging.getLogger("kongdp.plugins")


@dataclass(frozen=True, slots=True)
class Limit:
    """One period's limit, and its names in fields."""

    period: str
    limit: int
    limit_name: bytes
    remaining_name: bytes


@dataclass(slots=True)
class Window:
    """A limit's window at a moment, for one identifier (with the instance's scope)."""

    limit: Limit
    began: int
    identifier: bytes

    @property
    def key(self) -> bytes:
        """What it is counted under in this node."""
        return b"%b:%b:%d" % (self.identifier, self.limit.period.encode(), self.began)

    @property
    def shared_key(self) -> bytes:
        """What it is counted under in a server that Kong nodes use as well: Kong's name for it, in milliseconds."""
        return b"ratelimit:%b:%d:%b" % (self.identifier, self.began * 1000, self.limit.period.encode())

    @property
    def until(self) -> int:
        """When the count may be forgotten."""
        return self.began + WINDOWS_S[self.limit.period] + _SLACK_S[self.limit.period]


@dataclass(slots=True)
class Windows:
    """The windows of one identifier, and where they are counted. True from `began` until `ends` (s since the epoch)."""

    each: Sequence[Window]
    places: Sequence[Place]
    began: int
    ends: int


@dataclass(slots=True)
class Usage:
    """What is left of a limit in its window."""

    window: Window
    left: int


class RateLimiting(Handler):
    """One instance of rate-limiting."""

    PRIORITY = 910

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        config = plugin.config
        policy = config.get("policy") or "local"
        if policy not in ("local", "redis"):
            raise PluginError(
                f"config.policy is '{policy}', which needs Kong's own database: use 'local' (one node's workers together) or 'redis'"
            )
        self._rates = node.rates or private_rates(4096)
        self._redis = Redis(_server(config["redis"])) if policy == "redis" else None
        self.waits = self._redis is not None
        self._is_tolerant = config.get("fault_tolerant", True)
        self._counting: set[asyncio.Task[None]] = set()
        self._limits = [
            Limit(period, int(config[period]), *_names(period))
            for period in WINDOWS_S
            if config.get(period) is not None
        ]
        self._by = config.get("limit_by") or "consumer"
        self._header = (config.get("header_name") or "").lower().encode()
        self._path = (config.get("path") or "").encode()
        self._hides = bool(config.get("hide_client_headers"))
        self._status = int(config.get("error_code") or 429)
        self._message = config.get("error_message") or "API rate limit exceeded"
        # the scope of the counts is the instance's, not the request's: a global one counts over all routes
        self._scope = f"{plugin.route_id or _NOBODY}:{plugin.service_id or _NOBODY}:".encode()
        self._complained_at = -COMPLAINT_PERIOD_S
        self._known: dict[bytes, Windows] = {}

    def access(self, exchange: ExchangeView) -> Answer | None:
        """Refuse what is over a limit, else count it."""
        now = self.node.wall()
        rates = self._rates
        identifier = self._identifier(exchange)
        windows = self._known.get(identifier)
        if windows is None or not windows.began <= now < windows.ends:
            windows = self._remembered(identifier, now)
        answer = self._judge(exchange, windows.each, [rates.used(place, now) for place in windows.places], now)
        if answer is None:
            for window, place in zip(windows.each, windows.places, strict=True):
                rates.add(place, window.until, now)
        return answer

    def _remembered(self, identifier: bytes, now: float) -> Windows:
        """PERF: names and places of an identifier's windows, made once for each: 3 us a request."""
        each = self._windows(identifier, now)
        day = window_start("day", now)  # months and years begin with one
        began = max(day, max(window.began for window in each))
        ends = min(day + WINDOWS_S["day"], min(window.began + WINDOWS_S[window.limit.period] for window in each))
        if len(self._known) >= IDENTIFIERS_MAX:
            self._known.clear()
        places = [self._rates.place(window.key) for window in each]
        windows = self._known[identifier] = Windows(each, places, began, ends)
        return windows

    async def access_waiting(self, exchange: ExchangeView) -> Answer | None:
        """The same with counts that nodes share; they are counted behind the request's back, as by Kong."""
        redis = self._redis
        assert redis is not None
        now = self.node.wall()
        windows = self._windows(self._identifier(exchange), now)
        try:
            used = await redis.ask([(b"GET", window.shared_key) for window in windows])
        except RedisError as problem:
            self._complain(problem)
            return None if self._is_tolerant else error(500)
        answer = self._judge(exchange, windows, [int(count or 0) for count in used], now)
        if answer is None:
            task = asyncio.get_running_loop().create_task(self._count(redis, windows))
            self._counting.add(task)
            task.add_done_callback(self._counting.discard)
        return answer

    async def _count(self, redis: Redis, windows: Sequence[Window]) -> None:
        commands: list[Command] = []
        for window in windows:
            commands.append((b"INCRBY", window.shared_key, b"1"))
            commands.append((b"EXPIRE", window.shared_key, b"%d" % WINDOWS_S[window.limit.period]))
        try:
            await redis.ask(commands)
        except RedisError as problem:
            self._complain(problem)

    def _complain(self, problem: RedisError) -> None:
        now = monotonic()
        if now - self._complained_at >= COMPLAINT_PERIOD_S:
            self._complained_at = now
            log.error("rate-limiting (%s): redis: %s", self.plugin.id, problem)

    def _judge(
        self, exchange: ExchangeView, windows: Sequence[Window], used: Sequence[int], now: float
    ) -> Answer | None:
        usages: list[Usage] = []
        stop: Usage | None = None
        for window, count in zip(windows, used, strict=True):
            usage = Usage(window, window.limit.limit - count)
            usages.append(usage)
            if usage.left <= 0:
                stop = usage
        lines, reset = ([], None) if self._hides else _fields(usages, stop, now)
        if stop is not None:
            if reset is not None:
                lines.append((b"Retry-After", reset))
            return error(self._status, self._message, lines)
        exchange.notes[NOTE] = lines
        return None

    def close(self) -> None:
        """Keep no connection."""
        if self._redis is not None:
            self._redis.close()

    def header_filter(self, exchange: ExchangeView) -> None:
        """Tell the client what is left, whoever answers in the end."""
        for name, value in exchange.notes.get(NOTE, ()):
            exchange.response_fields.set(name, value)

    def _windows(self, identifier: bytes, now: float) -> list[Window]:
        return [Window(limit, window_start(limit.period, now), self._scope + identifier) for limit in self._limits]

    def _identifier(self, exchange: ExchangeView) -> bytes:
        """Whose requests are counted together; the client's address where the configured one is missing."""
        found: bytes | str | None = None
        if self._by == "consumer":
            found = exchange.consumer.id if exchange.consumer is not None else None
        elif self._by == "credential":
            found = exchange.credential.id if exchange.credential is not None else None
        elif self._by == "service":
            service = exchange.service
            found = service.id if service is not None else None
        elif self._by == "header":
            found = exchange.request_fields.first(self._header)
        elif self._by == "path" and exchange.path == self._path:
            found = self._path
        found = found or exchange.client_ip
        return found.encode() if isinstance(found, str) else found


_SLACK_S = {"second": 0, "minute": 0, "hour": 0, "day": 0, "month": 2 * 86400, "year": 2 * 86400}
"""A count must live as long as the longest month or year; its key has the window's start, so living longer does no harm."""


def window_start(period: str, now: float) -> int:
    """When the calendar window that `now` is in began, in s since the epoch (UTC)."""
    whole = int(now)
    if period in ("second", "minute", "hour", "day"):
        return whole - whole % WINDOWS_S[period]
    at = time.gmtime(whole)
    return calendar.timegm((at.tm_year, at.tm_mon if period == "month" else 1, 1, 0, 0, 0))


def _server(config: Mapping[str, Any]) -> RedisServer:
    return RedisServer(
        config["host"],
        config.get("port") or 6379,
        (config.get("timeout") or 2000) / 1000,
        config.get("username"),
        config.get("password"),
        config.get("database") or 0,
        bool(config.get("ssl")),
        bool(config.get("ssl_verify")),
        config.get("server_name"),
    )


def _names(period: str) -> tuple[bytes, bytes]:
    name = period.capitalize().encode()
    return b"X-RateLimit-Limit-" + name, b"X-RateLimit-Remaining-" + name


def _fields(usages: list[Usage], stop: Usage | None, now: float) -> tuple[list[Line], bytes]:
    """What the client is told: each period, and the tightest window (lowest rest, then the longer one) once more."""
    lines: list[Line] = []
    tightest: tuple[int, int] | None = None
    limit = reset = b""
    for usage in usages:
        # on a refusal only the period that refused counts this request
        left = max(0, usage.left - 1 if stop is None or stop is usage else usage.left)
        each = usage.window.limit
        length = WINDOWS_S[each.period]
        shown = b"%d" % each.limit
        lines += [(each.limit_name, shown), (each.remaining_name, b"%d" % left)]
        if tightest is None or (left, -length) < tightest:
            tightest = left, -length
            limit, reset = shown, b"%d" % max(1, length - int(now - usage.window.began))
    assert tightest is not None
    lines += [(b"RateLimit-Limit", limit), (b"RateLimit-Remaining", b"%d" % tightest[0]), (b"RateLimit-Reset", reset)]
    return lines, reset


HANDLER = RateLimiting
