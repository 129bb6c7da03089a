"""proxy-cache: answers of the upstream kept for a while and given again.

Keys tell apart consumer, route, method, path, arguments and the fields an instance varies by, so nobody is given another consumer's
answer. Only whole answers are kept. Each worker has a cache of its own. Hot for its routes.
Source: spec of bundled plugins, section 3; Kong 3.9 plugins/proxy-cache/{handler,cache_key}.lua.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from math import floor

from kongdp.entities.model import Plugin
from kongdp.http1.fields import RESPONSE_FIELDS
from kongdp.plugins.base import Answer, ExchangeView, Handler, Line, Node
from kongdp.plugins.fields import FieldLines, arguments
from kongdp.plugins.proxy_cache.cache import Entry, MemoryCache

NOTE = "proxy-cache"
MISS, HIT, REFRESH, BYPASS = b"Miss", b"Hit", b"Refresh", b"Bypass"

_NOT_KEPT = frozenset(RESPONSE_FIELDS) - {b"content-type"} | {
    b"proxy-authenticate",
    b"proxy-authorization",
    b"te",
    b"trailers",
}
"""Fields that are of one connection, or that the gateway writes anew."""

_SEPARATORS = ((b"%", b"%25"), (b"|", b"%7C"), (b":", b"%3A"), (b"=", b"%3D"), (b",", b"%2C"))

Directives = dict[str, str]

_caches: dict[int, MemoryCache] = {}
"""This worker's cache, by its size: one, but for tests."""


@dataclass(slots=True)
class Work:
    """What an exchange has to do with the cache: what the client is told, and the answer that is being gathered."""

    status: bytes
    key: str = ""
    stores: bool = False
    lines: tuple[Line, ...] = ()
    ttl_s: float = 0.0
    pieces: list[bytes] = field(default_factory=list)
    bytes: int = 0


class ProxyCache(Handler):
    """One instance of proxy-cache."""

    PRIORITY = 100

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        config = plugin.config
        self._codes = frozenset(config["response_code"])
        self._methods = frozenset(method.encode() for method in config["request_method"])
        self._types = [_media_type(text) for text in config["content_type"]]
        self._ttl_s = float(config.get("cache_ttl") or 300)
        self._storage_s: float | None = config.get("storage_ttl")
        self._obeys = bool(config.get("cache_control"))
        self._ignores_case = bool(config.get("ignore_uri_case"))
        self._by_arguments = _names(config.get("vary_query_params"))
        self._by_fields = sorted(name.lower() for name in _names(config.get("vary_headers")) or ())
        shown = config.get("response_headers") or {}
        self._shows_age, self._shows_status, self._shows_key = (
            shown.get(name, True) for name in ("age", "X-Cache-Status", "X-Cache-Key")
        )

    def access(self, exchange: ExchangeView) -> Answer | None:
        """Answer out of the cache, or note what to keep."""
        asked = _directives(exchange.request_fields) if self._obeys else {}
        if exchange.method not in self._methods or (self._obeys and self._is_not_for_caches(exchange, asked)):
            exchange.notes[NOTE] = Work(BYPASS)
            return None
        work = exchange.notes[NOTE] = Work(MISS, self._key(exchange), stores=True)
        now = self.node.wall()
        entry = self._cache.get(work.key, now)
        if entry is not None:
            if self._is_fresh(entry, asked, now):
                work.status, work.stores = HIT, False
                age = [(b"age", b"%d" % floor(now - entry.stored_at))] if self._shows(exchange, self._shows_age) else []
                return Answer(entry.status, body=entry.body, fields=[*entry.lines, *age], proxied=True)
            work.status = REFRESH
        return Answer(504) if "only-if-cached" in asked else None

    def header_filter(self, exchange: ExchangeView) -> None:
        """Tell the client what became of it, and begin to gather an answer that may be kept."""
        work: Work | None = exchange.notes.get(NOTE)
        if work is None:
            return
        fields = exchange.response_fields
        if work.stores:
            ttl_s = self._lifetime_s(exchange)
            work.stores = ttl_s > 0
            work.ttl_s = ttl_s
            if work.stores:
                work.lines = tuple((name, value) for name, values in fields for value in values if _is_kept(name))
            else:
                work.status = BYPASS
        if self._shows(exchange, self._shows_status):
            fields.set(b"X-Cache-Status", work.status)
        if work.key and self._shows(exchange, self._shows_key):
            fields.set(b"X-Cache-Key", work.key.encode())

    def body_filter(self, exchange: ExchangeView, data: bytes, ended: bool) -> bytes:
        """Gather; keep the answer when it is whole."""
        work: Work | None = exchange.notes.get(NOTE)
        if work is None or not work.stores:
            return data
        work.pieces.append(data)
        work.bytes += len(data)
        if work.bytes > self._cache.entry_bytes_max:
            work.stores = False
            work.pieces.clear()
        elif ended:
            work.stores = False
            now = self.node.wall()
            kept_s = self._storage_s or work.ttl_s
            body = b"".join(work.pieces)
            self._cache.put(work.key, Entry(exchange.status, work.lines, body, now, work.ttl_s, now + kept_s))
        return data

    @property
    def _cache(self) -> MemoryCache:
        size = self.node.cache_bytes
        found = _caches.get(size)
        if found is None:
            found = _caches[size] = MemoryCache(size)
        return found

    def _shows(self, exchange: ExchangeView, configured: bool) -> bool:
        return configured or b"kong-debug" in exchange.request_fields

    def _is_not_for_caches(self, exchange: ExchangeView, asked: Directives) -> bool:
        return "no-store" in asked or "no-cache" in asked or b"authorization" in exchange.request_fields

    def _is_fresh(self, entry: Entry, asked: Directives, now: float) -> bool:
        age = now - entry.stored_at
        if not self._obeys:
            return age <= self._ttl_s
        maximum, stale, fresh = (_seconds(asked.get(name)) for name in ("max-age", "max-stale", "min-fresh"))
        if maximum is not None and age > maximum:
            return False
        if stale is not None and age - entry.ttl_s > stale:
            return False
        return fresh is None or entry.ttl_s - age >= fresh

    def _lifetime_s(self, exchange: ExchangeView) -> float:
        """How long this answer counts as fresh; 0 for one that is not kept."""
        fields = exchange.response_fields
        content_type = fields.first(b"content-type")
        if exchange.status not in self._codes or not content_type:
            return 0.0
        offered = _media_type(content_type.decode("latin-1"))
        if not any(_matches(allowed, offered) for allowed in self._types):
            return 0.0
        if not self._obeys:
            return self._ttl_s
        said = _directives(fields)
        if said.keys() & {"private", "no-store", "no-cache"}:
            return 0.0
        seconds = _seconds(said.get("s-maxage"))
        if seconds is None:
            seconds = _seconds(said.get("max-age"))
        if seconds is None:
            seconds = _until(fields.first(b"expires"), self.node.wall())
        return max(0.0, seconds)

    def _key(self, exchange: ExchangeView) -> str:
        route = exchange.route.id if exchange.route is not None else ""
        consumer = exchange.consumer.id if exchange.consumer is not None else ""
        prefix = f"{consumer}:{route}" if consumer and route else route or "default"
        line = exchange.method + b" " + exchange.raw_path + (b"" if exchange.query else b" HTTP/1.1")
        line = line.lower() if self._ignores_case else line
        fields = exchange.request_fields
        varied = [b"%b=%b" % (name, _joined(fields.all(name))) for name in self._by_fields if name in fields]
        parts = (
            prefix.encode(),
            exchange.method,
            line.replace(b"|", b"%7C"),
            self._arguments(exchange.query),
            b":".join(varied),
        )
        return hashlib.sha256(b"|".join(parts)).hexdigest()

    def _arguments(self, query: bytes) -> bytes:
        if not query:
            return b""
        found: dict[bytes, list[bytes]] = {}
        for name, value in arguments(query):
            if self._by_arguments is None or name in self._by_arguments:
                found.setdefault(name, []).extend([] if value is None else [value])
        parts = [
            b"%b=%b" % (_plain(name), _joined(sorted(values))) if values else _plain(name)
            for name, values in sorted(found.items())
        ]
        return b":".join(parts)


