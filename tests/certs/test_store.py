"""Which certificate a name gets."""

import ssl
from dataclasses import dataclass

import pytest

from kongdp.certs import contexts, store
from kongdp.certs.contexts import CertificateError
from kongdp.certs.store import CertificateStore
from tests.support.certificates import Made, authority, make
from tests.support.handshake import handshake

CA = authority()
OPTIONS = contexts.server_options("intermediate")
DEFAULT = make("default", issuer=CA)


@dataclass(frozen=True)
class Certificate:
    id: str
    cert: str
    key: str
    cert_alt: str | None = None
    key_alt: str | None = None


@dataclass(frozen=True)
class Sni:
    name: str
    certificate_id: str


MADE = {name: make(name, issuer=CA) for name in ("exact", "left", "right", "any")}


def certificate(id_: str, made: Made) -> Certificate:
    return Certificate(id_, made.pem.decode(), made.key_pem.decode())


ROWS = [certificate(name, made) for name, made in MADE.items()]
SNIS = [Sni("a.b.c", "exact"), Sni("*.b.c", "left"), Sni("a.b.*", "right"), Sni("*", "any")]


def shown(current: CertificateStore, name: str | None) -> str:
    """The common name of the certificate a client sees that asks for `name`."""
    listener = contexts.server_context([DEFAULT.pair], OPTIONS)
    store.install(listener, lambda: current)
    seen = handshake(listener, contexts.upstream_client_context(verify=False), name)
    for label, made in {**MADE, "default": DEFAULT}.items():
        if ssl.DER_cert_to_PEM_cert(seen.certificate or b"").encode() == made.pem:
            return label
    raise AssertionError("an unknown certificate")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.b.c", "exact"),
        ("A.B.C", "exact"),
        ("x.b.c", "left"),
        ("a.b.x", "right"),
        ("x.a.b.c", "any"),
        ("b.c", "any"),
        ("localhost", "any"),
        (None, "default"),
    ],
)
def test_name_gets_its_certificate_when_rows_compete(name: str | None, expected: str) -> None:
    """Exact, then `*` for the first label, then for the last, then `*`, then the default (proxy.md section 9)."""
    assert shown(CertificateStore.build(ROWS, SNIS, OPTIONS), name) == expected


def test_default_serves_when_no_row_matches() -> None:
    """Without a row named `*` a strange name gets the default certificate."""
    assert shown(CertificateStore.build(ROWS, SNIS[:3], OPTIONS), "other.example.com") == "default"
    assert shown(store.EMPTY_STORE, "a.b.c") == "default"


def test_handshake_is_aborted_when_the_certificate_cannot_be_read() -> None:
    """An unreadable certificate is no reason to show another one."""
    broken = CertificateStore.build([Certificate("broken", "x", "y")], [Sni("a.b.c", "broken")], OPTIONS)
    with pytest.raises(ssl.SSLError, match=r"(?i)internal.error|callback"):
        shown(broken, "a.b.c")
    for _ in range(2):
        with pytest.raises(CertificateError, match="certificate broken: "):
            broken.find("a.b.c")


def test_context_is_kept_when_the_texts_did_not_change() -> None:
    """The next store takes contexts over, and makes new ones for new texts or options."""
    first = CertificateStore.build(ROWS, SNIS, OPTIONS)
    second = CertificateStore.build(ROWS, SNIS, OPTIONS, first)
    assert second.find("a.b.c") is first.find("a.b.c")
    renewed = CertificateStore.build([certificate("exact", MADE["left"])], SNIS[:1], OPTIONS, second)
    assert renewed.find("a.b.c") is not first.find("a.b.c")
    modern = CertificateStore.build(ROWS, SNIS, contexts.server_options("modern"), second)
    assert modern.find("a.b.c") is not first.find("a.b.c")


def test_alternative_pair_is_offered_when_the_row_has_one() -> None:
    """`cert_alt` and `key_alt` make a second pair."""
    made = MADE["exact"]
    row = Certificate("1", made.pem.decode(), made.key_pem.decode(), "other cert", "other key")
    pairs = CertificateStore.build([row], [], OPTIONS).pairs()["1"]
    assert [pair.cert for pair in pairs] == [made.pem, b"other cert"]


def test_dangling_sni_is_ignored_when_its_certificate_is_missing() -> None:
    """References are checked elsewhere; here a missing certificate only means no match."""
    assert CertificateStore.build([], SNIS, OPTIONS).find("a.b.c") is None


def test_requested_name_is_none_when_nothing_was_recorded() -> None:
    """A connection without TLS or without SNI has no name."""
    assert store.requested_name(object()) is None
    assert store.requested_name(None) is None
