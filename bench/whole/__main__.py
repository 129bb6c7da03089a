"""Compare kongdp with other gateways on this machine.

    make bench                                            the quick scenarios on every gateway found, about five minutes
    python -m bench.whole get-1k tls --peers nginx kongdp --rounds 10
    python -m bench.whole headline | full                 more scenarios; full takes about half an hour
    python -m bench.whole get-1k --peers nginx kongdp before=/path/to/other/checkout/.venv/bin/kongdp
    python -m bench.whole counters --rounds 20            what counting costs, as pairs

Every gateway runs one worker (two where the scenario says so) on the gateway core; a static upstream and the load
generator have the other core. Results: a JSON file, a Markdown file and SVG plots in --out; the newest earlier JSON there
(or --against) is compared with. What the columns mean stands in bench/RESULTS.md.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.machine import ROOT
from bench.whole import peers, plots, report
from bench.whole.run import Bench, Options, say
from bench.whole.scenarios import SCENARIOS, select

ALONE = """\
  python -m bench.whole.swap    configuration changes under load: how soon live, what the longest request was
  python -m bench.whole.scrape  p99 with a scrape each second and without
  bench/soak                    half an hour of mixed load: memory and descriptors
  bench/load URL                load on a gateway of your own"""
DEFAULT_PEERS = ("nginx", "haproxy", "kongdp", "kongdp-pure", "envoy", "caddy")
OUT = ROOT / ".artifacts" / "bench"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    names = "\n".join(f"  {name:<30}{scenario.title}" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench.whole",
        description=__doc__,
        epilog=f"scenarios:\n{names}\n\nand on their own:\n{ALONE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cores = sorted(os.sched_getaffinity(0))
    parser.add_argument(
        "scenarios", nargs="*", default=["quick"], help="names, a beginning with *, or quick, headline, full (quick)"
    )
    parser.add_argument(
        "--peers", nargs="+", default=list(DEFAULT_PEERS), metavar="PEER",
        help=f"of {', '.join(peers.PEERS)}; kong=PATH; NAME=COMMAND for another kongdp",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds of each scenario (3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of each measurement (2)")
    parser.add_argument("--gateway-cores", default=str(cores[0]), help=f"comma-separated ({cores[0]})")
    parser.add_argument("--load-core", type=int, default=cores[-1], help=f"of upstream and generator ({cores[-1]})")
    parser.add_argument("--no-system-calls", action="store_true", help="do not count system calls with perf")
    parser.add_argument("--out", type=Path, default=OUT, help="directory of the results (.artifacts/bench)")
    parser.add_argument("--against", type=Path, help="result to compare with (the newest in --out)")
    return parser


def newest(directory: Path) -> Path | None:
    """The newest result there."""
    return max(directory.glob("2*-*.json"), default=None)


def write(out: Path, document: dict[str, Any], earlier: dict[str, Any] | None) -> str:
    """Write the result files; the Markdown."""
    out.mkdir(parents=True, exist_ok=True)
    stem = out / time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    text = report.markdown(document, earlier)
    stem.with_suffix(".json").write_text(json.dumps(document))
    stem.with_suffix(".md").write_text(text)
    for ending, chart in plots.charts(document).items():
        stem.with_name(f"{stem.name}{ending}.svg").write_text(chart)
    say(f"written: {stem}.json, .md, .svg")
    return text


def main(arguments: list[str] | None = None) -> int:
    """Run and print; 1 when a request or a scenario failed."""
    parser = build_parser()
    given = parser.parse_args(arguments)
    for tool in ("nginx", "wrk", "taskset"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is needed for load and upstream: apt-get install nginx wrk util-linux")
    scenarios, chosen = select(given.scenarios), peers.choose(given.peers)
    for name in peers.missing(given.peers):
        say(f"not installed, left out: {name}")
    source = given.against or newest(given.out)
    earlier = json.loads(source.read_text()) if source is not None else None
    gateway_cores = frozenset(int(core) for core in given.gateway_cores.split(","))
    options = Options(given.rounds, given.seconds, gateway_cores, given.load_core, not given.no_system_calls)
    with tempfile.TemporaryDirectory(prefix="kongdp-bench-") as directory:
        bench = Bench(Path(directory), chosen, options)
        try:
            document = bench.run(scenarios, say)
        finally:
            bench.stop()
    print(write(given.out, document, earlier))
    contestants = [entry for each in document["scenarios"].values() for entry in each["contestants"].values()]
    return 1 if bench.failures or any(trial["errors"] for entry in contestants for trial in entry["trials"]) else 0


if __name__ == "__main__":
    sys.exit(main())
