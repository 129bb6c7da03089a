"""Shared counts: all lanes are read, each is written by one, windows end, and a full bucket forgets what ends first."""

import pytest

from kongdp.plugins.rates import SharedRates, private_rates


def test_workers_see_each_others_counts() -> None:
    """Each counts in its own lane; both read the sum; another key is another count."""
    memory = memoryview(bytearray(2 * 4096))
    one, two = SharedRates(memory, 2, 0), SharedRates(memory, 2, 1)
    for rates in (one, two, two):
        rates.add(rates.place(b"k"), 60, 1)
    one.add(one.place(b"other"), 60, 1)
    assert (one.used(one.place(b"k"), 1), two.used(two.place(b"k"), 1), two.used(two.place(b"other"), 1)) == (3, 3, 1)


def test_count_when_its_window_has_ended() -> None:
    """It is nothing, and the next one starts from there."""
    rates = private_rates()
    rates.add(rates.place(b"k"), 60, 1)
    assert (rates.used(rates.place(b"k"), 59.9), rates.used(rates.place(b"k"), 60)) == (1, 0)
    rates.add(rates.place(b"k"), 120, 60)
    assert rates.used(rates.place(b"k"), 61) == 1


@pytest.mark.parametrize("size", [96, 100, 191, 65536])
def test_count_when_there_is_no_room(size: int) -> None:
    """The count that ends first makes room; the newest is always there, and nothing is ever counted too high."""
    rates = private_rates(size)
    for number in range(1000):
        rates.add(rates.place(b"%d" % number), 1000 + number, 1)
        assert rates.used(rates.place(b"%d" % number), 1) == 1
    assert all(rates.used(rates.place(b"%d" % number), 1) <= 1 for number in range(1000))
    if size == 96:
        assert [number for number in range(1000) if rates.used(rates.place(b"%d" % number), 1)] == [996, 997, 998, 999]