def _plain(text: bytes) -> bytes:
    """Without what separates parts of a key: a client must not be able to store its answer under the key of another request."""
    for separator, escape in _SEPARATORS:
        if separator in text:
            text = text.replace(separator, escape)
    return text


def _joined(values: list[bytes]) -> bytes:
    return b",".join(map(_plain, values))


def _names(texts: list[str] | None) -> frozenset[bytes] | None:
    return None if texts is None else frozenset(text.encode() for text in texts)


def _is_kept(name: bytes) -> bool:
    return name not in _NOT_KEPT and b"ratelimit-remaining" not in name


def _directives(fields: FieldLines) -> Directives:
    """Cache-Control's directives in lower case, with their values."""
    found: Directives = {}
    for line in fields.all(b"cache-control"):
        for part in line.decode("latin-1").split(","):
            name, _, value = part.strip().partition("=")
            if name:
                found[name.lower()] = value.strip('"')
    return found


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() else None


def _until(expires: bytes | None, now: float) -> float:
    """Seconds until an HTTP date; 0 for none."""
    if expires is None:
        return 0.0
    try:
        return parsedate_to_datetime(expires.decode("latin-1")).timestamp() - now
    except (TypeError, ValueError):
        return 0.0


MediaType = tuple[str, str, frozenset[tuple[str, str]]]


def _media_type(text: str) -> MediaType:
    """Type, subtype and parameters, in lower case."""
    name, *rest = (part.strip().lower() for part in text.split(";"))
    kind, _, subtype = name.partition("/")
    parameters = frozenset(
        (each.strip(), value.strip(' "')) for each, _, value in (part.partition("=") for part in rest if part)
    )
    return kind, subtype, parameters


def _matches(allowed: MediaType, offered: MediaType) -> bool:
    """Whether a type is an allowed one, parameters included; "*" stands for any type or subtype."""
    return allowed[0] in ("*", offered[0]) and allowed[1] in ("*", offered[1]) and allowed[2] == offered[2]


HANDLER = ProxyCache
