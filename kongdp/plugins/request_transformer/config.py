"""Settings of the request-transformer plugin as an operator writes them.

Source: kong/plugins/request-transformer/schema.lua 3.9; GET /schemas/plugins/request-transformer of a live Kong 3.9.1.
"""

import re

from kongdp.entities.field import Field
from kongdp.entities.schemas.common import array, record, string
from kongdp.entities.schemas.plugins import PROTOCOLS_ANY, PluginSchema, config

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+\Z")


def _strings() -> Field:
    return array(string(), required=True, default=[])


def _header_problem(pair: str) -> str | None:
    name = pair.partition(":")[0]
    return None if _TOKEN.match(name) else f"'{name}' is not a valid header"


def _renamed_header_problem(pair: str) -> str | None:
    new = pair.partition(":")[2].lstrip(":")
    return _header_problem(pair) or (None if _TOKEN.match(new) else f"'{new}' is not a valid header")


def _pairs(*, rename: bool = False) -> Field:
    judge = _renamed_header_problem if rename else _header_problem
    return array(string(match="^[^:]+:.*$", validator=judge), required=True, default=[])


def _operation(headers: Field, *more: tuple[str, Field]) -> Field:
    return record(("body", _strings()), ("headers", headers), ("querystring", _strings()), *more, required=True)


SCHEMA = PluginSchema(
    "request-transformer",
    fields=(
        ("protocols", PROTOCOLS_ANY),
        config(
            ("http_method", string(match="^%u+$")),
            ("remove", _operation(_strings())),
            ("rename", _operation(_pairs(rename=True))),
            ("replace", _operation(_pairs(), ("uri", string()))),
            ("add", _operation(_pairs())),
            ("append", _operation(_pairs())),
        ),
    ),
)
