"""Access log: Kong's and nginx's lines, JSON, nobody's bytes outside their field, and no credential in any format."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kongdp.telemetry.access_log import JSON_FIELDS, SECRET_ARGUMENTS, AccessLogError, Exchange, Line, escape

AT = 1795459190  # 2026-11-23 18:39:50 UTC


def exchange(**changes: object) -> Exchange:
    plain = Exchange(
        remote_addr=b"10.0.0.1",
        remote_user=b"",
        request_line=b"GET /mock?a=1 HTTP/1.1",
        status=200,
        body_bytes_sent=990,
        referer=b"",
        user_agent=b"curl/8.0",
        request_id=b"0123456789abcdef0123456789abcdef",
    )
    return plain._replace(**changes)


def line(name: str = "combined", fields: tuple[str, ...] = (), **changes: object) -> bytes:
    renderer = Line(name, fields=fields)
    renderer.tick(AT)
    return renderer.render(exchange(**changes))


def test_kong_log_format_is_kongs() -> None:
    """Source: Kong templates/nginx_kong.lua, log_format kong_log_format; absent values are "-" as nginx writes them."""
    assert (
        line("kong_log_format")
        == line("kong")
        == (
            b'10.0.0.1 - - [23/Nov/2026:18:39:50 +0000] "GET /mock?a=1 HTTP/1.1" 200 990 "-" "curl/8.0" '
            b'kong_request_id: "0123456789abcdef0123456789abcdef"\n'
        )
    )


def test_combined_is_nginxs() -> None:
    """Source: nginx ngx_http_log_module, predefined format combined."""
    assert line(remote_user=b"bob", referer=b"http://x/", status=404) == (
        b'10.0.0.1 - bob [23/Nov/2026:18:39:50 +0000] "GET /mock?a=1 HTTP/1.1" 404 990 "http://x/" "curl/8.0"\n'
    )


@pytest.mark.parametrize(
    ("offset_s", "local", "iso"),
    [
        (0, b"[23/Nov/2026:18:39:50 +0000]", "2026-11-23T18:39:50+00:00"),
        (19800, b"[24/Nov/2026:00:09:50 +0530]", "2026-11-24T00:09:50+05:30"),
        (-12600, b"[23/Nov/2026:15:09:50 -0330]", "2026-11-23T15:09:50-03:30"),
    ],
)
def test_time_is_local(offset_s: int, local: bytes, iso: str) -> None:
    """Both forms carry the offset they are in."""
    renderer = Line("combined")
    renderer.tick(AT + 0.9, offset_s)
    assert local in renderer.render(exchange())
    assert renderer.time == iso


@pytest.mark.parametrize(
    ("value", "written"),
    # Source: nginx ngx_http_log_escape, escape=default: quote, backslash, below 0x20 and above 0x7e.
    [
        (b"", b"-"),
        (b"plain ~", b"plain ~"),
        (b'a"b\\c', b"a\\x22b\\x5Cc"),
        (b"\r\n\x00\x1f", b"\\x0D\\x0A\\x00\\x1F"),
        ("ü".encode(), b"\\xC3\\xBC"),
        (b"\x7f\xff", b"\\x7F\\xFF"),
    ],
)
def test_bytes_are_escaped_as_nginx_does(value: bytes, written: bytes) -> None:
    """Two upper-case hexadecimal digits after \\x."""
    assert escape(value) == written


def test_json_has_the_fields_asked_for() -> None:
    """In the order given; what is absent is left out; numbers are numbers."""
    fields = ("time", "method", "uri", "protocol", "status", "upstream_ms", "route_id", "referer", "user_agent")
    found = line("json", fields, route_id="r", user_agent="ü\n".encode() + b"\xff")
    assert found.count(b"\n") == 1
    assert list(orjson.loads(found).items()) == [
        ("time", "2026-11-23T18:39:50+00:00"),
        ("method", "GET"),
        ("uri", "/mock?a=1"),
        ("protocol", "HTTP/1.1"),
        ("status", 200),
        ("route_id", "r"),
        ("user_agent", "ü\n\\xff"),
    ]
    assert orjson.loads(line("json", upstream_ms=0))["upstream_ms"] == 0


def test_setting_up_is_refused_when_format_or_field_is_unknown() -> None:
    """The message names what there is."""
    with pytest.raises(AccessLogError, match=r"unknown format 'x' \(combined, json, kong, kong_log_format\)"):
        Line("x")
    with pytest.raises(AccessLogError, match=r"unknown field 'authorization' .*request_id"):
        Line("json", fields=("status", "authorization"))


SECRET = b"s3cr3t"


@pytest.mark.parametrize(
    "target",
    [
        b"/x?apikey=s3cr3t",
        b"/x?a=1&APIKEY=s3cr3t&b=2",
        b"/x?a=1;apikey=s3cr3t",
        b"/x?%61pikey=s3cr3t",
        b"/x?api%6Bey=s3cr3t&apikey=s3cr3t",
        b"/x?access_token=s3cr3t#f",
        b"/x?a&token=s3cr3t=s3cr3t",
        b"http://user:s3cr3t@host/x",
        b"http://user:s3cr3t@host/x?apikey=s3cr3t",
        b"/x?apikey=a s3cr3t",
        b"/x?+apikey=s3cr3t",
    ],
)
@pytest.mark.parametrize("name", ["kong", "combined", "json"])
def test_credentials_are_never_written(name: str, target: bytes) -> None:
    """Neither from the request line, with or without a version, nor from the Referer; the rest of the line stays."""
    for changes in (
        {"request_line": b"GET " + target + b" HTTP/1.1"},
        {"request_line": b"GET " + target},
        {"referer": b"http://h" + target if target.startswith(b"/") else target},
    ):
        written = line(name, **changes)
        assert SECRET not in written
        assert b"REDACTED" in written


def test_arguments_of_key_auth_plugins_are_redacted_when_told() -> None:
    """Names that an operator chose for credentials are handed in."""
    renderer = Line("combined", secret_arguments={*SECRET_ARGUMENTS, b"x-my-key"})
    written = renderer.render(exchange(request_line=b"GET /?X-My-Key=s3cr3t&monkey=1 HTTP/1.1"))
    assert b"X-My-Key=REDACTED&monkey=1 HTTP/1.1" in written


def test_arguments_are_redacted_as_the_configuration_changes() -> None:
    """What plugins are configured with now, beside what is always hidden."""
    renderer = Line("combined")
    asked = exchange(request_line=b"GET /?one=1&two=2&apikey=3 HTTP/1.1")
    for names, shown in (([b"one"], b"one=REDACTED&two=2"), ([b"two"], b"one=1&two=REDACTED"), ([], b"one=1&two=2")):
        renderer.hide(names)
        assert b"/?%b&apikey=REDACTED " % shown in renderer.render(asked)


def test_no_field_holds_a_credential_header() -> None:
    """There is no way to ask for one."""
    assert not {"authorization", "cookie", "set_cookie", "headers"} & set(JSON_FIELDS)


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_line_stays_one_line_whatever_the_peers_sent(request: bytes, referer: bytes, agent: bytes) -> None:
    """One line feed, balanced quotes, valid JSON."""
    changes = {"request_line": request, "referer": referer, "user_agent": agent}
    for name in ("kong", "combined"):
        written = line(name, **changes)
        assert written.count(b"\n") == 1
        assert written.endswith(b"\n")
        assert written.count(b'"') == (8 if name == "kong" else 6)
        assert all(0x20 <= byte < 0x7F for byte in written[:-1])
    written = line("json", **changes)
    assert written.count(b"\n") == 1
    assert orjson.loads(written)["status"] == 200
