"""Heads: what one pass over a typical request and a typical response costs, and what the exchange adds around them.

Run: .ci/bench parts -k head. The request has ten fields and about 640 bytes, the response eleven, as browsers and services send them.
Figures of the commit that added this file (2-core machine, Python 3.11): see the message of that commit.
"""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from kongdp.http1.chunks import ChunkWalker
from kongdp.http1.parser import HeadLimits, find_head_end, parse_request_head, parse_response_head

LIMITS = HeadLimits()

REQUEST = (
    b"GET /mock/anything?q=1 HTTP/1.1\r\nHost: gateway.test:8000\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"
    b"X-Trace-Id: 4bf92f3577b34da6a3ce929d0e0e4736\r\nAuthorization: Bearer " + b"e" * 110 + b"\r\n"
    b"Cache-Control: no-cache\r\nReferer: http://example.test/some/page\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: 990\r\nConnection: keep-alive\r\nCache-Control: no-store\r\nX-Frame-Options: DENY\r\n"
    b'X-Content-Type-Options: nosniff\r\nETag: "abc123"\r\nVary: Accept-Encoding\r\nSet-Cookie: id=a3fWa; HttpOnly\r\n\r\n'
)
CHUNKS = b"".join(b"%x\r\n%b\r\n" % (16384, b"x" * 16384) for _ in range(4))


@pytest.mark.benchmark(group="head")
def test_request_head(benchmark: BenchmarkFixture) -> None:
    """Find the end of a typical request's head, validate it and edit it."""

    def parse() -> None:
        parse_request_head(REQUEST[: find_head_end(REQUEST, 0, LIMITS)], LIMITS)

    benchmark(parse)


@pytest.mark.benchmark(group="head")
def test_response_head(benchmark: BenchmarkFixture) -> None:
    """Validate and edit a typical response's head."""
    benchmark(parse_response_head, RESPONSE, charset=b"UTF-8")


@pytest.mark.benchmark(group="head")
@pytest.mark.parametrize("payload", [False, True], ids=["re-framed", "payload"])
def test_chunks(benchmark: BenchmarkFixture, payload: bool) -> None:
    """Walk 64 KiB of a chunked body in 16 KiB chunks."""

    def walk() -> None:
        ChunkWalker(payload=payload).feed(CHUNKS)

    benchmark(walk)
