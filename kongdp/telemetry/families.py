"""Kong's metric families: their names, types and help texts, and the samples of those that describe the node.

In: totals, label sets and NodeFacts. Out: for each family a writer that yields its samples as text, in bytewise order.
Cold. Source: Kong 3.9.1 plugins/prometheus/exporter.lua; conformance/data/metrics-3.9.1.txt.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from kongdp.telemetry.labels import LabelSets
from kongdp.telemetry.totals import Totals

# Lines (of node families) or routes (of route families) rendered between two pauses: 256 routes take about 1 ms.
SLICE = 256

# Kong's shared dictionaries and their capacity; we have none, but dashboards divide by these.
# Source: conformance/data/metrics-3.9.1.txt.
_MIB = 1 << 20
SHARED_DICTS: Mapping[str, int] = {
    "kong": 5 * _MIB,
    "kong_cluster_events": 5 * _MIB,
    "kong_core_db_cache": 128 * _MIB,
    "kong_core_db_cache_miss": 12 * _MIB,
    "kong_db_cache": 128 * _MIB,
    "kong_db_cache_miss": 12 * _MIB,
    "kong_healthchecks": 5 * _MIB,
    "kong_locks": 8 * _MIB,
    "kong_rate_limiting_counters": 12 * _MIB,
    "kong_secrets": 5 * _MIB,
    "prometheus_metrics": 5 * _MIB,
}

HEALTH_STATES = ("dns_error", "healthchecks_off", "healthy", "unhealthy")


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """One address of a target: `target` is host:port as configured, `address` ip:port, "" when unresolved."""

    upstream: str
    target: str
    address: str
    state: str


@dataclass(frozen=True, slots=True)
class DataPlane:
    """A data plane as its control plane sees it; `config_hash` is 32 hexadecimal digits, `last_seen` Unix time in s."""

    node_id: str
    hostname: str
    ip: str
    version: str
    compatible: bool
    last_seen: float
    config_hash: str


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What the node-level families show beside the totals. None leaves a family out (it belongs to data planes only).

    `workers` are (pid, resident bytes); `shared_dicts` maps a name to (used, capacity) in bytes; `own` is text that is
    complete already and comes last (our kongdp_ families).
    """

    node_id: str
    version: str
    subsystem: str = "http"
    datastore_reachable: bool = True
    control_plane_connected: bool | None = None
    certificate_expiry: float | None = None
    timers_running: int = 0
    timers_pending: int = 0
    workers: Iterable[tuple[int, int]] = ()
    shared_dicts: Mapping[str, tuple[int, int]] = field(
        default_factory=lambda: {name: (0, capacity) for name, capacity in SHARED_DICTS.items()}
    )
    target_health: Iterable[TargetHealth] = ()
    data_planes: Iterable[DataPlane] = ()
    own: bytes = b""


# Metric name -> type and help text.
FAMILIES: Mapping[str, tuple[str, str]] = {
    "kong_bandwidth_bytes": ("counter", "Total bandwidth (ingress/egress) throughput in bytes"),
    "kong_control_plane_connected": ("gauge", "Kong connected to control plane, 0 is unconnected"),
    "kong_data_plane_cluster_cert_expiry_timestamp": (
        "gauge",
        "Unix timestamp of Data Plane's cluster_cert expiry time",
    ),
    "kong_data_plane_config_hash": ("gauge", "Config hash numeric value of the data plane"),
    "kong_data_plane_last_seen": ("gauge", "Last time data plane contacted control plane"),
    "kong_data_plane_version_compatible": (
        "gauge",
        "Version compatible status of the data plane, 0 is incompatible",
    ),
    "kong_datastore_reachable": ("gauge", "Datastore reachable from Kong, 0 is unreachable"),
    "kong_http_requests_total": ("counter", "HTTP status codes per consumer/service/route in Kong"),
    "kong_kong_latency_ms": (
        "histogram",
        "Latency added by Kong and enabled plugins for each service/route in Kong",
    ),
    "kong_memory_lua_shared_dict_bytes": ("gauge", "Allocated slabs in a shared_dict"),
    "kong_memory_lua_shared_dict_total_bytes": ("gauge", "Total capacity in bytes of a shared_dict"),
    "kong_memory_workers_lua_vms_bytes": ("gauge", "Allocated bytes in worker Lua VM"),
    "kong_nginx_connections_total": ("gauge", "Number of connections by subsystem"),
    "kong_nginx_metric_errors_total": ("counter", "Number of nginx-lua-prometheus errors"),
    "kong_nginx_requests_total": ("gauge", "Total number of requests"),
    "kong_nginx_timers": ("gauge", "Number of Nginx timers"),
    "kong_node_info": ("gauge", "Kong Node metadata information"),
    "kong_request_latency_ms": (
        "histogram",
        "Total latency incurred during requests for each service/route in Kong",
    ),
    "kong_upstream_latency_ms": (
        "histogram",
        "Latency added by upstream response for each service/route in Kong",
    ),
    "kong_upstream_target_health": (
        "gauge",
        "Health status of targets of upstream. States = healthchecks_off|healthy|unhealthy|dns_error, "
        "value is 1 when state is populated.",
    ),
}

