"""/config: the whole configuration of a node without a database.

POST takes the configuration as JSON (itself, or as text under "config"), YAML or a form; it answers what is then in
force, 304 when `check_hash` is asked for and nothing would change, 400 with every problem. GET gives it back as YAML.
The load itself is the node's (NodeInfo.apply_config); it may take its time, so the answer may have to be awaited.
Source: kong/api/routes/config.lua 3.9.
"""

import inspect
from collections.abc import Awaitable, Mapping
from typing import Any

import yaml

from kongdp.adminapi import errors
from kongdp.adminapi.context import Context
from kongdp.adminapi.messages import Request, Response, decode_body, empty_response, json_response
from kongdp.adminapi.store import Reader
from kongdp.entities.declarative import dump, parse_text
from kongdp.entities.declarative_errors import DeclarativeError
from kongdp.entities.hashing import document_hash
from kongdp.entities.table import Table

_WITH_DATABASE = "this endpoint is only available when Kong is configured to not use a database"
_YAML_TYPES = frozenset(("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"))
_BATCH = 1000


def config_hash(config: Mapping[str, Any]) -> str:
    """The hash of a configuration that came by POST /config: the same for the same content in JSON and in YAML."""
    return document_hash(config)


def load_in_progress(retry_after_s: int) -> errors.ApiError:
    """For `apply_config`: another configuration is being loaded."""
    return errors.plain(429, "Currently loading previous configuration", {"Retry-After": str(retry_after_s)})


def load_timed_out() -> errors.ApiError:
    """For `apply_config`: workers did not answer in time."""
    return errors.plain(504, "Timed out while loading configuration")


def node_exiting() -> errors.ApiError:
    """For `apply_config`: the node is about to stop."""
    return errors.plain(503, "Kong currently exiting")


def get_config(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """GET /config."""
    if context.info.apply_config is None:
        raise errors.plain(400, _WITH_DATABASE)
    with context.store.read() as reader:
        config = dump(_table(context, reader))
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump(config, Dumper=dumper, sort_keys=False, allow_unicode=True)
    return json_response(200, {"config": text})


def _table(context: Context, reader: Reader) -> Table:
    table: Table = {}
    for name in context.resources.schemas:
        rows = table[name] = {}
        key = context.resources.schemas[name].primary_key
        after = None
        while page := reader.page(name, size=_BATCH, after=after):
            rows.update((row[key], row) for row in page)
            after = page[-1][key]
    return table


def post_config(context: Context, request: Request, names: Mapping[str, str]) -> Response | Awaitable[Response]:
    """POST /config."""
    apply = context.info.apply_config
    if apply is None:
        raise errors.plain(400, _WITH_DATABASE)
    arguments = request.arguments()
    flatten = arguments.get("flatten_errors") in ("1", "true")
    try:
        config = _configuration(request)
        hash = config_hash(config)
        if _wants_check(arguments) and context.info.config_hash is not None and context.info.config_hash() == hash:
            return empty_response(304)
        table = apply(config, hash)
    except DeclarativeError as error:
        raise errors.invalid_configuration(error, flatten=flatten) from None
    if inspect.isawaitable(table):
        return _answer_later(table, flatten)
    return json_response(201, table)


async def _answer_later(table: Awaitable[Table], flatten: bool) -> Response:
    try:
        return json_response(201, await table)
    except DeclarativeError as error:
        raise errors.invalid_configuration(error, flatten=flatten) from None


def _wants_check(arguments: Mapping[str, str]) -> bool:
    return arguments.get("check_hash") in ("1", "true")


def _configuration(request: Request) -> Mapping[str, Any]:
    """The configuration in a request's body."""
    media_type = request.media_type()
    if media_type in _YAML_TYPES:
        if not request.body.strip():
            raise errors.plain(400, "expected a declarative configuration")
        return parse_text(request.body)
    arguments = decode_body(request, None)
    text = arguments.get("config") if isinstance(arguments, dict) else None
    if isinstance(text, str):
        return parse_text(text)
    if not isinstance(arguments, dict) or not arguments or media_type != "application/json":
        raise errors.plain(400, "expected a declarative configuration")
    return arguments
