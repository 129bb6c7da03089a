"""A persistent radix tree over bytes: which stored keys are prefixes of a path.

Nodes hold candidates sorted by their `order` (smaller wins). `insert` and `remove` return a new root and share every
node they did not touch with the old one, which stays valid and unchanged: an edit costs the nodes of one path,
however large the tree. An `owner` token says which nodes belong to the edit under way; those are changed in place, so
that a build does not copy what it made a moment ago. Once the edit is over its token is dropped and its nodes are as
frozen as all others.
Cold: all functions. Hot readers walk the nodes themselves (router). What they rely on: `depth` counts bytes from the
root, `label` is the piece from the parent's depth to it, children are found by the next byte.
Source: ours; path copying and owner tokens as in Clojure's persistent collections.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Generic, Protocol, TypeVar


class Ordered(Protocol):
    """What a tree can hold: anything with a rank, the smaller the better."""

    @property
    def order(self) -> int: ...


T = TypeVar("T", bound=Ordered)

TUPLE_MAX = 64
LABELS_MAX = 4096  # of a few dozen bytes each

_order_of = attrgetter("order")


class Node(Generic[T]):
    """A place in the tree. `children` is None when empty, `rest` when the label is a single byte.

    PERF: what a reader of a large table pays for is lines of memory, not steps. So a lone candidate stands in the node
    itself (`lone`, else `candidates`), labels that repeat are one object, and the label's first byte, which the parent
    has as the key, is kept as a number: three objects less to touch at a leaf. Uniform prefixes, interleaved runs of
    bench/parts/test_routing.py: 10,000 routes at most 1.63 times the smallest table (1.88 before), 100,000 2.85 (3.13).
    """

    __slots__ = ("byte", "candidates", "children", "depth", "lone", "owner", "rest")

    def __init__(self, label: bytes, depth: int, owner: object) -> None:
        self.relabel(label)
        self.depth = depth
        self.owner = owner
        self.lone: T | None = None
        self.candidates: Sequence[T] | None = None
        self.children: dict[int, Node[T]] | None = None

    @property
    def label(self) -> bytes:
        """The piece from the parent's depth to this node's."""
        return bytes((self.byte,)) + (self.rest or b"")

    def relabel(self, label: bytes) -> None:
        self.byte = label[0] if label else 0
        self.rest = _shared(label[1:]) if len(label) > 1 else None

    def held(self) -> Sequence[T]:
        """The candidates in order."""
        if self.lone is not None:
            return (self.lone,)
        return self.candidates or ()

    def hold(self, candidates: Sequence[T]) -> None:
        """Keep these instead."""
        self.lone = candidates[0] if len(candidates) == 1 else None
        self.candidates = candidates if len(candidates) > 1 else None

    def owned(self, owner: object) -> "Node[T]":
        """This node when the edit owns it, else a copy that it owns."""
        if self.owner is owner:
            return self
        copy: Node[T] = Node(b"", self.depth, owner)
        copy.byte = self.byte
        copy.rest = self.rest
        copy.lone = self.lone
        copy.candidates = self.candidates.copy() if isinstance(self.candidates, list) else self.candidates
        copy.children = self.children.copy() if self.children is not None else None
        return copy

    def is_empty(self) -> bool:
        return self.lone is None and self.candidates is None and self.children is None


_labels: dict[bytes, bytes] = {}


def _shared(label: bytes) -> bytes:
    """The label, as the object other nodes have it too where it is one of the first `LABELS_MAX`."""
    if len(_labels) < LABELS_MAX:
        return _labels.setdefault(label, label)
    return _labels.get(label, label)


def walk(root: Node[T]) -> Iterator[Node[T]]:
    """Every node of a tree, each before its children."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        if node.children is not None:
            waiting.extend(node.children.values())


def build_root(owner: object) -> Node[T]:
    """The root of an empty tree."""
    return Node(b"", 0, owner)


def insert(root: Node[T], key: bytes, candidate: T, owner: object) -> Node[T]:
    """Add a candidate under a key; a candidate of the same order already there is replaced."""
    root = root.owned(owner)
    node = root
    while node.depth < len(key):
        node = _descend(node, key, owner)
    node.hold(_with(node.held(), candidate))
    return root


