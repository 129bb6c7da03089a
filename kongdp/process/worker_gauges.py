"""The numbers a worker works out once a second instead of counting them at every request: gauges, and its resolver's.

In: the worker's environment.  Out: slots of its counter segment.
Cold: O(connections + pools) once a second. Source: ours; the states of connections are nginx's (ngx_http_stub_status).
"""

from kongdp.proxy.environment import Environment
from kongdp.upstream.resolver import Statistics


def note(env: Environment) -> None:
    """Write what is true now."""
    counters, slots = env.counters, env.slots
    open_ = len(env.connections)
    writing = reading = 0
    for connection in env.connections:
        writing += connection.exchange is not None
        reading += connection.is_reading
    slots[counters.connections_active] = open_
    slots[counters.connections_reading] = reading
    slots[counters.connections_writing] = writing
    slots[counters.connections_waiting] = open_ - writing - reading
    idle = connected = waiting = 0
    for pool in env.pools:
        idle += pool.count_idle
        connected += pool.count_open
        waiting += pool.count_waiting
    slots[counters.upstream_idle] = idle
    slots[counters.upstream_busy] = max(0, connected - idle)
    slots[counters.upstream_waiting] = waiting
    resolver = env.resolver
    asked, resolver.statistics = resolver.statistics, Statistics()
    slots[counters.dns_queries] += asked.queries
    slots[counters.dns_found] += asked.found
    slots[counters.dns_absent] += asked.absent
    slots[counters.dns_failures] += asked.failures
    slots[counters.dns_stale] += asked.stale
    slots[counters.dns_names] = resolver.count_names()
