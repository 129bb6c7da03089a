"""Who the client is, by the table of Kong's real-ip rules."""

import pytest

from kongdp.http1.parser import HeadLimits, parse_request_head
from kongdp.proxy.addresses import ClientAddress, Trust

LIST = "127.0.0.1, 10.0.0.1, 192.168.0.1, 127.0.0.1, 172.16.0.1"
LAST = Trust.build(["127.0.0.1"], "X-Forwarded-For", recursive=False)
RECURSIVE = Trust.build(["127.0.0.1", "172.16.0.1", "192.168.0.1"], "X-Forwarded-For", recursive=True)


def lines(trust: Trust, fields: str, *, peer: str = "127.0.0.1", source: str | None = None) -> dict[str, str]:
    """The forwarded fields for a request with `fields`."""
    head = parse_request_head(f"GET /raw%41 HTTP/1.1\r\nHost: gw.test\r\n{fields}\r\n".encode(), HeadLimits())
    address = ClientAddress(peer, source or peer, b"http", 8000, trust)
    raw = address.forwarded_lines(head, b"gw.test", b"/raw%41", b"/strip", trust)
    return dict(line.split(": ", 1) for line in raw.decode().split("\r\n") if line)


@pytest.mark.parametrize(
    ("trust", "fields", "real_ip", "forwarded_for"),
    [
        (Trust(), "", "127.0.0.1", "127.0.0.1"),
        (Trust(), "X-Forwarded-For: 10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\n", "127.0.0.1", "10.0.0.1, 127.0.0.1"),
        (Trust.build(["127.0.0.1"], "X-Real-IP", recursive=False), "X-Real-IP: 10.0.0.1\r\n", "10.0.0.1", "10.0.0.1"),
        (RECURSIVE, f"X-Forwarded-For: {LIST}\r\n", "10.0.0.1", f"{LIST}, 127.0.0.1"),
        (RECURSIVE, "X-Forwarded-For: 10.0.0.1:15, 192.168.0.1:9\r\n", "10.0.0.1", "10.0.0.1:15, 192.168.0.1:9, 127.0.0.1"),
        (RECURSIVE, "X-Forwarded-For: nonsense\r\n", "127.0.0.1", "nonsense, 127.0.0.1"),
        (RECURSIVE, "X-Forwarded-For: 6.6.6.6, unknown, 192.168.0.1\r\n", "192.168.0.1", "6.6.6.6, unknown, 192.168.0.1, 127.0.0.1"),
        (LAST, "X-Forwarded-For: 6.6.6.6, unknown\r\n", "127.0.0.1", "6.6.6.6, unknown, 127.0.0.1"),
        (LAST, "X-Forwarded-For: 6.6.6.6, fe80::1%x\"y\r\n", "127.0.0.1", "6.6.6.6, fe80::1%x\"y, 127.0.0.1"),
        (LAST, "X-Forwarded-For: 6.6.6.6, 7.7.7.7, \r\n", "7.7.7.7", "6.6.6.6, 7.7.7.7,, 127.0.0.1"),
        (LAST, "X-Forwarded-For: [2001:db8::1]:443\r\n", "2001:db8::1", "[2001:db8::1]:443, 127.0.0.1"),
        (Trust.build(["0.0.0.0/0"], "X-Forwarded-For", recursive=False), "X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\n", "2.2.2.2",
         "1.1.1.1, 2.2.2.2, 127.0.0.1"),
    ],
)  # fmt: skip
def test_forwarded_lines_when_peers_claim(trust: Trust, fields: str, real_ip: str, forwarded_for: str) -> None:
    """Kong's proxying contract, section 1.2."""
    found = lines(trust, fields)
    assert (found["X-Real-IP"], found["X-Forwarded-For"]) == (real_ip, forwarded_for)


def test_forwarded_lines_when_recursive_and_peer_is_not_trusted() -> None:
    """An untrusted peer's list is only appended to."""
    found = lines(RECURSIVE, f"X-Forwarded-For: {LIST}\r\n", peer="9.9.9.9")
    assert (found["X-Real-IP"], found["X-Forwarded-For"]) == ("9.9.9.9", f"{LIST}, 9.9.9.9")


def test_forwarded_lines_when_a_preamble_names_the_source() -> None:
    """real_ip_header=proxy_protocol: believed from a trusted peer only."""
    trust = Trust.build(["127.0.0.1"], "proxy_protocol", recursive=False)
    found = lines(trust, "", source="192.168.0.1")
    assert (found["X-Real-IP"], found["X-Forwarded-For"]) == ("192.168.0.1", "192.168.0.1")
    untrusted = Trust.build([], "proxy_protocol", recursive=False)
    assert lines(untrusted, "", source="192.168.0.1")["X-Real-IP"] == "127.0.0.1"


def test_forwarded_lines_when_claims_are_trusted_or_not() -> None:
    """A trusted peer's X-Forwarded-* values win; an untrusted one's are replaced."""
    claims = "".join(f"X-Forwarded-{name}: {name.lower()}\r\n" for name in ("Proto", "Host", "Port", "Path", "Prefix"))
    ours = {"Proto": "http", "Host": "gw.test", "Port": "8000", "Path": "/raw%41", "Prefix": "/strip"}
    assert {name: lines(Trust(), claims)[f"X-Forwarded-{name}"] for name in ours} == ours
    trusting = lines(Trust.build(["127.0.0.0/8"], "X-Real-IP", recursive=False), claims)
    assert {name: trusting[f"X-Forwarded-{name}"] for name in ours} == {name: name.lower() for name in ours}


def test_trusts_when_addresses_are_odd() -> None:
    """A mapped IPv4 address counts as what it maps (nginx's ngx_cidr_match); a Unix peer needs `unix:`."""
    trust = Trust.build(["10.0.0.0/8", "unix:"], "X-Real-IP", recursive=False)
    assert trust.trusts("10.1.2.3")
    assert trust.trusts("unix:")
    assert trust.trusts("::ffff:10.1.2.3")
    assert not trust.trusts("::ffff:11.1.2.3")
    assert not trust.trusts("::10.1.2.3")
    assert not trust.trusts("nonsense")
    assert not Trust().trusts("unix:")
