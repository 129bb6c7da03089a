"""A run: every scenario on every gateway, in interleaved rounds.

In: scenarios, peers, rounds.  Out: one result document (plain dicts, as they go into the JSON file).
Gateways of a scenario run side by side and idle while another is measured; each round measures all of them, beginning
with another one each time, so that a slow minute of the machine touches all alike. Ratios are made within rounds.
"""

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import machine
from bench.whole import measure
from bench.whole.configs import Place, Setup
from bench.whole.peers import PEERS, Kong, Kongdp, Peer
from bench.whole.processes import CommandError, free_port
from bench.whole.scenarios import Scenario
from bench.whole.upstream import Upstream

WARM_S = 1.0


@dataclass(frozen=True)
class Options:
    """How to run."""

    rounds: int
    seconds: float
    gateway_cores: frozenset[int]
    load_core: int
    system_calls: bool = True


class Bench:
    """Upstream and gateways of a run. Gateways are started when a scenario first needs them."""

    def __init__(self, directory: Path, peers: dict[str, type[Peer]], options: Options) -> None:
        self._directory = directory
        self._kinds = peers
        self._options = options
        self._running: dict[tuple[str, Setup], Peer] = {}
        self._numbers = itertools.count()
        self.versions: dict[str, str] = {}
        self.failures = 0
        self._upstream = Upstream(directory, options.load_core, (free_port(), free_port(), free_port()))

    def run(self, scenarios: dict[str, Scenario], progress: Callable[[str], None]) -> dict[str, Any]:
        """Measure all; the result document. What fails is said and left out; Ctrl-C ends with what there is."""
        results: dict[str, Any] = {}
        try:
            for number, (name, scenario) in enumerate(scenarios.items(), 1):
                progress(f"[{number}/{len(scenarios)}] {name}: {scenario.title}")
                found = self._tried(scenario, progress)
                if found:
                    results[name] = {"title": scenario.title, "contestants": found}
        except KeyboardInterrupt:
            progress("interrupted; what was measured is kept")
        return {"machine": machine.facts(), "versions": self.versions, "scenarios": results}

    def _tried(self, scenario: Scenario, progress: Callable[[str], None]) -> dict[str, Any]:
        try:
            return self.measure(scenario, progress)
        except CommandError as error:
            progress(f"  left out: {error}")
            self.failures += 1
            return {}

    def measure(self, scenario: Scenario, progress: Callable[[str], None]) -> dict[str, Any]:
        """All contestants of a scenario; label -> peer, setup, trials and what is counted once."""
        contestants = self._contestants(scenario)
        if not contestants:
            return {}
        options, load = self._options, scenario.load
        for peer in contestants.values():
            measure.loads.run(load, peer.setup, peer.place, WARM_S, options.load_core)
        trials: dict[str, list[dict[str, Any]]] = {label: [] for label in contestants}
        for number in range(options.rounds):
            labels = list(contestants)
            turn = number % len(labels)
            for label in labels[turn:] + labels[:turn]:
                found = measure.trial(contestants[label], load, options.seconds, options.load_core)
                trials[label].append(found)
            costs = ", ".join(f"{label} {rows[-1]['cpu_us']:.1f}" for label, rows in trials.items())
            progress(f"  round {number + 1}/{options.rounds}, CPU us/request: {costs}")
        return {label: self._entry(peer, scenario, trials[label]) for label, peer in contestants.items()}

    def _entry(self, peer: Peer, scenario: Scenario, trials: list[dict[str, Any]]) -> dict[str, Any]:
        entry: dict[str, Any] = {"peer": peer.name, "setup": peer.setup.label(), "trials": trials}
        if self._options.system_calls:
            entry["system_calls"] = measure.system_calls(peer, scenario.load, self._options.load_core)
        if peer.setup.workers > 1:
            entry["connections"] = measure.connections_of_workers(peer, scenario.load, self._options.load_core)
        return entry

    def _contestants(self, scenario: Scenario) -> dict[str, Peer]:
        """The scenario's gateways, started; those of other setups than its own are ended."""
        for key in [key for key in self._running if key[1] not in scenario.setups]:
            self._running.pop(key).stop()
        suited = {name: kind for name, kind in self._kinds.items() if fits(scenario, name, kind)}
        rows: dict[str, list[Peer]] = {}
        for name, kind in suited.items():
            started = [self._started(name, kind, setup) for setup in scenario.setups if kind.runs(setup)]
            rows[name] = [peer for peer in started if peer is not None]
        # a gateway that lacks one of the setups has nothing to compare
        whole = [row for row in rows.values() if len(row) == len(scenario.setups)]
        return {label_of(peer): peer for column in zip(*whole, strict=True) for peer in column}

    def _started(self, name: str, kind: type[Peer], setup: Setup) -> Peer | None:
        """The gateway in this setup; None when it does not run the setup's plugin."""
        peer = self._running.get((name, setup))
        if peer is None:
            peer = kind(name, setup, self._place(name), set(self._options.gateway_cores))
            try:
                peer.start()
            except CommandError as error:
                if not setup.plugin or "not enabled" not in str(error):
                    raise
                say(f"  {name} does not run {setup.plugin}")
                return None
            self._running[name, setup] = peer
            self.versions[name] = peer.version()
        return peer

    def _place(self, name: str) -> Place:
        return place_in(self._directory / f"{next(self._numbers)}-{name}", self._upstream)

    def stop(self) -> None:
        """End everything that was started."""
        for peer in self._running.values():
            peer.stop()
        self._upstream.stop()


def place_in(directory: Path, up: Upstream) -> Place:
    """A directory and free ports for one gateway before this upstream."""
    ports = free_port(), free_port(), free_port()
    return Place(directory, *ports, up.plain, up.tls, up.websocket, up.certificate, up.key, up.bundle)


def label_of(peer: Peer) -> str:
    """Its name, with what differs from the plain setup."""
    return f"{peer.name} ({peer.setup.label()})" if peer.setup.label() else peer.name


def fits(scenario: Scenario, name: str, kind: type[Peer]) -> bool:
    """Whether the scenario is for this gateway: by its name, or as another kongdp or Kong of the command line."""
    if not scenario.only or name in scenario.only:
        return True
    families = {"kongdp": Kongdp, "kong": Kong}
    return name not in PEERS and any(issubclass(kind, families[one]) for one in scenario.only if one in families)


def say(line: str) -> None:
    """Progress goes to stderr, results to stdout."""
    print(line, file=sys.stderr, flush=True)
