"""Paths of the Admin API about the node's own workings: its cache, its timers, how much it logs.

In: a request and facts of the node (context.NodeInfo).  Out: a response. We keep no cache that one could look into, and
our timers are not Kong's; both answer in Kong's shapes that there is nothing. Kong changes the level of a node only where
it has a database.
Source: kong/api/routes/{cache,debug,kong}.lua 3.9; entities notes, section 4.
"""

import math
from collections.abc import Mapping

from kongdp.adminapi import errors
from kongdp.adminapi.context import Context, Handler, NodeInfo
from kongdp.adminapi.messages import Request, Response, empty_response, json_response

LOG_LEVELS = ("debug", "info", "notice", "warn", "error", "crit", "alert", "emerg")
# How long a changed level lasts unless the request says, in seconds: Kong's.
LEVEL_TIMEOUT_S = 60
# Longer than this nobody waits; a timer takes no more (threading.TIMEOUT_MAX is above it everywhere).
LEVEL_TIMEOUT_S_MAX = 86_400 * 365


def node_endpoints(info: NodeInfo) -> dict[str, Mapping[str, Handler]]:
    """The paths. Where a cluster has one kind of nodes the path is about all of them; a control plane's says whom it means: data
    planes have a level of their own, which nobody changes from here.
    """
    is_control_plane = info.configuration.get("role") == "control_plane"
    cluster = "/debug/cluster/control-planes-nodes" if is_control_plane else "/debug/cluster"
    return {
        "/cache": {"DELETE": delete_cache},
        "/cache/{key}": {"GET": get_cached, "DELETE": delete_cache},
        "/debug/node/log-level": {"GET": get_log_level},
        "/debug/node/log-level/{log_level}": {"PUT": put_log_level},
        f"{cluster}/log-level/{{log_level}}": {"PUT": put_cluster_log_level},
        "/timers": {"GET": get_timers},
    }


def get_cached(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """GET /cache/{key}: nothing is cached here under a key of Kong's."""
    raise errors.not_found()


def delete_cache(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """DELETE /cache and /cache/{key}."""
    return empty_response(204)


def get_timers(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """GET /timers."""
    stats = {
        "sys": {"running": 0, "pending": 0, "waiting": 0, "total": 0, "runs": 0},
        "timers": {},
        "flamegraph": {"running": "", "pending": "", "elapsed_time": ""},
    }
    return json_response(200, {"worker": {"id": 0, "count": 1}, "stats": stats})


def get_log_level(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """GET /debug/node/log-level."""
    log_level = context.info.log_level
    now = log_level.now if log_level is not None else context.info.configuration.get("log_level", "notice")
    return json_response(200, {"message": f"log level: {now}"})


def put_log_level(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """PUT /debug/node/log-level/{level}: for `timeout` seconds, 60 unless it is given."""
    return _put_log_level(context, request, names, is_for_all=False)


def put_cluster_log_level(context: Context, request: Request, names: Mapping[str, str]) -> Response:
    """The same for every node over this database. Where it is the level here already, nobody is told: Kong's way."""
    return _put_log_level(context, request, names, is_for_all=True)


def _put_log_level(context: Context, request: Request, names: Mapping[str, str], *, is_for_all: bool) -> Response:
    log_level, wanted = context.info.log_level, names["log_level"]
    if log_level is None:
        raise errors.plain(405, "cannot change log level when not using a database")
    if wanted not in LOG_LEVELS:
        raise errors.plain(400, f"unknown log level: {wanted}")
    timeout_s = _timeout_s(request)
    if timeout_s < 0:
        raise errors.plain(400, "timeout must be greater than or equal to 0")
    if log_level.now == wanted:
        return json_response(200, {"message": f"log level is already {wanted}"})
    if is_for_all:
        log_level.change_everywhere(wanted, timeout_s)
    else:
        log_level.change(wanted, timeout_s)
    return json_response(200, {"message": "log level changed"})


def _timeout_s(request: Request) -> float:
    """The query's timeout; what is no number counts as not given, as Lua's tonumber has it."""
    try:
        given = float(request.arguments().get("timeout", ""))
    except ValueError:
        return LEVEL_TIMEOUT_S
    return LEVEL_TIMEOUT_S if math.isnan(given) else min(given, LEVEL_TIMEOUT_S_MAX)
