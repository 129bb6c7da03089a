"""Exposition: Kong's own answer byte for byte, parseable text, stable series, limits with a clear overflow."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from kongdp.telemetry.counters import NodeCounters, RouteCounters
from kongdp.telemetry.exposition import Exposition
from kongdp.telemetry.families import FAMILIES, DataPlane, NodeFacts, TargetHealth
from kongdp.telemetry.labels import LabelSets, label_sets
from kongdp.telemetry.segment import Segment
from kongdp.telemetry.totals import Totals, TotalsReader
from tests.support.segments import memory
from tests.support.tables import prometheus, routes, services

KONG = (Path(__file__).parents[1] / "conformance/data/metrics-3.9.1.txt").read_text()
FACTS = NodeFacts("node-1", "3.9.1")
ALL = ("status_code_metrics", "latency_metrics", "bandwidth_metrics", "upstream_health_metrics")


class Node:
    """One worker's segment and a reader of it."""

    def __init__(self, fd: int) -> None:
        self.segment = Segment.open(fd)
        self.reader = TotalsReader()
        self.reader.attach(0, 1, fd)

    def route(self, route_id: str) -> RouteCounters:
        return RouteCounters(self.segment, route_id)

    def count(self, route_id: str, code_source: int = 401, consumer: str = "") -> None:
        counted = self.route(route_id)
        counted.count(code_source, 10, 20, 1, 30, 40, counted.consumer(consumer) if consumer else None)

    @property
    def totals(self) -> Totals:
        self.reader.refresh()
        return self.reader.totals


@contextmanager
def node(size: int = 1 << 20) -> Iterator[Node]:
    with memory(size) as fd:
        yield Node(fd)


def scrape(totals: Totals, labels: LabelSets, facts: NodeFacts = FACTS, exposition: Exposition | None = None) -> str:
    return b"".join((exposition or Exposition()).render(totals, labels, facts)).decode()


def series(text: str, name: str) -> dict[str, float]:
    """Labels (as text) -> value of one family's samples."""
    return {m[1]: float(m[2]) for m in re.finditer(rf"^{name}{{(.*)}} (\S+)$", text, re.MULTILINE)}


def store_histogram(segment: Segment, first: int, name: str) -> None:
    """Put the buckets and the sum that Kong showed into a row."""
    running = [int(value) for labels, value in series(KONG, f"{name}_bucket").items()]
    for offset, (value, before) in enumerate(zip(running, [0, *running], strict=False)):
        segment.slots[first + offset] = value - before
    segment.slots[first + len(running)] = int(next(iter(series(KONG, f"{name}_sum").values())))


def test_answer_is_kongs_byte_for_byte_when_the_counts_are_kongs() -> None:
    """Names, labels, their order, types, bucket bounds, number format and the order of lines. Source: Kong 3.9.1."""
    table = {
        "services": services({"s": "mock"}),
        "routes": routes({"r": "mock"}, "s"),
        "plugins": prometheus(config=ALL),
    }
    used = series(KONG, "kong_memory_lua_shared_dict_bytes")
    capacity = series(KONG, "kong_memory_lua_shared_dict_total_bytes")
    names = [re.search(r'shared_dict="(\w+)"', labels)[1] for labels in used]
    facts = NodeFacts(
        "34ab5d10-af00-4fe0-ac04-7c38093f6e5e",
        "3.9.1",
        timers_running=257,
        timers_pending=1,
        workers=[(9158, 90289102)],
        shared_dicts={
            name: (int(a), int(b)) for name, a, b in zip(names, used.values(), capacity.values(), strict=True)
        },
    )
    with node() as one:
        slots, route, own = one.segment.slots, one.route("r"), NodeCounters(one.segment)
        route.open()
        slots[route.add_code(401)], slots[route.add_code(999)] = 130648, 51
        slots[route.egress], slots[route.ingress] = 198063364, 82860412
        store_histogram(one.segment, route.kong_latency, "kong_kong_latency_ms")
        store_histogram(one.segment, route.upstream_latency, "kong_upstream_latency_ms")
        store_histogram(one.segment, route.request_latency, "kong_request_latency_ms")
        slots[own.connections_accepted] = slots[own.connections_handled] = 140
        slots[own.connections_active] = slots[own.connections_writing] = 2
        slots[own.requests_total] = 130704
        text = scrape(one.totals, label_sets(table), facts)
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("# HELP")]
    assert "".join(lines) == KONG


def test_help_and_type_come_once_before_a_family() -> None:
    """Every family shown has its help of the table; a family without samples is not mentioned."""
    with node() as one:
        one.count("r")
        text = scrape(one.totals, label_sets({"routes": routes({"r": "r"})}))
    shown = re.findall(r"^# HELP (\w+) (.*)\n# TYPE (\w+) (\w+)\n\3", text, re.MULTILINE)
    assert {name: (kind, help_text) for name, help_text, _, kind in shown}.items() <= FAMILIES.items()
    assert len(shown) == text.count("# HELP") == text.count("# TYPE")
    assert "kong_kong_latency_ms" not in text
    assert "kong_control_plane_connected" not in text


