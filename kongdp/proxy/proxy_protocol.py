"""The PROXY preamble, versions 1 and 2: who is behind the balancer in front of a listener.

In: the first bytes of a connection.  Out: the source address and where the preamble ends; None while it is incomplete.
House rule: on a listener with the flag the preamble is required; anything else is refused (PreambleError).
Cold: once per connection. Bounded: 107 bytes in version 1, 536 and its extensions up to PREAMBLE_BYTES_MAX in version 2.
Source: haproxy's PROXY protocol specification, sections 2.1 and 2.2.
"""

import ipaddress
import re
import struct

from kongdp.errors import KongdpError, Source

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1_BYTES_MAX = 107
PREAMBLE_BYTES_MAX = 4096

# No more than this is an address: Python's own reading would let a scope pass, "%" and whatever follows, into forwarded fields.
_V1_LINE = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) [0-9]{1,5} [0-9]{1,5}")
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [\x20-\x7e]*)?")
_V2_HEADER_BYTES = 16
_V2_PORTS_BYTES = 4
_LOCAL, _PROXY = 0x20, 0x21


class PreambleError(KongdpError):
    """The connection did not begin with a PROXY preamble."""

    source = Source.CLIENT


def read_preamble(data: bytes) -> tuple[str | None, int] | None:
    """(source address or None for "not known", index after the preamble), or None when more bytes are needed."""
    if data.startswith(SIGNATURE[: len(data)]):
        return _version_2(data)
    if data.startswith(b"PROXY "[: len(data)]):
        return _version_1(data)
    raise PreambleError("no PROXY protocol preamble on a listener that requires one")


def _version_1(data: bytes) -> tuple[str | None, int] | None:
    end = data.find(b"\r\n")
    if end < 0:
        if len(data) > V1_BYTES_MAX:
            raise PreambleError(f"PROXY line longer than {V1_BYTES_MAX} bytes")
        return None
    if end + 2 > V1_BYTES_MAX:
        raise PreambleError(f"PROXY line longer than {V1_BYTES_MAX} bytes")
    if _V1_UNKNOWN.fullmatch(data, 0, end):
        return None, end + 2
    parts = _V1_LINE.fullmatch(data, 0, end)
    if parts is None:
        raise PreambleError("malformed PROXY line")
    build = ipaddress.IPv4Address if parts[1] == b"4" else ipaddress.IPv6Address
    try:
        build(parts[3].decode())
        return str(build(parts[2].decode())), end + 2
    except ValueError:
        raise PreambleError("malformed address in the PROXY line") from None


def _version_2(data: bytes) -> tuple[str | None, int] | None:
    if len(data) < _V2_HEADER_BYTES:
        return None
    command, family, length = struct.unpack_from("!BBH", data, 12)
    if command not in (_LOCAL, _PROXY):
        raise PreambleError(f"unknown PROXY version or command 0x{command:02x}")
    if length > PREAMBLE_BYTES_MAX:
        raise PreambleError(f"PROXY preamble of {length} bytes; the limit is {PREAMBLE_BYTES_MAX}")
    end = _V2_HEADER_BYTES + length
    if len(data) < end:
        return None
    size = {0x1: 4, 0x2: 16}.get(family >> 4)
    if command == _LOCAL or size is None:
        return None, end
    if length < 2 * size + _V2_PORTS_BYTES:
        raise PreambleError("PROXY preamble shorter than its addresses")
    return str(ipaddress.ip_address(data[_V2_HEADER_BYTES : _V2_HEADER_BYTES + size])), end
