"""The persistent radix tree and the persistent dict: what is found, what is shared, and that old versions stay."""

import random
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from kongdp.routing.radix import Node, along, build_root, count_nodes, first, insert, remove
from kongdp.routing.shards import SHARD_SIZE_MAX, ShardedMap


@dataclass(frozen=True)
class Item:
    order: int


keys = st.binary(max_size=6).map(lambda key: bytes(byte % 3 for byte in key))


@given(st.lists(st.tuples(keys, st.integers(0, 5), st.booleans()), max_size=40), keys)
def test_tree_holds_what_a_plain_dict_holds_when_edits_are_random(
    edits: list[tuple[bytes, int, bool]], path: bytes
) -> None:
    """Every version finds exactly the items whose keys are prefixes, shallow first and ordered; also after later
    edits.
    """
    root: Node[Item] = build_root(None)
    items: set[tuple[bytes, int]] = set()
    versions = []
    owner = object()
    for key, order, same_edit in edits:
        owner = owner if same_edit else object()
        if (key, order) in items:
            root = remove(root, key, order, owner)
            items.discard((key, order))
        else:
            root = insert(root, key, Item(order), owner)
            items.add((key, order))
        if not same_edit:
            owner = object()
            versions.append((root, frozenset(items)))
    for version, held in [*versions, (root, frozenset(items))]:
        if version is root and held != items:
            continue  # changed in place by its own edit
        want = [order for key, order in sorted(held) if path.startswith(key)]
        assert [item.order for item in along(version, path)] == want


def test_removing_everything_leaves_only_the_root() -> None:
    """Nodes without purpose go, so that a table that is edited for ever does not grow."""
    dice = random.Random(1)
    keys = [bytes(dice.choices(b"ab/", k=dice.randint(0, 12))) for _ in range(300)]
    root: Node[Item] = build_root(None)
    for number, key in enumerate(keys):
        root = insert(root, key, Item(number), object())
    for number, key in sorted(enumerate(keys), key=lambda _: dice.random()):
        root = remove(root, key, number, object())
    assert count_nodes(root) == 1
    assert root.is_empty()


def test_insert_copies_only_the_nodes_on_its_way() -> None:
    """An edit shares every other subtree with the version it came from."""
    root: Node[Item] = build_root(None)
    for number in range(1000):
        root = insert(root, b"/service-%03d" % number, Item(number), None)
    changed = insert(root, b"/service-500/x", Item(0), object())
    assert count_nodes(changed) == count_nodes(root) + 1
    seen = {id(node) for node in nodes(root)}
    assert sum(1 for node in nodes(changed) if id(node) not in seen) <= 7


def nodes(root: Node[Item]) -> list[Node[Item]]:
    found = [root]
    for child in (root.children or {}).values():
        found.extend(nodes(child))
    return found


def test_first_finds_the_smallest_key() -> None:
    """Keys order as bytes do; an empty tree has none."""
    root: Node[Item] = build_root(None)
    assert first(root) is None
    for number in (7, 3, 300):
        root = insert(root, number.to_bytes(4), Item(number), None)
    found = first(root)
    assert found is not None
    assert found.order == 3


def test_many_candidates_of_one_node_stay_in_order() -> None:
    """Beyond the few that are kept as a tuple the order holds too, and old versions keep theirs."""
    numbers = list(range(200))
    random.Random(2).shuffle(numbers)
    root: Node[Item] = build_root(None)
    for number in numbers:
        root = insert(root, b"/", Item(number), object())
    less = root
    for number in numbers[:100]:
        less = remove(less, b"/", number, object())
    assert [item.order for item in along(root, b"/")] == sorted(numbers)
    assert [item.order for item in along(less, b"/")] == sorted(numbers[100:])


@given(st.lists(st.tuples(st.integers(0, 600), st.booleans()), max_size=60))
def test_sharded_map_equals_a_dict_when_edits_are_random(edits: list[tuple[int, bool]]) -> None:
    """Versions hold what a dict held at their time, small or spread over shards."""
    plain = {number: number for number in range(SHARD_SIZE_MAX - 5)}
    sharded: ShardedMap[int, int] = ShardedMap(None).edited(object())
    for number in plain:
        sharded.set(number, number)
    versions = [(sharded, dict(plain))]
    for key, same_edit in edits:
        if not same_edit:
            versions.append((sharded, dict(plain)))
            sharded = sharded.edited(object())
        else:
            sharded = sharded.edited(object())
        if key in plain:
            sharded.delete(key)
            del plain[key]
        else:
            sharded.set(key, -key)
            plain[key] = -key
    for version, held in [*versions, (sharded, plain)]:
        assert {key: version.get(key) for key in version} == held
        assert len(version) == len(held)
        assert sorted(version.values()) == sorted(held.values())


def test_map_is_a_mapping_when_versions_part() -> None:
    """Reading is a dict's; a key discarded is no longer seen, also when the version before sets it later."""
    base: ShardedMap[str, int] = ShardedMap()
    for number in range(SHARD_SIZE_MAX * 2):
        base.set(str(number), number)
    later = base.edited(object())
    later.discard("7")
    later.discard("nobody")
    base.set("nobody", 1)
    assert "7" not in later
    assert "nobody" not in later
    assert later.get("7", -1) == -1
    assert base["7"] == 7
    assert base["nobody"] == 1
    assert dict(later.items()) == {str(number): number for number in range(SHARD_SIZE_MAX * 2) if number != 7}
    assert len(later) == SHARD_SIZE_MAX * 2 - 1


def test_a_change_among_many_shares_the_shards_it_does_not_touch() -> None:
    """What a version alone holds is small, so that neither making nor dropping one is felt by traffic."""
    base: ShardedMap[int, int] = ShardedMap()
    for number in range(10_000):
        base.set(number, number)
    later = base.edited(object())
    later.set(10_000, 0)
    own = [shard for shard in later.shards if all(shard is not other for other in base.shards)]
    assert len(own) == 1
    assert len(own[0]) < 100
