"""The data plane's rules of the hybrid protocol, line by line, with time passed in."""

import pytest

from kongdp.sync.messages import RENEW_CERTIFICATE, ErrorReport, decode_error
from kongdp.sync.session import (
    Apply,
    End,
    FrameKind,
    Note,
    Output,
    Renew,
    SendBinary,
    SendPing,
    SendPong,
    Session,
    reconnect_delay_s,
)
from tests.support.clock import FakeClock

ZEROS = "0" * 32
OLD, NEW = "a" * 32, "b" * 32
INFO = b'{"type":"basic_info"}'
REPORT = ErrorReport("configuration reload failed", "here", "it broke", NEW)


class Link:
    """A session with a clock; every call returns what the session wants done."""

    def __init__(self, hash_in_force: str = ZEROS, *, konnect_mode: bool = False, is_ours: bool = False) -> None:
        self.clock = FakeClock()
        self.session = Session(INFO, hash_in_force, errors_welcome=konnect_mode)
        self.opening = self.session.connected(self.clock(), is_ours=is_ours)

    def receive(self, kind: FrameKind, payload: bytes = b"") -> list[Output]:
        return self.session.frame_received(kind, payload, self.clock())

    def after(self, seconds: float) -> list[Output]:
        return self.session.tick(self.clock.advance(seconds))

    def applied(self, config_hash: str) -> list[Output]:
        return self.session.applied(config_hash, self.clock())

    def failed(self) -> list[Output]:
        return self.session.failed(REPORT, self.clock())


def ping(config_hash: str) -> SendPing:
    return SendPing(config_hash.encode())


def test_basic_info_then_ping_when_connected() -> None:
    """2.1, 2.2: the first frame is basic_info, binary; a ping with zeros follows at once."""
    assert Link().opening == [SendBinary(INFO), ping(ZEROS)]


def test_cached_hash_is_pinged_first_when_the_node_started_from_its_cache() -> None:
    """2.2: the first ping carries the hash in force, whatever its origin."""
    assert Link(OLD).opening[1] == ping(OLD)


def test_ping_comes_every_30_seconds_when_nothing_happens() -> None:
    """2.2: 30 s after the last ping, not before, and again."""
    link = Link()
    assert link.after(29.9) == []
    assert link.after(0.1) == [ping(ZEROS)]
    link.receive(FrameKind.PONG)
    assert link.after(29.9) == []
    assert link.after(0.1) == [ping(ZEROS)]


def test_ping_comes_at_once_when_a_configuration_is_applied() -> None:
    """2.2: the ping with the new hash is the only acknowledgement; the 30 s start again."""
    link = Link(OLD)
    assert link.receive(FrameKind.BINARY, b"1") == [Apply(b"1")]
    link.after(5)
    assert link.applied(NEW) == [ping(NEW)]
    assert link.after(29) == []
    assert link.after(1) == [ping(NEW)]


def test_ping_comes_at_once_when_the_same_configuration_is_pushed_again() -> None:
    """2.4: the same hash means no work, but it counts as success."""
    link = Link(OLD)
    link.receive(FrameKind.BINARY, b"1")
    assert link.applied(OLD) == [ping(OLD)]


def test_nothing_is_sent_when_a_configuration_is_rejected_by_an_unknown_control_plane() -> None:
    """2.2, 2.7, 2.8: no ping after a failure, no error frame without invitation, and the old hash goes on being
    pinged.
    """
    link = Link(OLD)
    link.receive(FrameKind.BINARY, b"1")
    assert link.failed() == []
    assert link.after(30) == [ping(OLD)]


@pytest.mark.parametrize(("konnect_mode", "is_ours"), [(True, False), (False, True), (True, True)])
def test_error_frame_is_sent_when_it_is_welcome(konnect_mode: bool, is_ours: bool) -> None:
    """2.8: with konnect_mode, or to a control plane that announced itself as ours; the connection stays."""
    link = Link(OLD, konnect_mode=konnect_mode, is_ours=is_ours)
    link.receive(FrameKind.BINARY, b"1")
    (sent,) = link.failed()
    assert isinstance(sent, SendBinary)
    assert decode_error(sent.data) == REPORT
    assert link.receive(FrameKind.BINARY, b"2") == [Apply(b"2")]


def test_configuration_is_taken_when_it_is_the_very_first_frame() -> None:
    """2.10: koko pushes without waiting for basic_info."""
    session = Session(INFO, ZEROS)
    assert len(session.connected(0.0)) == 2
    assert session.frame_received(FrameKind.BINARY, b"1", 0.0) == [Apply(b"1")]


