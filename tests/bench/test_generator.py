"""The load generator: what is due when, and what its latency is measured from. No sockets here."""

import time
from collections import deque
from urllib.parse import urlsplit

import pytest

from bench.generator import IDLE_MAX_S, Connection, OpenLoop, Plan
from bench.load import render_request, require_local

PLAN = Plan("127.0.0.1", 1, b"GET / HTTP/1.1\r\n\r\n", rate=100.0, seconds=10.0)


class Wire:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def close(self) -> None:
        self.is_closed = True

    abort = close


@pytest.fixture
def loop() -> OpenLoop:
    """An open loop that began 50 ms ago: requests 0 to 5 are due."""
    found = OpenLoop(PLAN)
    found._next, found._idle = 0, deque()
    found._began = time.perf_counter() - 0.0505
    found._until = found._began + PLAN.seconds
    found.dial = lambda: None  # type: ignore[method-assign]
    return found


def connected(loop: OpenLoop) -> tuple[Connection, Wire]:
    connection, wire = Connection(loop), Wire()
    connection.connection_made(wire)  # type: ignore[arg-type]
    loop._open.add(connection)
    loop.ready(connection)
    return connection, wire


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_requests_that_waited_are_measured_from_the_moment_they_were_due(loop: OpenLoop) -> None:
    """One connection, six due: each answer sends the next, whose latency began before it was sent."""
    connection, wire = connected(loop)
    for _ in range(5):
        connection.data_received(ANSWER)
    assert len(wire.sent) == 6
    assert loop.tally.latency.highest > 45_000
    assert loop.tally.service.highest < loop.tally.latency.highest
    assert [round((loop._due(n) - loop._began) * 1000) for n in range(3)] == [0, 10, 20]


def test_nothing_is_sent_before_it_is_due(loop: OpenLoop) -> None:
    """A free connection waits for the timer."""
    loop._next = 1000
    _, wire = connected(loop)
    loop._tick()
    assert wire.sent == []
    loop._next = 5
    loop._tick()
    assert len(wire.sent) == 1


def test_connections_that_nobody_needs_are_closed_before_the_server_does(loop: OpenLoop) -> None:
    """So that no request crosses with the server's close; the others stay."""
    loop._next = 1000
    first, wire = connected(loop)
    second, other = connected(loop)
    first.idle_since -= IDLE_MAX_S + 1
    loop._sweep()
    assert (wire.is_closed, other.is_closed, list(loop._idle)) == (True, False, [second])


def test_unsent_requests_are_counted(loop: OpenLoop) -> None:
    """Those that were due and had no connection are not forgotten."""
    loop._next = 400
    loop._timer = type("Timer", (), {"stop": lambda self: None})()  # type: ignore[assignment]
    loop.end()
    assert loop.tally.unsent == 600


def test_interim_answers_are_not_the_answer(loop: OpenLoop) -> None:
    """100 Continue comes before it."""
    connection, _ = connected(loop)
    connection.data_received(b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER)
    assert dict(loop.tally.statuses) == {200: 1}


def test_connection_that_ends_before_the_answer_is_an_error(loop: OpenLoop) -> None:
    """And so is one that talks nonsense."""
    first, _ = connected(loop)
    first.connection_lost(None)
    second, wire = connected(loop)
    second.data_received(b"nonsense\r\n\r\n")
    assert dict(loop.tally.errors) == {"closed before the answer": 1, "malformed answer": 1}
    assert wire.is_closed


def test_close_after_the_answer_is_obeyed(loop: OpenLoop) -> None:
    """The answer counts, the connection is not asked again."""
    connection, wire = connected(loop)
    connection.data_received(ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    connection.connection_lost(None)
    assert (len(wire.sent), dict(loop.tally.statuses), dict(loop.tally.errors)) == (1, {200: 1}, {})


def test_request_has_what_was_asked_for() -> None:
    """A field of the user's replaces ours; a body has its length."""
    url = urlsplit("http://gateway.test:8000/mock?q=1")
    found = render_request(url, "POST", ["host: other.test", "X-A: 1"], b"body")
    assert found == (
        b"POST /mock?q=1 HTTP/1.1\r\nhost: other.test\r\nUser-Agent: kongdp-bench\r\nContent-Length: 4\r\nX-A: 1\r\n\r\nbody"
    )


def test_other_machines_are_not_loaded_by_accident() -> None:
    """Loopback is; anything else needs the option."""
    require_local("127.0.0.1")
    with pytest.raises(SystemExit, match="not on this machine"):
        require_local("192.0.2.1")
