"""Paths of the Admin API that are no collection: the node, its schemas, tags, the health of upstreams.

In: a request and the store.  Out: a response. Each handler is a row of `standard_endpoints`; /config has its own
module, and so has what is about the node's workings.
Source: kong/api/routes/{kong,plugins,tags,upstreams}.lua 3.9; answers of a live Kong 3.9.1.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import merge
from typing import Any

from kongdp.adminapi import errors
from kongdp.adminapi.config_endpoint import get_config, post_config
from kongdp.adminapi.context import Context, Handler, NodeInfo
from kongdp.adminapi.messages import Request, Response, decode_body, json_response
from kongdp.adminapi.node_endpoints import node_endpoints
from kongdp.adminapi.paging import Page, page_body, parse_page
from kongdp.adminapi.store import Reader, TagFilter
from kongdp.entities.addresses import parse_address
from kongdp.entities.schema import Schema
from kongdp.entities.schemas.common import tag_problem
from kongdp.entities.table import Row

# Kong has them only where it runs WebAssembly, and says so; decK takes that for "none".
FILTER_CHAINS = (
    "/filter-chains",
    "/filter-chains/{filter_chains}",
    "/filter-chains/{filter_chains}/route",
    "/filter-chains/{filter_chains}/service",
)


def standard_endpoints(info: NodeInfo) -> dict[str, Mapping[str, Handler]]:
    """The paths every node has."""
    return {
        "/": {"GET": get_root},
        "/config": {"GET": get_config, "POST": post_config},
        "/endpoints": {"GET": get_endpoints},
        **dict.fromkeys(FILTER_CHAINS, dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), refuse_filter_chains)),
        **node_endpoints(info),
        "/plugins/enabled": {"GET": get_enabled_plugins},
        "/schemas/plugins/validate": {"POST": validate_plugin},
        "/schemas/plugins/{plugin}": {"GET": get_plugin_schema},
        "/schemas/vaults/{vault}": {"GET": get_vault_schema},
        "/schemas/{collection}": {"GET": get_schema},
        "/schemas/{collection}/validate": {"POST": validate_entity},
        "/tags": {"GET": get_tags},
        "/tags/{tag}": {"GET": get_tags},
        "/upstreams/{upstreams}/health": {"GET": get_upstream_health},
        "/upstreams/{upstreams}/targets/all": {"GET": get_all_targets},
        **{
            f"/upstreams/{{upstreams}}/targets/{{targets}}{address}/{health}": {"PUT": put_target_health}
            for address in ("", "/{address}")
            for health in ("healthy", "unhealthy")
        },
    }


def get_root(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """GET /: the node."""
    info = context.info
    with context.store.read() as reader:
        configured = sorted({row["name"] for row in _all_rows(reader, "plugins")})
    return json_response(
        200,
        {
            "tagline": "Welcome to kong",
            "version": info.version,
            "edition": info.edition,
            "hostname": info.hostname,
            "node_id": info.node_id,
            "lua_version": "none",
            "timers": {"running": 0, "pending": 0},
            "plugins": {
                "available_on_server": {
                    name: info.plugin_versions.get(name, {"version": info.version, "priority": 0})
                    for name in sorted(info.plugins)
                },
                "enabled_in_cluster": configured,
            },
            "configuration": info.configuration,
            "pids": info.pids,
        },
    )


def get_endpoints(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """GET /endpoints: every path."""
    return json_response(200, {"data": context.paths, "next": None})


def get_enabled_plugins(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """GET /plugins/enabled: what may be configured."""
    return json_response(200, {"enabled_plugins": sorted(context.info.plugins)})


def get_schema(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """GET /schemas/{collection}."""
    return json_response(200, _known_schema(context, names["collection"]).describe())


def _known_schema(context: Context, name: str) -> Schema:
    schema = context.schema(name)
    if schema is None:
        raise errors.plain(404, f"No entity named '{name}'")
    return schema


def get_plugin_schema(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """GET /schemas/plugins/{plugin}."""
    plugin = context.info.plugins.get(names["plugin"])
    if plugin is None:
        raise errors.plain(404, f"No plugin named '{names['plugin']}'")
    return json_response(200, plugin.describe())


def get_vault_schema(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """GET /schemas/vaults/{vault}."""
    vaults = context.schema("vaults")
    shape = vaults.variants.shapes.get(names["vault"]) if vaults is not None and vaults.variants is not None else None
    if shape is None:
        raise errors.plain(404, f"No vault named '{names['vault']}'")
    return json_response(200, {"entity_checks": [], "fields": [{"config": shape.fields["config"].describe()}]})


def validate_entity(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """POST /schemas/{collection}/validate: whether the entity could be created, references aside."""
    schema = _known_schema(context, names["collection"])
    arguments = decode_body(request, schema)
    problems = schema.validate(arguments if isinstance(arguments, dict) else {})
    if problems:
        raise errors.violates(problems)
    return json_response(200, {"message": "schema validation successful"})


def validate_plugin(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """POST /schemas/plugins/validate."""
    return validate_entity(context, request, {"collection": "plugins"})


def get_tags(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """GET /tags and /tags/{tag}: which entities carry which tags, in order of entity id."""
    arguments = request.arguments()
    page = parse_page(arguments, tagged=False)
    tag = names.get("tag")
    if tag is not None:
        problem = tag_problem(tag)
        if problem is not None:
            raise errors.coded(10, problem, {"tag": problem}, name="invalid unique tag")
    with context.store.read() as reader:
        entries = list(_limited(_tagged(context, reader, page, tag), page.size + 1))
    shown = [entry for entry, _ in entries[: page.size]]
    last = list(entries[page.size - 1][1]) if len(entries) > page.size else None
    return json_response(200, page_body(shown, last, request.path, arguments, nested=False))


def _limited(entries: Iterator[Any], count: int) -> Iterator[Any]:
    for _, entry in zip(range(count), entries, strict=False):
        yield entry


def _tagged(
    context: Context, reader: Reader, page: Page, tag: str | None
) -> Iterator[tuple[dict[str, Any], tuple[str, int]]]:
    """(what is shown, (entity id, position of the tag)) after the page's offset."""
    wanted = None if tag is None else TagFilter((tag,))
    after_id = page.after_id
    after_position = page.after[1] if page.after and len(page.after) > 1 and isinstance(page.after[1], int) else 0
    streams = [
        _tagged_rows(reader, schema.name, after_id, wanted)
        for schema in context.resources.schemas.values()
        if "tags" in schema.shape.fields
    ]
    for id, collection, row in merge(*streams, key=lambda entry: (entry[0], entry[1])):
        for position, name in enumerate(row["tags"], 1):
            if (tag is None or name == tag) and not (id == after_id and position <= after_position):
                yield {"entity_name": collection, "entity_id": id, "tag": name}, (id, position)


