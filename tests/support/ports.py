"""Ports for processes that must be told a number: free now, and nobody else's until this process ends.

House rule: below the range from which the kernel takes ports of its own, so that no client's connection and no socket bound to
port 0 lands on one between its choice and its use; and each reserved machine-wide by the name of an abstract Unix socket, so that
tests that run at the same time never get the same one.
"""

import random
import socket
from pathlib import Path

LOWEST = 10_000
"""Below are the ports that Kong, databases and tools have by default."""

_held: list[socket.socket] = []


def free_port() -> int:
    """A port of loopback on which nobody listens; reserved for this process."""
    candidates = random.SystemRandom()
    while True:
        port = candidates.randrange(LOWEST, _kernel_range_start())
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0kongdp-test-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            reservation.close()
            continue
        _held.append(reservation)
        return port


def _kernel_range_start() -> int:
    return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
