"""The certificate authority: what it makes, what it refuses to sign, what it recognises."""

import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import ClientVerifier, PolicyBuilder, Store

from kongdp.controlplane.authority import (
    SERVER_LIFETIME_S,
    Authority,
    AuthorityError,
    RequestRefusedError,
)
from tests.support.scripted_data_plane import make_request

NOW = 1_800_000_000.0
GROUP = "0dc6f45b-8f8d-40d2-a504-473544ee190b"
NODE = "1da9157f-c443-4b08-8355-c97520754c21"


class Moment:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def issued(authority: Authority, lifetime_s: int = 3600) -> x509.Certificate:
    return authority.issue_node(make_request(NODE, ec.generate_private_key(ec.SECP256R1())), GROUP, lifetime_s)


def test_the_key_is_private_and_kept_when_opened_again(tmp_path: Path) -> None:
    """A second start finds the same authority; only its owner can read the key."""
    first = Authority.open(tmp_path / "authority", Moment())
    second = Authority.open(tmp_path / "authority", Moment())
    assert first.fingerprint == second.fingerprint == first.certificate.fingerprint(hashes.SHA256()).hex()
    assert stat.S_IMODE((tmp_path / "authority" / "ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "authority").stat().st_mode) == 0o700


def test_a_node_certificate_says_who_and_where_when_issued(tmp_path: Path) -> None:
    """CN is the node's id, the group stands in a URI, the only use is as a client; the root stays a root."""
    authority = Authority.open(tmp_path, Moment())
    certificate = issued(authority)
    identity = authority.try_identify(certificate)
    assert identity is not None
    assert (identity.node_id, identity.group_id) == (NODE, GROUP)
    assert identity.not_after == NOW + 3600
    assert identity.not_before == NOW - 180
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_a_short_lived_certificate_is_hardly_backdated(tmp_path: Path) -> None:
    """Two thirds of a life of 60 s must lie in the future, or a node would renew for ever."""
    authority = Authority.open(tmp_path, Moment())
    identity = authority.try_identify(issued(authority, lifetime_s=60))
    assert identity is not None
    assert NOW - identity.not_before <= 3
    assert identity.not_after == NOW + 60


def test_a_strict_verifier_accepts_the_chain(tmp_path: Path) -> None:
    """RFC 5280's profile is kept, so that strict clients (Python 3.13) accept what we issue."""
    authority = Authority.open(tmp_path, Moment())
    builder = PolicyBuilder().store(Store([authority.certificate]))
    when = authority.certificate.not_valid_before_utc.replace(year=authority.certificate.not_valid_before_utc.year + 1)
    verifier: ClientVerifier = builder.time(when).build_client_verifier()
    certificate = authority.issue_node(
        make_request(NODE, ec.generate_private_key(ec.SECP256R1())), GROUP, 2 * 366 * 86_400
    )
    assert len(verifier.verify(certificate, []).chain) == 2


@pytest.mark.parametrize("moved", [-1000.0, 3600.0, 1e8])
def test_a_certificate_is_nobodys_when_it_is_not_valid_now(tmp_path: Path, moved: float) -> None:
    """Not yet valid and expired are both no identity."""
    clock = Moment()
    authority = Authority.open(tmp_path, clock)
    certificate = issued(authority)
    clock.now += moved
    assert authority.try_identify(certificate) is None


def test_a_certificate_of_another_authority_is_nobodys(tmp_path: Path) -> None:
    """Neither another root's certificate nor the server's own is a node's."""
    ours, other = Authority.open(tmp_path / "a", Moment()), Authority.open(tmp_path / "b", Moment())
    assert ours.try_identify(issued(other)) is None
    server, _key = ours.server_certificate()
    assert ours.try_identify(x509.load_pem_x509_certificate(server.read_bytes())) is None
    assert ours.try_identify(ours.certificate) is None


@pytest.mark.parametrize("name", ["", "admin", NODE.upper(), NODE.replace("-", ""), f"{NODE} "])
def test_a_request_is_refused_when_its_name_is_no_node_id(tmp_path: Path, name: str) -> None:
    """Only a canonical UUID can be a node, so that one node has one name."""
    authority = Authority.open(tmp_path, Moment())
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    with pytest.raises(RequestRefusedError, match="node's id"):
        authority.issue_node(builder.sign(key, hashes.SHA256()), GROUP, 60)


@pytest.mark.parametrize(
    "make_key",
    [
        partial(rsa.generate_private_key, 65537, 1024),
        partial(dsa.generate_private_key, 1024),
        partial(ec.generate_private_key, ec.SECP256K1()),
    ],
    ids=["rsa-1024", "dsa", "secp256k1"],
)
def test_a_request_is_refused_when_its_key_is_weak(
    tmp_path: Path, make_key: Callable[[], ec.EllipticCurvePrivateKey]
) -> None:
    """The message names what is accepted."""
    with pytest.raises(RequestRefusedError, match="key must be"):
        Authority.open(tmp_path, Moment()).issue_node(make_request(NODE, make_key()), GROUP, 60)


def test_a_request_is_refused_when_its_signature_is_forged(tmp_path: Path) -> None:
    """Whoever asks must hold the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    der = bytearray(make_request(NODE, key).public_bytes(serialization.Encoding.DER))
    at = der.index(NODE.encode())
    der[at] = ord("2")
    with pytest.raises(RequestRefusedError, match="signature"):
        Authority.open(tmp_path, Moment()).issue_node(x509.load_der_x509_csr(bytes(der)), GROUP, 60)


def test_the_server_certificate_is_kept_until_it_is_due_or_lacks_a_name(tmp_path: Path) -> None:
    """Starts do not change it; a new name and its last third do."""
    clock = Moment()
    authority = Authority.open(tmp_path, clock)

    def serial(*names: str) -> int:
        path, _key = authority.server_certificate(names)
        return x509.load_pem_x509_certificate(path.read_bytes()).serial_number

    first = serial()
    assert serial() == first
    named = serial("cp.example", "192.0.2.7")
    assert named != first
    assert serial("192.0.2.7") == named
    clock.now += SERVER_LIFETIME_S / 2
    assert serial() == named
    clock.now += SERVER_LIFETIME_S / 4
    assert serial() != named


def test_the_server_certificate_carries_every_name(tmp_path: Path) -> None:
    """The fixed names, the host's, and those of the settings, addresses as addresses."""
    path, key = Authority.open(tmp_path, Moment()).server_certificate(("cp.example", "192.0.2.7"))
    names = (
        x509.load_pem_x509_certificate(path.read_bytes())
        .extensions.get_extension_for_class(x509.SubjectAlternativeName)
        .value
    )
    dns = names.get_values_for_type(x509.DNSName)
    assert {"kongdp-control-plane", "kong_clustering", "localhost", "cp.example"} <= set(dns)
    assert {str(address) for address in names.get_values_for_type(x509.IPAddress)} >= {"127.0.0.1", "::1", "192.0.2.7"}
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_damaged_files_are_named(tmp_path: Path) -> None:
    """A key that belongs to another certificate, or half a pair, is said with its path."""
    Authority.open(tmp_path / "a", Moment())
    Authority.open(tmp_path / "b", Moment()).server_certificate()
    (tmp_path / "a" / "ca.key").write_bytes((tmp_path / "b" / "ca.key").read_bytes())
    with pytest.raises(AuthorityError, match=r"ca\.key is not the key of"):
        Authority.open(tmp_path / "a", Moment())
    (tmp_path / "a" / "ca.key").write_bytes(b"nonsense")
    with pytest.raises(AuthorityError, match="damaged"):
        Authority.open(tmp_path / "a", Moment())
    (tmp_path / "b" / "ca.crt").unlink()
    with pytest.raises(AuthorityError, match=r"ca\.crt"):
        Authority.open(tmp_path / "b", Moment())


def test_a_first_start_that_ended_between_the_two_files_is_made_good(tmp_path: Path) -> None:
    """A key without its certificate has signed nothing yet: the next start makes both."""
    Authority.open(tmp_path, Moment())
    (tmp_path / "ca.crt").unlink()
    made = Authority.open(tmp_path, Moment())
    assert Authority.open(tmp_path, Moment()).fingerprint == made.fingerprint


def test_two_nodes_have_different_serials(tmp_path: Path) -> None:
    """Serial numbers are random and unique."""
    authority = Authority.open(tmp_path, Moment())
    assert len({issued(authority).serial_number for _ in range(20)}) == 20
