"""The numbers of each flavor. Rows: fields used and kinds -> priority, written out from the bit layout.

Source: Kong 3.9 transform.lua get_priority; LuaJIT bit library semantics; vectors router-101-15 (widening beside a
flag).
"""

import pytest

from kongdp.routing.priority import (
    ORIGINAL,
    STRICT,
    Weight,
    category_rank,
    compatible_order,
    compatible_priority,
    expression_priority,
    id_number,
    split_id,
)

PLAIN, REGEX = 1 << 60, 1 << 51
HIGH = 0xFFFFFFFF << 32

# weight, as shipped, as intended
PRIORITIES = [
    (Weight(1), 1 << 29, 1 << 61),
    (Weight(2), 1 << 30, 1 << 62),
    (Weight(3), 0x60000000, 3 << 61),
    (Weight(4), HIGH | 0x80000000, 1 << 63),
    (Weight(5), HIGH | 0xA0000000, 5 << 61),
    (Weight(7), HIGH | 0xE0000000, 7 << 61),
    (Weight(1, length=5), 1 << 29 | 5, 1 << 61 | 5),
    (Weight(1, length=1 << 19), 1 << 29, 1 << 61),
    (Weight(1, plain_hosts=True), PLAIN | 1 << 29, PLAIN | 1 << 61),
    (Weight(4, plain_hosts=True), PLAIN | 0x80000000, PLAIN | 1 << 63),
    (Weight(2, headers=3), 1 << 30 | 3 << 20, 1 << 62 | 3 << 52),
    (Weight(2, headers=999), 1 << 30 | 255 << 20, 1 << 62 | 255 << 52),
    (Weight(1, regex=True, regex_priority=3), REGEX | 1 << 29 | 3 << 19, REGEX | 1 << 61 | 3 << 19),
    (Weight(1, regex=True, regex_priority=4096), REGEX | 1 << 29 | 1 << 31, REGEX | 1 << 61 | 1 << 31),
    (Weight(1, regex=True, regex_priority=8192), REGEX | 1 << 29, REGEX | 1 << 61 | 1 << 32),
    (Weight(1, regex_priority=3), 1 << 29, 1 << 61),
]


@pytest.mark.parametrize(("weight", "original", "strict"), PRIORITIES)
def test_compatible_priority_when_calculation_is_original_or_strict(weight: Weight, original: int, strict: int) -> None:
    """Counters are shifted in 32 bits as shipped, in 64 as intended."""
    assert compatible_priority(weight, ORIGINAL) == original
    assert compatible_priority(weight, STRICT) == strict


# Same field count or not: who wins under which calculation (router reference, section 5)
PAIRS = [
    (Weight(1, plain_hosts=True), Weight(2, length=10), True, False),
    (Weight(1, regex=True), Weight(3, headers=2, length=10), True, False),
    (Weight(2, headers=2, length=10), Weight(2, headers=1, regex=True), False, True),
    (Weight(1, headers=1), Weight(1, length=50), True, True),
    (Weight(1, headers=1), Weight(1, regex=True), False, True),
    (Weight(4, length=3), Weight(3, plain_hosts=True, regex=True), True, True),
]


@pytest.mark.parametrize(("left", "right", "original", "strict"), PAIRS)
def test_left_outranks_right_when_the_calculation_says_so(
    left: Weight, right: Weight, original: bool, strict: bool
) -> None:
    """The pairs on which the two calculations differ, and those on which they agree."""
    assert (compatible_priority(left, ORIGINAL) > compatible_priority(right, ORIGINAL)) is original
    assert (compatible_priority(left, STRICT) > compatible_priority(right, STRICT)) is strict


def test_expression_outranks_every_classic_route() -> None:
    """The high byte is set, whatever priority was written."""
    assert expression_priority(0) > compatible_priority(Weight(7, 255, True, True), STRICT) & ((0xFF << 56) - 1)
    assert expression_priority(5) == 0xFF << 56 | 5


def test_order_prefers_priority_then_greater_id_then_position() -> None:
    """Ties of priority fall to the greater uuid; the regexes of one list keep their order."""
    low, high = "00000000-0000-0000-0000-000000000001", "f0000000-0000-0000-0000-000000000000"
    orders = [
        compatible_order(9, low),
        compatible_order(8, high, 0),
        compatible_order(8, high, 1),
        compatible_order(8, low),
    ]
    assert orders == sorted(orders)
    assert len(set(orders)) == len(orders)


def test_split_id_is_the_uuid_kong_derives() -> None:
    """Version 5 of `<route id>#<group>` in Kong's namespace."""
    derived = split_id("01234567-89ab-cdef-0123-456789abcdef", 2)
    assert derived != split_id("01234567-89ab-cdef-0123-456789abcdef", 1)
    assert derived[14] == "5"


def test_id_number_when_the_id_is_no_uuid() -> None:
    """Such an id gets a number of its own, always the same."""
    assert id_number("my route") == id_number("my route")
    assert id_number("my route") != id_number("your route")


def test_categories_order_by_count_then_by_field() -> None:
    """More fields first; among equals HOST > HEADER > URI > METHOD > SNI."""
    categories = [0x78, 0x60, 0x50, 0x30, 0x40, 0x20, 0x10, 0x08, 0x04]
    ranks = [category_rank(category) for category in categories]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)
