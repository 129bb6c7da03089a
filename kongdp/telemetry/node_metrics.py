"""Our own metrics (kongdp_...): what the workers count beside Kong's families, through prometheus-client.

In: the live totals (and samples, and the exposition) of the agent. Out: a registry; other parts of the agent may
register their own collectors in it. `own_text` is its text for the end of /metrics, `own_exposition` that for a path of
its own (OpenMetrics, which has no room for Kong's names).
Cold: at each scrape, in the agent only; a worker never imports this module. Source: ours.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from kongdp.telemetry.counters import NODE_NUMBERS
from kongdp.telemetry.exposition import Exposition
from kongdp.telemetry.samples import Samples
from kongdp.telemetry.totals import Totals


class NodeCollector(Collector):
    """Numbers of the node that Kong has no family for."""

    def __init__(self, totals: Totals, samples: Samples | None, exposition: Exposition | None) -> None:
        self._totals = totals
        self._samples = samples
        self._exposition = exposition

    def collect(self) -> Iterator[Metric]:
        """One family for each number; counters get their suffix _total from prometheus-client."""
        for number in NODE_NUMBERS:
            if number.metric:
                make = _counter if number.kind == "counter" else _gauge
                yield make(number.metric, number.help, self._totals.node[number.name] * number.unit)
        totals = self._totals
        yield _counter("segment_rows_refused", "Rows for which a counter segment had no room", totals.rows_refused)
        yield _counter(
            "segment_requests_overflowed",
            "Requests counted without route and code because a counter segment was full",
            totals.requests_overflowed,
        )
        yield _gauge("routes_counted", "Routes with at least one request since boot", len(totals.routes))
        if self._exposition is not None:
            overflowed = self._exposition.count_overflowed()
            yield _gauge(
                "series_overflowed", "Routes and consumers in the overflow series at the last scrape", overflowed
            )
        if self._samples is not None:
            yield from self._sample_families(self._samples)

    def _sample_families(self, samples: Samples) -> Iterator[Metric]:
        yield _gauge(
            "telemetry_samples_pending", "Samples the control plane has not acknowledged", samples.count_pending()
        )
        yield _gauge("telemetry_rows_pending", "Rows the control plane has not acknowledged", samples.count_rows())
        yield _counter(
            "telemetry_samples_thinned", "Samples joined with a neighbour to keep bounds", samples.count_thinned
        )
        yield _counter("telemetry_rows_dropped", "Rows of old boots dropped to keep bounds", samples.count_rows_dropped)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"kongdp_{name}", text, value)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"kongdp_{name}", text, value)


def node_registry(
    totals: Totals, samples: Samples | None = None, exposition: Exposition | None = None
) -> CollectorRegistry:
    """A registry with the node's own metrics and those of the process that renders them (kongdp_agent_process_...)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeCollector(totals, samples, exposition))
    ProcessCollector(namespace="kongdp_agent", registry=registry)
    return registry


def own_text(registry: CollectorRegistry) -> bytes:
    """The registry as text of format 0.0.4, to follow Kong's families."""
    return generate_latest(registry)


def own_exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The registry in the format the Accept field asks for (OpenMetrics or text), with its content type."""
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type
