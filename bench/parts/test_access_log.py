"""Access log lines: what one costs the request that is logged.

Run: .ci/bench parts -k access_log.
"""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from kongdp.telemetry.access_log import Exchange, Line

EXCHANGE = Exchange(
    remote_addr=b"127.0.0.1",
    remote_user=b"",
    request_line=b"GET /mock/anything?q=1&apikey=0123456789abcdef HTTP/1.1",
    status=200,
    body_bytes_sent=990,
    referer=b"http://example.test/some/page",
    user_agent=b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    request_id=b"d3c0e14748ceae3058d86cb38ea549d0",
    host=b"gateway.test",
    request_bytes=640,
    bytes_sent=1400,
    request_ms=5,
    kong_ms=1,
    upstream_ms=4,
    upstream_addr="127.0.0.1:9000",
    upstream_status=200,
    source="service",
    route_id="00000001-1111-4111-8111-000000000001",
    service_id="00000002-1111-4111-8111-000000000002",
    tries=1,
    started_at=1_795_700_000.0,
)


@pytest.mark.benchmark(group="access log")
@pytest.mark.parametrize("name", ["kong", "combined", "json"])
def test_access_log_line(benchmark: BenchmarkFixture, name: str) -> None:
    """One line, with its secret query argument hidden."""
    line = Line(name)
    line.tick(1_795_700_000)
    found = benchmark(line.render, EXCHANGE)
    assert found.endswith(b"\n")
    assert b"0123456789abcdef H" not in found
