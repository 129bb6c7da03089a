"""TLS of the cluster listeners: which certificate the server shows for which name, and which clients' certificates
are let in.

In: our authority and server certificate, an optional shared pair (Kong's KONG_CLUSTER_CERT), pinned certificates.
Out: one SSLContext for the listener, whose server-name callback hands every new handshake the newest contexts: a
renewed certificate or a new pin needs no new listener. TLS only lets in certificates that chain to something we know
(a foreign one fails the handshake); who may do what is decided by the gate.
Cold.
"""

import os
import ssl
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from kongdp.errors import KongdpError, Source

# The name that Kong data planes ask for in shared mode, and the one that ours ask for.
SHARED_NAME = "kong_clustering"
OWN_NAME = "kongdp-control-plane"


class TrustError(KongdpError):
    """A certificate or key in the settings cannot be used; the message names the setting."""

    source = Source.OPERATOR


@dataclass(frozen=True, slots=True)
class ClusterPair:
    """Kong's cluster_cert and cluster_cert_key, as PEM text: shown to data planes of Kong.

    In `shared` mode data planes have the same pair (`authority_pem` is None); in `pki` mode each has its own from
    cluster_ca_cert (`authority_pem`).
    """

    certificate_pem: str
    key_pem: str = field(repr=False)
    authority_pem: str | None = None

    @property
    def shared_fingerprint(self) -> str | None:
        """SHA-256 of the certificate that data planes must show; None in pki mode."""
        if self.authority_pem is not None:
            return None
        return x509.load_pem_x509_certificate(self.certificate_pem.encode()).fingerprint(hashes.SHA256()).hex()

    def is_meant_by(self, name: str | None) -> bool:
        """Whether a client that asks for this name expects this pair: the fixed one, or in pki mode any but ours."""
        return name == SHARED_NAME or (self.authority_pem is not None and name != OWN_NAME)


class Trust:
    """The present contexts, replaced as a whole by `refresh`; handshakes in progress keep theirs."""

    def __init__(self, authority_pem: bytes, pair: ClusterPair | None) -> None:
        self._authority_pem = authority_pem.decode()
        self._pair = pair
        self._lock = threading.Lock()
        self._own: ssl.SSLContext | None = None
        self._kong: ssl.SSLContext | None = None

    def refresh(self, certificate: Path, key: Path, pins: Iterable[str] = ()) -> None:
        """Build the contexts anew: the server's own pair, and certificates (PEM) pinned besides our authority's.

        Raises TrustError when the cluster pair cannot be used.
        """
        anchors = [self._authority_pem, *pins]
        kong = None
        if self._pair is not None:
            anchors.append(self._pair.authority_pem or self._pair.certificate_pem)
            kong = _pair_context(self._pair, anchors)
        own = _context(anchors)
        own.load_cert_chain(certificate, key)
        with self._lock:
            self._own, self._kong = own, kong

    def listening_context(self, *, requires_certificate: bool) -> ssl.SSLContext:
        """The context to listen with. Call `refresh` first."""
        assert self._own is not None
        context = _context(())
        context.verify_mode = ssl.CERT_REQUIRED if requires_certificate else ssl.CERT_OPTIONAL
        context.sni_callback = self._choose
        return context

    def _choose(self, tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        """Called in every handshake, also for a client that sends no name."""
        with self._lock:
            own, kong = self._own, self._kong
        assert own is not None
        is_kong = kong is not None and self._pair is not None and self._pair.is_meant_by(name)
        tls.context = kong if is_kong and kong is not None else own


def _pair_context(pair: ClusterPair, anchors: Iterable[str]) -> ssl.SSLContext:
    """The context for data planes of Kong. The ssl module reads pairs only from files: here, files in memory."""
    context = _context(anchors)
    certificate, key = os.memfd_create("cluster_cert"), os.memfd_create("cluster_cert_key")
    try:
        os.write(certificate, pair.certificate_pem.encode())
        os.write(key, pair.key_pem.encode())
        # Without a password callback OpenSSL would ask on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{certificate}", f"/proc/self/fd/{key}", password=lambda: b"")
    except (OSError, ValueError) as error:
        raise TrustError(f"cluster_cert_key does not belong to cluster_cert: {error}") from None
    finally:
        os.close(certificate)
        os.close(key)
    return context


def _context(anchors: Iterable[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    for pem in anchors:
        context.load_verify_locations(cadata=pem)
    return context


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    # A pin or a shared certificate is trusted itself, whoever has signed it.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    # Kong's `hybrid gen_cert` makes X.509 version 1 without extensions, which strict checking (Python 3.13) refuses.
    context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
    # A resumed session would skip the client certificate, and with it everything that depends on who is there.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
