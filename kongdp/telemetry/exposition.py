"""Prometheus text: what GET /metrics answers, in pieces.

In: totals, label sets and node facts, all plain values. Out: a generator of byte chunks; between two chunks the caller
may do something else (the agent yields to its loop), so a scrape of any size stops nobody.
Our own writer because prometheus-client would rename Kong's families (kong_bandwidth_bytes to ..._total) and is too
slow for them. All of a line but its number is made when labels change (the route's part) or at import (the rest).
House rules: families and samples in bytewise order, HELP and TYPE once before a family's first sample, a family without
samples is not mentioned; +Inf, _count and _sum of one histogram come from one look at the totals.
Cold, but large: 10,000 routes with 5 codes in well under 300 ms (bench/parts/test_counters.py).
Source: text format 0.0.4; names, labels, help and order of Kong 3.9.1 (conformance/data/metrics-3.9.1.txt).
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, islice

from kongdp.telemetry.counters import KONG_LATENCY_BOUNDS, REQUEST_LATENCY_BOUNDS, SOURCES
from kongdp.telemetry.families import FAMILIES, SLICE, NodeFacts, Writer, escape, labels_text, node_families
from kongdp.telemetry.labels import OVERFLOW_NAME, LabelSets, Switches
from kongdp.telemetry.totals import ConsumerTotals, Histogram, RouteTotals, Totals

CONTENT_TYPE = "text/plain; charset=UTF-8"

# Routes with series of their own, and as many consumers on routes. 5 codes each make 500,000 lines of some 130 bytes.
SERIES_MAX = 100_000

_OVERFLOW_PREFIX = labels_text(service=OVERFLOW_NAME, route=OVERFLOW_NAME)


class _Group:
    """The routes that share values of `service` and `route` (a deleted route and its successor may), shown as one."""

    __slots__ = ("prefix", "route_ids", "switches")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.route_ids: list[str] = []
        self.switches = Switches(status_codes=False)

    def add(self, route_id: str, switches: Switches) -> None:
        mine = self.switches
        self.route_ids.append(route_id)
        self.switches = Switches(
            mine.status_codes or switches.status_codes,
            mine.latency or switches.latency,
            mine.bandwidth or switches.bandwidth,
            mine.per_consumer or switches.per_consumer,
        )


class Exposition:
    """Renders scrapes. Keeps the text of labels between them, and which routes and consumers have series of their own.

    They are admitted in the order of their first request, up to `series_max`, and stay while they exist, so that no
    counter moves into the overflow series (service and route, or consumer, "kongdp_overflow") and back.
    """

    def __init__(self, *, series_max: int = SERIES_MAX) -> None:
        self._series_max = series_max
        self._labels = LabelSets()
        self._tail = ""
        self._count_routes = 0
        self._groups: dict[str, _Group] = {}  # by prefix
        self._sorted: list[_Group] = []
        self._consumer_names: dict[str, str] = {}  # escaped
        self._consumers: dict[str, dict[str, bool]] = {}  # group prefix -> consumer id -> has series of its own
        self._count_consumers = 0

    def render(self, totals: Totals, labels: LabelSets, node: NodeFacts) -> Iterator[bytes]:
        """The whole answer, in chunks of up to some 100 KiB, some empty. Totals may be refreshed between chunks."""
        for _ in self._arrange(totals, labels):
            yield b""
        writers = {**self._route_families(totals), **node_families(totals, labels, node)}
        for name in sorted(writers):
            kind, text = FAMILIES[name]
            head = f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
            for chunk in writers[name](name):
                if chunk:
                    yield (head + chunk).encode()
                    head = ""
        if node.own:
            yield node.own

    def count_overflowed(self) -> int:
        """Routes and consumers shown in the overflow series because the limit was reached."""
        overflow = self._groups.get(_OVERFLOW_PREFIX)
        consumers = sum(list(each.values()).count(False) for each in self._consumers.values())
        return consumers + (len(overflow.route_ids) if overflow else 0)

    def _arrange(self, totals: Totals, labels: LabelSets) -> Iterator[None]:
        """Bring the groups up to date, pausing between slices: all of them when labels changed, else what is new."""
        while not (labels is self._labels and len(totals.routes) == self._count_routes):
            start = (self._labels, self._count_routes)
            changed = labels is not self._labels
            fresh = list(islice(totals.routes, 0 if changed else self._count_routes, None))
            placed: list[tuple[str, str, Switches]] = []
            for begin in range(0, len(fresh), SLICE):
                placed += [_place(labels, route_id) for route_id in fresh[begin : begin + SLICE]]
                yield
            # Another scrape may have done the same work during a pause; then look again instead of adding routes twice.
            if start == (self._labels, self._count_routes):
                self._install(placed, labels, changed)

    def _install(self, placed: list[tuple[str, str, Switches]], labels: LabelSets, changed: bool) -> None:
        groups = {} if changed else self._groups
        kept = self._groups.keys() - {_OVERFLOW_PREFIX}
        if changed:
            kept &= {prefix for _, prefix, _ in placed}
        room = self._series_max - len(kept)
        for route_id, own_prefix, switches in placed:
            prefix = own_prefix
            if prefix not in groups and prefix not in kept and prefix != _OVERFLOW_PREFIX:
                prefix = prefix if room > 0 else _OVERFLOW_PREFIX
                room -= 1
            group = groups.get(prefix)
            if group is None:
                group = groups[prefix] = _Group(prefix)
            group.add(route_id, switches)
        if changed:
            self._consumers = {each: shown for each, shown in self._consumers.items() if each in groups}
            self._count_consumers = sum(sum(shown.values()) for shown in self._consumers.values())
            self._consumer_names.clear()
        self._labels, self._groups = labels, groups
        self._count_routes = len(placed) + (0 if changed else self._count_routes)
        self._tail = f',workspace="{escape(labels.workspace)}"'
        self._sorted = [groups[prefix] for prefix in sorted(groups)]

    def _route_families(self, totals: Totals) -> dict[str, Writer]:
        def histogram(number: int, bounds: tuple[int, ...]) -> Writer:
            return lambda name: self._histograms(name, totals, number, bounds)

        return {
            "kong_bandwidth_bytes": lambda name: self._sliced(
                totals, lambda group, routes: self._bandwidth(name, group, routes)
            ),
            "kong_http_requests_total": lambda name: self._sliced(
                totals, lambda group, routes: self._codes(name, group, routes)
            ),
            "kong_kong_latency_ms": histogram(0, KONG_LATENCY_BOUNDS),
            "kong_upstream_latency_ms": histogram(1, REQUEST_LATENCY_BOUNDS),
            "kong_request_latency_ms": histogram(2, REQUEST_LATENCY_BOUNDS),
        }

    def _sliced(self, totals: Totals, lines: "Callable[[_Group, list[RouteTotals]], Iterable[str]]") -> Iterator[str]:
        routes = totals.routes
        groups = iter(self._sorted)
        while piece := list(islice(groups, SLICE)):
            found: list[str] = []
            for group in piece:
                found.extend(lines(group, [routes[route_id] for route_id in group.route_ids]))
            yield "".join(found)

    def _codes(self, name: str, group: _Group, routes: list[RouteTotals]) -> Iterable[str]:
        if not group.switches.status_codes:
            return ()
        head, tail = f"{name}{{{group.prefix}", self._tail
        if len(routes) == 1 and not routes[0].consumers:
            codes = routes[0].codes
            return [f'{head}{_CODE_LABELS[each]}{tail},consumer=""}} {codes[each]}\n' for each in sorted(codes)]
        counts: dict[tuple[int, str], int] = {}
        for consumer, each in self._by_consumer(group, routes):
            for code, count in each.codes.items():
                counts[code, consumer] = counts.get((code, consumer), 0) + count
        return [
            f'{head}{_CODE_LABELS[code]}{tail},consumer="{who}"}} {counts[code, who]}\n' for code, who in sorted(counts)
        ]

    def _bandwidth(self, name: str, group: _Group, routes: list[RouteTotals]) -> Iterable[str]:
        if not group.switches.bandwidth:
            return ()
        amounts: dict[tuple[str, str], int] = {}
        for consumer, each in self._by_consumer(group, routes):
            ingress, egress = each.bandwidth()
            for direction, amount in (("egress", egress), ("ingress", ingress)):
                amounts[direction, consumer] = amounts.get((direction, consumer), 0) + amount
        head, tail = f"{name}{{{group.prefix}", self._tail
        return [
            f'{head},direction="{direction}"{tail},consumer="{who}"}} {amounts[direction, who]}\n'
            for direction, who in sorted(amounts)
            if amounts[direction, who]
        ]

    def _by_consumer(self, group: _Group, routes: list[RouteTotals]) -> Iterator[tuple[str, ConsumerTotals]]:
        """The parts of these routes with the consumer label (escaped) of each; "" for requests without one."""
        for route in routes:
            yield "", route
            for consumer_id, each in route.consumers.items():
                yield self._consumer_label(group, consumer_id), each

    def _consumer_label(self, group: _Group, consumer_id: str) -> str:
        shown = self._consumers.get(group.prefix)
        if shown is None:
            shown = self._consumers[group.prefix] = {}
        if consumer_id not in shown:
            shown[consumer_id] = self._count_consumers < self._series_max
            self._count_consumers += shown[consumer_id]
        if not shown[consumer_id]:
            return OVERFLOW_NAME
        name = self._consumer_names.get(consumer_id)
        if name is None:
            name = self._consumer_names[consumer_id] = escape(self._labels.consumers.get(consumer_id, ""))
        return name

    def _histograms(self, name: str, totals: Totals, number: int, bounds: tuple[int, ...]) -> Iterator[str]:
        """All buckets, then all counts, then all sums: the order of full names."""
        ends = [f',le="{bound}"}} ' for bound in (*bounds, "+Inf")]
        seen: list[tuple[str, int, int]] = []

        def buckets(group: _Group, routes: list[RouteTotals]) -> Iterable[str]:
            if not group.switches.latency:
                return ()
            found = _added([route.histograms()[number] for route in routes])
            running = list(accumulate(found.buckets))
            if not running[-1]:
                return ()
            labels = group.prefix + self._tail
            seen.append((labels, running[-1], found.sum))
            head = f"{name}_bucket{{{labels}"
            return [f"{head}{end}{value}\n" for end, value in zip(ends, running, strict=True)]

        yield from self._sliced(totals, buckets)
        for part, position in (("count", 1), ("sum", 2)):
            for start in range(0, len(seen), SLICE):
                piece = seen[start : start + SLICE]
                yield "".join(f"{name}_{part}{{{each[0]}}} {each[position]}\n" for each in piece)


def _place(labels: LabelSets, route_id: str) -> tuple[str, str, Switches]:
    """A route with the labels of its group."""
    each = labels.route(route_id)
    return route_id, labels_text(service=each.service, route=each.route), each.switches


def _added(parts: list[Histogram]) -> Histogram:
    if len(parts) == 1:
        return parts[0]
    return Histogram(
        tuple(map(sum, zip(*(part.buckets for part in parts), strict=True))), sum(part.sum for part in parts)
    )


class _CodeLabels(dict[int, str]):
    """status*2+source -> its labels, made once a code."""

    def __missing__(self, code_source: int) -> str:
        text = f',code="{code_source >> 1}",source="{SOURCES[code_source & 1]}"'
        self[code_source] = text
        return text


_CODE_LABELS = _CodeLabels()
