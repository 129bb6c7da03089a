"""The opening handshake byte for byte."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from kongdp.sync.handshake import OUTLET_PATH, Accepted, Handshake, HandshakeRefused, NodeName

DATA = Path(__file__).parents[1] / "conformance" / "data"
NAME = NodeName("1da9157f-c443-4b08-8355-c97520754c21", "vm", "3.9.1")
KEY = b"0123456789abcdef"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ACCEPT = base64.b64encode(hashlib.sha1(base64.b64encode(KEY) + GUID).digest())
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n%b\r\n"


def begin(name: NodeName = NAME, authority: str = "127.0.0.1:8705") -> Handshake:
    return Handshake(authority, OUTLET_PATH, name, lambda count: KEY[:count])


def answer(extra: bytes = b"") -> bytes:
    return UPGRADED % (b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n" + extra)


def test_request_is_kongs_when_only_the_key_differs() -> None:
    """The request of a real Kong 3.9.1 data plane, field by field in its order."""
    events = json.loads((DATA / "dp-transcript-3.9.1.json").read_text())["events"]
    (head,) = [event["head"] for event in events if event["ev"] == "request"]
    key = base64.b64encode(KEY).decode()
    assert begin().request.decode() == head.replace("EA7J/F+nSR50W4AhFmgCrQ==", key) + "\r\n\r\n"


def test_query_stays_one_word_when_a_host_name_is_strange() -> None:
    """Not percent-encoded; what would break the request line or the query becomes an underscore."""
    assert NodeName("id", "a b&c\r\nX: y", "3.9.1").query() == "node_id=id&node_hostname=a_b_c__X:_y&node_version=3.9.1"


@pytest.mark.parametrize(
    ("extra", "is_ours"),
    [(b"", False), (b"X-Kongdp-Telemetry: 1\r\n", True), (b"x-kongdp-telemetry: 0\r\n", False)],
)
def test_announcement_is_noted_when_the_101_carries_it(extra: bytes, is_ours: bool) -> None:
    """Counters and error frames are for control planes that say so; bytes behind the head are frames."""
    assert begin().receive(answer(extra) + b"\x8a\x00") == Accepted(is_ours, b"\x8a\x00")


def test_answer_may_come_byte_by_byte() -> None:
    """Nothing is decided before the head is complete."""
    handshake = begin()
    data = answer()
    assert all(handshake.receive(data[place : place + 1]) is None for place in range(len(data) - 1))
    assert handshake.receive(data[-1:]) == Accepted(False, b"")


@pytest.mark.parametrize(
    ("data", "text", "status"),
    [
        (
            b'HTTP/1.1 401 Unauthorized\r\nContent-Length: 17\r\n\r\n{"message":"no"}\n',
            'unexpected HTTP response code: 401: {"message":"no"}',
            401,
        ),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "unexpected HTTP response code: 404", 404),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "unexpected HTTP response code: 200", 200),
        (b"", "closed the connection without an answer", None),
        (b"SSH-2.0-x\r\n\r\n", "did not answer in HTTP/1.1", None),
        (UPGRADED % b"Sec-WebSocket-Accept: wrong\r\n", "does not answer this request", 101),
        (answer(b"Sec-WebSocket-Extensions: permessage-deflate\r\n"), "extension that was not offered", 101),
    ],
)
def test_refusal_says_why_when_there_is_no_upgrade(data: bytes, text: str, status: int | None) -> None:
    """1.4: whatever a control plane answers instead of 101 ends up in one sentence."""
    with pytest.raises(HandshakeRefused) as caught:
        begin().receive(data)
    assert text in str(caught.value)
    assert caught.value.status == status


def test_refusal_is_short_when_the_page_is_long() -> None:
    """An error page of any size ends in a line that fits a log."""
    handshake = begin()
    with pytest.raises(HandshakeRefused) as caught:
        handshake.receive(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 9999999\r\n\r\n" + b"x\x00" * 100_000)
    assert len(str(caught.value)) < 400
    assert "\x00" not in str(caught.value)
