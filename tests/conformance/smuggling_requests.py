"""Raw requests that made two parsers see different messages somewhere, each with its source. Data only; see test_smuggling.

A row: name, bytes as a client sends them, the statuses it gets in order, what the upstream reads (method and body of each request), and
where the trick comes from. A status below 400 keeps the connection, any other ends it: nothing behind a refused message is looked at.
"""

from dataclasses import dataclass

HOST = b"Host: gw.test\r\n"
BEGIN = b"POST /a HTTP/1.1\r\n" + HOST
CHUNKED = BEGIN + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
GET = b"GET /a HTTP/1.1\r\n" + HOST

KETTLE_2019 = "Kettle, HTTP Desync Attacks (PortSwigger 2019)"
KETTLE_2022 = "Kettle, Browser-Powered Desync Attacks (PortSwigger 2022)"
KETTLE_2025 = "Kettle, HTTP/1.1 must die (PortSwigger 2025)"
FUNKY = "Weikop, Funky chunks (2025)"


@dataclass(frozen=True)
class Row:
    """One trick."""

    name: str
    raw: bytes
    statuses: tuple[int, ...]
    forwarded: tuple[tuple[bytes, bytes], ...]
    source: str


def refused(name: str, raw: bytes, source: str, status: int = 400) -> Row:
    """Answered with a refusal; the upstream sees no whole request."""
    return Row(name, raw, (status,), (), source)


def served(name: str, raw: bytes, source: str, *forwarded: tuple[bytes, bytes]) -> Row:
    """Understood in exactly one way."""
    return Row(name, raw, (200,) * len(forwarded), forwarded, source)


def coding(value: bytes, name: bytes = b"Transfer-Encoding") -> bytes:
    """CL.TE with this spelling of the coding: a length that covers everything, and a body that ends early as chunks."""
    body = b"0\r\n\r\n" + SMUGGLED
    return BEGIN + b"Content-Length: %d\r\n" % len(body) + name + b":" + value + b"\r\n\r\n" + body


def alone(value: bytes, name: bytes = b"Transfer-Encoding: ") -> bytes:
    """The coding alone, in this spelling, before a chunked body."""
    return BEGIN + name + value + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


def length(value: bytes, name: bytes = b"Content-Length:") -> bytes:
    """A Content-Length in this spelling."""
    return BEGIN + name + value + b"\r\n\r\nhello" + SMUGGLED


def chunks(body: bytes) -> bytes:
    """A chunked body as it is."""
    return CHUNKED + body + SMUGGLED


