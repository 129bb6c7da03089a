"""nginx's log_format: what it renders, what it escapes, and what it refuses."""

import pytest

from kongdp.telemetry.access_log import AccessLogError, Exchange, Line
from kongdp.telemetry.log_format import VARIABLES, read_format

AT = 1795459190  # 2026-11-23 18:39:50 UTC

EXCHANGE = Exchange(
    remote_addr=b"10.0.0.1",
    remote_user=b"",
    request_line=b"GET /mock?apikey=s3cret HTTP/1.1",
    status=200,
    body_bytes_sent=990,
    referer=b"",
    user_agent=b'curl "8"\n',
    request_id=b"0123456789abcdef0123456789abcdef",
    host=b"GW.test:8000",
    request_bytes=120,
    bytes_sent=1200,
    request_ms=1234,
    upstream_ms=-1,
)


def rendered(text: str) -> bytes:
    """One line of the format."""
    name, renderer = read_format(text)
    line = Line(name, formats={name: renderer})
    line.tick(AT)
    return line.render(EXCHANGE)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a '$remote_addr $status'", b"10.0.0.1 200\n"),
        ("a '$remote_addr ' '$status'", b"10.0.0.1 200\n"),
        ("""a "${status}x$status" ;""", b"200x200\n"),
        ("a 'it\\'s $status'", b"it's 200\n"),
        ("a '$remote_user|$upstream_response_time|$request_time'", b"-|-|1.234\n"),
        ("a '$time_local $time_iso8601'", b"23/Nov/2026:18:39:50 +0000 2026-11-23T18:39:50+00:00\n"),
        ("a '$request|$request_uri'", b"GET /mock?apikey=REDACTED HTTP/1.1|/mock?apikey=REDACTED\n"),
        ("a '$http_user_agent'", b"curl \\x228\\x22\\x0A\n"),
        ('a escape=json \'{"ua": "$http_user_agent", "u": "$remote_user"}\'', b'{"ua": "curl \\"8\\"\\n", "u": ""}\n'),
        ("a '$host $http_host $bytes_sent $request_length'", b"gw.test GW.test:8000 1200 120\n"),
        ("plain 'no variable'", b"no variable\n"),
    ],
)
def test_line_when_a_format_is_given(text: str, line: bytes) -> None:
    """As nginx renders it; credentials of a query never appear."""
    assert rendered(text) == line


def test_every_variable_renders() -> None:
    """Each one gives something that stays in its line, or "-"."""
    text = " ".join(f"${name}" for name in VARIABLES)
    out = rendered(f"all '{text}'")
    assert out.count(b"\n") == 1
    assert b"s3cret" not in out


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not a name"),
        ("a escape=none '$status'", "escape=default or escape=json"),
        ("a", "no text"),
        ("a $status", "not quoted"),
        ("a '$status' x", "not quoted"),
        ("a '$http_authorization'", "unknown variable \\$http_authorization \\(remote_addr, "),
        ("a '$args'", "unknown variable"),
    ],
)
def test_format_when_it_is_wrong(text: str, problem: str) -> None:
    """The message says what; variables that could hold a secret are not known."""
    with pytest.raises(AccessLogError, match=problem):
        read_format(text)
