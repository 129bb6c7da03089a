"""The rules of one data plane's connection that depend on time or on a slow peer, without sockets."""

import json

import pytest

from kongdp.controlplane.cluster.outlet import DataPlane, Peer, plugin_status, version_problem
from kongdp.controlplane.export import Payload
from tests.support.scripted_data_plane import ZEROS, basic_info

PEER = Peer("1da9157f-c443-4b08-8355-c97520754c21", "group", "host", "10.0.0.1", "3.9.1", None, is_ours=True)


class Clock:
    """One clock for everything."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def join(self, plane: DataPlane) -> None:
        self.told.append("join")

    def note(self, plane: DataPlane) -> None:
        self.told.append(f"note {plane.config_hash[:4]}")

    def leave(self, plane: DataPlane, reason: str) -> None:
        self.told.append(f"leave: {reason}")


class Link:
    """A peer that takes frames only when told to."""

    peer = "10.0.0.1"

    def __init__(self) -> None:
        self.is_sending = False
        self.sent: list[bytes] = []
        self.closed: str | None = None

    def send_binary(self, payload: bytes) -> None:
        self.sent.append(payload)
        self.is_sending = True

    def send_text(self, payload: bytes) -> None:
        raise AssertionError("no text is part of the protocol")

    def send_pong(self, payload: bytes) -> None:
        self.sent.append(b"pong:" + payload)

    def pause(self) -> None:
        raise AssertionError("never pauses")

    def resume(self) -> None:
        raise AssertionError("never pauses")

    def close(self, reason: str) -> None:
        self.closed = reason


class Story:
    """A connected data plane and what surrounds it."""

    def __init__(self, *, is_joined: bool = True) -> None:
        self.clock, self.desk, self.link = Clock(), Desk(), Link()
        self.plane = DataPlane(PEER, self.desk, link_id="link", wall=self.clock, monotonic=self.clock)
        self.plane.opened(self.link)
        if is_joined:
            self.plane.binary_received(json.dumps(basic_info()).encode())

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += seconds
        self.plane.tick(self.clock.now)

    def offer(self, text: str, plugins: frozenset[str] = frozenset()) -> None:
        """Offer a configuration whose frame is this text."""
        payload = Payload("group", 1, text.rjust(32, "0"), {}, text.encode(), plugins, 0.0)
        self.plane.offer(payload)

    def drained(self) -> None:
        """The peer has taken everything."""
        self.link.is_sending = False
        self.plane.sent()


def test_a_peer_that_says_nothing_is_closed_after_five_seconds() -> None:
    """basic_info must come within 5 s."""
    story = Story(is_joined=False)
    story.wait(4.9)
    assert story.link.closed is None
    story.wait(0.2)
    assert story.link.closed == "no basic_info within 5 seconds"
    assert story.desk.told == []


def test_a_node_that_stops_pinging_is_closed_after_forty_five_seconds() -> None:
    """Only pings count as signs of life."""
    story = Story()
    story.wait(44)
    story.plane.ping_received(ZEROS.encode())
    story.wait(44.9)
    assert story.link.closed is None
    story.wait(0.2)
    assert story.link.closed == "did not receive ping frame from data plane within 45 seconds"


def test_only_the_newest_configuration_waits_for_a_slow_peer() -> None:
    """What was replaced while an earlier frame is under way is never sent; nothing is sent twice."""
    story = Story()
    for text in "abcd":
        story.offer(text)
    assert story.link.sent == [b"a"]
    story.drained()
    assert story.link.sent == [b"a", b"d"]
    story.drained()
    assert story.link.sent == [b"a", b"d"]


def test_a_ping_is_answered_while_a_configuration_is_under_way() -> None:
    """An empty pong, at once."""
    story = Story()
    story.offer("a")
    story.plane.ping_received(ZEROS.encode())
    assert story.link.sent == [b"a", b"pong:"]


def test_a_node_without_the_plugin_gets_the_next_configuration_that_needs_none() -> None:
    """Each offer is judged anew, and the row says so each time."""
    story = Story()
    story.offer("a", frozenset({"unknown"}))
    assert (story.link.sent, story.plane.sync_status) == ([], "plugin_set_incompatible")
    story.offer("b", frozenset({"acl"}))
    assert (story.link.sent, story.plane.sync_status) == ([b"b"], "normal")
    assert len([told for told in story.desk.told if told.startswith("note")]) == 2


def test_a_node_without_the_plugin_does_not_get_it_in_place_of_one_that_waited() -> None:
    """The place of a configuration that waited for a slow peer is not taken by one that the node cannot apply."""
    story = Story()
    story.offer("a")
    story.offer("b")
    story.offer("c", frozenset({"unknown"}))
    story.drained()
    assert story.link.sent == [b"a"]


def test_a_connection_ends_with_its_certificate() -> None:
    """The next ping after the certificate's end is the last."""
    clock, desk, link = Clock(), Desk(), Link()
    plane = DataPlane(PEER, desk, link_id="l", wall=clock, monotonic=clock, still_valid=lambda: clock.now < 1010)
    plane.opened(link)
    plane.binary_received(json.dumps(basic_info()).encode())
    plane.ping_received(ZEROS.encode())
    assert link.closed is None
    clock.now += 11
    plane.ping_received(ZEROS.encode())
    assert link.closed is not None
    assert "certificate" in link.closed


def test_the_desk_hears_of_the_end_once_and_only_of_who_joined() -> None:
    """Whoever never introduced itself was never there."""
    story, stranger = Story(), Story(is_joined=False)
    story.plane.closed("gone")
    stranger.plane.closed("gone")
    assert story.desk.told == ["join", "leave: gone"]
    assert stranger.desk.told == []


@pytest.mark.parametrize(
    ("version", "is_good"),
    [("3.9.1", True), ("3.9.0", True), ("3.0.0", True), ("3.9.1.2-enterprise", True), ("3.10.0", False), ("x", False)],
)
def test_only_major_and_minor_count(version: str, is_good: bool) -> None:
    """Same major, minor at most ours."""
    assert (version_problem(version) == "") is is_good


@pytest.mark.parametrize(
    ("installed", "status"),
    [
        ({"acl": "3.9.1", "x": "9"}, "normal"),
        ({"acl": "3.0.0"}, "normal"),
        ({"acl": ""}, "normal"),
        ({}, "plugin_set_incompatible"),
        ({"acl": "3.10.0"}, "plugin_version_incompatible"),
        ({"acl": "2.8.0"}, "plugin_version_incompatible"),
    ],
)
def test_configured_plugins_must_be_there_and_not_newer(installed: dict[str, str], status: str) -> None:
    """Same major, and the control plane's minor at least the data plane's."""
    assert plugin_status({"acl"}, installed) == status
