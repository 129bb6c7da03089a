"""Health of upstreams' targets as far as an agent without health checks knows it: addresses, and names that do not resolve.

In: the table in force; a resolver of the agent's own.  Out: states for /metrics, and health as the Admin API shows it.
House rules: nobody waits for a name but whoever asks about its upstream; a name that was not answered yet is in no state, rather than
in a wrong one. Look-ups happen only where somebody asks: a scrape that shows target health, or GET /upstreams/{u}/health.
Cold. Source: Kong 3.9.1 plugins/prometheus/exporter.lua (upstream_target_health), api/routes/upstreams.lua; the spec of metrics.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kongdp.entities.addresses import Address, parse_address
from kongdp.entities.table import Row, Table
from kongdp.telemetry.families import TargetHealth
from kongdp.upstream.resolver import Outcome, Resolver

SETTLE_S = 2.0
"""How long a question about one upstream waits for the names of its targets."""

OFF, DNS_ERROR = "healthchecks_off", "dns_error"

ANSWERS_MAX = 10000
"""Names whose last answer is remembered; as many as the resolver keeps."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a name resolved to; no addresses: it did not, and `error` says why."""

    addresses: Sequence[str]
    error: str


class TargetHealthWatch:
    """What is known of targets. `states` and `settle` belong to the agent's loop; `health` may be called from any thread."""

    def __init__(
        self, resolver: Resolver, table: Callable[[], Table], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._resolver = resolver
        self._table = table
        # a name's last answer stands while it is asked again; replaced and read, by one step each
        self._answers: dict[str, Answered] = {}

    def states(self) -> Iterator[TargetHealth]:
        """Every address of every target; a target whose name does not resolve has none and is a DNS error."""
        upstreams = {id_: row["name"] for id_, row in self._table().get("upstreams", {}).items()}
        for row in self._table().get("targets", {}).values():
            upstream = upstreams.get(row["upstream"]["id"])
            address = parse_address(row["target"])
            if upstream is None or isinstance(address, str):
                continue
            found, state = self._addresses(address)
            for ip in found:
                yield TargetHealth(upstream, row["target"], f"{ip}:{address.port}" if ip else "", state)

    def _addresses(self, address: Address) -> tuple[Sequence[str], str]:
        if address.kind != "name":
            return (f"[{address.host}]" if address.kind == "ipv6" else address.host,), OFF
        answer = self._look_up(address.host)
        if answer is None:
            return (), OFF
        return (answer.addresses, OFF) if answer.addresses else (("",), DNS_ERROR)

    def _look_up(self, host: str) -> Answered | None:
        """The newest answer about a name, None where there was none yet."""
        name = self._resolver.lookup(host, self._monotonic())
        if name.outcome is not Outcome.UNKNOWN:
            if len(self._answers) >= ANSWERS_MAX:
                self._answers.clear()
            self._answers[host] = Answered(name.addresses, name.error or name.outcome.value)
        return self._answers.get(host)

    async def settle(self, upstream: str) -> None:
        """Wait until the names of an upstream's targets (by its name or id) are answered, or SETTLE_S have passed."""
        table = self._table()
        ids = {id_ for id_, row in table.get("upstreams", {}).items() if upstream in (id_, row["name"])}
        addresses = [
            parse_address(row["target"]) for row in table.get("targets", {}).values() if row["upstream"]["id"] in ids
        ]
        hosts = {each.host for each in addresses if not isinstance(each, str) and each.kind == "name"}
        waiting = []
        for host in hosts:
            name = self._resolver.lookup(host, self._monotonic())
            if name.outcome is Outcome.UNKNOWN:
                answered = asyncio.Event()
                name.wait(answered.set)
                waiting.append(asyncio.create_task(answered.wait()))
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=SETTLE_S)
            for task in late:
                task.cancel()
        for host in hosts:
            self._look_up(host)

    def health(self, upstream: Row, targets: Sequence[Row]) -> Mapping[str, tuple[str, Mapping[str, Any]]]:
        """Target id -> (health, data) of the targets whose names are known not to resolve; the others have no health checks."""
        found = {}
        for row in targets:
            address = parse_address(row["target"])
            if isinstance(address, str) or address.kind != "name":
                continue
            answer = self._answers.get(address.host)
            if answer is not None and not answer.addresses:
                found[row["id"]] = "DNS_ERROR", _unresolved(address, row["weight"], answer.error)
        return found


def _unresolved(address: Address, weight: int, error: str) -> Mapping[str, Any]:
    nothing = {"total": 0, "unavailable": 0, "available": 0}
    return {
        "host": address.host,
        "port": address.port,
        "dns": f"dns server error: {error}",
        "nodeWeight": weight,
        "weight": nothing,
        "addresses": [],
    }
