"""Our own metrics: counted by workers, shown through prometheus-client in both formats."""

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from kongdp.telemetry.counters import NODE_NUMBERS, NodeCounters
from kongdp.telemetry.exposition import Exposition
from kongdp.telemetry.node_metrics import node_registry, own_exposition, own_text
from kongdp.telemetry.samples import Samples
from kongdp.telemetry.segment import Segment
from kongdp.telemetry.totals import CodeRow, TotalsReader
from tests.support.segments import memory


def test_numbers_of_workers_are_shown_in_their_units() -> None:
    """Counters end in _total, times are seconds; samples that wait for the control plane are told."""
    with memory() as fd:
        segment = Segment.open(fd)
        node = NodeCounters(segment)
        segment.slots[node.retries] = 3
        segment.slots[node.swap_us] = 1_500_000
        segment.slots[node.upstream_idle] = 4
        reader = TotalsReader()
        reader.attach(0, 1, fd)
        reader.refresh()
        samples = Samples("n", "b", now=1)
        samples.add([CodeRow("r", 200, "service", 1)], at=1)
        registry = node_registry(reader.totals, samples, Exposition())
        text = own_text(registry).decode()
    values = {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}
    assert values["kongdp_upstream_retries_total"] == 3
    assert values["kongdp_snapshot_compile_seconds_total"] == 1.5
    assert values["kongdp_upstream_connections_idle"] == 4
    assert values["kongdp_telemetry_rows_pending"] == 1
    assert all(name.startswith("kongdp_") for name in values)
    assert sum(number.metric != "" for number in NODE_NUMBERS) <= len(values)


def test_openmetrics_is_spoken_when_asked_for() -> None:
    """The same registry, in the format that the scraper prefers."""
    registry = node_registry(TotalsReader().totals)
    body, content_type = own_exposition(registry, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert {family.name for family in parse_openmetrics(body.decode())} >= {"kongdp_upstream_retries"}
    body, content_type = own_exposition(registry, "text/plain")
    assert content_type.startswith("text/plain")