def test_data_plane_families_are_shown_when_there_is_a_control_plane() -> None:
    """The two gauges that only data planes have, and those that only control planes have."""
    facts = NodeFacts("n", "3.9.1", control_plane_connected=False, certificate_expiry=1795459190.7)
    text = scrape(Totals(), LabelSets(), facts)
    assert "\nkong_control_plane_connected 0\n" in text
    assert "\nkong_data_plane_cluster_cert_expiry_timestamp 1795459190\n" in text
    data_plane = DataPlane("n", "host", "10.0.0.1", "3.9.1", True, 1795459190.2, "0123456789abcdef" * 2)
    text = scrape(Totals(), LabelSets(), NodeFacts("n", "3.9.1", data_planes=[data_plane]))
    labels = 'node_id="n",hostname="host",ip="10.0.0.1"'
    assert series(text, "kong_data_plane_last_seen") == {labels: 1795459190}
    assert series(text, "kong_data_plane_version_compatible") == {f'{labels},kong_version="3.9.1"': 1}
    value = series(text, "kong_data_plane_config_hash")[labels]
    assert math.isclose(value, int("0123456789abcdef" * 2, 16), rel_tol=1e-12)


def test_exactly_one_state_is_1_when_target_health_is_on() -> None:
    """Four samples an address; nothing at all while no instance asks for them."""
    health = [TargetHealth("u", "a:80", "10.0.0.1:80", "healthy"), TargetHealth("u", "b:80", "", "dns_error")]
    facts = NodeFacts("n", "3.9.1", target_health=health)
    text = scrape(Totals(), label_sets({"plugins": prometheus(config=ALL)}), facts)
    found = series(text, "kong_upstream_target_health")
    assert len(found) == 8
    assert [labels for labels, value in found.items() if value] == [
        'upstream="u",target="a:80",address="10.0.0.1:80",state="healthy",subsystem="http"',
        'upstream="u",target="b:80",address="",state="dns_error",subsystem="http"',
    ]
    assert "target_health" not in scrape(Totals(), LabelSets(), facts)


def test_consumers_have_series_of_their_own_when_counted_apart() -> None:
    """A consumer by username; without one it is "", added to those who are nobody."""
    table = {
        "routes": routes({"r": "r"}),
        "consumers": {"c1": {"username": "bob"}, "c2": {"username": None}},
        "plugins": prometheus(config=(*ALL, "per_consumer")),
    }
    with node() as one:
        for consumer in ("", "c1", "c1", "c2"):
            one.count("r", 401, consumer)
        text = scrape(one.totals, label_sets(table))
    head = 'service="",route="r",code="200",source="service",workspace="default"'
    assert series(text, "kong_http_requests_total") == {f'{head},consumer=""': 2, f'{head},consumer="bob"': 2}
    assert list(series(text, "kong_bandwidth_bytes").values()) == [40, 40, 20, 20]
    assert list(series(text, "kong_kong_latency_ms_count").values()) == [4]


def test_routes_of_one_name_are_one_series() -> None:
    """A deleted route and its successor of the same name share series: twice the same labels would be invalid."""
    first = label_sets({"routes": routes({"old": "mock"}), "plugins": prometheus(config=ALL)})
    second = label_sets({"routes": routes({"new": "mock"}), "plugins": prometheus(config=ALL)}, first)
    exposition = Exposition()
    with node() as one:
        one.count("old")
        scrape(one.totals, first, exposition=exposition)
        one.count("new")
        text = scrape(one.totals, second, exposition=exposition)
    assert list(series(text, "kong_http_requests_total").values()) == [2]
    assert list(series(text, "kong_bandwidth_bytes").values()) == [40, 20]
    assert list(series(text, "kong_request_latency_ms_count").values()) == [2]
    assert list(series(text, "kong_request_latency_ms_sum").values()) == [80]


def test_overflow_series_takes_what_is_beyond_the_limit() -> None:
    """Early routes keep their series through changes of the configuration; sums by code stay exact."""
    exposition = Exposition(series_max=3)
    names = {f"r{number}": f"name-{9 - number}" for number in range(6)}
    with node() as one:
        for route_id in names:
            one.count(route_id)
        text = scrape(one.totals, label_sets({"routes": routes(names)}), exposition=exposition)
        found = series(text, "kong_http_requests_total")
        assert sorted(re.findall(r'route="([^"]*)"', " ".join(found))) == [
            "kongdp_overflow",
            "name-7",
            "name-8",
            "name-9",
        ]
        assert sorted(found.values()) == [1, 1, 1, 3]
        assert exposition.count_overflowed() == 3
        labels = label_sets({"routes": routes({**names, "a": "a-first"})})
        one.count("a")
        text = scrape(one.totals, labels, exposition=exposition)
        assert sorted(series(text, "kong_http_requests_total").values()) == [1, 1, 1, 4]
        text = scrape(one.totals, label_sets({"routes": routes({"r0": "x", "r5": "y"})}), exposition=exposition)
        assert len(series(text, "kong_http_requests_total")) == 4