# State label of kong_nginx_connections_total -> the number behind it; "total" is requests, as nginx counts.
_CONNECTION_STATES = {
    "accepted": "connections_accepted",
    "active": "connections_active",
    "handled": "connections_handled",
    "reading": "connections_reading",
    "total": "requests_total",
    "waiting": "connections_waiting",
    "writing": "connections_writing",
}

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def escape(value: str) -> str:
    """A label value as it stands between quotes."""
    return value.translate(_ESCAPES)


def labels_text(**labels: str) -> str:
    """Labels in the order given, without braces."""
    return ",".join(f'{name}="{escape(value)}"' for name, value in labels.items())


# Given the family's name, yields its samples in slices.
Writer = Callable[[str], Iterator[str]]


def node_families(totals: Totals, labels: LabelSets, node: NodeFacts) -> dict[str, Writer]:
    """The families of the node; those a node does not have are not in the answer."""
    where = labels_text(node_id=node.node_id, subsystem=node.subsystem)
    counts = totals.node
    dicts = sorted(node.shared_dicts.items())
    samples: dict[str, Iterable[tuple[str, str]]] = {
        "kong_datastore_reachable": [("", str(int(node.datastore_reachable)))],
        "kong_nginx_connections_total": [
            (f'{where},state="{state}"', str(counts[name])) for state, name in _CONNECTION_STATES.items()
        ],
        "kong_nginx_requests_total": [(where, str(counts["requests_total"]))],
        "kong_nginx_metric_errors_total": [("", str(totals.rows_refused))],
        "kong_nginx_timers": [
            ('state="pending"', str(node.timers_pending)),
            ('state="running"', str(node.timers_running)),
        ],
        "kong_node_info": [(labels_text(node_id=node.node_id, version=node.version), "1")],
        "kong_memory_workers_lua_vms_bytes": [
            (labels_text(node_id=node.node_id, pid=str(pid), kong_subsystem=node.subsystem), str(size))
            for pid, size in sorted(node.workers, key=lambda each: str(each[0]))
        ],
        "kong_memory_lua_shared_dict_bytes": [(_dict_labels(node, name), str(used)) for name, (used, _) in dicts],
        "kong_memory_lua_shared_dict_total_bytes": [(_dict_labels(node, name), str(size)) for name, (_, size) in dicts],
    }
    if node.control_plane_connected is not None:
        samples["kong_control_plane_connected"] = [("", str(int(node.control_plane_connected)))]
    if node.certificate_expiry is not None:
        samples["kong_data_plane_cluster_cert_expiry_timestamp"] = [("", str(int(node.certificate_expiry)))]
    if labels.upstream_health:
        samples["kong_upstream_target_health"] = _health_samples(node)
    samples.update(_data_plane_samples(node.data_planes))
    return {name: _plain_writer(each) for name, each in samples.items()}


def _plain_writer(samples: Iterable[tuple[str, str]]) -> Writer:
    def write(name: str) -> Iterator[str]:
        lines = iter(samples)
        while piece := list(islice(lines, SLICE)):
            yield "".join(f"{name}{{{labels}}} {value}\n" if labels else f"{name} {value}\n" for labels, value in piece)

    return write


def _dict_labels(node: NodeFacts, name: str) -> str:
    return labels_text(node_id=node.node_id, shared_dict=name, kong_subsystem=node.subsystem)


def _health_samples(node: NodeFacts) -> list[tuple[str, str]]:
    """Four samples an address, exactly one of them 1; two targets with one address are one (the later one shows)."""
    states = {labels_text(upstream=t.upstream, target=t.target, address=t.address): t.state for t in node.target_health}
    return [
        (f'{prefix},state="{state}",subsystem="{node.subsystem}"', str(int(state == states[prefix])))
        for prefix in sorted(states)
        for state in HEALTH_STATES
    ]


def _data_plane_samples(data_planes: Iterable[DataPlane]) -> dict[str, list[tuple[str, str]]]:
    seen, hashes, compatible = [], [], []
    for each in data_planes:
        labels = labels_text(node_id=each.node_id, hostname=each.hostname, ip=each.ip)
        seen.append((labels, str(int(each.last_seen))))
        hashes.append((labels, f"{int(each.config_hash, 16):.14g}"))
        versioned = f"{labels},{labels_text(kong_version=each.version)}"
        compatible.append((versioned, str(int(each.compatible))))
    return {
        "kong_data_plane_last_seen": sorted(seen),
        "kong_data_plane_config_hash": sorted(hashes),
        "kong_data_plane_version_compatible": sorted(compatible),
    }