def _tagged_rows(
    reader: Reader, collection: str, after: str | None, tags: TagFilter | None
) -> Iterator[tuple[str, str, Row]]:
    """Tagged rows of one collection in order of id, beginning with the row `after` itself: its tags may not all have
    been shown."""
    if after is not None:
        first = reader.get(collection, after)
        if first is not None and first["tags"] and (tags is None or tags.accepts(first["tags"])):
            yield after, collection, first
    while rows := reader.page(collection, tags=tags, size=_BATCH, after=after):
        for row in rows:
            if row["tags"]:
                yield row["id"], collection, row
        after = rows[-1]["id"]


def refuse_filter_chains(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """/filter-chains and below, by any method."""
    raise errors.plain(400, "this endpoint is only available when wasm is enabled")


def put_target_health(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """PUT /upstreams/{u}/targets/{t}/healthy and unhealthy, also for one address: on a node that sends no requests there is
    no health to set.
    """
    with context.store.read() as reader:
        upstream = _upstream(context, reader, names["upstreams"])
        schema = context.resources.schemas["targets"]
        if context.resources.select(reader, schema, names["targets"], {"upstream": upstream["id"]}) is None:
            raise errors.not_found()
    raise errors.plain(400, f"Upstream {upstream['name']} has no balancer")


def get_all_targets(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """GET /upstreams/{u}/targets/all: as the list of targets."""
    return _targets(context, request, names, "targets/all", lambda upstream, targets: list(targets))


def get_upstream_health(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """GET /upstreams/{u}/health: each target with its health; ?balancer_health=1: of the whole."""
    arguments = request.arguments()
    if arguments.get("balancer_health") not in ("1", "true"):
        return _targets(context, request, names, "health", lambda up, targets: _with_health(context, up, targets))
    with context.store.read() as reader:
        upstream = _upstream(context, reader, names["upstreams"])
    details = {"health": "HEALTHCHECKS_OFF", "balancer_health": "HEALTHY", "id": upstream["id"], "details": {}}
    return json_response(200, {"data": details, "next": None, "node_id": context.info.node_id})


def _targets(
    context: Context,
    request: Request,
    names: Mapping[str, str],
    tail: str,
    show: Callable[[Row, Sequence[Row]], list[Row]],
) -> Response:
    arguments = request.arguments()
    page = parse_page(arguments)
    with context.store.read() as reader:
        upstream = _upstream(context, reader, names["upstreams"])
        schema = context.resources.schemas["targets"]
        rows, last = context.resources.page(reader, schema, page, {"upstream": upstream["id"]})
    body = page_body(show(upstream, rows), last, f"/upstreams/{names['upstreams']}/{tail}", arguments, nested=True)
    if tail == "health":
        body["node_id"] = context.info.node_id
    return json_response(200, body)


def _upstream(context: Context, reader: Reader, key: str) -> Row:
    upstream = context.resources.select(reader, context.resources.schemas["upstreams"], key)
    if upstream is None:
        raise errors.not_found()
    return upstream


def _with_health(context: Context, upstream: Row, targets: Sequence[Row]) -> list[Row]:
    known = context.info.target_health(upstream, targets) if context.info.target_health is not None else {}
    shown = []
    for target in targets:
        health, data = known.get(target["id"]) or ("HEALTHCHECKS_OFF", _unobserved(target))
        shown.append({**target, "health": health, "data": data})
    return shown


def _unobserved(target: Row) -> dict[str, Any]:
    """What a node that sends no requests knows of a target."""
    address = parse_address(target["target"])
    assert not isinstance(address, str)
    weight = target["weight"]
    known = address.kind != "name"
    return {
        "host": address.host,
        "port": address.port,
        "dns": "A",
        "nodeWeight": weight,
        "weight": {"total": weight, "unavailable": 0, "available": weight},
        "addresses": [{"ip": address.host, "port": address.port, "weight": weight, "health": "HEALTHCHECKS_OFF"}]
        if known
        else [],
    }


_BATCH = 1000


def _all_rows(reader: Reader, collection: str) -> Iterator[Row]:
    after = None
    while rows := reader.page(collection, size=_BATCH, after=after):
        yield from rows
        after = rows[-1]["id"]
