"""One trial: a load on one gateway, and what it cost that gateway.

The figure to quote is CPU time per request of the worker (user and system, /proc/PID/task/*/schedstat before and after):
it holds when the load generator is the bottleneck and survives a noisy machine far better than requests per second.
`node_us` is the same for all processes of the gateway. System calls are counted in a short run of their own, because
counting slows what is counted.
"""

import re
import subprocess
from dataclasses import asdict
from typing import Any

from bench.whole import loads
from bench.whole.peers import Peer
from bench.whole.processes import CommandError, count_connections, cpu_ns, proportional_mib, resident_mib, user_share
from bench.whole.scenarios import Load

TRACEPOINT = "raw_syscalls:sys_enter"


def trial(peer: Peer, load: Load, seconds: float, core: int) -> dict[str, Any]:
    """Run the load once; the figures of one round."""
    everyone = peer.everyone()
    node, workers, (user, system) = cpu_ns(everyone), cpu_ns(peer.workers), user_share(peer.workers)
    seen = loads.run(load, peer.setup, peer.place, seconds, core)
    workers, node = cpu_ns(peer.workers) - workers, cpu_ns(everyone) - node
    later = user_share(peer.workers)
    requests = seen.bytes / load.reply_bytes if load.reply_bytes else seen.requests
    if not requests:
        raise CommandError(f"{peer.name}: no request was answered")
    busy = max(1, later[0] - user + later[1] - system)
    return {
        "cpu_us": workers / requests / 1000,
        "node_us": node / requests / 1000,
        "user_share": (later[0] - user) / busy,
        "rps": requests / seen.seconds,
        "busy": workers / 1e9 / seen.seconds,
        "rss_mib": resident_mib(peer.workers),
        "node_mib": proportional_mib(everyone),
        **{key: value for key, value in asdict(seen).items() if key != "seconds"},
    }


def connections_of_workers(peer: Peer, load: Load, core: int) -> list[int]:
    """Connections each worker holds in the middle of a short run."""
    command = loads.command_of(load, peer.setup, peer.place, 2)
    process = subprocess.Popen(loads.pinned(command, {core}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        pass
    port = peer.place.tls if load.tls else peer.place.plain
    found = [count_connections(pid, port) for pid in peer.workers]
    process.wait(60)
    return found


def system_calls(peer: Peer, load: Load, core: int) -> float | None:
    """System calls per request of the workers, by perf's tracepoint; None where perf may not count."""
    pids = ",".join(map(str, peer.workers))
    command = ["perf", "stat", "-x", ",", "-e", TRACEPOINT, "-p", pids]
    try:
        perf = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    except OSError:
        return None
    seen = loads.run(load, peer.setup, peer.place, 1, core)
    perf.send_signal(2)  # perf prints its counts when it is interrupted
    _, said = perf.communicate(timeout=30)
    return parse_perf(said, seen.requests)


def parse_perf(said: str, requests: int) -> float | None:
    """Calls per request from perf's comma-separated line."""
    found = re.search(rf"^(\d+),.*{re.escape(TRACEPOINT)}", said, re.MULTILINE)
    return round(int(found[1]) / requests, 2) if found and requests else None
