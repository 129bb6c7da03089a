"""PROXY preambles of both versions, whole and in pieces."""

import struct

import pytest

from kongdp.proxy.proxy_protocol import SIGNATURE, PreambleError, read_preamble


def version_2(command: int, family: int, addresses: bytes) -> bytes:
    """A binary preamble."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(addresses)) + addresses


V4 = bytes((192, 168, 0, 1, 10, 0, 0, 1)) + struct.pack("!HH", 1234, 80)
GOOD = [
    (b"PROXY TCP4 192.168.0.1 10.0.0.1 1234 80\r\n", "192.168.0.1"),
    (b"PROXY TCP6 2001:db8::1 ::1 1234 80\r\n", "2001:db8::1"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    (version_2(0x21, 0x11, V4), "192.168.0.1"),
    (version_2(0x21, 0x11, V4 + b"\x04\x00\x01x"), "192.168.0.1"),
    (version_2(0x21, 0x21, bytes(15) + b"\x01" + bytes(20)), "::1"),
    (version_2(0x20, 0x00, b""), None),
    (version_2(0x21, 0x31, bytes(216)), None),
]


@pytest.mark.parametrize(("preamble", "source"), GOOD)
def test_read_preamble_when_well_formed(preamble: bytes, source: str | None) -> None:
    """The source and the end are found whole; every proper prefix asks for more."""
    assert read_preamble(preamble + b"GET / HTTP/1.1\r\n") == (source, len(preamble))
    for end in range(1, len(preamble)):
        assert read_preamble(preamble[:end]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY TCP4 nonsense 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 1.1.1.1\r\n",
        b"PROXY " + b"x" * 120,
        b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 1.1.1.1 1.1.1.1 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 nonsense 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 x\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1  1 2\r\n",
        b"PROXY TCP6 fe80::1%\nX-Evil:1 ::1 1 2\r\n",
        SIGNATURE + b"\x31\x11\x00\x0c" + V4,
        version_2(0x21, 0x11, b"\x01"),
        version_2(0x21, 0x11, V4[:8]),
        version_2(0x21, 0x21, bytes(32)),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_read_preamble_when_malformed(data: bytes) -> None:
    """Anything else is refused: the listener's flag says a preamble must come."""
    with pytest.raises(PreambleError):
        read_preamble(data)
