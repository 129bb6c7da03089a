"""The node's own certificate: request, acceptance, files."""

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kongdp.certs import identity
from kongdp.certs.contexts import CertificateError
from kongdp.certs.identity import NodeCertificate, Request
from tests.support.certificates import Made, authority, make

CA = authority()


def issue(request: Request, issuer: Made = CA) -> x509.Certificate:
    key = serialization.load_pem_private_key(request.key, None)
    return make("node", issuer=issuer, key=key).certificate  # type: ignore[arg-type]


def enrolled() -> NodeCertificate:
    request = identity.make_request("node")
    return identity.accept(request, [issue(request)], [CA.certificate])


def test_request_names_the_node_when_made() -> None:
    """The CSR carries the name and proves possession of the key."""
    csr = x509.load_der_x509_csr(identity.make_request("node-1").csr)
    assert csr.subject.rfc4514_string() == "CN=node-1"
    assert csr.is_signature_valid


def test_chain_is_ordered_when_intermediates_come_along() -> None:
    """Leaf first, then what leads up to an anchor; the anchor itself is not sent."""
    between = make("between", issuer=CA, is_authority=True)
    request = identity.make_request("node")
    leaf = issue(request, between)
    accepted = identity.accept(request, [CA.certificate, between.certificate, leaf], [CA.certificate])
    chain = x509.load_pem_x509_certificates(accepted.pair.cert)
    assert [entry.subject.rfc4514_string() for entry in chain] == ["CN=node", "CN=between"]


@pytest.mark.parametrize(
    ("issuer", "is_ours", "text"),
    [(authority("stranger"), True, "none of its own CA certificates"), (CA, False, "for another key")],
)
def test_answer_is_refused_when_it_does_not_fit(issuer: Made, is_ours: bool, text: str) -> None:
    """A certificate for somebody else, or by somebody else, never reaches the disk."""
    request = identity.make_request("node")
    answer = issue(request if is_ours else identity.make_request("node"), issuer)
    with pytest.raises(CertificateError, match=text):
        identity.accept(request, [answer], [CA.certificate])


def test_files_are_private_and_whole_when_saved(tmp_path: Path) -> None:
    """What was saved is what is loaded; directory and files are the owner's alone, nothing is left beside them."""
    saved = enrolled()
    directory = tmp_path / "certs"
    identity.save(saved, directory)
    assert identity.load(directory) == saved
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {path.name for path in directory.iterdir()} == {"node.pem", "ca.pem"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in directory.iterdir())


def test_nothing_is_loaded_when_the_node_never_enrolled(tmp_path: Path) -> None:
    """No file is not an error."""
    assert identity.load(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"garbage", enrolled().pair.cert, enrolled().pair.key + CA.pem])
def test_damaged_file_is_named_when_it_cannot_be_used(tmp_path: Path, content: bytes) -> None:
    """Half a file, or a key beside another key's certificate, is reported with its path."""
    identity.save(enrolled(), tmp_path)
    (tmp_path / "node.pem").write_bytes(content)
    with pytest.raises(CertificateError, match=r"node\.pem is damaged"):
        identity.load(tmp_path)


def test_damaged_anchors_are_named_when_they_cannot_be_used(tmp_path: Path) -> None:
    """Found when the node starts, where it can enrol again, not at the first connection."""
    identity.save(enrolled(), tmp_path)
    (tmp_path / "ca.pem").write_bytes(b"")
    with pytest.raises(CertificateError, match=r"ca\.pem is damaged"):
        identity.load(tmp_path)


GEN_CERT = b"""-----BEGIN CERTIFICATE-----
MIIBWTCB3wIBADAKBggqhkjOPQQDAjAaMRgwFgYDVQQDDA9rb25nX2NsdXN0ZXJp
bmcwHhcNMjYxMTIzMTkyNjExWhcNMjkxMTIyMTkyNjExWjAaMRgwFgYDVQQDDA9r
b25nX2NsdXN0ZXJpbmcwdjAQBgcqhkjOPQIBBgUrgQQAIgNiAAS4nE9RZGuU65ez
6czSL2+B95Pb0jntdUP2hs6yx4fjB+hnQr49vygu8RPFgmIh2iuRMOpR1BhKuYo/
FETxVdB3Jo67zgRWtGuw/rkF5v/WFuAjBNNtdpMtcSeQ/LeozUwwCgYIKoZIzj0E
AwIDaQAwZgIxAO2hg93w0Q79zijX1W1SwC4BPL9G9ZJem8hOSPgzlt1OmmAcFC1u
Q2HL9h56Z8CLHwIxAKw9iP9RLOQPkCV7qjZR+vBGAQsuuZDlkinQhpRMxMUQqIXL
3i2rCSLmbjPaEmb8WQ==
-----END CERTIFICATE-----
"""
"""As `kong hybrid gen_cert` makes them: X.509 version 1, serial number 0, no extensions."""


def test_dates_are_read_when_kong_made_the_certificate() -> None:
    """A serial number that RFC 5280 forbids is no reason to refuse what whole clusters use."""
    assert identity.validity(GEN_CERT).life_s == pytest.approx(1095 * 86400)


def test_dates_are_read_when_the_operator_brought_a_certificate() -> None:
    """Any PEM certificate has a validity; anything else is an error."""
    assert identity.validity(CA.pem).life_s == pytest.approx(3600)
    with pytest.raises(CertificateError, match="not a certificate"):
        identity.validity(b"x")
