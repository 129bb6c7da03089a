"""Settings of the http-log plugin as an operator writes them.

Source: kong/plugins/http-log/schema.lua 3.9; GET /schemas/plugins/http-log of a live Kong 3.9.1.
"""

from urllib.parse import urlsplit

from kongdp.entities.field import Field
from kongdp.entities.schemas.common import integer, map_of, number, record, string
from kongdp.entities.schemas.plugins import PROTOCOLS_ANY, PluginSchema, config


def _url_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "could not parse url. invalid url"
    if not host:
        return "missing host in url"
    return None if parts.scheme else "missing scheme in url"


def _deprecated(kind: str, name: str, successor: str, words: str, old_default: int) -> tuple[str, Field]:
    notice = {
        "removal_in_version": "4.0",
        "message": f"http-log: config.{name} {words}, please use config.queue.{successor} instead",
        "old_default": old_default,
    }
    return name, Field(type=kind, deprecation=notice)


_QUEUE = record(
    ("max_batch_size", integer(default=1, between=(1, 1000000))),
    ("max_coalescing_delay", number(default=1, between=(0, 3600))),
    ("max_entries", integer(default=10000, between=(1, 1000000))),
    ("max_bytes", integer()),
    ("max_retry_time", number(default=60)),
    ("initial_retry_delay", number(default=0.01, between=(0.001, 1000000))),
    ("max_retry_delay", number(default=60, between=(0.001, 1000000))),
    ("concurrency_limit", integer(default=1, one_of=(-1, 1))),
    required=True,
)
_HEADERS = map_of(
    keys=string(
        match_none=(
            {"pattern": "^[Hh][Oo][Ss][Tt]$", "err": "cannot contain 'Host' header"},
            {
                "pattern": "^[Cc][Oo][Nn][Tt][Ee][Nn][Tt]%-[Ll][Ee][nn][Gg][Tt][Hh]$",
                "err": "cannot contain 'Content-Length' header",
            },
            {
                "pattern": "^[Cc][Oo][Nn][Tt][Ee][Nn][Tt]%-[Tt][Yy][Pp][Ee]$",
                "err": "cannot contain 'Content-Type' header",
            },
        )
    ),
    values=string(referenceable=True),
)

SCHEMA = PluginSchema(
    "http-log",
    fields=(
        ("protocols", PROTOCOLS_ANY),
        config(
            ("http_endpoint", string(required=True, encrypted=True, referenceable=True, validator=_url_problem)),
            ("method", string(default="POST", one_of=("POST", "PUT", "PATCH"))),
            (
                "content_type",
                string(default="application/json", one_of=("application/json", "application/json; charset=utf-8")),
            ),
            ("timeout", number(default=10000)),
            ("keepalive", number(default=60000)),
            _deprecated("integer", "retry_count", "max_retry_time", "no longer works", 10),
            _deprecated("integer", "queue_size", "max_batch_size", "is deprecated", 1),
            _deprecated("number", "flush_timeout", "max_coalescing_delay", "is deprecated", 2),
            ("headers", _HEADERS),
            ("queue", _QUEUE),
            ("custom_fields_by_lua", map_of(string(len_min=1), string(len_min=1))),
        ),
    ),
)
