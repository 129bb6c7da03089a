"""Settings of the rate-limiting plugin as an operator writes them.

Source: kong/plugins/rate-limiting/schema.lua 3.9; GET /schemas/plugins/rate-limiting of a live Kong 3.9.1.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kongdp.entities.addresses import host_problem, sni_problem
from kongdp.entities.checks import AtLeastOneOf, Conditional
from kongdp.entities.field import Field
from kongdp.entities.schemas.common import PORT, boolean, integer, number, record, string
from kongdp.entities.schemas.plugins import PROTOCOLS_HTTP, PluginSchema, config
from kongdp.entities.shape import Shape, Shorthand

PERIODS = ("second", "minute", "hour", "day", "month", "year")


def _order_problem(settings: Mapping[str, Any]) -> str | None:
    """A longer period may not have the lower limit: it would be the only one that counts."""
    given = [(period, settings[period]) for period in PERIODS if settings[period] is not None]
    for position, (shorter, low) in enumerate(given):
        for longer, high in given[position + 1 :]:
            if high < low:
                return f"The limit for {longer}({high:.1f}) cannot be lower than the limit for {shorter}({low:.1f})"
    return None


_REDIS: tuple[tuple[str, Field], ...] = (
    ("host", string(validator=host_problem)),
    ("port", PORT.but(default=6379)),
    ("timeout", integer(default=2000, between=(0, 2147483646))),
    ("username", string(referenceable=True)),
    ("password", string(referenceable=True, encrypted=True, len_min=0)),
    ("database", integer(default=0)),
    ("ssl", boolean(required=False, default=False)),
    ("ssl_verify", boolean(required=False, default=False)),
    ("server_name", string(required=False, validator=sni_problem)),
)


def _into_redis(name: str) -> Callable[[Any], Mapping[str, Any]]:
    return lambda value: {"redis": {name: value}}


# Before 3.6 these stood beside the record; Kong still takes and shows them.
_SHORTHANDS = tuple(
    Shorthand(f"redis_{name}", field.but(default=None), _into_redis(name), back=("redis", name))
    for name, field in _REDIS
)
_FIELDS: tuple[tuple[str, Field], ...] = (
    *((period, number(gt=0)) for period in PERIODS),
    (
        "limit_by",
        string(default="consumer", one_of=("consumer", "credential", "ip", "service", "header", "path")),
    ),
    ("header_name", string()),
    ("path", string(starts_with="/", match_none=({"pattern": "//", "err": "must not have empty segments"},))),
    ("policy", string(default="local", len_min=0, one_of=("local", "cluster", "redis"))),
    ("fault_tolerant", boolean(required=True, default=True)),
    ("redis", record(*_REDIS, required=True)),
    ("hide_client_headers", boolean(required=True, default=False)),
    ("error_code", number(default=429, gt=0)),
    ("error_message", string(default="API rate limit exceeded")),
    ("sync_rate", number(required=True, default=-1)),
)


def _needs(field: str, value: str, needed: str) -> Conditional:
    return Conditional(f"config.{field}", {"eq": value}, f"config.{needed}", {"required": True})


SCHEMA = PluginSchema(
    "rate-limiting",
    fields=(
        ("protocols", PROTOCOLS_HTTP),
        config(shape=Shape(_FIELDS, shorthands=_SHORTHANDS), validator=_order_problem),
    ),
    checks=(
        AtLeastOneOf(tuple(f"config.{period}" for period in PERIODS)),
        _needs("policy", "redis", "redis.host"),
        _needs("policy", "redis", "redis.port"),
        _needs("limit_by", "header", "header_name"),
        _needs("limit_by", "path", "path"),
        _needs("policy", "redis", "redis.timeout"),
    ),
)
