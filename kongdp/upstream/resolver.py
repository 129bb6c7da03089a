"""Names to addresses: a bounded cache in front of the system's resolver, never on the path of a request once a name is known.

In: a host name.  Out: a Resolution, an object that keeps its addresses current for whoever holds it.
House rules: one query at a time for a name; an expired answer is served while a new one is fetched (Kong: dns_stale_ttl); names under
`.invalid` and `.localhost` are answered without a query (RFC 6761 sections 6.3 and 6.4). IPv4 addresses first; IPv6 only when a name
has no other (Kong's dns_order has no AAAA).
Hot only in `Resolution.addresses`, a plain read; look-ups run in the loop's executor.
Source: Kong's balancing contract, sections 1 and 2. The system's resolver tells no TTL, so answers live `valid_ttl_s`.
"""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

_log = logging.getLogger(__name__)

_NO_SUCH_NAME = frozenset((socket.EAI_NONAME, socket.EAI_NODATA))


class Outcome(Enum):
    """How the last look-up of a name ended."""

    UNKNOWN = "not asked yet"
    FOUND = "found"
    NOT_FOUND = "no such name"
    FAILED = "look-up failed"


@dataclass(frozen=True, slots=True)
class ResolverLimits:
    """Seconds an answer counts as fresh, an old one may still be served, an absence and a failure are believed; names kept."""

    valid_ttl_s: float = 30.0
    stale_ttl_s: float = 3600.0
    not_found_ttl_s: float = 30.0
    error_ttl_s: float = 1.0
    names_max: int = 10000


@dataclass(slots=True)
class Statistics:
    """What a resolver did since somebody last took its statistics: queries begun, how they ended, expired answers served."""

    queries: int = 0
    found: int = 0
    absent: int = 0
    failures: int = 0
    stale: int = 0


class Resolution:
    """What is known of one name. `addresses` are IP literals, best first; empty unless `outcome` is FOUND."""

    __slots__ = ("_waiting", "addresses", "asking", "error", "expires_at", "name", "outcome", "stale_until")

    def __init__(self, name: str) -> None:
        self.name = name
        self.addresses: tuple[str, ...] = ()
        self.outcome = Outcome.UNKNOWN
        self.error = ""
        self.expires_at = 0.0
        self.stale_until = 0.0
        self.asking = False
        self._waiting: list[Callable[[], None]] = []

    def wait(self, then: Callable[[], None]) -> None:
        """Call `then` once the look-up under way has ended."""
        self._waiting.append(then)

    def settle(self) -> None:
        """Wake everyone who waits, each whatever the others make of it."""
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            try:
                then()
            except Exception:
                # a boundary between requests: what fails is the fault of one, and the others wait for nothing else
                _log.exception("a request that waited for the address of %s failed", self.name)


class Resolver:
    """Cache of Resolutions. `lookup` returns at once; when nothing usable is known yet the caller waits on the Resolution."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: ResolverLimits = ResolverLimits()) -> None:
        self._loop = loop
        self._limits = limits
        self._names: dict[str, Resolution] = {}
        self.statistics = Statistics()
        self._tasks: set[asyncio.Task[None]] = set()

    def lookup(self, name: str, now: float) -> Resolution:
        """The Resolution of `name`; starts or refreshes a look-up when its answer has expired. `now`: monotonic seconds."""
        name = name.lower().rstrip(".")
        known = self._names.get(name)
        if known is None:
            known = self._remember(name)
        if now >= known.expires_at and not known.asking:
            if known.outcome is Outcome.FOUND and now >= known.stale_until:
                known.outcome, known.addresses = Outcome.UNKNOWN, ()
            elif known.outcome is not Outcome.FOUND:
                known.outcome = Outcome.UNKNOWN
            known.asking = True
            self.statistics.queries += 1
            self.statistics.stale += known.outcome is Outcome.FOUND
            task = self._loop.create_task(self._ask(known))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return known

    def count_names(self) -> int:
        """How many names are kept."""
        return len(self._names)

    def _remember(self, name: str) -> Resolution:
        if len(self._names) >= self._limits.names_max:
            # the oldest entry goes; dictionaries keep insertion order
            del self._names[next(iter(self._names))]
        known = self._names[name] = Resolution(name)
        fixed = without_query(name)
        if fixed is not None:
            known.addresses = fixed
            known.outcome = Outcome.FOUND if fixed else Outcome.NOT_FOUND
            known.expires_at = known.stale_until = float("inf")
        return known

    async def _ask(self, known: Resolution) -> None:
        try:
            found = await self._loop.getaddrinfo(known.name, None, type=socket.SOCK_STREAM)
            self._found(known, [(family, str(address[0])) for family, _, _, _, address in found])
        except OSError as problem:
            self._not_found(known, problem.errno in _NO_SUCH_NAME, str(problem.strerror or problem))
        except UnicodeError:
            self._not_found(known, True, "not a name that DNS can carry")
        finally:
            known.asking = False
            known.settle()

    def _found(self, known: Resolution, found: list[tuple[int, str]]) -> None:
        by_family: dict[int, list[str]] = {}
        for family, address in found:
            by_family.setdefault(family, []).append(address)
        chosen = by_family.get(socket.AF_INET) or by_family.get(socket.AF_INET6) or []
        known.addresses = tuple(dict.fromkeys(chosen))
        known.outcome = Outcome.FOUND if known.addresses else Outcome.NOT_FOUND
        known.error = "" if known.addresses else "empty answer"
        self.statistics.found += bool(known.addresses)
        self.statistics.absent += not known.addresses
        known.expires_at = self._loop.time() + self._limits.valid_ttl_s
        known.stale_until = known.expires_at + self._limits.stale_ttl_s

    def _not_found(self, known: Resolution, absent: bool, error: str) -> None:
        """NXDOMAIN replaces what was known; any other failure leaves a usable old answer in place (Kong's rule)."""
        known.error = error
        self.statistics.absent += absent
        self.statistics.failures += not absent
        known.expires_at = self._loop.time() + (self._limits.not_found_ttl_s if absent else self._limits.error_ttl_s)
        if absent:
            known.addresses, known.outcome = (), Outcome.NOT_FOUND
        elif known.outcome is not Outcome.FOUND:
            known.outcome = Outcome.FAILED
        _log.warning("look-up of %s failed: %s", known.name, known.error)


def without_query(name: str) -> tuple[str, ...] | None:
    """Addresses of a name that needs no query: literals, and the names RFC 6761 reserves; () = certainly absent; None = ask."""
    try:
        return (str(ipaddress.ip_address(name.strip("[]"))),)
    except ValueError:
        pass
    if name == "localhost" or name.endswith(".localhost"):
        return ("127.0.0.1",)
    if name == "invalid" or name.endswith(".invalid"):
        return ()
    return None
