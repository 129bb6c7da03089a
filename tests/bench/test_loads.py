"""Generators' command lines and what their output is read as."""

from pathlib import Path

import pytest

from bench.whole import loads, measure
from bench.whole.configs import KEY, Place, Setup
from bench.whole.processes import CommandError
from bench.whole.scenarios import Load

WRK = """Running 1s test @ http://127.0.0.1:8000/mock
  12000 requests in 1.00s, 18.00MB read

RESULT {"requests": 12000, "seconds": 1.001, "bytes": 18000000, "errors": 2, "p50_us": 400, "p90_us": 500, "p99_us": 900, \
"p999_us": 1500, "max_us": 2100}
"""


def place(directory: Path) -> Place:
    return Place(directory, 1, 2, 3, 4, 5, 6, directory, directory, directory)


def test_wrk_result_is_read() -> None:
    """The line of our script, not wrk's prose, which rounds."""
    seen = loads.parse_wrk(WRK)
    assert (seen.requests, seen.errors, seen.p999_us) == (12000, 2, 1500)


def test_wrk_without_result_ends_the_run_with_its_words() -> None:
    """Such as a refused connection."""
    with pytest.raises(CommandError, match="unable to connect"):
        loads.parse_wrk("unable to connect to 127.0.0.1:1 Connection refused")


def test_wrk_script_sends_what_the_load_says() -> None:
    """Method, body, and the credentials of the setup's plugin."""
    script = loads.wrk_script(Load(method="POST", body_bytes=1024, fields=False), Setup(plugin="key-auth"))
    assert 'wrk.method = "POST"' in script
    assert 'string.rep("x", 1024)' in script
    assert f'wrk.headers["apikey"] = "{KEY}"' in script
    assert "User-Agent" not in script


def test_wrk_script_spreads_over_the_table() -> None:
    """Routes evenly from the whole table, not its first ones."""
    script = loads.wrk_script(Load(spread=3), Setup(routes=301))
    assert 'local paths = {"/team0/svc0/1k", "/team0/svc100/1k", "/team0/svc200/1k"}' in script


def test_wrk_script_asks_many_paths() -> None:
    """Below the load's path, in turn, each with other fields."""
    script = loads.wrk_script(Load(path="/mock/items", paths=20_000), Setup())
    assert 'for i = 1, 20000 do wrk.headers["X-Trace-Id"] = string.format("%032x", i); ready[i] = ' in script
    assert 'wrk.format(nil, "/mock/items/" .. i)' in script


def test_tls_loads_go_to_the_tls_port(tmp_path: Path) -> None:
    """Each listener has its port."""
    assert loads.command_of(Load(tls=True), Setup(), place(tmp_path), 2.0)[-1] == "https://127.0.0.1:2/mock/1k"
    assert loads.command_of(Load(), Setup(), place(tmp_path), 2.0)[-1] == "http://127.0.0.1:1/mock/1k"


def test_perf_counts_become_calls_per_request() -> None:
    """A line of perf stat -x; nothing where perf may not count."""
    assert measure.parse_perf("8400,,raw_syscalls:sys_enter,1000,100.00,,\n", 2000) == 4.2
    assert measure.parse_perf("<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n", 2000) is None
