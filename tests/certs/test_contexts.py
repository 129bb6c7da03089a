"""TLS contexts against real handshakes in memory: names, versions, ciphers, pairs and anchors."""

import ssl

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kongdp.certs import contexts
from kongdp.certs.contexts import CertificateError, Pair
from tests.support.certificates import Made, authority, make, shared_cluster_pair
from tests.support.handshake import handshake

CA = authority()
LEAF = make("localhost", issuer=CA, names=("localhost",), addresses=("127.0.0.1",))
SERVER = contexts.server_context([LEAF.pair], contexts.server_options("intermediate"))


def client(*anchors: Made, pair: Pair | None = None) -> ssl.SSLContext:
    return contexts.cluster_client_context(pair, [anchor.pem for anchor in anchors], trusts_system=False)


@pytest.mark.parametrize(
    ("suite", "versions"),
    [
        ("modern", ("TLSv1.3", "TLSv1.3")),
        ("intermediate", ("TLSv1.2", "TLSv1.3")),
        ("old", ("TLSv1", "TLSv1.3")),
        ("fips", ("TLSv1.2", "TLSv1.2")),
    ],
)
def test_suite_sets_versions_when_named_as_kong_does(suite: str, versions: tuple[str, str]) -> None:
    """Each of Kong's cipher suites means a range of protocol versions (settings.md section 6)."""
    options = contexts.server_options(suite, protocols=["TLSv1.1"], ciphers="ignored")
    assert (options.minimum, options.maximum) == (contexts.VERSIONS[versions[0]], contexts.VERSIONS[versions[1]])
    assert contexts.server_context([LEAF.pair], options).minimum_version == options.minimum


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"])
def test_intermediate_lets_the_client_choose_when_it_knows_several(cipher: str) -> None:
    """`intermediate` does not prefer the server's order, so the client's single wish is met."""
    wish = client(CA)
    wish.maximum_version = ssl.TLSVersion.TLSv1_2
    wish.set_ciphers(cipher)
    assert handshake(SERVER, wish, "localhost").cipher == cipher


def test_intermediate_offers_finite_field_groups_when_asked() -> None:
    """The DHE ciphers of the list work, which needs the RFC 7919 group to be loaded."""
    key = rsa.generate_private_key(65537, 2048)
    server = contexts.server_context(
        [make("localhost", issuer=CA, names=("localhost",), key=key).pair], contexts.server_options("intermediate")
    )
    wish = client(CA)
    wish.maximum_version = ssl.TLSVersion.TLSv1_2
    wish.set_ciphers("DHE-RSA-AES128-GCM-SHA256")
    assert handshake(server, wish, "localhost").cipher == "DHE-RSA-AES128-GCM-SHA256"


def test_custom_uses_protocols_and_ciphers_when_given() -> None:
    """Only `custom` listens to ssl_protocols and ssl_ciphers."""
    options = contexts.server_options("custom", protocols=["TLSv1.2"], ciphers="ECDHE-ECDSA-AES256-GCM-SHA384")
    seen = handshake(contexts.server_context([LEAF.pair], options), client(CA), "localhost")
    assert (seen.version, seen.cipher) == ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384")


def test_tickets_are_off_when_not_wanted() -> None:
    """`ssl_session_tickets=off` sends none, also with TLS 1.3."""
    context = contexts.server_context([LEAF.pair], contexts.server_options("intermediate", session_tickets=False))
    assert context.options & ssl.OP_NO_TICKET
    assert context.num_tickets == 0


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: contexts.server_options("strong"), "unknown cipher suite 'strong'"),
        (lambda: contexts.server_options("custom", protocols=["SSLv9"]), "no usable protocol"),
        (
            lambda: contexts.server_context([], contexts.server_options("custom", ciphers="NOT-A-CIPHER")),
            "knows none of 'NOT-A-CIPHER'",
        ),
        (
            lambda: contexts.server_context([Pair(b"x", b"y")], contexts.server_options("modern")),
            "certificate: not pem, or damaged",
        ),
        (
            lambda: contexts.server_context([Pair(LEAF.pem, CA.key_pem)], contexts.server_options("modern")),
            "certificate: key values mismatch",
        ),
        (lambda: client_with_anchor(b"nonsense"), "trust anchor: "),
        (lambda: client_with_anchor(b"\xff"), "trust anchor: not PEM"),
    ],
)
def test_errors_name_the_cause_when_something_cannot_be_used(build: object, text: str) -> None:
    """Each unusable input fails with one short reason and no path of a memory file."""
    with pytest.raises(CertificateError) as caught:
        build()  # type: ignore[operator]
    assert text in str(caught.value)
    assert "/proc/" not in str(caught.value)


def client_with_anchor(text: bytes) -> ssl.SSLContext:
    return contexts.cluster_client_context(None, [text], trusts_system=False)