FRAMING = (
    refused("CL.TE", coding(b" chunked"), KETTLE_2019),
    refused("TE.CL", BEGIN + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nGPOST", KETTLE_2019),
    refused(
        "CL.TE over HTTP/1.0",
        coding(b" chunked").replace(b"1.1", b"1.0", 1),
        "CVE-2026-2835 (Pingora): HTTP/1.0 and both",
    ),
    refused("TE over HTTP/1.0", alone(b"chunked").replace(b"1.1", b"1.0", 1), "RFC 9112 section 6.1"),
    refused("TE.TE: x", alone(b"chunked\r\nTransfer-Encoding: x"), KETTLE_2019),
    refused(
        "TE.TE: identity", alone(b"chunked\r\nTransfer-Encoding: identity"), "CVE-2020-8287 (Node.js): two codings"
    ),
    refused("TE.TE: twice", alone(b"chunked\r\nTransfer-Encoding: chunked"), "CVE-2022-32215 (Node.js): several lines"),
    refused("TE.TE: cow", alone(b"cow\r\nTransfer-Encoding: chunked"), KETTLE_2019, 501),
    refused("TE: xchunked", coding(b" xchunked"), KETTLE_2019, 501),
    refused("TE: chunked, identity", alone(b"chunked, identity"), "RFC 9112 section 6.1: chunked must be last", 501),
    refused("TE: identity, chunked", alone(b"identity, chunked"), "CVE-2024-1135 (gunicorn)", 501),
    refused("TE: chunked, chunked", alone(b"chunked, chunked"), "RFC 9112 section 6.1: not twice", 501),
    refused("TE: gzip, chunked", alone(b"gzip, chunked"), "ours: a coding we would have to understand", 501),
    refused("TE: with a parameter", alone(b"chunked;q=1"), "RFC 9112 section 7.1: no parameters", 501),
    refused("TE: quoted", alone(b'"chunked"'), KETTLE_2019, 501),
    refused("TE: in parts", alone(b"chun\r\n ked"), "RFC 9112 section 5.2: obs-fold"),
    refused("TE: folded", alone(b"\r\n chunked"), "CVE-2022-32215 (Node.js); RFC 9112 section 5.2"),
    refused("TE: vertical tab", alone(b"\x0bchunked"), "CVE-2019-18277 (HAProxy)"),
    refused("TE: form feed", alone(b"chunked\x0c"), KETTLE_2019),
    refused("TE: NUL", alone(b"chunked\x00"), "RFC 9110 section 5.5"),
    refused("TE: DEL", alone(b"chunked\x7f"), "RFC 9110 section 5.5"),
    refused("TE: no-break space", alone(b"\xa0chunked"), KETTLE_2019, 501),
    refused(
        "TE: space before the colon",
        alone(b"chunked", b"Transfer-Encoding : "),
        "CVE-2019-16869 (Netty), CVE-2019-15605",
    ),
    refused("TE: tab before the colon", alone(b"chunked", b"Transfer-Encoding\t:"), KETTLE_2019),
    refused("TE: space before the name", alone(b"chunked", b" Transfer-Encoding: "), KETTLE_2019),
    refused("TE: no colon", alone(b"chunked", b"Transfer-Encoding "), "RFC 9112 section 5"),
    refused("TE: two colons", alone(b"chunked", b"Transfer-Encoding: : "), KETTLE_2019, 501),
    refused("TE: NUL in the name", alone(b"chunked", b"Transfer\x00-Encoding: "), KETTLE_2019),
    refused(
        "TE: LF before it", alone(b"chunked", b"X: y\nTransfer-Encoding: "), "CVE-2022-32214 (Node.js): LF as line end"
    ),
    refused(
        "TE: CR before it", alone(b"chunked", b"X: y\rTransfer-Encoding: "), "CVE-2023-30589 (Node.js): CR as line end"
    ),
    refused("TE: LF CR", alone(b"chunked", b"X: y\n\rTransfer-Encoding: "), "RFC 9112 section 2.2"),
    refused("TE: empty", alone(b""), "RFC 9110 section 5.6.1: an empty list", 501),
    refused("TE: a lone comma", alone(b","), "CVE-2022-32213 (Node.js): malformed list", 501),
    refused("TE: chunked and a comma", alone(b"chunked,"), "CVE-2022-32213 (Node.js)", 501),
    served("TE: other letter case", alone(b"cHuNkEd"), "RFC 9112 section 7: case does not matter", (b"POST", b"hello")),
    served("TE: tabs around", alone(b"\tchunked\t"), "RFC 9110 section 5.5: OWS", (b"POST", b"hello")),
    served(
        "TE: under another name",
        alone(b"chunked", b"Transfer_Encoding: ").replace(b"5\r\nhello\r\n0\r\n\r\n", b""),
        "CGI name tricks: underscores are no hyphens",
        (b"POST", b""),
    ),
    refused("CL.CL", length(b" 5\r\nContent-Length: 6"), "RFC 9112 section 6.3"),
    refused("CL.CL equal", length(b" 5\r\nContent-Length: 5"), "CVE-2019-16792 (Waitress): repeated length"),
    refused("CL: list", length(b" 5, 5"), "RFC 9112 section 6.3; ours: refused although it could be repaired"),
    refused("CL: list of two", length(b" 5, 6"), "RFC 9112 section 6.3"),
    refused("CL: plus", length(b" +5"), "CVE-2022-24761 (Waitress)"),
    refused("CL: minus", length(b" -5"), "RFC 9110 section 8.6"),
    refused("CL: hexadecimal", length(b" 0x5"), "CVE-2022-24761 (Waitress)"),
    refused("CL: underscore", length(b" 0_5"), "Python's int() reads it: CVE-2022-24761"),
    refused("CL: other digits", length("\u00a05".encode("latin-1")), "Unicode-minded strip"),
    refused("CL: superscript", length(b" 5\xb2"), "bytes.isdigit in latin-1"),
    refused("CL: space inside", length(b" 5 5"), "CVE-2018-7159 (Node.js)"),
    refused("CL: fraction", length(b" 5.0"), "RFC 9110 section 8.6"),
    refused("CL: exponent", length(b" 5e0"), "RFC 9110 section 8.6"),
    refused("CL: empty", length(b""), "CVE-2023-40225 (HAProxy)"),
    refused("CL: beyond 64 bits", length(b" 18446744073709551621"), "CVE-2021-40346 (HAProxy): overflow"),
    refused("CL: space before the colon", length(b" 5", b"Content-Length :"), "RFC 9112 section 5.1"),
    refused("CL: vertical tab", length(b"\x0b5"), KETTLE_2025 + ": 0.CL"),
    refused("0.CL: folded", length(b"\r\n 5"), KETTLE_2025 + ": 0.CL"),
    refused("0.CL: name folded", length(b"5", b"X:\r\n Content-Length:"), KETTLE_2025 + ": hidden length"),
    served("CL.0: a body on GET", GET + b"Content-Length: 5\r\n\r\nhello", KETTLE_2022 + ": CL.0", (b"GET", b"hello")),
    served(
        "CL.0: a request as body",
        GET + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        KETTLE_2022 + ": CL.0; CVE-2025-4366 (Pingora)",
        (b"GET", SMUGGLED),
    ),
    served(
        "CL: leading zeros", length(b" 0005")[: -len(SMUGGLED)], "RFC 9110 section 8.6: 1*DIGIT", (b"POST", b"hello")
    ),
    served(
        "upgrade and pipelined",
        b"GET /a HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + SMUGGLED,
        "CVE-2026-2833 (Pingora): no tunnel before the upstream agreed",
        (b"GET", b""),
        (b"GET", b""),
    ),
    served(
        "upgrade with a length",
        b"GET /a HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: foo\r\nContent-Length: 5\r\n\r\nhello",
        "llhttp takes bytes behind such a head for the new protocol",
        (b"GET", b"hello"),
    ),
    served(
        "expect and a length",
        BEGIN + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        KETTLE_2025 + ": Expect-based desync",
        (b"POST", b"hello"),
    ),
    served(
        "expect, spelt oddly",
        BEGIN + b"Expect: y 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        KETTLE_2025 + ": Expect-based desync",
        (b"POST", b"hello"),
    ),
    refused(
        "Connection names a length",
        GET + b"Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello",
        "hop-by-hop abuse (Davison 2019)",
    ),
    refused(
        "Connection names the coding",
        CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: close, Transfer-Encoding\r\n\r\n"),
        "hop-by-hop abuse (Davison 2019)",
    ),
)

CHUNKING = (
    served("plain", chunks(b"5\r\nhello\r\n0\r\n\r\n"), "RFC 9112 section 7.1", (b"POST", b"hello"), (b"GET", b"")),
    served(
        "extension",
        chunks(b"5;a=b\r\nhello\r\n0;c\r\n\r\n"),
        "RFC 9112 section 7.1.1",
        (b"POST", b"hello"),
        (b"GET", b""),
    ),
    served(
        "quoted extension",
        chunks(b'5;a="\\";b"\r\nhello\r\n0\r\n\r\n'),
        "RFC 9112 section 7.1.1",
        (b"POST", b"hello"),
        (b"GET", b""),
    ),
    served(
        "leading zeros",
        chunks(b"0005\r\nhello\r\n000\r\n\r\n"),
        "RFC 9112 section 7.1",
        (b"POST", b"hello"),
        (b"GET", b""),
    ),
    served(
        "trailers",
        chunks(b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"),
        "RFC 9112 section 7.1.2",
        (b"POST", b"hello"),
        (b"GET", b""),
    ),
    served(
        "trailer merge",
        chunks(b"5\r\nhello\r\n0\r\nContent-Length: 44\r\nHost: evil\r\nTransfer-Encoding: x\r\n\r\n"),
        FUNKY + ": TRAIL.MERGE; CVE-2023-46589 (Tomcat)",
        (b"POST", b"hello"),
        (b"GET", b""),
    ),
    refused("extension ended by LF", chunks(b"5;a\nhello\r\n0\r\n\r\n"), FUNKY + ": EXT.TERM, TERM.EXT"),
    refused("extension ended by CR", chunks(b"5;a\rhello\r\n0\r\n\r\n"), FUNKY + ": CR as line end"),
    refused("LF in an extension", chunks(b"5;a\nb\r\nhello\r\n0\r\n\r\n"), FUNKY + ": EXT.TERM"),
    refused("size ended by LF", chunks(b"5\nhello\r\n0\r\n\r\n"), FUNKY + ": TERM"),
    refused("data ended by LF", chunks(b"5\r\nhello\n0\r\n\r\n"), FUNKY + ": SPILL.TERM"),
    refused(
        "data ended by other bytes", chunks(b"5\r\nhelloXX0\r\n\r\n"), "CVE-2025-43859 (h11): two bytes skipped unseen"
    ),
    refused("data ended by nothing", chunks(b"5\r\nhello0\r\n\r\n"), FUNKY + ": ONE.TWO"),
    refused("data ended by CR CR", chunks(b"5\r\nhello\r\r0\r\n\r\n"), FUNKY + ": TWO.ONE"),
    refused("data too long", chunks(b"5\r\nhelloworld\r\n0\r\n\r\n"), "RFC 9112 section 7.1"),
    refused("last line ended by LF", chunks(b"5\r\nhello\r\n0\n\r\n"), FUNKY),
    refused("trailers ended by LF", chunks(b"5\r\nhello\r\n0\r\nX: y\n\r\n"), "RFC 9112 section 7.1.2"),
    refused("trailer without colon", chunks(b"5\r\nhello\r\n0\r\nGET / HTTP/1.1\r\n\r\n"), "CVE-2023-46589 (Tomcat)"),
    refused("trailer folded", chunks(b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"), "RFC 9112 section 5.2"),
    refused("size with 0x", chunks(b"0x5\r\nhello\r\n0\r\n\r\n"), "CVE-2022-24761 (Waitress)"),
    refused("size with plus", chunks(b"+5\r\nhello\r\n0\r\n\r\n"), "CVE-2022-24761 (Waitress)"),
    refused("size with minus", chunks(b"-5\r\nhello\r\n0\r\n\r\n"), "RFC 9112 section 7.1"),
    refused("size with underscore", chunks(b"0_5\r\nhello\r\n0\r\n\r\n"), "Python's int() reads it"),
    refused("size with space", chunks(b"5 \r\nhello\r\n0\r\n\r\n"), "CVE-2021-22960 (Node.js): space behind the size"),
    refused("size after space", chunks(b" 5\r\nhello\r\n0\r\n\r\n"), "RFC 9112 section 7.1"),
    refused(
        "size with tab", chunks(b"5\t;a\r\nhello\r\n0\r\n\r\n"), "RFC 9112 section 7.1.1: bad white space, refused"
    ),
    refused("size in decimal letters", chunks(b"g\r\nhello\r\n0\r\n\r\n"), "RFC 9112 section 7.1"),
    refused("size empty", chunks(b"\r\nhello\r\n0\r\n\r\n"), "RFC 9112 section 7.1"),
    refused("size empty with extension", chunks(b";a\r\nhello\r\n0\r\n\r\n"), "RFC 9112 section 7.1"),
    refused(
        "size overflow",
        chunks(b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
        "CVE-2013-2028 (nginx); 17 digits do not fit",
    ),
    refused(
        "size at the edge",
        chunks(b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        "CVE-2013-2028 (nginx): negative when signed",
    ),
    refused(
        "extension line too long", chunks(b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n"), "CVE-2024-22019 (Node.js)"
    ),
    refused(
        "extensions too long together",
        chunks(b"".join(b"1;" + b"a" * 4000 + b"\r\nx\r\n" for _ in range(5)) + b"0\r\n\r\n"),
        "CVE-2023-39326 (Go), CVE-2024-22019 (Node.js)",
    ),
    refused(
        "trailers too long",
        chunks(b"0\r\n" + b"".join(b"X-%d: %b\r\n" % (n, b"a" * 4000) for n in range(9)) + b"\r\n"),
        "ours: bounded like a head",
    ),
    refused("NUL in an extension", chunks(b"5;a\x00b\r\nhello\r\n0\r\n\r\n"), "RFC 9112 section 7.1.1"),
)

LINES = (
    refused("two spaces", b"GET  /a HTTP/1.1\r\n" + HOST + b"\r\n", "RFC 9112 section 3"),
    refused("tab as space", b"GET\t/a HTTP/1.1\r\n" + HOST + b"\r\n", "RFC 9112 section 3: lenient parsing is refused"),
    refused(
        "space in the target", b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", "RFC 9112 section 3.2: reject white space"
    ),
    refused("space behind the version", b"GET /a HTTP/1.1 \r\n" + HOST + b"\r\n", "RFC 9112 section 3"),
    refused(
        "two versions", b"GET /a HTTP/1.1 HTTP/1.0\r\n" + HOST + b"\r\n", "CVE-2023-25690 (Apache): split request line"
    ),
    refused("CR in the line", b"GET /a\rX HTTP/1.1\r\n" + HOST + b"\r\n", "CVE-2023-25690 (Apache)"),
    refused("LF in the line", b"GET /a\nX: HTTP/1.1\r\n" + HOST + b"\r\n", "RFC 9112 section 2.2"),
    refused("NUL in the target", b"GET /a\x00 HTTP/1.1\r\n" + HOST + b"\r\n", "RFC 9112 section 3.2"),
    refused("HTTP/0.9", b"GET /a\r\n\r\n", "RFC 9112 section 3"),
    refused("HTTP/1.2", b"GET /a HTTP/1.2\r\n" + HOST + b"\r\n", "ours", 505),
    refused("HTTP/2.0", b"GET /a HTTP/2.0\r\n" + HOST + b"\r\n", "RFC 9112 section 2.3", 505),
    refused("HTTP/1", b"GET /a HTTP/1\r\n" + HOST + b"\r\n", "RFC 9112 section 2.3"),
    refused("HTTP/1.1x", b"GET /a HTTP/1.1x\r\n" + HOST + b"\r\n", "RFC 9112 section 2.3"),
    refused("http/1.1", b"GET /a http/1.1\r\n" + HOST + b"\r\n", "RFC 9112 section 2.3: case-sensitive"),
    refused("h2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "RFC 9113 section 3.4", 505),
    refused("method with colon", b"GET: /a HTTP/1.1\r\n" + HOST + b"\r\n", KETTLE_2022 + ": request line as field"),
    refused("lower-case method", b"get /a HTTP/1.1\r\n" + HOST + b"\r\n", "nginx"),
    refused(
        "CONNECT",
        b"CONNECT gw.test:80 HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED,
        "RFC 9110 section 9.3.6: a tunnel for nobody; 400 as recorded",
    ),
    refused(
        "CONNECT with a path",
        b"CONNECT /a HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
        "RFC 9110 section 9.3.6: an upstream may take what follows for a tunnel; 405 as nginx since 1.21.1",
        405,
    ),
    refused("TRACE", b"TRACE /a HTTP/1.1\r\n" + HOST + b"\r\n", "RFC 9110 section 9.3.8", 405),
    served(
        "fragment",
        b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n",
        "CVE-2023-45539 (HAProxy); forwarded, as recorded; routed without it",
        (b"GET", b""),
    ),
    refused("empty name", GET + b": x\r\n\r\n", "CVE-2023-25725 (HAProxy)"),
    refused("no colon", GET + b"X\r\n\r\n", "RFC 9112 section 5"),
    refused("space in a name", GET + b"X Y: z\r\n\r\n", "RFC 9110 section 5.1"),
    refused("bracket in a name", GET + b"X[]: z\r\n\r\n", "RFC 9110 section 5.6.2"),
    refused("byte beyond ASCII in a name", GET + b"X\xe9: z\r\n\r\n", "RFC 9110 section 5.6.2"),
    refused(
        "fold first",
        b"GET /a HTTP/1.1\r\n Host: gw.test\r\n\r\n",
        "RFC 9112 section 2.2: white space before the first field",
    ),
    refused("fold in Host", b"GET /a HTTP/1.1\r\nHost: gw\r\n .test\r\n\r\n", "RFC 9112 section 5.2"),
    refused("two Hosts", GET + b"Host: evil.test\r\n\r\n", "RFC 9112 section 3.2"),
    refused("no Host", b"GET /a HTTP/1.1\r\n\r\n", "RFC 9112 section 3.2"),
    refused("Host list", b"GET /a HTTP/1.1\r\nHost: a, b\r\n\r\n", "RFC 9110 section 7.2"),
    refused("Host with a path", b"GET /a HTTP/1.1\r\nHost: gw.test/x\r\n\r\n", "host header attacks (Kettle 2013)"),
    refused(
        "Host with userinfo", b"GET /a HTTP/1.1\r\nHost: evil@gw.test\r\n\r\n", "host header attacks (Kettle 2013)"
    ),
    refused(
        "Host with a bad port", b"GET /a HTTP/1.1\r\nHost: gw.test:80x\r\n\r\n", "host header attacks (Kettle 2013)"
    ),
    refused(
        "Host with a port beyond 65535",
        b"GET /a HTTP/1.1\r\nHost: gw.test:65536\r\n\r\n",
        "RFC 3986 section 3.2.3, TCP",
    ),
    served("Host with the last port", b"GET /a HTTP/1.1\r\nHost: gw.test:65535\r\n\r\n", "TCP", (b"GET", b"")),
    *(
        refused(f"authority {name}", b"GET http://" + authority + b"/a HTTP/1.1\r\n" + HOST + b"\r\n", source)
        for name, authority, source in (
            ("with userinfo", b"evil@gw.test", "RFC 9110 section 4.2.4; host header attacks (Kettle 2013)"),
            ("with a bad port", b"gw.test:80x", "RFC 3986 section 3.2.3"),
            ("with a port beyond 65535", b"gw.test:65536", "RFC 3986 section 3.2.3, TCP"),
            ("with an open bracket", b"[::1", "RFC 3986 section 3.2.2"),
            ("with a quote", b'gw"test', "RFC 3986 section 3.2.2"),
            ("with a backslash", b"gw.test\\evil", "RFC 3986 section 3.2.2; URL confusion (Orange Tsai 2017)"),
            ("with a scope", b"[fe80::1%25eth0]", "RFC 6874; nginx"),
            ("that is empty", b"", "RFC 9110 section 4.2.1"),
        )
    ),
    served(
        "authority and Host differ", b"GET http://other.test/a HTTP/1.1\r\n" + HOST + b"\r\n", "recorded", (b"GET", b"")
    ),
    refused("Host hidden by a space", b"GET /a HTTP/1.1\r\nHost : gw.test\r\n\r\n", "RFC 9112 section 5.1"),
    refused("Connection names Host", GET + b"Connection: Host\r\n\r\n", "hop-by-hop abuse (Davison 2019)"),
    refused(
        "Connection names Authorization",
        GET + b"Connection: close, authorization\r\n\r\n",
        "hop-by-hop abuse (Davison 2019)",
    ),
    refused(
        "Connection names X-Forwarded-For", GET + b"Connection: X-Forwarded-For\r\n\r\n", "CVE-2022-31813 (Apache)"
    ),
    served("CRLF before a request", b"\r\n" + GET + b"\r\n", "RFC 9112 section 2.2", (b"GET", b"")),
    refused("LF before a request", b"\n" + GET + b"\r\n", "ours: bare LF"),
    Row(
        "garbage between requests",
        GET + b"\r\nX" + SMUGGLED[1:].lower(),
        (200, 400),
        ((b"GET", b""),),
        "RFC 9112 section 9.2",
    ),
    served("two pipelined", GET + b"\r\n" + SMUGGLED, "RFC 9112 section 9.3.2", (b"GET", b""), (b"GET", b"")),
)

ROWS = FRAMING + CHUNKING + LINES
