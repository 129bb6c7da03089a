"""`kongdp config import` and `export` against a real control plane: progress, what changed, every problem."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kongdp.cli.main import main
from tests.support.control_plane_process import Process

FILE = """
_format_version: "3.0"
services:
- name: shop
  url: http://shop.internal
  routes:
  - {name: shop, paths: [/shop]}
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running control plane's Admin API."""
    process = Process(tmp_path_factory.mktemp("control-plane")).until_ready()
    yield process.admin
    process.kill()


def test_a_file_goes_in_and_comes_out(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The import says what it did; what is exported imports without a change; a trial only says."""
    file, copy = tmp_path / "kong.yml", tmp_path / "copy.yml"
    file.write_text(FILE)
    assert main(["config", "import", str(file), "--url", url, "--dry-run"]) == 0
    assert "would have created 1 routes, 1 services" in capsys.readouterr().out
    assert main(["config", "import", str(file), "--url", url]) == 0
    assert "created 1 routes, 1 services (revision" in capsys.readouterr().out
    assert main(["config", "export", "--url", url, "-o", str(copy)]) == 0
    assert copy.stat().st_mode & 0o777 == 0o600
    assert main(["config", "import", str(copy), "--url", url]) == 0
    assert "nothing to change" in capsys.readouterr().out
    assert main(["config", "export", "--url", url, "--json"]) == 0
    assert '"shop.internal"' in capsys.readouterr().out


def test_every_problem_is_told(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each on stderr, and exit code 1."""
    file = tmp_path / "bad.yml"
    file.write_text('_format_version: "3.0"\nservices:\n- {name: a}\n- {name: b, host: h, port: x}\n')
    assert main(["config", "import", str(file), "--url", url]) == 1
    err = capsys.readouterr().err
    assert "'host': required field missing" in err
    assert "'port': expected an integer" in err
    assert main(["config", "import", str(tmp_path / "none.yml"), "--url", url]) == 1
    assert "cannot read" in capsys.readouterr().err
    assert main(["config", "export", "--group", "none", "--url", url]) == 1
    assert "there is no runtime group 'none' (404)" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["http://127.0.0.1:1", "127.0.0.1:8001", "http://"])
def test_a_control_plane_that_is_not_there_is_said(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The URL is named."""
    assert main(["config", "export", "--url", place]) == 1
    assert place in capsys.readouterr().err