def test_only_the_newest_is_applied_when_several_come_during_an_apply() -> None:
    """2.4: older unread frames are dropped; the newest starts when the current one is done."""
    link = Link(OLD)
    assert link.receive(FrameKind.BINARY, b"1") == [Apply(b"1")]
    assert link.receive(FrameKind.BINARY, b"2") == []
    assert link.receive(FrameKind.BINARY, b"3") == []
    assert link.applied(NEW) == [ping(NEW), Apply(b"3")]
    assert link.failed() == []
    assert link.receive(FrameKind.BINARY, b"4") == [Apply(b"4")]


def test_newest_waits_its_turn_when_the_current_one_fails() -> None:
    """2.7: a rejected configuration does not stop the next."""
    link = Link(OLD)
    link.receive(FrameKind.BINARY, b"1")
    link.receive(FrameKind.BINARY, b"2")
    assert link.failed() == [Apply(b"2")]


def test_hash_is_pinged_when_it_changed_from_elsewhere() -> None:
    """2.2: within a second after any apply; no news, no ping."""
    link = Link(OLD)
    assert link.session.hash_changed(OLD, link.clock()) == []
    assert link.session.hash_changed(NEW, link.clock()) == [ping(NEW)]


@pytest.mark.parametrize("kind", [FrameKind.PONG, FrameKind.BINARY, FrameKind.TEXT, FrameKind.PING])
def test_any_frame_keeps_the_link_when_it_comes_in_time(kind: FrameKind) -> None:
    """2.2: whatever comes from the control plane refreshes the timer."""
    link = Link()
    link.after(44)
    link.receive(kind)
    assert not any(isinstance(output, End) for output in link.after(44))
    assert isinstance(link.after(1)[0], End)


def test_link_ends_when_nothing_was_heard_for_45_seconds() -> None:
    """2.9: Kong's words, and nothing more is done afterwards."""
    link = Link()
    link.after(30)
    assert link.after(15) == [End("did not receive pong frame from control plane within 45 seconds")]
    assert link.after(100) == []
    assert link.receive(FrameKind.BINARY, b"1") == []
    assert link.session.end("again") == []


def test_link_stays_while_a_large_configuration_is_on_its_way() -> None:
    """Over a slow network its last byte may come minutes after its first, and no pong in between."""
    link = Link()
    for _ in range(4):
        assert link.after(40) == [SendPing(ZEROS.encode())]
        link.session.bytes_received(link.clock())
    assert link.receive(FrameKind.BINARY, b"1") == [Apply(b"1")]


def test_apply_that_outlives_its_connection_sends_nothing() -> None:
    """6.4: the configuration is in force, but nobody is left to tell; what waited is dropped with the connection."""
    link = Link(OLD)
    link.receive(FrameKind.BINARY, b"1")
    link.receive(FrameKind.BINARY, b"2")
    link.session.end("gone")
    assert link.applied(NEW) == []
    assert link.failed() == []


def test_pings_are_answered_when_a_control_plane_sends_them() -> None:
    """1.5: Kong's never does; another one's keepalive must not fail."""
    assert Link().receive(FrameKind.PING, b"x") == [SendPong(b"x")]


def test_text_frame_is_noted_when_it_comes_instead_of_binary() -> None:
    """2.3: configurations are binary frames; a text frame is no reason to lose the link."""
    (note,) = Link().receive(FrameKind.TEXT, b"{}")
    assert isinstance(note, Note)


def test_a_new_certificate_is_got_when_our_control_plane_asks() -> None:
    """Only ours may: from another's the frame is a text frame as any."""
    assert Link(is_ours=True).receive(FrameKind.TEXT, RENEW_CERTIFICATE) == [Renew()]
    (note,) = Link().receive(FrameKind.TEXT, RENEW_CERTIFICATE)
    assert isinstance(note, Note)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "the control plane closed the connection"),
        (b"code 1001", "the control plane closed the connection: code 1001"),
    ],
)
def test_link_ends_when_the_control_plane_closes_it(said: bytes, reason: str) -> None:
    """1.5: a close frame without code is accepted."""
    assert Link().receive(FrameKind.CLOSE, said) == [End(reason)]


@pytest.mark.parametrize(
    ("random", "delay_s"),
    [(0.0, 5), (0.1, 5), (0.17, 6), (0.5, 8), (0.84, 10), (0.9999999, 10)],
)
def test_reconnection_waits_five_to_ten_whole_seconds(random: float, delay_s: int) -> None:
    """2.9: uniform over six values, the same after any failure."""
    assert reconnect_delay_s(lambda: random) == delay_s
