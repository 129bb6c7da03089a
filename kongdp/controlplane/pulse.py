"""What the data planes have done in the last two minutes, second by second, in memory: rates, errors, latencies.

In: what each counter frame added (activity), and the node's latency histogram since boot, which frames carry beside it.
Out: rates of a set of nodes. House rules: nothing here is a record (that is `activity`'s): it begins with the process,
each replica knows what it was sent, and a second is forgotten after KEPT_S. Bounded by KEPT_S and by the nodes heard of
within it. Runs on the event loop; needs no lock. Cold: once a second for each node.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from kongdp.sync.messages import LATENCY_BOUNDS_MS

KEPT_S = 130
# A rate is the mean of this many whole seconds: frames come once a second, but not to the millisecond.
WINDOW_S = 5
# The newest seconds are not whole yet: a frame is sent a second after it was counted at the latest.
LAG_S = 2
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Gain:
    """Requests of one status code that a frame added, at the frame's time."""

    node_id: str
    at: float
    code: int
    count: int


@dataclass(slots=True)
class _Second:
    total: int = 0
    client_errors: int = 0
    server_errors: int = 0
    latencies: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_MS) + 1))


@dataclass(slots=True)
class _Node:
    seconds: dict[int, _Second] = field(default_factory=dict)
    boot_id: str = ""
    latencies: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Rates:
    """Of a set of nodes. `points`: (second, requests, 4xx, 5xx), oldest first; `latency_ms`: percentile -> ms, an upper
    bound of its bucket, None beyond the last one; empty without requests.
    """

    requests_per_s: float
    client_error_share: float
    server_error_share: float
    latency_ms: dict[int, float | None]
    points: list[tuple[int, int, int, int]]


class Pulse:
    """One per process, on its event loop."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}

    def gained(self, gains: Sequence[Gain], now: float) -> None:
        """What frames have added."""
        for gain in gains:
            if gain.at > now - KEPT_S:
                second = self._second(gain.node_id, min(gain.at, now))
                second.total += gain.count
                second.client_errors += gain.count if gain.code // 100 == 4 else 0
                second.server_errors += gain.count if gain.code // 100 == 5 else 0
        self._forget(now)

    def timed(self, node_id: str, boot_id: str, latencies: Sequence[int], at: float, now: float) -> None:
        """A node's latency histogram since boot; the first of a boot only says where it stands."""
        node = self._nodes.setdefault(node_id, _Node())
        if node.boot_id == boot_id and len(node.latencies) == len(latencies) and at > now - KEPT_S:
            second = self._second(node_id, min(at, now))
            for place, (before, after) in enumerate(zip(node.latencies, latencies, strict=True)):
                second.latencies[place] += max(0, after - before)
        node.boot_id, node.latencies = boot_id, tuple(latencies)

    def rates(self, node_ids: Collection[str], now: float) -> Rates:
        """Of these nodes together."""
        nodes = [self._nodes[each] for each in node_ids if each in self._nodes]
        end = int(now) - LAG_S
        recent = [node.seconds[at] for node in nodes for at in range(end - WINDOW_S, end) if at in node.seconds]
        total = sum(each.total for each in recent)
        latencies = [sum(column) for column in zip(*(each.latencies for each in recent), strict=True)]
        return Rates(
            requests_per_s=total / WINDOW_S,
            client_error_share=sum(each.client_errors for each in recent) / total if total else 0.0,
            server_error_share=sum(each.server_errors for each in recent) / total if total else 0.0,
            latency_ms={each: percentile(latencies, each) for each in PERCENTILES} if sum(latencies) else {},
            points=_points(nodes, end),
        )

    def requests_per_s(self, node_id: str, now: float) -> float:
        """Of one node."""
        node = self._nodes.get(node_id)
        if node is None:
            return 0.0
        end = int(now) - LAG_S
        return sum(node.seconds[at].total for at in range(end - WINDOW_S, end) if at in node.seconds) / WINDOW_S

    def _second(self, node_id: str, at: float) -> _Second:
        node = self._nodes.setdefault(node_id, _Node())
        return node.seconds.setdefault(int(at), _Second())

    def _forget(self, now: float) -> None:
        oldest = now - KEPT_S
        for node_id, node in list(self._nodes.items()):
            # In the order in which they came, which is that of time but for late frames.
            for at in [at for at in node.seconds if at < oldest]:
                del node.seconds[at]
            if not node.seconds:
                del self._nodes[node_id]


def percentile(buckets: Sequence[int], percent: int) -> float | None:
    """The upper bound of the bucket in which a percentile lies; None beyond the last bound."""
    wanted = sum(buckets) * percent / 100
    for bound, reached in zip(LATENCY_BOUNDS_MS, accumulate(buckets), strict=False):
        if reached >= wanted:
            return float(bound)
    return None


def _points(nodes: Sequence[_Node], end: int) -> list[tuple[int, int, int, int]]:
    points = []
    for at in range(end - KEPT_S + WINDOW_S + LAG_S, end):
        found = [node.seconds[at] for node in nodes if at in node.seconds]
        points.append(
            (
                at,
                sum(each.total for each in found),
                sum(each.client_errors for each in found),
                sum(each.server_errors for each in found),
            )
        )
    return points
