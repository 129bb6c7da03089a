"""The whole bench against real gateways, as short as it can be."""

import json
import shutil
from pathlib import Path

import pytest

from bench.whole.__main__ import main

TOOLS = ("nginx", "wrk", "taskset")


@pytest.mark.system
@pytest.mark.skipif(any(shutil.which(tool) is None for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}")
def test_bench_measures_and_writes_its_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One scenario, one round, nginx and us: no errors, a cost for both, and the files are there."""
    arguments = ["get-plain", "--peers", "nginx", "kongdp", "--rounds", "1", "--seconds", "1", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert "| kongdp | " in capsys.readouterr().out
    (found,) = tmp_path.glob("*.json")
    contestants = json.loads(found.read_text())["scenarios"]["get-plain"]["contestants"]
    assert all(entry["trials"][0]["cpu_us"] > 1 for entry in contestants.values())
    assert sorted(contestants) == ["kongdp", "nginx"]
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".md", ".svg"}
