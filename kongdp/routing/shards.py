"""A persistent dict: a new version costs a copy of one shard, not of everything.

Small maps are one dict. From SHARD_SIZE_MAX entries on, entries are spread over SHARDS dicts by hash, so that
replacing one among 100,000 copies some four hundred. Versions share the shards that did not change; `owner` works as
in radix.
What an old version alone holds is as small, so that its end stalls nobody either: to drop a dict of 100,000 entries is
to touch every one of them.
Cold: changes. Hot: `get`, one hash and one dict lookup; who asks at every request writes it out.
"""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, TypeVar, overload

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
T = TypeVar("T")

SHARD_SIZE_MAX = 256
SHARDS = 256


class ShardedMap(Mapping[K, V]):
    """`set` and `delete` change a map its owner made with `edited`; all other versions stay as they are."""

    __slots__ = ("_owner", "_owners", "count", "mask", "shards")

    def __init__(self, owner: object = None) -> None:
        self.shards: list[dict[K, V]] = [{}]
        self.mask = 0
        self.count = 0
        self._owner = owner
        self._owners: list[object] = [owner]

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, default: V, /) -> V: ...
    @overload
    def get(self, key: K, default: T, /) -> V | T: ...
    def get(self, key: K, default: Any = None, /) -> Any:
        return self.shards[hash(key) & self.mask].get(key, default)

    def __getitem__(self, key: K) -> V:
        return self.shards[hash(key) & self.mask][key]

    def __contains__(self, key: object) -> bool:
        return key in self.shards[hash(key) & self.mask]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[K]:
        for shard in self.shards:
            yield from shard

    def parts(self) -> Iterator[object]:
        """The shards, each before its values."""
        for shard in self.shards:
            yield shard
            yield from shard.values()

    def edited(self, owner: object) -> "ShardedMap[K, V]":
        """This map when `owner` made it, else a version that may be changed without touching this one."""
        if self._owner is owner:
            return self
        copy: ShardedMap[K, V] = ShardedMap(owner)
        copy.shards = self.shards.copy()
        copy.mask = self.mask
        copy.count = self.count
        copy._owners = self._owners.copy()
        return copy

    def set(self, key: K, value: V) -> None:
        shard = self._own_shard(hash(key) & self.mask)
        self.count -= len(shard)
        shard[key] = value
        self.count += len(shard)
        if self.mask == 0 and len(shard) > SHARD_SIZE_MAX:
            self._spread(shard)

    def delete(self, key: K) -> None:
        """Take a key out; KeyError when it is not there."""
        shard = self._own_shard(hash(key) & self.mask)
        del shard[key]
        self.count -= 1

    def discard(self, key: K) -> None:
        """Take a key out when it is there. Either way its shard is this map's own from here on: what a version that
        shared it sets later is not seen here.
        """
        shard = self._own_shard(hash(key) & self.mask)
        self.count -= len(shard)
        shard.pop(key, None)
        self.count += len(shard)

    def _own_shard(self, at: int) -> dict[K, V]:
        shard = self.shards[at]
        if self._owners[at] is not self._owner:
            shard = self.shards[at] = shard.copy()
            self._owners[at] = self._owner
        return shard

    def _spread(self, full: dict[K, V]) -> None:
        self.mask = SHARDS - 1
        self.shards = [{} for _ in range(SHARDS)]
        self._owners = [self._owner] * SHARDS
        for key, value in full.items():
            self.shards[hash(key) & self.mask][key] = value