def _with(candidates: Sequence[T], candidate: T) -> Sequence[T]:
    """The sequence with one more; few are a tuple (less memory to touch on a request), many a list changed in place."""
    at = bisect_left(candidates, candidate.order, key=_order_of)
    after = at + 1 if at < len(candidates) and candidates[at].order == candidate.order else at
    if len(candidates) < TUPLE_MAX:
        return (*candidates[:at], candidate, *candidates[after:])
    if not isinstance(candidates, list):
        candidates = list(candidates)
    candidates[at:after] = [candidate]
    return candidates


def _without(candidates: Sequence[T], order: int) -> Sequence[T]:
    at = bisect_left(candidates, order, key=_order_of)
    if at == len(candidates) or candidates[at].order != order:
        raise KeyError(order)
    if isinstance(candidates, list):
        del candidates[at]
        return candidates
    return (*candidates[:at], *candidates[at + 1 :])


def _descend(node: Node[T], key: bytes, owner: object) -> Node[T]:
    """The owned child of an owned node on the way to `key`, made or split where the tree has none yet."""
    if node.children is None:
        node.children = {}
    byte = key[node.depth]
    child = node.children.get(byte)
    if child is None:
        child = Node(key[node.depth :], len(key), owner)
    elif key.startswith(child.label, node.depth):
        child = child.owned(owner)
    else:
        child = _split(child, key, node.depth, owner)
    node.children[byte] = child
    return child


def _split(child: Node[T], key: bytes, start: int, owner: object) -> Node[T]:
    """A node for the bytes that `key` and the child's label share, with the rest of the child below it."""
    label = child.label
    shared = 1
    end = min(len(label), len(key) - start)
    while shared < end and label[shared] == key[start + shared]:
        shared += 1
    middle: Node[T] = Node(label[:shared], start + shared, owner)
    lower = child.owned(owner)
    lower.relabel(label[shared:])
    middle.children = {lower.byte: lower}
    return middle


def remove(root: Node[T], key: bytes, order: int, owner: object) -> Node[T]:
    """Take out the candidate of this order under this key; nodes left without purpose go with it.

    The tree must hold it: asking for another is a mistake of ours (KeyError).
    """
    root = root.owned(owner)
    trail = [root]
    node = root
    while node.depth < len(key):
        assert node.children is not None
        child = node.children[key[node.depth]].owned(owner)
        node.children[key[node.depth]] = child
        trail.append(child)
        node = child
    node.hold(_without(node.held(), order))
    _prune(trail, key, owner)
    return root


def _prune(trail: list[Node[T]], key: bytes, owner: object) -> None:
    """Drop the empty leaf, and join a node that only leads to one child with it."""
    node = trail.pop()
    if trail and node.is_empty():
        node = trail.pop()
        assert node.children is not None
        del node.children[key[node.depth]]
        if not node.children:
            node.children = None
    if node.depth and not node.held() and node.children is not None and len(node.children) == 1:
        (child,) = node.children.values()
        child = child.owned(owner)
        node.relabel(node.label + child.label)
        node.depth = child.depth
        node.lone = child.lone
        node.candidates = child.candidates
        node.children = child.children


def along(root: Node[T], path: bytes) -> list[T]:
    """Every candidate whose key is a prefix of the path, from the root down. The router's own walk is this, written
    out.
    """
    found = list(root.held())
    node = root
    while node.depth < len(path) and node.children is not None:
        child = node.children.get(path[node.depth])
        if child is None or not path.startswith(child.label, node.depth):
            break
        node = child
        found.extend(node.held())
    return found


def first(root: Node[T]) -> T | None:
    """What stands under the smallest key."""
    node = root
    while not (held := node.held()):
        if node.children is None:
            return None
        node = node.children[min(node.children)]
    return held[0]


def count_nodes(root: Node[T]) -> int:
    """Nodes of the whole tree (for tests and benches)."""
    count = 0
    todo = [root]
    while todo:
        node = todo.pop()
        count += 1
        todo.extend((node.children or {}).values())
    return count
