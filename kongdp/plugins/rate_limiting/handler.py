"""rate-limiting: so many requests in a calendar window, for each consumer, address, service, field or path.

Windows are fixed, in UTC. Usage is read first and counted after, so a refused request counts nothing; requests that are judged at the
same instant in several workers may overshoot by one for each worker. Counts are the node's (policy local): its workers share them.
Hot for its routes. Source: spec of bundled plugins, section 3; Kong 3.9 plugins/rate-limiting/{handler,policies/init,expiration}.lua.
"""

from __future__ import annotations

import calendar
import time
from dataclasses import dataclass

from kongdp.entities.model import Plugin
from kongdp.plugins.base import Answer, ExchangeView, Handler, Line, Node, PluginError, error
from kongdp.plugins.rates import private_rates

WINDOWS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "month": 2592000, "year": 31536000}
"""A window's length as its fields tell it: Kong's months have 30 days there, whatever the calendar says."""

NOTE = "rate-limiting"


@dataclass(frozen=True, slots=True)
class Limit:
    """One period's limit, and its names in fields."""

    period: str
    limit: int
    limit_name: bytes
    remaining_name: bytes


@dataclass(frozen=True, slots=True)
class Usage:
    """What is left of a limit; `began` and `key` are those of its window now."""

    limit: Limit
    left: int
    began: int
    key: bytes


class RateLimiting(Handler):
    """One instance of rate-limiting."""

    PRIORITY = 910

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        config = plugin.config
        policy = config.get("policy") or "local"
        if policy != "local":
            raise PluginError(
                f"config.policy is '{policy}', and this node only counts by itself: use 'local', whose counts the node's workers share"
            )
        self._rates = node.rates or private_rates(4096)
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
        self._scope = f"{plugin.route_id or ''}:{plugin.service_id or ''}:".encode()

    def access(self, exchange: ExchangeView) -> Answer | None:
        """Refuse what is over a limit, else count it."""
        now = self.node.wall()
        identifier = self._scope + self._identifier(exchange)
        usages = [self._usage(limit, identifier, now) for limit in self._limits]
        stop = next((usage for usage in reversed(usages) if usage.left <= 0), None)
        lines, reset = ([], None) if self._hides else _fields(usages, stop, now)
        if stop is not None:
            if reset is not None:
                lines.append((b"Retry-After", reset))
            return error(self._status, self._message, lines)
        for usage in usages:
            self._rates.add(usage.key, usage.began + WINDOWS_S[usage.limit.period] + _SLACK_S[usage.limit.period], now)
        exchange.notes[NOTE] = lines
        return None

    def header_filter(self, exchange: ExchangeView) -> None:
        """Tell the client what is left, whoever answers in the end."""
        for name, value in exchange.notes.get(NOTE, ()):
            exchange.response_fields.set(name, value)

    def _usage(self, limit: Limit, identifier: bytes, now: float) -> Usage:
        began = window_start(limit.period, now)
        key = b"%b:%b:%d" % (identifier, limit.period.encode(), began)
        return Usage(limit, limit.limit - self._rates.used(key, now), began, key)

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
        window = WINDOWS_S[usage.limit.period]
        shown = b"%d" % usage.limit.limit
        lines += [(usage.limit.limit_name, shown), (usage.limit.remaining_name, b"%d" % left)]
        if tightest is None or (left, -window) < tightest:
            tightest = left, -window
            limit, reset = shown, b"%d" % max(1, window - int(now - usage.began))
    assert tightest is not None
    lines += [(b"RateLimit-Limit", limit), (b"RateLimit-Remaining", b"%d" % tightest[0]), (b"RateLimit-Reset", reset)]
    return lines, reset


HANDLER = RateLimiting