def test_overflow_consumer_takes_consumers_beyond_the_limit() -> None:
    """Consumers are limited as routes are; the route stays in sight."""
    exposition = Exposition(series_max=2)
    table = {"routes": routes({"r": "r"}), "consumers": {f"c{n}": {"username": f"u{n}"} for n in range(5)}}
    labels = label_sets(table)
    with node() as one:
        for number in range(5):
            one.count("r", consumer=f"c{number}")
        for _ in range(2):
            found = series(scrape(one.totals, labels, exposition=exposition), "kong_http_requests_total")
            assert [(re.search(r'consumer="(.*)"', each)[1], value) for each, value in found.items()] == [
                ("kongdp_overflow", 3),
                ("u0", 1),
                ("u1", 1),
            ]
            labels = label_sets(table, labels)
        assert exposition.count_overflowed() == 3


def test_two_scrapes_at_once_do_not_disturb_each_other() -> None:
    """Scrapes that take turns, with a new route in between, each count every route once."""
    exposition = Exposition()
    with node() as one:
        one.count("r1")
        labels = label_sets({"routes": routes({"r1": "r1", "r2": "r2"})})
        list(exposition.render(one.totals, labels, FACTS))
        one.count("r2")
        first, second = exposition.render(one.totals, labels, FACTS), exposition.render(one.totals, labels, FACTS)
        texts = [next(first), next(second)]
        texts = [(head + b"".join(rest)).decode() for head, rest in zip(texts, (first, second), strict=True)]
        for text in texts:
            assert list(series(text, "kong_http_requests_total").values()) == [1, 1]


def test_histogram_agrees_with_itself_when_counted_between_chunks() -> None:
    """+Inf is the count even when totals are refreshed while the answer is being written."""
    with node() as one:
        for number in range(600):
            one.count(f"r{number}")
        labels = label_sets({"routes": routes({f"r{n}": None for n in range(600)}), "plugins": prometheus(config=ALL)})
        pieces = []
        for piece in Exposition().render(one.totals, labels, FACTS):
            pieces.append(piece)
            one.count("r7")
            one.reader.refresh()
        text = b"".join(pieces).decode()
    for name in ("kong_kong_latency_ms", "kong_upstream_latency_ms", "kong_request_latency_ms"):
        buckets = series(text, f"{name}_bucket")
        infinite = {labels[: labels.index(",le=")]: value for labels, value in buckets.items() if '"+Inf"' in labels}
        assert infinite == series(text, f"{name}_count")
        assert len(infinite) == 600


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.uuids(), NAMES, max_size=6), NAMES)
def test_answer_is_read_back_by_a_parser_whatever_the_names(names: dict[object, str], service: str) -> None:
    """prometheus-client's parser sees every label value as it was configured, and every count."""
    table = {
        "services": services({"s": service}),
        "routes": routes({str(each): name for each, name in names.items()}, "s"),
        "plugins": prometheus(config=ALL),
    }
    with node(65536) as one:
        for each in names:
            one.count(str(each), 1004)
        text = scrape(one.totals, label_sets(table))
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = families["kong_http_requests"].samples if names else []
    wanted = {name or str(each) for each, name in names.items()}
    assert {sample.labels["route"] for sample in samples} == wanted
    assert {sample.labels["service"] for sample in samples} <= {service or "h"}
    assert sum(sample.value for sample in samples) == len(names)
    assert "kong_datastore_reachable" in families


def test_lines_are_in_bytewise_order_when_there_are_many() -> None:
    """Families and samples are sorted as Kong sorts them: full name with labels, bucket bounds by number."""
    names = {f"{number:04}": f"r{number}" for number in range(700)}
    with node(1 << 21) as one:
        for number, route_id in enumerate(names):
            one.count(route_id, 401 + number % 3)
        labels = label_sets({"routes": routes(names), "plugins": prometheus(config=ALL)})
        text = scrape(one.totals, labels)

    def key(line: str) -> str:
        bound = re.search(r',le="(\d+|\+Inf)"', line)
        padded = re.sub(r'le="(\d+|\+Inf)"', f'le="{bound[1]:0>9}"'.replace("000+Inf", "~"), line) if bound else line
        return padded.rsplit(" ", 1)[0]

    lines = [key(line) for line in text.splitlines() if not line.startswith("#")]
    assert lines == sorted(lines)
    assert len(lines) == len(set(lines)) > 700 * 40


def test_own_text_comes_last() -> None:
    """Our families follow Kong's."""
    facts = NodeFacts("n", "3.9.1", own=b"kongdp_x 1\n")
    assert scrape(Totals(), LabelSets(), facts).endswith("\nkongdp_x 1\n")


@pytest.mark.parametrize("kind", ["bandwidth", "codes"])
def test_nothing_is_shown_when_its_group_is_off(kind: str) -> None:
    """Bytes are off until a plugin asks; codes are on unless the node says no."""
    with node() as one:
        one.count("r")
        labels = label_sets({"routes": routes({"r": "r"})}, status_codes=kind != "codes")
        text = scrape(one.totals, labels)
    assert ("kong_http_requests_total" in text) == (kind != "codes")
    assert "kong_bandwidth_bytes" not in text
