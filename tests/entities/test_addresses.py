"""Hosts, addresses, ports and server names."""

import pytest

from kongdp.entities.addresses import (
    Address,
    host_problem,
    ip_or_cidr_problem,
    parse_address,
    sni_problem,
    upstream_name_problem,
    wildcard_host_with_port_problem,
    wildcard_sni_problem,
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("example.com", Address("name", "example.com", None)),
        ("example.com.:80", Address("name", "example.com.", 80)),
        ("a_b-c", Address("name", "a_b-c", None)),
        ("010.0.0.1:80", Address("ipv4", "10.0.0.1", 80)),
        ("[::1]:80", Address("ipv6", "0000:0000:0000:0000:0000:0000:0000:0001", 80)),
        ("1.2.3", "invalid ipv4 address: 1.2.3"),
        ("1.2.3.256", "invalid ipv4 address: 1.2.3.256"),
        ("1.2.3.4:70000", "invalid port number"),
        ("h:70000", "invalid port number"),
        ("[::1]:70000", "invalid port number"),
        ("::zz", "invalid ipv6 address: ::zz"),
        ("a..b", "invalid hostname: a..b"),
        ("a-.b", "invalid hostname: a-.b"),
        ("a b", "invalid hostname: a b"),
        ("", "invalid hostname: "),
        ("١.2.3.4", "invalid hostname: ١.2.3.4"),
    ],
)
def test_parse_address_when_of_each_kind(text: str, wanted: Address | str) -> None:
    """An address is normalised, or the reason says what it was taken for."""
    assert parse_address(text) == wanted


def test_text_when_port_is_missing() -> None:
    """The default port is added, IPv6 gets brackets."""
    address = parse_address("::1")
    assert isinstance(address, Address)
    assert address.text(8000) == "[0000:0000:0000:0000:0000:0000:0000:0001]:8000"
    assert Address("name", "h", None).text() == "h"


@pytest.mark.parametrize(
    ("judge", "text", "reason"),
    [
        (host_problem, "h", None),
        (host_problem, "10.0.0.1", None),
        (host_problem, "h:80", "must not have a port"),
        (host_problem, "h:99999", "must not have a port"),
        (host_problem, "a b", "invalid value: a b"),
        (sni_problem, "a.test", None),
        (sni_problem, "1.2.3.4", "must not be an IP"),
        (sni_problem, "a.test:1", "must not have a port"),
        (sni_problem, "a.test:99999", "must not have a port"),
        (sni_problem, "a b", "invalid value: a b"),
        (wildcard_sni_problem, "*.a.test", None),
        (wildcard_sni_problem, "a.*", None),
        (wildcard_sni_problem, "a.*.b", "wildcard must be leftmost or rightmost character"),
        (wildcard_sni_problem, "*.a.*", "only one wildcard must be specified"),
        (wildcard_host_with_port_problem, "*.a.test:80", None),
        (wildcard_host_with_port_problem, "h:99999", "invalid port number"),
        (ip_or_cidr_problem, "10.0.0.0/8", None),
        (ip_or_cidr_problem, "::/128", None),
        (ip_or_cidr_problem, "10.0.0.0/33", "invalid ip or cidr range: '10.0.0.0/33'"),
        (ip_or_cidr_problem, "10.0.0.0/08", "invalid ip or cidr range: '10.0.0.0/08'"),
        (ip_or_cidr_problem, "x", "invalid ip or cidr range: 'x'"),
        (upstream_name_problem, "up", None),
        (upstream_name_problem, "1.2.3.4", "Invalid name ('1.2.3.4'); no ip addresses allowed"),
        (upstream_name_problem, "up:80", "Invalid name ('up:80'); no port allowed"),
        (upstream_name_problem, "http://x", "Invalid name ('http://x'); must be a valid hostname"),
    ],
)
def test_problems_when_judged(judge: object, text: str, reason: str | None) -> None:
    """Each kind of address says in Kong's words what it must not be."""
    assert callable(judge)
    assert judge(text) == reason
