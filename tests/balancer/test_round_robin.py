"""Weighted turns."""

from collections import Counter

from kongdp.balancer.round_robin import RoundRobin


def test_pick_when_weights_differ() -> None:
    """Targets take turns in proportion to their weights, without bursts."""
    turns = RoundRobin([5, 1, 1])
    assert [turns.pick() for _ in range(7)] == [0, 0, 1, 0, 2, 0, 0]


def test_pick_when_weight_is_zero() -> None:
    """A target of weight 0 is kept but gets nothing; with nobody else there is nobody."""
    assert Counter(RoundRobin([1, 0]).pick() for _ in range(10)) == {0: 10}
    assert RoundRobin([0, 0]).pick() == -1
    assert RoundRobin([]).pick() == -1


def test_pick_when_some_were_tried() -> None:
    """What was tried is skipped, and the others keep their proportion."""
    turns = RoundRobin([1, 1, 1])
    assert {turns.pick({0}) for _ in range(4)} == {1, 2}
    assert turns.pick({0, 1, 2}) == -1
