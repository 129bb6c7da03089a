"""The deadline sweep: one walk over a worker's connections instead of a timer for each wait.

House rule: whoever waits writes a monotonic `deadline`; this is the only place that compares it with the time. A sweep costs about
50 ns a connection; its period is a quarter of the shortest timeout in force, between PERIOD_MIN_S and PERIOD_MAX_S.
"""

from kongdp.proxy.environment import Environment
from kongdp.proxy.snapshot import Snapshot

PERIOD_MIN_S = 0.05
PERIOD_MAX_S = 1.0


def period_for(snapshot: Snapshot) -> float:
    """Seconds between sweeps while this snapshot is in force."""
    return min(max(snapshot.shortest_timeout_s / 4, PERIOD_MIN_S), PERIOD_MAX_S)


def sweep(env: Environment, now: float) -> None:
    """Enforce what is overdue at `now` (monotonic seconds), which becomes the coarse time of all connections."""
    env.now = now
    overdue = [
        connection
        for connection in env.connections
        if connection.deadline < now or (connection.exchange is not None and connection.exchange.deadline < now)
    ]
    for connection in overdue:
        if connection.deadline < now:
            connection.on_deadline()
        exchange = connection.exchange
        if exchange is not None and exchange.deadline < now:
            exchange.on_deadline()
