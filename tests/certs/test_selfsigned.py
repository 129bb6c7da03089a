"""The default pair that a node makes for itself."""

import stat
from pathlib import Path

from cryptography import x509

from kongdp.certs import contexts
from kongdp.certs.selfsigned import ensure_default_pairs


def test_pairs_are_made_when_none_exist(tmp_path: Path) -> None:
    """An RSA and an ECDSA pair for CN=localhost that a listener can show; keys are private."""
    pairs = ensure_default_pairs(tmp_path / "ssl")
    contexts.server_context([paths.read() for paths in pairs], contexts.server_options("intermediate"))
    for paths in pairs:
        assert stat.S_IMODE(paths.key.stat().st_mode) == 0o600
        certificate = x509.load_pem_x509_certificate(paths.cert.read_bytes())
        assert certificate.subject.rfc4514_string() == "CN=localhost"
    assert [paths.cert.name for paths in pairs] == ["kong-default.crt", "kong-default-ecdsa.crt"]
    assert not list((tmp_path / "ssl").glob(".kong*"))


def test_pairs_are_kept_when_they_exist(tmp_path: Path) -> None:
    """A second start, or an operator's own file under that name, changes nothing."""
    first = [paths.read().cert for paths in ensure_default_pairs(tmp_path)]
    assert [paths.read().cert for paths in ensure_default_pairs(tmp_path)] == first