def test_encrypted_key_fails_when_it_would_ask_for_a_passphrase() -> None:
    """A key with a passphrase is an error, not a question on somebody's terminal."""
    secret = LEAF.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(CertificateError, match="encrypted"):
        contexts.server_context([Pair(LEAF.pem, secret)], contexts.server_options("modern"))


def test_rsa_and_ecdsa_stand_side_by_side_when_both_are_given() -> None:
    """A second pair of another key type is offered to clients that want it."""
    both = make("localhost", issuer=CA, names=("localhost",), key=rsa.generate_private_key(65537, 2048))
    server = contexts.server_context([both.pair, LEAF.pair], contexts.server_options("intermediate"))
    for cipher in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"):
        wish = client(CA)
        wish.maximum_version = ssl.TLSVersion.TLSv1_2
        wish.set_ciphers(cipher)
        assert handshake(server, wish, "localhost").cipher == cipher


def test_shared_pair_is_trusted_when_it_has_no_extensions() -> None:
    """The certificate of a shared-mode cluster is its own anchor and is verified under `kong_clustering` by its CN."""
    shared = shared_cluster_pair()
    server = contexts.server_context([shared.pair], contexts.server_options("intermediate"))
    context = contexts.cluster_client_context(shared.pair, [shared.pem], trusts_system=False)
    assert handshake(server, context, "kong_clustering").server_name == "kong_clustering"
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT


@pytest.mark.parametrize(
    ("anchors", "name", "reason"),
    [((), "localhost", "local issuer"), ((CA,), "elsewhere", "Hostname mismatch")],
)
def test_control_plane_is_refused_when_chain_or_name_is_wrong(
    anchors: tuple[Made, ...], name: str, reason: str
) -> None:
    """There is no way to connect to a control plane that does not verify."""
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        handshake(SERVER, client(*anchors), name)


def test_upstream_trusts_nothing_when_verification_is_on_without_anchors() -> None:
    """`tls_verify` without `ca_certificates` fails every upstream (proxy.md section 9)."""
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(SERVER, contexts.upstream_client_context(verify=True), "localhost")


def test_upstream_accepts_anything_when_verification_is_off() -> None:
    """`tls_verify` null or false: no chain, no name; ALPN says http/1.1."""
    stranger = contexts.server_context([make("x").pair], contexts.server_options("intermediate"))
    assert handshake(stranger, contexts.upstream_client_context(verify=False), "any.name").alpn == "http/1.1"


def test_issuers_are_counted_when_a_chain_was_verified() -> None:
    """What verify depth limits: the anchor alone above a leaf it signed, an intermediate more above a deeper one."""
    between = make("between", issuer=CA, is_authority=True)
    deep = make("localhost", issuer=between, names=("localhost",))
    chained = contexts.server_context(
        [Pair(deep.pem + between.pem, deep.key_pem)], contexts.server_options("intermediate")
    )
    context = contexts.upstream_client_context(verify=True, anchors=[CA.pem])
    assert handshake(SERVER, context, "localhost").issuers == 1
    assert handshake(chained, context, "localhost").issuers == 2


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("example.com", "example.com"),
        ("example.com:8443", "example.com"),
        ("10.0.0.1", None),
        ("10.0.0.1:443", None),
        ("[::1]:443", None),
        ("::1", None),
        ("", None),
    ],
)
def test_server_name_is_the_host_without_port_when_it_is_a_name(host: str, name: str | None) -> None:
    """Addresses send no SNI (nginx)."""
    assert contexts.upstream_server_name(host) == name


def test_key_is_hidden_when_a_pair_is_printed() -> None:
    """A pair in a log line or traceback shows no key."""
    assert "PRIVATE" not in repr(LEAF.pair)


def test_reads_take_one_record_when_more_is_asked_for() -> None:
    """Both sides read a record a time however much room a caller offers, and lose nothing of a longer message."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    upstream = contexts.upstream_client_context(verify=True, anchors=[CA.pem])
    ours = SERVER.wrap_bio(to_server, to_client, server_side=True)
    theirs = upstream.wrap_bio(to_client, to_server, server_hostname="localhost")
    sides = (theirs, ours)
    for side in sides * 2:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    message = bytes(range(256)) * 256
    for sender, receiver in (sides, sides[::-1]):
        sender.write(message)
        pieces: list[bytes] = []
        while sum(map(len, pieces)) < len(message):
            pieces.append(receiver.read(1 << 18))
        assert b"".join(pieces) == message
        assert {len(piece) for piece in pieces} == {contexts.RECORD_BYTES_MAX}
        sender.write(b"short")
        assert receiver.read(3) == b"sho"
        room = bytearray(10)
        assert receiver.read(10, room) == 2
        assert room[:2] == b"rt"
