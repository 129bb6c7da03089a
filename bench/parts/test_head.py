"""Heads: what one pass over a typical request and a typical response costs, and what the exchange adds around them.

Run: .ci/bench parts -k head. The request has ten fields and about 640 bytes, the response eleven, as browsers and services send them.
Figures of the commit that added this file (2-core machine, Python 3.11): see the message of that commit.
"""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.parts.memory_exchange import REQUEST
from bench.parts.memory_exchange import RESPONSE as WHOLE_RESPONSE
from kongdp.http1.chunks import ChunkWalker
from kongdp.http1.parser import HeadLimits, parse_request_head, parse_response_head, try_request_head, try_response_head

LIMITS = HeadLimits()

RESPONSE = WHOLE_RESPONSE[: WHOLE_RESPONSE.index(b"\r\n\r\n") + 4]
CHUNKS = b"".join(b"%x\r\n%b\r\n" % (16384, b"x" * 16384) for _ in range(4))


@pytest.mark.benchmark(group="head")
def test_request_head(benchmark: BenchmarkFixture) -> None:
    """Find the end of a typical request's head, validate it and edit it."""
    benchmark(try_request_head, REQUEST, LIMITS)


@pytest.mark.benchmark(group="head")
def test_response_head(benchmark: BenchmarkFixture) -> None:
    """The same of a typical response."""
    benchmark(try_response_head, RESPONSE, b"UTF-8", 32768)


@pytest.mark.benchmark(group="head")
def test_request_head_the_plain_way(benchmark: BenchmarkFixture) -> None:
    """What an odd head takes, and every one where nothing is compiled."""
    benchmark(parse_request_head, REQUEST, LIMITS)


@pytest.mark.benchmark(group="head")
def test_response_head_the_plain_way(benchmark: BenchmarkFixture) -> None:
    """The same of a response."""
    benchmark(parse_response_head, RESPONSE, charset=b"UTF-8")


@pytest.mark.benchmark(group="head")
@pytest.mark.parametrize("payload", [False, True], ids=["re-framed", "payload"])
def test_chunks(benchmark: BenchmarkFixture, payload: bool) -> None:
    """Walk 64 KiB of a chunked body in 16 KiB chunks."""

    def walk() -> None:
        ChunkWalker(payload=payload).feed(CHUNKS)

    benchmark(walk)
