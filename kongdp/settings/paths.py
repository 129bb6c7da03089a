"""Where a node keeps its state: every path under the prefix, named once.

In: the prefix.  Out: paths; nothing is created here.  Cold. Source: Kong's names where Kong has one (kong.id, pids,
logs, config.cache.json.gz), ours otherwise.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PREFIX_DEFAULT = "/usr/local/kong"


@dataclass(frozen=True, slots=True)
class Paths:
    """The files and directories of one prefix."""

    prefix: Path

    @property
    def node_id(self) -> Path:
        """The node's uuid."""
        return self.prefix / "kong.id"

    @property
    def pids(self) -> Path:
        """Directory of pid files."""
        return self.prefix / "pids"

    @property
    def pid_file(self) -> Path:
        """First line: the supervisor's pid; second line: its start time in clock ticks since boot."""
        return self.prefix / "pids" / "kongdp.pid"

    @property
    def lock_file(self) -> Path:
        """Locked by the supervisor for its whole life, so that one prefix has one node."""
        return self.prefix / "pids" / "kongdp.lock"

    @property
    def run(self) -> Path:
        """Directory of the agent's socket and of the running node's state, 0700."""
        return self.prefix / "run"

    @property
    def state_file(self) -> Path:
        """What the running supervisor last wrote about itself: addresses, children (JSON, replaced by rename)."""
        return self.prefix / "run" / "node.json"

    @property
    def ssl(self) -> Path:
        """Directory of the self-signed default certificate."""
        return self.prefix / "ssl"

    @property
    def certificates(self) -> Path:
        """Directory of the enrolled key and certificate, 0700."""
        return self.prefix / "certs"

    @property
    def cluster_certificate(self) -> Path:
        """The enrolled certificate with its chain."""
        return self.prefix / "certs" / "cluster.crt"

    @property
    def cluster_key(self) -> Path:
        """The enrolled certificate's key, 0600; made on the node, never leaves it."""
        return self.prefix / "certs" / "cluster.key"

    @property
    def cluster_ca(self) -> Path:
        """The control plane's CA as received when enrolling."""
        return self.prefix / "certs" / "ca.crt"

    @property
    def configuration_cache(self) -> Path:
        """The last good configuration, gzip of JSON, 0600."""
        return self.prefix / "config.cache.json.gz"

    @property
    def counters(self) -> Path:
        """Directory of totals that were not acknowledged yet."""
        return self.prefix / "counters"

    @property
    def database(self) -> Path:
        """The control plane's SQLite file."""
        return self.prefix / "controlplane.db"

    @property
    def logs(self) -> Path:
        """Directory of log files."""
        return self.prefix / "logs"

    def resolve(self, path: str) -> Path:
        """A path of a setting: absolute as it is, relative to the prefix otherwise."""
        return self.prefix / path


def default_prefix(environ: Mapping[str, str]) -> str:
    """Kong's prefix where this user may write it, else ~/.kongdp."""
    place = Path(PREFIX_DEFAULT)
    nearest = place if place.exists() else place.parent
    if os.access(nearest, os.W_OK | os.X_OK):
        return PREFIX_DEFAULT
    return str(Path(environ.get("HOME") or Path.home()) / ".kongdp")
