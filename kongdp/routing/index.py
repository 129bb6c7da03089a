"""Where candidates are filed: a table of radix trees, one for each host that some route names, and one for routes
that name none.

In: placements (a host key, a path prefix and the candidate that waits there).  Out: the trees a request must look into.
Every candidate that can match a request waits under one of that request's hosts and under a prefix of its path; what
the index does not know (methods, regexes, headers, SNI) stays with the candidate. Exact hosts are a dict; wildcards
are dicts too, asked once for each label of the request's host. All of it is persistent: see radix and shards.
Hot: `roots`. Cold: the rest. Source: ours.
"""

from collections.abc import Iterator
from typing import NamedTuple

from kongdp.routing import radix
from kongdp.routing.candidate import Candidate
from kongdp.routing.pattern import EXACT, PREFIX, SUFFIX
from kongdp.routing.radix import Node
from kongdp.routing.shards import ShardedMap

ANY_HOST = ""


class Placement(NamedTuple):
    """Where a candidate waits. `kind` is ANY_HOST or one of pattern's three; `prefix` is empty when no path takes
    part.
    """

    kind: str
    host: bytes
    prefix: bytes
    candidate: Candidate


class Index:
    """The trees by host. Changed only by the edit whose `owner` made it with `edited`."""

    __slots__ = ("_hosts", "_owner", "any_host", "wildcard_length_max")

    def __init__(self, owner: object = None) -> None:
        self._owner = owner
        self.any_host: Node[Candidate] = radix.build_root(owner)
        self._hosts: dict[str, ShardedMap[bytes, Node[Candidate]]] = {
            kind: ShardedMap(owner) for kind in (EXACT, SUFFIX, PREFIX)
        }
        # an upper bound that only grows: a wildcard taken out again leaves it too high, which costs time and no result
        self.wildcard_length_max = 0

    def edited(self, owner: object) -> "Index":
        """This index when `owner` made it, else a version that may be changed without touching this one."""
        if self._owner is owner:
            return self
        copy = Index(owner)
        copy.any_host = self.any_host
        copy._hosts = {kind: hosts.edited(owner) for kind, hosts in self._hosts.items()}
        copy.wildcard_length_max = self.wildcard_length_max
        return copy

    @property
    def exact(self) -> ShardedMap[bytes, Node[Candidate]]:
        return self._hosts[EXACT]

    @property
    def has_wildcards(self) -> bool:
        return bool(self._hosts[SUFFIX].count or self._hosts[PREFIX].count)

    def add(self, placement: Placement) -> None:
        kind, host, prefix, candidate = placement
        if kind == ANY_HOST:
            self.any_host = radix.insert(self.any_host, prefix, candidate, self._owner)
            return
        hosts = self._hosts[kind]
        root = hosts.get(host) or radix.build_root(self._owner)
        hosts.set(host, radix.insert(root, prefix, candidate, self._owner))
        if kind != EXACT:
            self.wildcard_length_max = max(self.wildcard_length_max, len(host))

    def discard(self, placement: Placement) -> None:
        """Take a placement out again; KeyError when it is not there."""
        kind, host, prefix, candidate = placement
        if kind == ANY_HOST:
            self.any_host = radix.remove(self.any_host, prefix, candidate.order, self._owner)
            return
        hosts = self._hosts[kind]
        root = hosts.get(host)
        if root is None:
            raise KeyError(host)
        root = radix.remove(root, prefix, candidate.order, self._owner)
        if root.is_empty():
            hosts.delete(host)
        else:
            hosts.set(host, root)

    def parts(self) -> Iterator[object]:
        """Every node, each before its children."""
        yield from radix.walk(self.any_host)
        for hosts in self._hosts.values():
            yield from hosts.shards
            for root in hosts.values():
                yield from radix.walk(root)

    def wildcard_roots(self, host: bytes, *, empty_label: bool = True) -> list[Node[Candidate]]:
        """The trees of every wildcard that this host (without port) satisfies; `empty_label`: may `*` stand for
        nothing.
        """
        keys = wildcard_keys(host, self.wildcard_length_max, empty_label=empty_label)
        return [root for kind, text in keys if (root := self._hosts[kind].get(text)) is not None]


def wildcard_keys(host: bytes, length_max: int, *, empty_label: bool = True) -> list[tuple[str, bytes]]:
    """Kind and text of every wildcard that would match the host: one of each kind for each of its dots.

    Looks no further from either end than the longest wildcard reaches, so that a host of many labels costs no more.
    """
    spare = 0 if empty_label else 1
    keys: list[tuple[str, bytes]] = []
    dot = host.find(b".", max(spare, len(host) - length_max))
    while dot >= 0:
        keys.append((SUFFIX, host[dot:]))
        dot = host.find(b".", dot + 1)
    end = min(length_max, len(host) - spare)
    dot = host.find(b".", 0, end)
    while dot >= 0:
        keys.append((PREFIX, host[: dot + 1]))
        dot = host.find(b".", dot + 1, end)
    return keys
