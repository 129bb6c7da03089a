"""`kongdp control-plane backup` and `restore`: taken from a running control plane, brought up elsewhere."""

import signal
from pathlib import Path

import pytest

from kongdp.cli.main import main
from tests.support.control_plane_process import Process


@pytest.mark.system
def test_a_control_plane_comes_back_from_its_backup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Taken while it runs; refused over it; in another place the same authority, id, entities and history."""
    home, other, file = tmp_path / "home", tmp_path / "other", tmp_path / "backup.zip"
    process = Process(home).until_ready()
    try:
        process.post("/services", {"name": "shop", "host": "shop.internal"})
        assert main(["control-plane", "backup", str(file), "-p", str(home)]) == 0
        told = capsys.readouterr().out
        assert "entities: 1 of 1 rows" in told
        assert "private keys, credentials and password hashes" in told
        assert file.stat().st_mode & 0o777 == 0o600
        process.post("/services", {"name": "later", "host": "h"})
        assert main(["control-plane", "restore", str(file), "-p", str(home), "--replace"]) == 1
        assert "another control plane is running" in capsys.readouterr().err
        fingerprint, root = process.lines[-1].partition("CA fingerprint")[2], process.get("/")
        process.send(signal.SIGTERM)
        assert process.end()[0] == 0
    finally:
        process.kill()

    assert main(["control-plane", "restore", str(file), "-p", str(other)]) == 0
    assert "and the certificate authority as of" in capsys.readouterr().out
    process = Process(other).until_ready()
    try:
        assert process.lines[0].startswith("control plane ready"), "there are users, so no password is made"
        assert process.lines[-1].partition("CA fingerprint")[2] == fingerprint
        again = process.get("/")
        assert isinstance(root, dict)
        assert isinstance(again, dict)
        assert again["node_id"] == root["node_id"]
        services = process.get("/services")
        assert isinstance(services, dict)
        assert [service["name"] for service in services["data"]] == ["shop"]
        history = process.get("/v2/control-planes/default/revisions")
        assert isinstance(history, dict)
        assert [revision["summary"] for revision in history["items"]] == ["POST /services"]
    finally:
        process.kill()


def test_what_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on stderr, exit code 1, and no empty database made on the way."""
    assert main(["control-plane", "backup", str(tmp_path / "b.zip"), "-p", str(tmp_path)]) == 1
    assert "there is no" in capsys.readouterr().err
    assert not (tmp_path / "controlplane.db").exists()
    assert main(["control-plane", "restore", str(tmp_path / "b.zip"), "-p", str(tmp_path)]) == 1
    assert "cannot read" in capsys.readouterr().err
    assert not (tmp_path / "controlplane.db").exists()
